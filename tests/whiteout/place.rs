//! Layers to work on, and overlays made of them by mount(8).

use std::path::PathBuf;

use crate::common::{Scene, stdout};

/// A directory `name` of the scene's that any user can write to, on a filesystem with user
/// attributes: before Linux 6.6 tmpfs has none, and gets an ext4 in a file.
pub fn disk(scene: &Scene, name: &str) -> PathBuf {
    let directory = scene.dir(name);
    if xattr::set(&directory, "user.test", b"").is_err() {
        let make = "truncate -s 128M \"$0.img\" && mkfs.ext4 -q \"$0.img\" && mount -o loop \"$0.img\" \"$0\" \
                    && rmdir \"$0/lost+found\" && chmod 777 \"$0\"";
        scene.sh(&make.replace("$0", directory.to_str().unwrap())).assert().success();
    }
    directory
}

/// Who mounts the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Root.
    Root,
    /// An ordinary user in a user namespace, with `userxattr`.
    User,
}

impl By {
    /// Runs a shell script in `directory` by this user with its own mounts; `$overlay OPTIONS DIR` mounts.
    pub fn sh(self, scene: &Scene, directory: &str, script: &str) -> String {
        let (unshare, option) = match self {
            Self::Root => ("unshare -m", ""),
            Self::User => ("unshare -Urm", ",userxattr"),
        };
        let script = format!(
            "cd {directory} || exit; overlay() {{ mount -t overlay -o \"$1{option}\" overlay \"$2\"; }}\n{script}"
        );
        let script = script.replace('\'', "'\\''");
        let line = format!("{unshare} sh -ec '{script}'");
        let mut command = if self == Self::Root { scene.sh(&line) } else { scene.user_sh(&line) };
        stdout(&command.assert().success())
    }

    /// The same in a new directory that has [`LAYERS`].
    pub fn sh_on_layers(self, scene: &Scene, directory: &str, script: &str) -> String {
        disk(scene, directory.split('/').next().unwrap());
        scene.dir(directory);
        self.sh(scene, directory, &format!("{LAYERS} {script}"))
    }
}

/// A lower layer `lower` with something of each kind, and empty upper, work and merged directories.
pub const LAYERS: &str = "
mkdir lower upper work merged lower/dir lower/dir/sub lower/gone lower/again lower/kept
echo 1 >lower/file; echo 2 >lower/dir/a; echo 3 >lower/dir/sub/b; echo 4 >lower/gone/c
echo 5 >lower/again/old; echo 6 >lower/again/same; echo 7 >lower/kept/d; ln -s file lower/link
echo 8 >lower/empty; : >lower/empty; mkfifo lower/pipe
mount_it() { overlay lowerdir=lower,upperdir=upper,workdir=work merged; }
";
