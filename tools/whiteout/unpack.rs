//! An OCI layer, from standard input, as a layer directory.
//!
//! The archive is hostile: its entries are made relative to a directory that was reached
//! without following a link, always anew, never by opening what is there; what overlay would
//! take for a mark of its own is refused or renamed. Nothing is seen before all of it is there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal as _, stdin};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};

use crate::archive::entry::{Entry, Kind};
use crate::archive::reader::Reader;
use crate::directory::Directory;
use crate::format::Format;
use crate::idmap::IdMaps;
use crate::inside::{Inside, Meaning};
use crate::make::Maker;
use crate::plan::Place;
use crate::staging::Staging;
use crate::tree::{self, Tree};
use crate::{format, interrupt, mark, node};

/// How a layer is unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// In which format its marks are written.
    pub format: Format,
    /// How owners are to be shifted.
    pub idmaps: IdMaps,
    /// Whether nodes get the owners that the archive says, or ours.
    pub same_owner: bool,
    /// Whether devices that we may not make are left out.
    pub skip_devices: bool,
}

/// Unpacks the archive into the directory at `place`, which is missing or empty.
pub fn unpack(place: &Place, options: &Options) -> Result<()> {
    let parent = Directory::open(&place.directory)?;
    let existing = existing(&parent, &place.name)?;
    let mut reader = reader()?;
    let name = [b".".as_slice(), place.name.as_bytes(), b".unpack"].concat();
    let name = OsStr::from_bytes(&name[..name.len().min(255)]).to_owned();
    let (staging, top) = Staging::new(parent, name)?;
    trace::step(format_args!("unpack the layer into {}", top.path().display()));
    let mut unpacking =
        Unpacking::new(Tree::new(top.named(&place.path), options.format, false)?, options, None);
    unpacking.all(&mut reader)?;
    unpacking.finish_top(existing.as_ref())?;
    trace::step(format_args!("rename it to {}", place.path.display()));
    staging.place(&place.name)
}

/// The archive on standard input.
pub fn reader() -> Result<Reader> {
    let name = "standard input";
    if stdin().is_terminal() {
        return Err(Error::new("read the archive", name, "it is a terminal")
            .hint("send an archive to it: whiteout unpack DIR <layer.tar"));
    }
    interrupt::watch()?;
    Ok(Reader::new(File::from(stdin().as_fd().try_clone_to_owned().during("open", name)?)))
}

/// The directory that is there already; it has to be empty.
fn existing(parent: &Directory, name: &OsStr) -> Result<Option<Directory>> {
    if parent.stat(name)?.is_none() {
        return Ok(None);
    }
    let directory = parent.child(name)?;
    if directory.names()?.is_empty() {
        return Ok(Some(directory));
    }
    Err(Error::new("unpack the layer", directory.path(), Errno::ENOTEMPTY)
        .hint("a layer needs a directory of its own; --apply unpacks onto a root filesystem"))
}

/// A layer that is being unpacked.
pub struct Unpacking<'a> {
    tree: Tree,
    maker: Maker<'a>,
    format: Format,
    /// The entry of the top directory.
    top: Option<Entry>,
    /// What is below: hard links may lead there.
    below: Option<&'a Directory>,
}

impl<'a> Unpacking<'a> {
    /// A layer to be unpacked into `tree`.
    pub fn new(tree: Tree, options: &'a Options, below: Option<&'a Directory>) -> Self {
        // Modes are what the archive says.
        umask(Mode::empty());
        Self { tree, maker: Maker::new(options), format: options.format, top: None, below }
    }

    /// Makes all entries.
    pub fn all(&mut self, reader: &mut Reader) -> Result<()> {
        while let Some(entry) = reader.next()? {
            interrupt::check()?;
            self.entry(entry, reader)?;
        }
        self.tree.leave()
    }

    /// Gives the top directory what its entry says, or what the directory had that it replaces.
    pub fn finish_top(&self, replaced: Option<&Directory>) -> Result<()> {
        match (&self.top, replaced) {
            (Some(entry), _) => self.maker.describe(self.tree.top(), entry),
            (None, Some(replaced)) => self.maker.copy_owner_and_mode(replaced, self.tree.top()),
            (None, None) => self.maker.set_mode(self.tree.top(), 0o755),
        }
    }

    /// Gives `root` what the top directory's entry says, if there was one.
    pub fn finish_top_on(&self, root: &Directory) -> Result<()> {
        self.top.as_ref().map_or(Ok(()), |entry| self.maker.describe(root, entry))
    }

