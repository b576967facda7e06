//! A layer directory as an OCI layer on standard output: what docker commit makes of a container.
//!
//! The same tree gives the same bytes: names are in the order of their bytes, owners are numbers,
//! and nothing of the machine gets in. Memory grows with the largest directory, not with the tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal as _, stdout};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use common::{During as _, Error, Result, output, trace};
use nix::libc;
use nix::sys::stat::{FileStat, fstat};

use crate::archive::entry::{Device, Entry, Kind, Time};
use crate::archive::writer::{Extent, Writer};
use crate::directory::Directory;
use crate::format;
use crate::idmap::IdMaps;
use crate::listing::{self, Listing, Node, Reading};
use crate::node::{self, Attributes};
use crate::sparse;

/// How a layer is packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Later times become this one.
    pub clamp_mtime: Option<i64>,
    /// How owners on the disk are to be shifted back.
    pub idmaps: IdMaps,
}

/// Packs the layer `upper`.
pub fn pack(upper: &Path, options: &Options) -> Result<()> {
    output::must_be_open()?;
    if stdout().is_terminal() {
        return Err(Error::new("pack the layer", output::STANDARD_OUTPUT, "it is a terminal")
            .hint("send it to a file or a pipe: whiteout pack UPPER >layer.tar"));
    }
    let layer = Directory::open(upper)?;
    let out = stdout().as_fd().try_clone_to_owned().during("open", output::STANDARD_OUTPUT)?;
    let mut packing = Packing {
        options,
        reading: Reading::of(&layer)?,
        archive: Writer::new(File::from(out)),
        links: HashMap::new(),
    };
    packing.directory(&layer, b".")?;
    packing.archive.finish()
}

struct Packing<'a> {
    options: &'a Options,
    reading: Reading,
    archive: Writer,
    /// Nodes of several names of which not all were seen yet: the first name, and how many are left.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
}

