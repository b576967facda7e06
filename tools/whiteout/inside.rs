//! Paths in an archive: where in the layer an entry belongs, and what its name means.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use common::error::printable;
use common::{Error, Result};

use crate::format;

/// A place in the layer: no `..`, no link and no absolute path leads out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    /// The layer's top directory.
    Top,
    /// A name in a directory, whose path is relative to the top; empty: the top itself.
    Name(PathBuf, OsString),
}

/// What an entry's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The entry is a node.
    Node,
    /// Lower layers' node of this name is deleted.
    Whiteout(OsString),
    /// All of the directory is hidden in lower layers.
    Opaque,
    /// AUFS's own.
    Bookkeeping,
}

impl Inside {
    /// Checks a path from an archive.
    pub fn parse(path: &[u8]) -> Result<Self> {
        let refuse = |why: &str| Err(Error::new("read the archive", shortened(path), why.to_owned()));
        match path {
            [] => return refuse("an empty path"),
            [b'/', ..] => return refuse("an absolute path"),
            _ if path.len() > MOST_BYTES => return refuse("a path of more than 16 KiB"),
            _ => {}
        }
        let (mut directory, mut last, mut levels) = (PathBuf::new(), None::<&OsStr>, 0);
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return refuse("a path with '..' in it"),
                _ if component.contains(&0) => return refuse("a NUL byte in a path"),
                _ if component.len() > MOST_NAME + format::PREFIX.len() => {
                    return refuse("a name that is too long");
                }
                _ => {}
            }
            if let Some(parent) = last.replace(OsStr::from_bytes(component)) {
                directory.push(parent);
            }
            levels += 1;
        }
        if levels > MOST_LEVELS {
            return refuse("a path of more than 500 levels");
        }
        Ok(match last {
            None => Self::Top,
            Some(name) => Self::Name(directory, name.to_owned()),
        })
    }

    /// What the name of the entry means; marks are told by it alone.
    pub fn meaning(&self) -> Result<Meaning> {
        let Self::Name(directory, name) = self else { return Ok(Meaning::Node) };
        let is = |name: &OsStr, prefix: &str| name.as_bytes().starts_with(prefix.as_bytes());
        if name == format::OPAQUE_NAME && !directory.iter().any(|part| is(part, format::PREFIX)) {
            return Ok(Meaning::Opaque);
        }
        if directory.iter().chain([name.as_os_str()]).any(|part| is(part, format::AUFS_PREFIX)) {
            return Ok(Meaning::Bookkeeping);
        }
        let refuse = |why: &str| {
            let path = directory.join(name);
            Err(Error::new("read the archive", shortened(path.as_os_str().as_bytes()), why.to_owned()))
        };
        if directory.iter().any(|part| is(part, format::PREFIX)) {
            return refuse("a whiteout is no directory");
        }
        match name.as_bytes().strip_prefix(format::PREFIX.as_bytes()) {
            None => Ok(Meaning::Node),
            Some(b"" | b"." | b"..") => refuse("a whiteout of no name"),
            Some(hidden) => Ok(Meaning::Whiteout(OsStr::from_bytes(hidden).to_owned())),
        }
    }

    /// The place as one path.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Top => PathBuf::from("."),
            Self::Name(directory, name) => directory.join(name),
        }
    }
}

/// A path of any length for a message.
fn shortened(path: &[u8]) -> OsString {
    let name = printable(OsStr::from_bytes(path));
    if name.len() <= 200 {
        return name.into();
    }
    format!("{}…", name.chars().take(200).collect::<String>()).into()
}

/// Well below what we can walk again, to pack or to remove it, with 1,024 open files.
const MOST_LEVELS: usize = 500;
/// NAME_MAX of Linux.
const MOST_NAME: usize = 255;
/// More than any program but ours could use: PATH_MAX is 4,096.
const MOST_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(directory: &str, name: &str) -> Inside {
        Inside::Name(directory.into(), name.into())
    }

    #[test]
    fn a_path_is_a_directory_and_a_name() {
        for (path, place) in [
            ("a/b/c", at("a/b", "c")),
            ("./a", at("", "a")),
            ("a//./b/", at("a", "b")),
            (".", Inside::Top),
            ("./", Inside::Top),
        ] {
            assert_eq!(Inside::parse(path.as_bytes()).unwrap(), place, "{path}");
        }
    }

    #[test]
    fn paths_that_could_lead_out_are_refused() {
        let long = format!("{}a", "a/".repeat(9000));
        for path in ["", "/", "/etc", "..", "../a", "a/../../b", "a/..", "a\0b", &"n".repeat(260), &long] {
            assert!(Inside::parse(path.as_bytes()).is_err(), "{path}");
        }
        assert!(Inside::parse(b"..a/b..").is_ok());
    }

    #[test]
    fn names_tell_marks() {
        let meaning = |path: &str| Inside::parse(path.as_bytes()).unwrap().meaning();
        assert_eq!(meaning("a/b").unwrap(), Meaning::Node);
        assert_eq!(meaning("a/.wh.b").unwrap(), Meaning::Whiteout("b".into()));
        assert_eq!(meaning("a/.wh..b").unwrap(), Meaning::Whiteout(".b".into()));
        assert_eq!(meaning("a/.wh..wh..opq").unwrap(), Meaning::Opaque);
        for path in [".wh..wh.plnk", ".wh..wh.plnk/12.3", ".wh..wh.aufs", ".wh..wh..opq/x", ".wh..wh.x"] {
            assert_eq!(meaning(path).unwrap(), Meaning::Bookkeeping, "{path}");
        }
        for path in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/b", ".wh.a/.wh..wh..opq/.wh.b/c"] {
            let error = meaning(path);
            assert!(error.is_err() || error.unwrap() == Meaning::Bookkeeping, "{path}");
        }
    }
}
