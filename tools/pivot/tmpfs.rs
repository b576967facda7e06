//! `--tmpfs DST[:OPTIONS]`.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use common::sys::mount::Attributes;
use common::{Error, Result, size};

use crate::filesystem::Filesystem;
use crate::tree::Tree;
use crate::volume::check_target;

/// An empty filesystem in memory, at a path of the new root.
#[derive(Debug, PartialEq, Eq)]
pub struct Tmpfs {
    target: PathBuf,
    attributes: Attributes,
    options: Vec<(CString, CString)>,
}

const SAFE: Attributes = Attributes::NOSUID.and(Attributes::NODEV).and(Attributes::NOEXEC);

impl Tmpfs {
    /// Parses `DST[:OPTION,...]`. As Docker's: nosuid, nodev and noexec unless told.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bad = |why: String| {
            Error::usage(format!("--tmpfs {}: {why}", common::error::printable(text)))
                .hint("write it as /DIR or /DIR:size=64M,mode=1777")
        };
        let mut parts = text.as_bytes().splitn(2, |&byte| byte == b':');
        let target = Path::new(OsStr::from_bytes(parts.next().unwrap_or_default())).to_owned();
        if !target.is_absolute() {
            return Err(bad("the path in the root must be absolute".into()));
        }
        check_target(&target).map_err(bad)?;
        let mut tmpfs = Self { target, attributes: SAFE, options: Vec::new() };
        let options = std::str::from_utf8(parts.next().unwrap_or_default());
        let options = options.map_err(|_| bad("an option is not UTF-8".into()))?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            tmpfs.set(option).map_err(bad)?;
        }
        Ok(tmpfs)
    }

    fn set(&mut self, option: &str) -> std::result::Result<(), String> {
        match option.split_once('=') {
            None => match option {
                "rw" => self.attributes = self.attributes.without(Attributes::READ_ONLY),
                "ro" => self.attributes = self.attributes.and(Attributes::READ_ONLY),
                "suid" => self.attributes = self.attributes.without(Attributes::NOSUID),
                "dev" => self.attributes = self.attributes.without(Attributes::NODEV),
                "exec" => self.attributes = self.attributes.without(Attributes::NOEXEC),
                "nosuid" => self.attributes = self.attributes.and(Attributes::NOSUID),
                "nodev" => self.attributes = self.attributes.and(Attributes::NODEV),
                "noexec" => self.attributes = self.attributes.and(Attributes::NOEXEC),
                _ => return Err(format!("no such option: {option}")),
            },
            Some(("size", value)) => {
                let bytes = size::parse(value, size::machine_memory).map_err(|error| error.to_string())?;
                self.options.push(key("size", &bytes.to_string())?);
            }
            Some((name @ ("mode" | "uid" | "gid" | "nr_inodes"), value)) => {
                self.options.push(key(name, value)?);
            }
            Some((name, _)) => return Err(format!("no such option: {name}")),
        }
        Ok(())
    }

    /// Where in the root.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Mounts it.
    pub fn mount(&self, tree: &mut Tree) -> Result<()> {
        let filesystem =
            Filesystem { fs_type: c"tmpfs", options: self.options.clone(), attributes: self.attributes };
        tree.mount_filesystem(&self.target, &filesystem)
    }
}

fn key(name: &str, value: &str) -> std::result::Result<(CString, CString), String> {
    let c = |text: &str| CString::new(text).map_err(|_| "a NUL byte".to_owned());
    Ok((c(name)?, c(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tmpfs> {
        Tmpfs::parse(OsStr::new(text))
    }

    #[test]
    fn it_is_as_safe_as_dockers_unless_told() {
        assert_eq!(parse("/a").unwrap().attributes, SAFE);
        assert_eq!(parse("/a:exec,dev,suid").unwrap().attributes, Attributes::NONE);
    }

    #[test]
    fn a_size_is_passed_in_bytes() {
        let tmpfs = parse("/a:size=1.5K,mode=0700").unwrap();
        assert_eq!(tmpfs.options, [(c"size".into(), c"1536".into()), (c"mode".into(), c"0700".into())]);
    }

    #[test]
    fn what_is_no_tmpfs_is_refused() {
        for text in ["", "a", "/a:fast", "/a:size=big", "/a:source=x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
