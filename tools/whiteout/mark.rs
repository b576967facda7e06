//! Making and removing marks, all of those asked for or none.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use common::undo::{Changes, Undo};
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, unlinkat};

use crate::directory::{self, Directory};
use crate::format::{self, Format};
use crate::listing::{self, Listing, Reading};
use crate::node;
use crate::plan::Place;

/// Makes a whiteout at each place.
pub fn hide_all(places: &[Place], format: Format) -> Result<()> {
    let directories = places.iter().map(parent_of).collect::<Result<Vec<_>>>()?;
    let mut changes = Changes::default();
    for (directory, place) in directories.iter().zip(places) {
        trace::step(format_args!("make a whiteout ({}) at {}", format.name(), place.path.display()));
        make_whiteout(directory, &place.name, format)?;
        changes.made(move || drop(remove_whiteout(directory, &place.name, format).map(Changes::keep)));
    }
    changes.keep();
    Ok(())
}

/// Makes each directory opaque.
pub fn make_all_opaque(paths: &[PathBuf], format: Format) -> Result<()> {
    let directories = paths.iter().map(|path| Directory::open(path)).collect::<Result<Vec<_>>>()?;
    let mut changes = Changes::default();
    for directory in &directories {
        if is_opaque(directory, format)? {
            continue;
        }
        trace::step(format_args!("make {} opaque ({})", directory.path().display(), format.name()));
        make_opaque(directory, format)?;
        changes.made(move || drop(remove_opaque(directory, format).map(Changes::keep)));
    }
    changes.keep();
    Ok(())
}

/// Takes the marks at each place away.
pub fn remove_all(places: &[Place]) -> Result<()> {
    let marks = places.iter().map(Found::at).collect::<Result<Vec<_>>>()?;
    let mut changes = Changes::default();
    for mark in &marks {
        trace::step(format_args!("remove the mark of {}", mark.place().display()));
        changes.append(mark.remove()?);
    }
    changes.keep();
    Ok(())
}

fn parent_of(place: &Place) -> Result<Directory> {
    Directory::open(&place.directory).map_err(|error| {
        let missing = error.errno() == Some(Errno::ENOENT);
        error.or_hint(
            missing.then_some("make the directory first, with the mode and owner it has in the layer below"),
        )
    })
}

/// A mark that is there.
enum Found {
    Whiteout {
        directory: Directory,
        name: OsString,
        format: Format,
    },
    /// With all marks that say so: fuse-overlayfs writes several.
    Opaque {
        directory: Directory,
        formats: Vec<Format>,
    },
}

impl Found {
    fn at(place: &Place) -> Result<Self> {
        let directory = parent_of(place)?;
        let whiteouts = Listing::read(&directory, Reading::ALL)?.whiteouts;
        if let Some(&format) = whiteouts.get(&place.name) {
            return Ok(Self::Whiteout { directory, name: place.name.clone(), format });
        }
        if directory.stat(&place.name)?.is_some_and(|stat| node::is_directory(&stat)) {
            let directory = directory.child(&place.name)?;
            let mut formats = Vec::new();
            for format in [Format::Overlay, Format::Userxattr, Format::Oci] {
                if is_opaque(&directory, format)? {
                    formats.push(format);
                }
            }
            if !formats.is_empty() {
                return Ok(Self::Opaque { directory, formats });
            }
        }
        Err(Error::new("remove the mark", &place.path, "neither a whiteout nor an opaque directory")
            .hint("'whiteout list' shows what a layer hides"))
    }

    fn place(&self) -> PathBuf {
        match self {
            Self::Whiteout { directory, name, .. } => directory.path_of(name),
            Self::Opaque { directory, .. } => directory.path().to_owned(),
        }
    }

    /// Removes it. Returns the way back.
    fn remove(&self) -> Result<Changes<'_>> {
        match self {
            Self::Whiteout { directory, name, format } => remove_whiteout(directory, name, *format),
            Self::Opaque { directory, formats } => {
                let mut changes = Changes::default();
                for format in formats {
                    changes.append(remove_opaque(directory, *format)?);
                }
                Ok(changes)
            }
        }
    }
}

/// Makes a whiteout of `name`.
pub fn make_whiteout(directory: &Directory, name: &OsStr, format: Format) -> Result<()> {
    let path = directory.path_of(name);
    match format {
        Format::Overlay | Format::Userxattr => {
            // Overlay's own have no permissions either. From Linux 5.8 on any user may make one.
            mknodat(directory, name, SFlag::S_IFCHR, Mode::empty(), 0)
                .map_err(|errno| Error::new(STEP, &path, errno).or_hint(device_hint(errno)))
        }
        Format::Xattr => make_whiteout_file(directory, name),
        Format::Oci => make_file(directory, &format.file_of(name)).map(drop).during(STEP, &path),
    }
}

