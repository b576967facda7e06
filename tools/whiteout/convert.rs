//! Turning the marks of a layer into another format, all of them or none.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use common::{During as _, Error, Result, trace};
use nix::fcntl::{AtFlags, renameat};
use nix::sys::stat::{FileStat, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};

use crate::directory::Directory;
use crate::format::{self, Format};
use crate::listing::{self, Listing, Node, Reading};
use crate::{mark, node, tree};

/// Turns all marks of the layer `directory` into `to`.
pub fn convert(directory: &Path, to: Format) -> Result<()> {
    let layer = Directory::open(directory)?;
    let mut converting = Converting { to, reading: Reading::of(&layer)?, done: Vec::new() };
    walk(&layer, &mut |directory| converting.check(directory))?;
    if let Err(error) = walk(&layer, &mut |directory| converting.convert(&layer, directory)) {
        converting.take_back(&layer);
        return Err(error);
    }
    // Only now, for it cannot be taken back: what a mounted overlay noted is of no use in another format.
    walk(&layer, &mut |directory| forget_notes(directory, to))
}

struct Converting {
    to: Format,
    reading: Reading,
    done: Vec<Done>,
}

/// A mark that was turned.
struct Done {
    directory: PathBuf,
    mark: Mark,
    from: Format,
}

/// A mark in a directory.
enum Mark {
    Opaque,
    Whiteout(OsString),
}

/// Calls `visit` for the directory and all below it.
fn walk(directory: &Directory, visit: &mut dyn FnMut(&Directory) -> Result<()>) -> Result<()> {
    visit(directory)?;
    for (name, kind) in directory.entries()? {
        let is_directory = match kind {
            Some(kind) => kind == nix::dir::Type::Directory,
            None => directory.stat(&name)?.is_some_and(|stat| node::is_directory(&stat)),
        };
        if is_directory {
            walk(&directory.child(&name)?, visit)?;
        }
    }
    Ok(())
}

impl Converting {
    /// Finds what the new format cannot hold.
    fn check(&self, directory: &Directory) -> Result<()> {
        listing::refuse_redirect(directory)?;
        let Listing { nodes, whiteouts, .. } = Listing::read(directory, self.reading)?;
        for Node { name, is_file } in &nodes {
            if *is_file {
                node::refuse_metacopy(directory, name)?;
            }
            if self.to == Format::Oci && name.as_bytes().starts_with(format::PREFIX.as_bytes()) {
                return Err(unfit(directory, name, "a file of that name would be a mark"));
            }
        }
        for name in whiteouts.keys().filter(|_| self.to == Format::Oci) {
            let why = format::why_not_in_oci(name);
            why.map_or(Ok(()), |why| Err(unfit(directory, name, why)))?;
        }
        Ok(())
    }

    /// Turns the marks of one directory.
    fn convert(&mut self, layer: &Directory, directory: &Directory) -> Result<()> {
        let Listing { nodes: _, whiteouts, opaque } = Listing::read(directory, self.reading)?;
        let modified = tree::modified(directory)?;
        let inside = directory.path().strip_prefix(layer.path()).unwrap_or(Path::new("")).to_owned();
        if let Some(from) = opaque.filter(|from| from.opaque_attribute() != self.to.opaque_attribute()) {
            trace::step(format_args!(
                "{}: opaque: {} to {}",
                directory.path().display(),
                from.name(),
                self.to.name()
            ));
            turn_opaque(directory, from, self.to)?;
            self.done.push(Done { directory: inside.clone(), mark: Mark::Opaque, from });
        }
        for (name, from) in whiteouts.into_iter().filter(|(_, from)| !from.is_written_as(self.to)) {
            let path = directory.path_of(&name);
            trace::step(format_args!("{}: whiteout: {} to {}", path.display(), from.name(), self.to.name()));
            turn_whiteout(directory, &name, from, self.to)?;
            self.done.push(Done { directory: inside.clone(), mark: Mark::Whiteout(name), from });
        }
        tree::set_modified(directory, modified)
    }

