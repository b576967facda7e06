//! A place of a test's own, which also knows what the test left behind.
//!
//! Everything that a test starts carries the scene's name in its environment, and
//! what it makes is below the scene's directory or bears the scene's name, so that
//! leftovers are found although other tests run at the same time.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::path_of;

/// The ordinary user of the tests, and its group.
pub const USER: u32 = 65534;

/// A test's own place.
pub struct Scene {
    name: String,
    directory: TempDir,
}

impl Scene {
    /// A new, empty place, which any user can enter and write to.
    #[must_use]
    #[allow(clippy::new_without_default)] // a scene is an act, not a value
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cs-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self { name, directory }
    }

    /// A name that no other test uses: for cgroups.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path below the scene's directory.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// A directory, made with its parents, that any user can write to.
    pub fn dir(&self, relative: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        path
    }

    /// A file with this content, made with its parents.
    pub fn file(&self, relative: &str, content: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A small root filesystem: a static busybox with its commands, passwd and group.
    pub fn rootfs(&self, relative: &str) -> PathBuf {
        let root = self.dir(relative);
        for directory in ["bin", "etc", "tmp", "root"] {
            self.dir(&format!("{relative}/{directory}"));
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("needs Debian's busybox-static");
        for command in [
            "sh", "ls", "cat", "id", "env", "pwd", "mount", "ps", "sleep", "stat", "true", "touch",
            "hostname", "readlink", "rm", "yes", "mkdir", "grep", "dd", "kill",
        ] {
            symlink("busybox", root.join("bin").join(command)).unwrap();
        }
        self.file(
            &format!("{relative}/etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n",
        );
        self.file(&format!("{relative}/etc/group"), "root:x:0:\nann:x:1001:\nwheel:x:10:ann\n");
        root
    }

    /// A tool, run by the user that runs the tests.
    #[must_use]
    pub fn tool(&self, tool: &str) -> assert_cmd::Command {
        self.prepared(Command::new(path_of(tool)))
    }

    /// A shell command line in the scene's directory, with the tools in its PATH.
    #[must_use]
    pub fn sh(&self, script: &str) -> assert_cmd::Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        self.prepared(command)
    }

    /// The same by root of a mount namespace of its own; ends at the first failure.
    #[must_use]
    pub fn private_sh(&self, script: &str) -> assert_cmd::Command {
        // On one CPU: Linux 6.18 numbers namespaces by CPU, and only one of a higher number can be pinned.
        let line =
            "cpus=$(taskset -pc $$); exec taskset -c ${cpus##*[ ,-]} unshare --mount sh -ec \"$SCRIPT\"";
        let mut command = self.sh(line);
        command.env("SCRIPT", script);
        command
    }

    /// A shell command line, run by an ordinary user.
    #[must_use]
    pub fn user_sh(&self, script: &str) -> assert_cmd::Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        if nix::unistd::geteuid().is_root() {
            command.uid(USER).gid(USER);
        }
        self.prepared(command)
    }

    /// The same as a plain command, for tests that talk with it while it runs.
    #[must_use]
    pub fn std_sh(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        self.prepare(&mut command);
        command
    }

    fn prepared(&self, mut command: Command) -> assert_cmd::Command {
        self.prepare(&mut command);
        let mut command = assert_cmd::Command::from_std(command);
        // A test that hangs is a test that fails.
        command.timeout(super::patience());
        command
    }

    fn prepare(&self, command: &mut Command) {
        let path = format!(
            "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            tools_directory().display()
        );
        command.env("PATH", path).env(MARK, &self.name).current_dir(self.directory.path());
    }

    /// The processes of this scene that still run.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}\0", self.name);
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            *pid != std::process::id() as i32
                && environ_of(*pid).windows(mark.len()).any(|w| w == mark.as_bytes())
        })
        .collect()
    }

    /// The mount points below the scene's directory.
    #[must_use]
    pub fn mounts(&self) -> Vec<PathBuf> {
        let mounts = common::mountinfo::of_self().unwrap();
        mounts
            .into_iter()
            .map(|mount| mount.mount_point)
            .filter(|at| at.starts_with(self.directory.path()))
            .collect()
    }

    /// The cgroup directories, in all hierarchies, that bear the scene's name.
    #[must_use]
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mounts = common::mountinfo::of_self().unwrap();
        let hierarchies = mounts.into_iter().filter(|mount| mount.fs_type.starts_with("cgroup"));
        hierarchies.map(|mount| mount.mount_point.join(&self.name)).filter(|path| path.exists()).collect()
    }

    /// The same once all has ended that is about to end.
    pub fn assert_all_ends(&self) {
        super::eventually("all of the scene ends", || self.processes().is_empty());
        self.assert_nothing_left();
    }

    /// Fails if a process, a mount or a cgroup of this scene is still there.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.processes(), [] as [i32; 0], "processes left");
        assert_eq!(self.mounts(), [] as [PathBuf; 0], "mounts left");
        assert_eq!(self.cgroups(), [] as [PathBuf; 0], "cgroups left");
    }
}

impl Drop for Scene {
    /// Cleans up after a test that failed half way.
    fn drop(&mut self) {
        for _ in 0..100 {
            let processes = self.processes();
            if processes.is_empty() {
                break;
            }
            for pid in processes {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        for mount in self.mounts().iter().rev() {
            let _ = umount2(mount, MntFlags::MNT_DETACH);
        }
        for cgroup in self.cgroups() {
            remove_cgroup(&cgroup);
        }
    }
}

const MARK: &str = "CONTAINER_STEPS_TEST";

/// The environment of a process. It reads as empty for the moment in which the process
/// executes another program, and for good where there is none (kernel threads, zombies).
fn environ_of(pid: i32) -> Vec<u8> {
    loop {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has_program = fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        let is_between = common::procfs::stat(pid).is_ok_and(|stat| stat.environment_end == 0);
        if !environ.is_empty() || !has_program || !is_between {
            return environ;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn remove_cgroup(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    // Busy while the kernel is not yet through with processes that have just been killed.
    for _ in 0..200 {
        if fs::remove_dir(directory).is_ok() || !directory.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// A directory with copies of the tools that any user can reach, whatever the mode
/// of the directory that the tests were built in.
fn tools_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let binaries = path_of("pivot").parent().unwrap();
        if is_open_to_all(binaries) {
            return binaries.to_owned();
        }
        // Named by the build, so that the test files share one copy.
        let built = fs::metadata(path_of("pivot")).unwrap().modified().unwrap();
        let stamp = built.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let directory = std::env::temp_dir().join(format!("cs-tools-{stamp}"));
        if !directory.exists() {
            let half = tempfile::Builder::new().prefix("cs-tools-").tempdir().unwrap();
            fs::set_permissions(half.path(), fs::Permissions::from_mode(0o755)).unwrap();
            for tool in super::CHAIN_TOOLS.into_iter().chain(["whiteout"]) {
                fs::copy(path_of(tool), half.path().join(tool)).unwrap();
            }
            // Where another test file was faster, its copy serves and ours is removed.
            let _ = fs::rename(half.path(), &directory);
        }
        directory
    })
}

fn is_open_to_all(directory: &Path) -> bool {
    directory.ancestors().all(|ancestor| {
        fs::metadata(ancestor).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    })
}
