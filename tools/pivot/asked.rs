//! The mounts that the user asks for by their places, and the order in which they are made.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use common::Result;

use crate::tmpfs::Tmpfs;
use crate::tree::Tree;
use crate::volume::Volume;

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Tmpfs(Tmpfs),
    Volume(Volume),
}

/// The same with the volume's source cloned, which must be done before any mount is.
#[derive(Debug)]
pub enum Ready<'a> {
    Tmpfs(&'a Tmpfs),
    Volume(&'a Volume, OwnedFd),
}

/// The tmpfs first, so that a volume can lie in one; but one that lies in a volume after that volume,
/// which would cover it, and what is written to it would reach the host. Volumes keep their order.
pub fn in_order(tmpfs: Vec<Tmpfs>, volumes: Vec<Volume>) -> Vec<Asked> {
    let place_of = |tmpfs: &Tmpfs| {
        let holder = volumes.iter().rposition(|volume| is_below(tmpfs.target(), volume.target()));
        holder.map_or(0, |last| last + 1)
    };
    let tmpfs: Vec<_> = tmpfs.into_iter().map(|tmpfs| (place_of(&tmpfs), Asked::Tmpfs(tmpfs))).collect();
    let volumes = volumes.into_iter().enumerate().map(|(n, volume)| (n + 1, Asked::Volume(volume)));
    let mut all: Vec<_> = volumes.chain(tmpfs).collect();
    all.sort_by_key(|(place, _)| *place); // stable: of one place, the volume stays the first
    all.into_iter().map(|(_, asked)| asked).collect()
}

/// By their names alone: what the root's links make of them only [`Asked::must_be_seen`] knows.
fn is_below(inner: &Path, outer: &Path) -> bool {
    let (inner, outer) = (names(inner), names(outer));
    inner.len() > outer.len() && inner.starts_with(&outer)
}

fn names(path: &Path) -> Vec<&OsStr> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}

impl Asked {
    /// Clones a volume's source.
    pub fn ready(&self) -> Result<Ready<'_>> {
        Ok(match self {
            Self::Tmpfs(tmpfs) => Ready::Tmpfs(tmpfs),
            Self::Volume(volume) => Ready::Volume(volume, volume.clone_source()?),
        })
    }

    /// Fails where a tmpfs is not what COMMAND will see at its place. (A volume may be covered: the
    /// order is the user's own.)
    pub fn must_be_seen(&self, tree: &Tree) -> Result<()> {
        match self {
            Self::Tmpfs(tmpfs) => tree.must_show(tmpfs.target()),
            Self::Volume(_) => Ok(()),
        }
    }
}

impl Ready<'_> {
    /// Mounts it.
    pub fn mount(self, tree: &mut Tree) -> Result<()> {
        match self {
            Self::Tmpfs(tmpfs) => tmpfs.mount(tree),
            Self::Volume(volume, source) => volume.mount(source, tree),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places in the order of their mounts; both kinds are given in words.
    fn order(tmpfs: &str, volumes: &str) -> String {
        let tmpfs = tmpfs.split_whitespace().map(|place| Tmpfs::parse(OsStr::new(place)).unwrap());
        let volumes = volumes.split_whitespace().map(|place| format!("/host:{place}"));
        let volumes = volumes.map(|text| Volume::parse(OsStr::new(&text)).unwrap());
        let order = in_order(tmpfs.collect(), volumes.collect());
        let places = order.iter().map(|asked| match asked {
            Asked::Tmpfs(tmpfs) => tmpfs.target().display().to_string(),
            Asked::Volume(volume) => format!("V{}", volume.target().display()),
        });
        places.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_tmpfs_comes_before_the_volumes_unless_it_lies_in_one() {
        assert_eq!(order("/t /a", "/v /t/in /a"), "/t /a V/v V/t/in V/a");
        assert_eq!(order("/v/t /t", "/v /w"), "/t V/v /v/t V/w");
        assert_eq!(order("/volume/t", "/v"), "/volume/t V/v");
    }

    #[test]
    fn of_several_volumes_the_last_that_holds_it_counts_and_what_lies_in_it_follows() {
        assert_eq!(order("/a/b/t", "/a /x /a/b /a/b/t/in"), "V/a V/x V/a/b /a/b/t V/a/b/t/in");
    }

    #[test]
    fn volumes_and_what_lies_in_one_of_them_keep_their_order() {
        assert_eq!(order("/a/t2 /a/t1", "/a/b /a"), "V/a/b V/a /a/t2 /a/t1");
    }

    #[test]
    fn a_place_is_known_by_its_names_however_it_is_written() {
        assert_eq!(order("//v/./t", "/v/"), "V/v/ //v/./t");
        assert_eq!(order("/x/../v/t", "/v"), "V/v /x/../v/t");
    }
}
