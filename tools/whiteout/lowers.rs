//! The layers below, seen as one: what shows at a name in them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::rc::Rc;

use common::Result;
use nix::sys::stat::FileStat;

use crate::directory::Directory;
use crate::format;
use crate::listing::{self, Listing, Reading};
use crate::node;

/// One directory as the lower layers have it, the topmost first, down to the first opaque one.
#[derive(Debug, Default)]
pub struct Lowers {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    directory: Rc<Directory>,
    reading: Reading,
}

/// What the lower layers show at a name.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub stat: FileStat,
    /// The directory that it is in.
    pub parent: Rc<Directory>,
    /// What it holds; empty if it is no directory.
    pub content: Lowers,
}

impl Lowers {
    /// The top directories of the layers, bottom first.
    pub fn new(layers: Vec<Directory>) -> Result<Self> {
        let mut lowers = Self::default();
        for layer in layers.into_iter().rev() {
            let reading = Reading::of(&layer)?;
            if lowers.push(Part { directory: Rc::new(layer), reading })? {
                break;
            }
        }
        Ok(lowers)
    }

    /// Adds the next lower part; true: what is below that one does not show.
    fn push(&mut self, part: Part) -> Result<bool> {
        listing::refuse_redirect(&part.directory)?;
        let opaque = listing::opaque_attribute(&part.directory)?.is_some()
            || part.has_mark(OsStr::new(format::OPAQUE_NAME))?;
        self.parts.push(part);
        Ok(opaque)
    }

    /// What shows at `name`.
    pub fn find(&self, name: &OsStr) -> Result<Option<Found>> {
        let mut found: Option<Found> = None;
        for part in &self.parts {
            let Some(stat) = part.directory.stat(name)? else {
                if part.hides(name)? {
                    break;
                }
                continue;
            };
            let shows = listing::kernel_whiteout(&part.directory, name, &stat)?.is_none();
            if !shows || (found.is_some() && !node::is_directory(&stat)) {
                break;
            }
            let found = found.get_or_insert_with(|| Found {
                stat,
                parent: Rc::clone(&part.directory),
                content: Self::default(),
            });
            if !node::is_directory(&stat) {
                break;
            }
            let directory = Rc::new(part.directory.child(name)?);
            if found.content.push(Part { directory, ..*part })? || part.hides(name)? {
                break;
            }
        }
        Ok(found)
    }

    /// All names that show.
    pub fn names(&self) -> Result<BTreeSet<OsString>> {
        let (mut shown, mut hidden) = (BTreeSet::new(), BTreeSet::new());
        for part in &self.parts {
            let Listing { nodes, whiteouts, opaque: _ } = Listing::read(&part.directory, part.reading)?;
            shown.extend(nodes.into_iter().map(|node| node.name).filter(|name| !hidden.contains(name)));
            // Whiteouts are about the layers below their own only.
            hidden.extend(whiteouts.into_keys());
        }
        Ok(shown)
    }
}

impl Part {
    /// Whether an OCI whiteout hides what layers below this one have at `name`.
    fn hides(&self, name: &OsStr) -> Result<bool> {
        self.has_mark(&format::oci_name(name))
    }

    fn has_mark(&self, mark: &OsStr) -> Result<bool> {
        Ok(self.reading.reads_names() && self.directory.stat(mark)?.is_some())
    }
}
