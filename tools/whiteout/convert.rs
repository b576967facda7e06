//! Turning the marks of a layer into another format, all of them or none.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use common::undo::{Changes, Undo};
use common::{During as _, Error, Result, trace};
use nix::dir::Type;
use nix::fcntl::renameat;
use nix::sys::stat::FileStat;

use crate::directory::Directory;
use crate::format::{self, Format};
use crate::listing::{self, Listing, Node, Reading};
use crate::mark::copy_owner_and_time;
use crate::{mark, node, remove, tree};

/// Turns all marks of the layer `directory` into `to`.
pub fn convert(directory: &Path, to: Format) -> Result<()> {
    let layer = Directory::open(directory)?;
    let reading = Reading::of(&layer)?;
    let mut converting = Converting { layer: &layer, to, reading, changes: Changes::default() };
    walk(&layer, &mut |directory| converting.check(directory))?;
    walk(&layer, &mut |directory| converting.convert(directory))?;
    converting.changes.keep();
    Ok(())
}

struct Converting<'a> {
    layer: &'a Directory,
    to: Format,
    reading: Reading,
    changes: Changes<'a>,
}

/// Calls `visit` for the directory and all below it.
fn walk(directory: &Directory, visit: &mut dyn FnMut(&Directory) -> Result<()>) -> Result<()> {
    visit(directory)?;
    for (name, kind) in directory.entries()? {
        if is_directory(directory, &name, kind)? {
            walk(&directory.child(&name)?, visit)?;
        }
    }
    Ok(())
}

/// Whether an entry is a directory, where the filesystem has not told its type as well.
fn is_directory(directory: &Directory, name: &OsStr, kind: Option<Type>) -> Result<bool> {
    Ok(match kind {
        Some(kind) => kind == Type::Directory,
        None => directory.stat(name)?.is_some_and(|stat| node::is_directory(&stat)),
    })
}

