//! What a layer changes, as docker diff tells it.
//!
//! The time it takes grows with the upper layer alone; lower ones are looked at only where
//! the upper has something, and listed only where it hides a directory's whole content.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use common::Result;
use nix::sys::stat::FileStat;

use crate::directory::Directory;
use crate::listing::{self, Listing, Node, Reading};
use crate::lowers::{Found, Lowers};
use crate::node;

/// One change, at a path as the container sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub kind: Kind,
}

/// What happened at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is new.
    Added,
    /// It, or something in it, is other than it was.
    Changed,
    /// It is gone.
    Deleted,
}

impl Kind {
    /// As docker diff abbreviates it.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Deleted => 'D',
        }
    }
}

/// The changes that `upper` makes to `lowers` (bottom first), sorted by path.
pub fn diff(upper: &Path, lowers: &[PathBuf]) -> Result<Vec<Change>> {
    let upper = Directory::open(upper)?;
    let lowers = lowers.iter().map(|lower| Directory::open(lower)).collect::<Result<_>>()?;
    let reading = Reading::of(&upper)?;
    let mut walk = Walk { reading, changes: Vec::new() };
    walk.compare(&upper, false, &Lowers::new(lowers)?, Path::new("/"))?;
    walk.changes
        .sort_unstable_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()).then(a.kind.cmp(&b.kind)));
    Ok(walk.changes)
}

struct Walk {
    reading: Reading,
    changes: Vec<Change>,
}

impl Walk {
    /// Compares a directory with what the lower layers have in its place. `replaced`: none of that shows.
    fn compare(&mut self, upper: &Directory, replaced: bool, lowers: &Lowers, path: &Path) -> Result<()> {
        listing::refuse_redirect(upper)?;
        let listing = Listing::read(upper, self.reading)?;
        for Node { name, .. } in &listing.nodes {
            // What went away meanwhile is not there.
            let Some(new) = upper.stat(name)? else { continue };
            let old = lowers.find(name)?;
            let path = path.join(name);
            let before = self.changes.len();
            let kind = self.kind_of(upper, name, &new, old.as_ref())?;
            if node::is_directory(&new) {
                let content = old.map(|old| old.content).unwrap_or_default();
                let replaced = listing.whiteouts.contains_key(name);
                self.compare(&upper.child(name)?, replaced, &content, &path)?;
            }
            // Docker names a directory in which something changed as changed itself.
            let inside = (self.changes.len() > before).then_some(Kind::Changed);
            if let Some(kind) = kind.or(inside) {
                self.changes.push(Change { path, kind });
            }
        }
        let hidden = if replaced || listing.opaque.is_some() {
            lowers.names()?
        } else {
            listing.whiteouts.keys().cloned().collect()
        };
        for name in hidden.iter().filter(|name| !listing.shows(name)) {
            if lowers.find(name)?.is_some() {
                self.changes.push(Change { path: path.join(name), kind: Kind::Deleted });
            }
        }
        Ok(())
    }

    fn kind_of(
        &self,
        directory: &Directory,
        name: &OsStr,
        new: &FileStat,
        old: Option<&Found>,
    ) -> Result<Option<Kind>> {
        let Some(old) = old else { return Ok(Some(Kind::Added)) };
        let changed = node::differs(&old.stat, new)
            || node::attributes(directory, name)? != node::attributes(&old.parent, name)?;
        Ok(changed.then_some(Kind::Changed))
    }
}