/// Removes the whiteout of `name`. Returns the way back.
pub fn remove_whiteout<'a>(directory: &'a Directory, name: &OsStr, format: Format) -> Result<Changes<'a>> {
    let file = format.file_of(name);
    let mut changes = Changes::default();
    if format == Format::Xattr {
        // First, for what fails after the mark is gone is harder to take back.
        forget_whiteout_files_but(directory, name, &mut changes)?;
    }
    let old = directory.stat(&file)?;
    unlink(directory, &file)?;
    let name = name.to_owned();
    changes.made(move || {
        let made = make_whiteout(directory, &name, format);
        let _ = made.and_then(|()| old.map_or(Ok(()), |old| copy_owner_and_time(directory, &file, &old)));
    });
    Ok(changes)
}

/// Gives the node `name` the owner and the time that another had.
pub fn copy_owner_and_time(directory: &Directory, name: &OsStr, old: &FileStat) -> Result<()> {
    let path = directory.path_of(name);
    let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
    fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
        .during("set its owner", &path)?;
    let time = TimeSpec::new(old.st_mtime, old.st_mtime_nsec);
    utimensat(directory, name, &time, &time, UtimensatFlags::NoFollowSymlink).during("set its time", &path)
}

/// Makes the directory opaque.
pub fn make_opaque(directory: &Directory, format: Format) -> Result<()> {
    match format.opaque_attribute() {
        Some(attribute) => directory.set_attribute(attribute, format::OPAQUE),
        None => {
            make_file(directory, OsStr::new(format::OPAQUE_NAME))
                .during("make it opaque", directory.path())?;
            Ok(())
        }
    }
}

/// Lets the directory show again what lower layers have in it. Returns the way back.
pub fn remove_opaque(directory: &Directory, format: Format) -> Result<Changes<'_>> {
    let mut changes = Changes::default();
    match format.opaque_attribute() {
        Some(attribute) => {
            directory.remove_attribute(attribute)?;
            changes.made(move || drop(directory.set_attribute(attribute, format::OPAQUE)));
        }
        None => {
            for name in [format::OPAQUE_NAME, format::FUSE_OPAQUE_NAME].map(OsStr::new) {
                let Some(old) = directory.stat(name)? else { continue };
                unlink(directory, name)?;
                changes.made(move || {
                    let _ = make_file(directory, name);
                    let _ = copy_owner_and_time(directory, name, &old);
                });
            }
        }
    }
    Ok(changes)
}

/// Whether the directory is opaque by this format's mark.
pub fn is_opaque(directory: &Directory, format: Format) -> Result<bool> {
    match format.opaque_attribute() {
        Some(attribute) => Ok(directory.attribute(attribute)?.as_deref() == Some(format::OPAQUE)),
        None => Ok(directory.stat(OsStr::new(format::OPAQUE_NAME))?.is_some()),
    }
}

/// An empty file with the attribute, in a directory that says that it holds such files.
fn make_whiteout_file(directory: &Directory, name: &OsStr) -> Result<()> {
    use xattr::FileExt as _;
    let path = directory.path_of(name);
    let file = std::fs::File::from(make_file(directory, name).during(STEP, &path)?);
    let unmake = Undo::new(|| drop(unlink(directory, name)));
    file.set_xattr(format::WHITEOUT_ATTRIBUTE, format::OPAQUE)
        .map_err(|why| directory::attribute_error(format::WHITEOUT_ATTRIBUTE, &path, why))?;
    // An opaque directory keeps its mark: what it hides includes the name.
    if listing::opaque_attribute(directory)?.is_none() {
        directory.set_attribute(USER_OPAQUE, format::HAS_WHITEOUTS)?;
    }
    unmake.keep();
    Ok(())
}

/// Takes back what whiteouts that are empty files need, if that of `name` is the last of them here.
pub fn forget_whiteout_files_but<'a>(
    directory: &'a Directory,
    name: &OsStr,
    changes: &mut Changes<'a>,
) -> Result<()> {
    if directory.attribute(USER_OPAQUE)?.as_deref() == Some(format::HAS_WHITEOUTS)
        && !Listing::read(directory, Reading::ALL)?.holds_beside(name, Format::Xattr)
    {
        directory.remove_attribute(USER_OPAQUE)?;
        changes.made(|| drop(directory.set_attribute(USER_OPAQUE, format::HAS_WHITEOUTS)));
    }
    Ok(())
}

/// Makes an empty file.
pub fn make_file(directory: &Directory, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
    openat(directory, name, flags, Mode::from_bits_truncate(0o644))
}

fn unlink(directory: &Directory, name: &OsStr) -> Result<()> {
    unlinkat(directory, name, UnlinkatFlags::NoRemoveDir).during("remove", directory.path_of(name))
}

fn device_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EEXIST => Some("the layer itself has this; remove it first, or make a directory opaque"),
        Errno::EPERM => {
            Some("an overlay stores no whiteouts of this format; use --format xattr or oci there")
        }
        _ => None,
    }
}

const STEP: &str = "make a whiteout";
const USER_OPAQUE: &str = "user.overlay.opaque";