impl Packing<'_> {
    /// Writes a directory, its marks, and then what it holds: an extractor that works as
    /// it reads has deleted before it adds.
    fn directory(&mut self, directory: &Directory, path: &[u8]) -> Result<()> {
        listing::refuse_redirect(directory)?;
        let before = directory.own_stat()?;
        self.entry(path, Kind::Directory, &before, directory.attributes()?, directory.path())?;
        let Listing { nodes, whiteouts, opaque } = Listing::read(directory, self.reading)?;
        if opaque.is_some() {
            self.mark(path, OsStr::new(format::OPAQUE_NAME))?;
        }
        for name in whiteouts.keys() {
            check_name(directory, name)?;
            self.mark(path, &format::oci_name(name))?;
        }
        for Node { name, is_file } in &nodes {
            check_name(directory, name)?;
            if *is_file {
                self.file(directory, name, &joined(path, name))?;
                continue;
            }
            let stat = directory.stat(name)?.ok_or_else(|| changed(directory.path()))?;
            let path = joined(path, name);
            if node::is_directory(&stat) {
                self.directory(&directory.child(name)?, &path)?;
            } else if node::is_regular(&stat) {
                self.file(directory, name, &path)?;
            } else if let Some(first) = self.other_name(&stat, &path) {
                let kind = Kind::HardLink(first);
                self.entry(&path, kind, &stat, Attributes::new(), &directory.path_of(name))?;
            } else {
                self.node(directory, name, &stat, &path)?;
            }
        }
        let after = directory.own_stat()?;
        if (before.st_mtime, before.st_mtime_nsec) != (after.st_mtime, after.st_mtime_nsec) {
            return Err(changed(directory.path()));
        }
        Ok(())
    }

    /// The name under which the node was packed already.
    fn other_name(&mut self, stat: &FileStat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let id = (stat.st_dev, stat.st_ino);
        let Some((first, left)) = self.links.get_mut(&id) else {
            #[allow(clippy::unnecessary_cast)] // narrower on other machines
            self.links.insert(id, (path.to_owned(), stat.st_nlink as u64 - 1));
            return None;
        };
        *left -= 1;
        if *left > 0 { Some(first.clone()) } else { self.links.remove(&id).map(|(first, _)| first) }
    }

    /// Writes what is neither a directory, nor a regular file, nor a hard link.
    fn node(&mut self, directory: &Directory, name: &OsStr, stat: &FileStat, path: &[u8]) -> Result<()> {
        let object = directory.path_of(name);
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFLNK => Kind::Symlink(directory.link_target(name)?.into_encoded_bytes()),
            libc::S_IFCHR => Kind::CharacterDevice(device(stat)),
            libc::S_IFBLK => Kind::BlockDevice(device(stat)),
            libc::S_IFIFO => Kind::Fifo,
            _ => {
                trace::warn(format_args!("{}: a socket, left out", object.display()));
                return Ok(());
            }
        };
        let attributes = node::attributes(directory, name)?;
        self.entry(path, kind, stat, attributes, &object)
    }

    fn file(&mut self, directory: &Directory, name: &OsStr, path: &[u8]) -> Result<()> {
        let object = directory.path_of(name);
        let (file, stat) = directory.open_file(name)?;
        if let Some(first) = self.other_name(&stat, path) {
            return self.entry(path, Kind::HardLink(first), &stat, Attributes::new(), &object);
        }
        let attributes = node::attributes_of(&file, &object)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if sparse::has_holes(&stat) {
            let extents = sparse::extents(&file, size, &object)?;
            let entry = self.described(path, Kind::File(size), &stat, attributes, &object)?;
            self.archive.sparse_entry(&entry, size, &extents)?;
            self.contents(&file, &extents, &object)?;
        } else {
            self.entry(path, Kind::File(size), &stat, attributes, &object)?;
            self.contents(&file, &[(0, size)], &object)?;
        }
        let state = |stat: &FileStat| {
            (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
        };
        let after = fstat(&file).during("look at", &object)?;
        if state(&stat) == state(&after) { Ok(()) } else { Err(changed(&object)) }
    }

    fn contents(&mut self, file: &File, extents: &[Extent], object: &Path) -> Result<()> {
        let mut size = 0;
        for &extent in extents {
            self.archive.content(file, extent, object)?;
            size += extent.1;
        }
        self.archive.pad(size)
    }

    /// Writes an empty file that is a mark. It has no owner and no time: those of the
    /// mark in the layer say when it was written there, and by whom.
    fn mark(&mut self, directory: &[u8], name: &OsStr) -> Result<()> {
        self.archive.entry(&Entry {
            path: joined(directory, name),
            kind: Kind::File(0),
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            attributes: Attributes::new(),
        })
    }

    fn entry(
        &mut self,
        path: &[u8],
        kind: Kind,
        stat: &FileStat,
        attributes: Attributes,
        object: &Path,
    ) -> Result<()> {
        let entry = self.described(path, kind, stat, attributes, object)?;
        self.archive.entry(&entry)
    }

    fn described(
        &self,
        path: &[u8],
        kind: Kind,
        stat: &FileStat,
        attributes: Attributes,
        object: &Path,
    ) -> Result<Entry> {
        let mtime = Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 };
        let latest = self.options.clamp_mtime.map(|seconds| Time { seconds, nanoseconds: 0 });
        let (uid, gid) = self.options.idmaps.to_image(stat.st_uid, stat.st_gid, object)?;
        Ok(Entry {
            path: path.to_owned(),
            kind,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: latest.map_or(mtime, |latest| mtime.min(latest)),
            attributes,
        })
    }
}

/// A name that would be read as a mark.
fn check_name(directory: &Directory, name: &OsStr) -> Result<()> {
    if name.as_bytes().starts_with(format::PREFIX.as_bytes()) {
        let why = "an OCI layer cannot hold a name that begins with .wh.";
        return Err(Error::new("pack", directory.path_of(name), why)
            .hint("such names are whiteouts there; rename or remove it"));
    }
    Ok(())
}

fn changed(object: &Path) -> Error {
    Error::new("pack", object, "it changed while it was read")
        .hint("stop, or freeze, what writes to the layer while it is packed")
}

fn device(stat: &FileStat) -> Device {
    Device { major: libc::major(stat.st_rdev), minor: libc::minor(stat.st_rdev) }
}

/// The path of `name` in `directory`; what is in the top directory stands by itself.
fn joined(directory: &[u8], name: &OsStr) -> Vec<u8> {
    match directory {
        b"." => name.as_bytes().to_vec(),
        _ => [directory, b"/", name.as_bytes()].concat(),
    }
}
