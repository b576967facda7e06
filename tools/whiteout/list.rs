//! The marks of a layer: its whiteouts and opaque directories.

use std::path::{Path, PathBuf};

use common::Result;

use crate::directory::Directory;
use crate::format::Format;
use crate::listing::{Listing, Node, Reading};
use crate::node;

/// One mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it hides, relative to the layer's top.
    pub path: PathBuf,
    /// Whether it hides one name or a directory's content.
    pub kind: Kind,
    /// How it is written.
    pub format: Format,
}

/// What a mark hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One name.
    Whiteout,
    /// All that a directory holds in lower layers.
    Opaque,
}

impl Kind {
    /// The word for it in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whiteout => "whiteout",
            Self::Opaque => "opaque",
        }
    }
}

/// The marks of the layer `directory`, sorted by path.
pub fn list(directory: &Path) -> Result<Vec<Mark>> {
    let layer = Directory::open(directory)?;
    let mut marks = Vec::new();
    collect(&layer, Reading::of(&layer)?, Path::new(""), &mut marks)?;
    marks.sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
    Ok(marks)
}

fn collect(directory: &Directory, reading: Reading, path: &Path, marks: &mut Vec<Mark>) -> Result<()> {
    let Listing { nodes, whiteouts, opaque } = Listing::read(directory, reading)?;
    if let Some(format) = opaque {
        marks.push(Mark { path: path.to_owned(), kind: Kind::Opaque, format });
    }
    for (name, format) in whiteouts {
        marks.push(Mark { path: path.join(name), kind: Kind::Whiteout, format });
    }
    for Node { name, .. } in nodes {
        if directory.stat(&name)?.is_some_and(|stat| node::is_directory(&stat)) {
            collect(&directory.child(&name)?, reading, &path.join(&name), marks)?;
        }
    }
    Ok(())
}
