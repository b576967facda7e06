//! `--volume SRC:DST[:OPTIONS]`: a directory or file of the host in the new root.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use common::idmap::IdMap;
use common::sys::mount::{Attributes, Propagation, Reach, clone_tree, set_idmap};
use common::{During as _, Error, Result, mapping};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::attributes;
use crate::plan::absolute;
use crate::tree::Tree;

/// A bind mount.
#[derive(Debug, PartialEq, Eq)]
pub struct Volume {
    source: PathBuf,
    target: PathBuf,
    /// Whether what is mounted below the source comes along.
    reach: Reach,
    attributes: Attributes,
    /// How far the attributes reach: `rro`.
    attributes_reach: Reach,
    propagation: Propagation,
    /// Ids on disk and what they are shown as.
    idmap: Vec<IdMap>,
}

impl Volume {
    /// Parses `SRC:DST[:OPTION,...]`. SRC ends at the first `:/`, options begin at the last `:` after that.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bad = |why: String| {
            Error::usage(format!("--volume {}: {why}", common::error::printable(text)))
                .hint("write it as SRC:/DST or SRC:/DST:ro,nosuid")
        };
        let bytes = text.as_bytes();
        let colon = bytes.windows(2).position(|pair| pair == b":/");
        let colon = colon.ok_or_else(|| bad("no absolute path in the root after a ':'".into()))?;
        let (source, rest) = (&bytes[..colon], &bytes[colon + 1..]);
        let (target, options) = match rest.iter().rposition(|&byte| byte == b':') {
            Some(last) => (&rest[..last], &rest[last + 1..]),
            None => (rest, &b""[..]),
        };
        if source.is_empty() {
            return Err(bad("no source".into()));
        }
        let mut volume = Self {
            // Entering a mount namespace changes the working directory.
            source: absolute(Path::new(OsStr::from_bytes(source)))?,
            target: Path::new(OsStr::from_bytes(target)).to_owned(),
            reach: Reach::Tree,
            attributes: Attributes::NONE,
            attributes_reach: Reach::One,
            propagation: Propagation::Private,
            idmap: Vec::new(),
        };
        check_target(&volume.target).map_err(bad)?;
        let options = std::str::from_utf8(options).map_err(|_| bad("an option is not UTF-8".into()))?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            volume.set(option).map_err(bad)?;
        }
        Ok(volume)
    }

    fn set(&mut self, option: &str) -> std::result::Result<(), String> {
        match option {
            "rw" => {}
            "ro" => self.attributes = self.attributes.and(Attributes::READ_ONLY),
            "rro" => {
                self.attributes = self.attributes.and(Attributes::READ_ONLY);
                self.attributes_reach = Reach::Tree;
            }
            "nosuid" => self.attributes = self.attributes.and(Attributes::NOSUID),
            "nodev" => self.attributes = self.attributes.and(Attributes::NODEV),
            "noexec" => self.attributes = self.attributes.and(Attributes::NOEXEC),
            "bind" => self.reach = Reach::One,
            "rbind" => self.reach = Reach::Tree,
            // Docker's names; ours always reach all mounts of the volume.
            "private" | "rprivate" => self.propagation = Propagation::Private,
            "slave" | "rslave" => self.propagation = Propagation::Slave,
            "shared" | "rshared" => self.propagation = Propagation::Shared,
            _ => match option.strip_prefix("idmap=") {
                // Dashes, because a colon ends the path before the options.
                Some(map) => self.idmap.push(map.replace('-', ":").parse().map_err(idmap_is_wrong)?),
                None => return Err(format!("no such option: {option}")),
            },
        }
        Ok(())
    }

    /// Where in the root.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the mount, attached nowhere yet. To be called before the mounts are made slaves:
    /// what is to stay shared must be a peer of the host's still.
    pub fn clone_source(&self) -> Result<OwnedFd> {
        let step = "bind the volume";
        // The source is the caller's word, so a link in it is followed. O_PATH opens no device and no fifo.
        let source = open(&self.source, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .during("open the volume", &self.source)?;
        let mount = clone_tree(source.as_fd(), self.reach).map_err(|errno| {
            Error::new(step, &self.source, errno).or_hint(match errno {
                Errno::EPERM => {
                    Some("run it under 'unshare-lite --mount', with --map-root-user for an ordinary user")
                }
                Errno::EINVAL if self.reach == Reach::One => {
                    Some("in a user namespace a tree of mounts comes as a whole: leave 'bind' out")
                }
                _ => None,
            })
        })?;
        if self.propagation != Propagation::Shared {
            attributes::spread(&mount, self.propagation, &self.source)?;
        }
        attributes::set(&mount, self.attributes, self.attributes_reach, &self.source)?;
        self.shift_ids(&mount)?;
        Ok(mount)
    }

    fn shift_ids(&self, mount: &OwnedFd) -> Result<()> {
        if self.idmap.is_empty() {
            return Ok(());
        }
        let namespace = mapping::user_namespace(&self.idmap)?;
        set_idmap(mount.as_fd(), namespace.as_fd(), self.reach).map_err(|errno| {
            Error::new("shift the ids of the volume", &self.source, errno).or_hint(match errno {
                Errno::ENOSYS => Some("idmapped mounts take Linux 5.12"),
                Errno::EINVAL => {
                    Some("this filesystem, or one mounted in it, does not support idmapped mounts")
                }
                Errno::EPERM => Some("it takes CAP_SYS_ADMIN over the filesystem: be root"),
                _ => None,
            })
        })
    }

    /// Attaches what [`clone_source`](Self::clone_source) made.
    pub fn mount(&self, mount: OwnedFd, tree: &mut Tree) -> Result<()> {
        tree.mount_asked(&self.target, mount, &self.source.display().to_string(), self.attributes)
    }
}