impl<'a> Converting<'a> {
    /// Finds what the new format cannot hold.
    fn check(&self, directory: &Directory) -> Result<()> {
        listing::refuse_redirect(directory)?;
        remove_half(directory)?;
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
    fn convert(&mut self, directory: &Directory) -> Result<()> {
        let Listing { nodes: _, whiteouts, opaque } = Listing::read(directory, self.reading)?;
        let opaque = opaque.filter(|from| from.opaque_attribute() != self.to.opaque_attribute());
        let whiteouts: Vec<_> =
            whiteouts.into_iter().filter(|(_, from)| !from.is_written_as(self.to)).collect();
        let (to, modified) = (self.to, tree::modified(directory)?);
        if opaque.is_some() || !whiteouts.is_empty() {
            self.done(directory, move |directory| tree::set_modified(directory, modified));
        }
        if let Some(from) = opaque {
            let path = directory.path().display();
            trace::step(format_args!("{path}: opaque: {} to {}", from.name(), to.name()));
            // An attribute has neither owner nor time: a file gets the directory's.
            let own = directory.own_stat()?;
            let old =
                if from == Format::Oci { directory.stat(OsStr::new(format::OPAQUE_NAME))? } else { None };
            turn_opaque(directory, from, to, &own)?;
            self.done(directory, move |directory| turn_opaque(directory, to, from, &old.unwrap_or(own)));
        }
        for (name, from) in whiteouts {
            let path = directory.path_of(&name);
            trace::step(format_args!("{}: whiteout: {} to {}", path.display(), from.name(), to.name()));
            if from == Format::Oci
                && let Some(stat) = directory.stat(&name)?
            {
                self.turn_beside(directory, &name, &stat)?;
            } else {
                turn_whiteout(directory, &name, from, to)?;
                self.done(directory, move |directory| turn_whiteout(directory, &name, to, from));
            }
        }
        self.forget_notes(directory)?;
        tree::set_modified(directory, modified)
    }

    /// Turns an OCI whiteout of what is there anew: a directory is opaque then, and anything else hides by itself.
    fn turn_beside(&mut self, directory: &Directory, name: &OsStr, stat: &FileStat) -> Result<()> {
        let (mark, to) = (format::oci_name(name), self.to);
        let Some(old) = directory.stat(&mark)? else { return Ok(()) };
        if node::is_directory(stat) {
            let child = directory.child(name)?;
            if !mark::is_opaque(&child, to)? {
                mark::make_opaque(&child, to)?;
                self.done(&child, move |child| mark::remove_opaque(child, to).map(Changes::keep));
            }
        }
        mark::remove_whiteout(directory, name, Format::Oci)?.keep();
        let name = name.to_owned();
        self.done(directory, move |directory| {
            mark::make_whiteout(directory, &name, Format::Oci)?;
            copy_owner_and_time(directory, &mark, &old)
        });
        Ok(())
    }

    /// Takes off the attributes that a mounted overlay has put on a directory and what is in it, if they
    /// are of another kind than the new format's.
    fn forget_notes(&mut self, directory: &Directory) -> Result<()> {
        let to = self.to;
        for attribute in directory.attribute_names()?.iter().filter(|name| is_note(name, to)) {
            let attribute = attribute.to_string_lossy().into_owned();
            let Some(value) = directory.attribute(&attribute)? else { continue };
            directory.remove_attribute(&attribute)?;
            self.done(directory, move |directory| directory.set_attribute(&attribute, &value));
        }
        for (name, kind) in directory.entries()? {
            if is_directory(directory, &name, kind)? {
                continue; // it gets a visit of its own, before which its marks are not to be touched
            }
            for (note, value) in node::chosen_attributes(directory, &name, |note| is_note(note, to))? {
                node::remove_attribute(directory, &name, &note)?;
                let name = name.clone();
                self.done(directory, move |directory| node::set_attribute(directory, &name, &note, &value));
            }
        }
        Ok(())
    }

    /// Notes how to take back what was done in `directory`, which does not stay open until then.
    fn done(&mut self, directory: &Directory, take_back: impl FnOnce(&Directory) -> Result<()> + 'a) {
        let layer = self.layer;
        // In the layer `.` paths do not begin with it.
        let inside = directory.path().strip_prefix(layer.path()).unwrap_or(directory.path()).to_owned();
        // Whatever fails here failed before, and has been reported.
        self.changes.made(move || drop(layer.descend(&inside).map(|directory| take_back(&directory))));
    }
}

fn unfit(directory: &Directory, name: &OsStr, why: &'static str) -> Error {
    Error::new("convert", directory.path_of(name), why)
}

/// Whether a mounted overlay notes this for itself, of another kind than the format's.
fn is_note(attribute: &OsStr, to: Format) -> bool {
    let prefixes = format::ATTRIBUTE_PREFIXES.iter().filter(|prefix| to.attribute_prefix() != Some(**prefix));
    let own = prefixes.filter_map(|prefix| attribute.as_bytes().strip_prefix(prefix.as_bytes())).next();
    own.is_some_and(|own| !own.starts_with(format::ESCAPE))
}

/// The new mark is there before the old one goes; a file gets the owner and time of `like`.
fn turn_opaque(directory: &Directory, from: Format, to: Format, like: &FileStat) -> Result<()> {
    mark::make_opaque(directory, to)?;
    let made = Undo::new(|| drop(mark::remove_opaque(directory, to).map(Changes::keep)));
    if to == Format::Oci {
        copy_owner_and_time(directory, OsStr::new(format::OPAQUE_NAME), like)?;
    }
    mark::remove_opaque(directory, from)?.keep();
    made.keep();
    Ok(())
}

/// The same, with the owner and time of the old one.
fn turn_whiteout(directory: &Directory, name: &OsStr, from: Format, to: Format) -> Result<()> {
    let Some(old) = directory.stat(&from.file_of(name))? else { return Ok(()) };
    let in_place = from.file_of(name) == to.file_of(name);
    // Under a name that is nobody's until it takes the old one's place.
    let new = if in_place { OsStr::new(HALF) } else { name };
    mark::make_whiteout(directory, new, to)?;
    let made = Undo::new(|| drop(mark::remove_whiteout(directory, new, to).map(Changes::keep)));
    copy_owner_and_time(directory, &to.file_of(new), &old)?;
    if in_place {
        let mut changes = Changes::default();
        if from == Format::Xattr {
            mark::forget_whiteout_files_but(directory, name, &mut changes)?;
        }
        renameat(directory, new, directory, name).during("convert", directory.path_of(name))?;
        changes.keep();
    } else {
        mark::remove_whiteout(directory, name, from)?.keep();
    }
    made.keep();
    Ok(())
}

/// AUFS's part of the name space: what a run that was killed leaves the next removes.
const HALF: &str = ".wh..wh.convert";

/// Removes a mark that was on its way when a run was killed.
fn remove_half(directory: &Directory) -> Result<()> {
    let name = OsStr::new(HALF);
    let Some(stat) = directory.stat(name)? else { return Ok(()) };
    let is_empty = node::is_regular(&stat) && stat.st_size == 0;
    if is_empty || listing::kernel_whiteout(directory, name, &stat)?.is_some() {
        let modified = tree::modified(directory)?;
        remove::remove(directory, name)?;
        tree::set_modified(directory, modified)?;
    }
    Ok(())
}