    /// Turns back what was turned.
    fn take_back(&self, layer: &Directory) {
        for Done { directory, mark, from } in self.done.iter().rev() {
            // Whatever fails here failed before, and has been reported.
            let Ok(directory) = layer.descend(directory) else { continue };
            let Ok(modified) = tree::modified(&directory) else { continue };
            let _ = match mark {
                Mark::Opaque => turn_opaque(&directory, self.to, *from),
                Mark::Whiteout(name) => turn_whiteout(&directory, name, self.to, *from),
            };
            let _ = tree::set_modified(&directory, modified);
        }
    }
}

fn unfit(directory: &Directory, name: &OsStr, why: &'static str) -> Error {
    Error::new("convert", directory.path_of(name), why)
}

fn turn_opaque(directory: &Directory, from: Format, to: Format) -> Result<()> {
    let stat = directory.own_stat()?;
    mark::make_opaque(directory, to)?;
    if to == Format::Oci {
        // An attribute has neither owner nor time: the file gets the directory's.
        copy_owner_and_time(directory, OsStr::new(format::OPAQUE_NAME), &stat)?;
    }
    mark::remove_opaque(directory, from)
}

/// The new mark is there before the old one goes, with its owner and time.
fn turn_whiteout(directory: &Directory, name: &OsStr, from: Format, to: Format) -> Result<()> {
    let mark = |format| if format == Format::Oci { format::oci_name(name) } else { name.to_owned() };
    let Some(old) = directory.stat(&mark(from))? else { return Ok(()) };
    if from == Format::Oci
        && let Some(stat) = directory.stat(name)?
    {
        // Hidden, and there anew: a directory is opaque then, and anything else hides by itself.
        if node::is_directory(&stat) {
            mark::make_opaque(&directory.child(name)?, to)?;
        }
        return mark::remove_whiteout(directory, name, from);
    }
    if mark(from) != mark(to) {
        mark::make_whiteout(directory, name, to)?;
        copy_owner_and_time(directory, &mark(to), &old)?;
        return mark::remove_whiteout(directory, name, from);
    }
    // Under a name that is nobody's until it takes the old one's place.
    let half = OsStr::new(HALF);
    mark::make_whiteout(directory, half, to)?;
    copy_owner_and_time(directory, half, &old)?;
    renameat(directory, half, directory, name).during("convert", directory.path_of(name))?;
    mark::forget_whiteout_files_if_none(directory)
}

/// AUFS's part of the name space: a run that is killed leaves nothing that counts.
const HALF: &str = ".wh..wh.convert";

fn copy_owner_and_time(directory: &Directory, name: &OsStr, old: &FileStat) -> Result<()> {
    let path = directory.path_of(name);
    let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
    fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
        .during("set its owner", &path)?;
    let time = TimeSpec::new(old.st_mtime, old.st_mtime_nsec);
    utimensat(directory, name, &time, &time, UtimensatFlags::NoFollowSymlink).during("set its time", &path)
}

/// Takes off the attributes that a mounted overlay has put on a directory and what is in it, if they
/// are of another kind than the new format's.
fn forget_notes(directory: &Directory, to: Format) -> Result<()> {
    let prefixes = format::ATTRIBUTE_PREFIXES.iter().filter(|prefix| to.attribute_prefix() != Some(**prefix));
    let prefixes: Vec<_> = prefixes.collect();
    let is_note = |attribute: &OsStr| {
        let own = prefixes.iter().find_map(|prefix| attribute.as_bytes().strip_prefix(prefix.as_bytes()));
        own.is_some_and(|own| !own.starts_with(format::ESCAPE))
    };
    for attribute in directory.attribute_names()?.iter().filter(|attribute| is_note(attribute)) {
        directory.remove_attribute(&attribute.to_string_lossy())?;
    }
    for (name, kind) in directory.entries()? {
        if kind == Some(nix::dir::Type::Directory) {
            continue;
        }
        node::remove_attributes(directory, &name, is_note)?;
    }
    Ok(())
}
