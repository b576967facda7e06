//! What one directory of a layer holds: nodes that show, names that it hides.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use common::{During as _, Error, Result};
use nix::dir::Type;
use nix::sys::stat::FileStat;

use crate::directory::{Directory, if_supported};
use crate::format::{self, Format};
use crate::node;

/// A directory's content, by name in the order of bytes.
#[derive(Debug, Default)]
pub struct Listing {
    /// What is there: names only, for a directory may be large.
    pub nodes: Vec<Node>,
    /// What lower layers are not to show. A name may be in both: first hidden, then there anew.
    pub whiteouts: BTreeMap<OsString, Format>,
    /// Set if nothing of lower layers is to show.
    pub opaque: Option<Format>,
}

/// A name that shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// The name.
    pub name: OsString,
    /// Whether it is known to be a regular file, or was when the directory was read.
    pub is_file: bool,
}

/// Which marks a layer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Whether `.wh.` names are marks. In what an overlay has written to they are
    /// ordinary files that somebody gave such a name.
    names: bool,
}

impl Reading {
    /// Every format's marks are marks.
    pub const ALL: Self = Self { names: true };

    /// Whether `.wh.` names are marks.
    pub fn reads_names(self) -> bool {
        self.names
    }

    /// Finds out how the layer with this top directory is to be read.
    pub fn of(layer: &Directory) -> Result<Self> {
        let attributes = layer.attribute_names()?;
        Ok(Self { names: !attributes.iter().any(|attribute| is_of_a_mount(attribute)) })
    }
}

/// Whether it is an attribute that only a mounted overlay writes on the top of its upper layer.
fn is_of_a_mount(attribute: &OsStr) -> bool {
    let kept = |prefix: &str| attribute.as_bytes().strip_prefix(prefix.as_bytes());
    format::ATTRIBUTE_PREFIXES
        .iter()
        .any(|prefix| matches!(kept(prefix), Some(b"impure" | b"origin" | b"uuid")))
}

/// What a name in a layer's directory stands for.
enum Entry {
    Node,
    Whiteout(OsString, Format),
    OpaqueMark,
    /// AUFS's own, which is no part of the layer's content.
    Bookkeeping,
}

impl Listing {
    /// Reads a directory.
    pub fn read(directory: &Directory, reading: Reading) -> Result<Self> {
        let mut listing = Self { opaque: opaque_attribute(directory)?, ..Self::default() };
        for (name, kind) in directory.entries()? {
            match entry(directory, &name, kind, reading)? {
                Some(Entry::Node) => listing.nodes.push(Node { name, is_file: kind == Some(Type::File) }),
                Some(Entry::Whiteout(hidden, format)) => drop(listing.whiteouts.insert(hidden, format)),
                Some(Entry::OpaqueMark) => listing.opaque = Some(Format::Oci),
                Some(Entry::Bookkeeping) | None => {}
            }
        }
        listing.nodes.sort_unstable();
        Ok(listing)
    }

    /// Whether something is there at `name`.
    pub fn shows(&self, name: &OsStr) -> bool {
        self.nodes.binary_search_by(|node| node.name.as_os_str().cmp(name)).is_ok()
    }

    /// Whether it holds a whiteout of this format, of another name.
    pub fn holds_beside(&self, name: &OsStr, format: Format) -> bool {
        self.whiteouts.iter().any(|(other, have)| other != name && *have == format)
    }
}

/// `None`: it went away while we read.
fn entry(directory: &Directory, name: &OsStr, kind: Option<Type>, reading: Reading) -> Result<Option<Entry>> {
    if reading.names && name == format::FUSE_OPAQUE_NAME {
        return Ok(Some(Entry::OpaqueMark));
    }
    if !matches!(kind, Some(Type::Directory | Type::Symlink | Type::Fifo | Type::Socket | Type::BlockDevice))
    {
        let Some(stat) = directory.stat(name)? else { return Ok(None) };
        if let Some(format) = kernel_whiteout(directory, name, &stat)? {
            return Ok(Some(Entry::Whiteout(name.to_owned(), format)));
        }
    }
    if !reading.names || !name.as_bytes().starts_with(format::PREFIX.as_bytes()) {
        return Ok(Some(Entry::Node));
    }
    if name == format::OPAQUE_NAME {
        return Ok(Some(Entry::OpaqueMark));
    }
    if name.as_bytes().starts_with(format::AUFS_PREFIX.as_bytes()) {
        return Ok(Some(Entry::Bookkeeping));
    }
    match OsStr::from_bytes(&name.as_bytes()[format::PREFIX.len()..]) {
        hidden if hidden.is_empty() || hidden == "." || hidden == ".." => {
            Err(Error::new("read a whiteout", directory.path_of(name), "it hides no name"))
        }
        hidden => Ok(Some(Entry::Whiteout(hidden.to_owned(), Format::Oci))),
    }
}

/// In which of the kernel's formats the node is a whiteout, if it is one.
pub fn kernel_whiteout(directory: &Directory, name: &OsStr, stat: &FileStat) -> Result<Option<Format>> {
    if node::is_character_device(stat) && stat.st_rdev == 0 {
        // Both of overlay's own formats have it; only opaque directories tell them apart.
        return Ok(Some(Format::Overlay));
    }
    if !node::is_regular(stat) || stat.st_size != 0 {
        return Ok(None);
    }
    for prefix in format::ATTRIBUTE_PREFIXES {
        let value = xattr::get(directory.procfs_path(name), format!("{prefix}whiteout"));
        if if_supported(value).during("read its attributes", directory.path_of(name))?.is_some() {
            return Ok(Some(Format::Xattr));
        }
    }
    Ok(None)
}

/// In which of the kernel's formats the directory is opaque, if it is.
pub fn opaque_attribute(directory: &Directory) -> Result<Option<Format>> {
    for format in [Format::Overlay, Format::Userxattr] {
        if let Some(attribute) = format.opaque_attribute()
            && directory.attribute(attribute)?.as_deref() == Some(format::OPAQUE)
        {
            return Ok(Some(format));
        }
    }
    Ok(None)
}

/// Fails on a directory that shows another directory's content (overlay's redirect_dir):
/// where that is no layer by itself can say.
pub fn refuse_redirect(directory: &Directory) -> Result<()> {
    for prefix in format::ATTRIBUTE_PREFIXES {
        if directory.attribute(&format!("{prefix}redirect"))?.is_some() {
            return Err(Error::new(
                "read a layer",
                directory.path(),
                "the directory is a redirect to another",
            )
            .hint("it was renamed on an overlay with redirect_dir=on; mount that with redirect_dir=off"));
        }
    }
    Ok(())
}