fn idmap_is_wrong(why: String) -> String {
    format!("idmap=FROM-TO-COUNT: {why}")
}

/// The root itself and the kernel's own directories are not for other mounts (CVE-2019-16884).
pub fn check_target(target: &Path) -> std::result::Result<(), String> {
    let names: Vec<_> = target.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    match names[..] {
        [] => Err("it would cover the whole root".into()),
        [Component::Normal(name)] if name == "proc" || name == "sys" => {
            Err("nothing else can take the place of /proc or /sys".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Volume> {
        Volume::parse(OsStr::new(text))
    }

    #[test]
    fn source_target_and_options_are_told_apart() {
        let volume = parse("/a:/b").unwrap();
        assert_eq!((volume.source.to_str(), volume.target.to_str()), (Some("/a"), Some("/b")));
        assert_eq!((volume.reach, volume.propagation), (Reach::Tree, Propagation::Private));
        let volume = parse("/a:x:/b:c:ro,nodev,bind").unwrap();
        assert_eq!((volume.source.to_str(), volume.target.to_str()), (Some("/a:x"), Some("/b:c")));
        assert_eq!(volume.attributes, Attributes::READ_ONLY.and(Attributes::NODEV));
        assert_eq!((volume.reach, volume.attributes_reach), (Reach::One, Reach::One));
        assert_eq!(parse("/a:/b:rro").unwrap().attributes_reach, Reach::Tree);
        assert_eq!(parse("/a:/b:idmap=0-1000-1").unwrap().idmap, [IdMap { inner: 0, outer: 1000, count: 1 }]);
    }

    #[test]
    fn a_relative_source_is_found_from_where_we_are() {
        assert_eq!(parse("x/y:/b").unwrap().source, std::env::current_dir().unwrap().join("x/y"));
    }

    #[test]
    fn what_is_no_volume_is_refused() {
        for text in [
            "",
            "/a",
            "/a:",
            "/a:b",
            ":/b",
            "/a:/b:fast",
            "/a:/",
            "/a:/./",
            "/a:/proc",
            "/a://sys/",
            "/a:/b:idmap=0-1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