    fn entry(&mut self, entry: Entry, reader: &mut Reader) -> Result<()> {
        let place = Inside::parse(&entry.path)?;
        let meaning = place.meaning()?;
        let Inside::Name(directory, name) = &place else { return self.top_entry(entry) };
        if meaning != Meaning::Node && !matches!(entry.kind, Kind::File(_) | Kind::HardLink(_)) {
            return match meaning {
                Meaning::Bookkeeping => Ok(()),
                _ => Err(refuse(&place, "a mark that is no file")),
            };
        }
        match meaning {
            Meaning::Bookkeeping => Ok(()),
            Meaning::Opaque => {
                let directory = self.tree.enter(directory)?;
                if mark::is_opaque(directory, self.format)? {
                    return Ok(());
                }
                mark::make_opaque(directory, self.format)
            }
            Meaning::Whiteout(hidden) => self.hide(directory, &hidden),
            Meaning::Node => match &entry.kind {
                Kind::Directory => self.directory(directory, name, &entry),
                Kind::HardLink(target) => self.hard_link(directory, name, target, &place),
                kind => {
                    if let Kind::CharacterDevice(device) = kind
                        && (device.major, device.minor) == (0, 0)
                    {
                        return Err(refuse(&place, "a device 0:0, which an overlay takes for a whiteout"));
                    }
                    let directory = self.tree.enter(directory)?;
                    self.maker.node(directory, name, &entry, reader)
                }
            },
        }
    }

    fn top_entry(&mut self, entry: Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(refuse(&Inside::Top, "the layer's top is no directory"));
        }
        tree::describe(self.tree.top())?;
        self.top = Some(entry);
        Ok(())
    }

    /// Hides a name of lower layers: what this layer itself has there, before or after, stays.
    fn hide(&mut self, directory: &Path, hidden: &OsStr) -> Result<()> {
        let directory = self.tree.enter(directory)?;
        if self.format == Format::Oci {
            return match directory.stat(&format::oci_name(hidden))? {
                Some(_) => Ok(()),
                None => mark::make_whiteout(directory, hidden, self.format),
            };
        }
        match directory.stat(hidden)? {
            None => mark::make_whiteout(directory, hidden, self.format),
            Some(stat) if node::is_directory(&stat) => {
                let directory = directory.child(hidden)?;
                let modified = tree::modified(&directory)?;
                mark::make_opaque(&directory, self.format)?;
                tree::set_modified(&directory, modified)
            }
            Some(_) => Ok(()),
        }
    }

    fn directory(&mut self, parent: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        let format = self.format;
        let parent = self.tree.enter(parent)?;
        let (directory, replaces_whiteout) = self.maker.directory(parent, name)?;
        if replaces_whiteout {
            mark::make_opaque(&directory, format)?;
        }
        tree::describe(&directory)?;
        self.maker.describe(&directory, entry)
    }

    fn hard_link(&mut self, directory: &Path, name: &OsStr, target: &[u8], place: &Inside) -> Result<()> {
        let Inside::Name(target_directory, target_name) = Inside::parse(target)? else {
            return Err(refuse(place, "a hard link to a directory"));
        };
        if (Inside::Name(target_directory.clone(), target_name.clone())).meaning()? != Meaning::Node {
            return Err(refuse(place, "a hard link to a mark"));
        }
        let source = self.link_source(&target_directory, &target_name, place)?;
        let directory = self.tree.enter(directory)?;
        self.maker.hard_link(&source, &target_name, directory, name)
    }

    /// The directory that holds what a hard link leads to.
    fn link_source(&self, directory: &Path, name: &OsStr, place: &Inside) -> Result<Directory> {
        for top in std::iter::once(self.tree.top()).chain(self.below) {
            let directory = match top.descend(directory) {
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                found => found.during("open the directory", top.path().join(directory))?,
            };
            let Some(stat) = directory.stat(name)? else { continue };
            if node::is_directory(&stat) {
                return Err(refuse(place, "a hard link to a directory"));
            }
            if !tree::is_whiteout(&directory, name)? {
                return Ok(directory);
            }
        }
        Err(refuse(place, "a hard link to what is not there"))
    }
}

/// An entry that is not to be.
fn refuse(place: &Inside, why: &'static str) -> Error {
    Error::new("read the archive", place.path(), why)
}
