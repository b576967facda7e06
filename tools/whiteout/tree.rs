//! The directories of a layer that is being unpacked, reached by their paths from its top.
//!
//! No link is ever followed on the way (openat2's RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS), and a
//! directory's time of modification stays what its entry made it, whatever is put into it later.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use common::{During as _, Error, Result};
use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::geteuid;

use crate::directory::Directory;
use crate::format::Format;
use crate::{listing, make, mark, remove};

/// A layer on its way to be.
#[derive(Debug)]
pub struct Tree {
    top: Directory,
    format: Format,
    /// Whether directories that no entry has described are to be marked.
    note_implied: bool,
    current: Option<Current>,
}

/// The directory that the last entries were in.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    directory: Directory,
    modified: TimeSpec,
    default_acl: Option<Vec<u8>>,
    /// Its mode, if it does not let us work in it.
    closed: Option<Mode>,
}

/// What new nodes would inherit from the directory. None may: they are what their entries say.
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// Marks a directory that no entry has described; no entry can have this name.
pub const IMPLIED: &str = ".wh..wh.implied";

impl Tree {
    /// An empty layer, whose marks are to be of `format`.
    pub fn new(top: Directory, format: Format, note_implied: bool) -> Result<Self> {
        let tree = Self { top, format, note_implied, current: None };
        tree.imply(&tree.top)?;
        Ok(tree)
    }

    /// The top directory.
    pub fn top(&self) -> &Directory {
        &self.top
    }

    /// The directory at `path`, made with its parents where missing.
    pub fn enter(&mut self, path: &Path) -> Result<&Directory> {
        if self.current.as_ref().is_none_or(|current| current.path != path) {
            self.leave()?;
            let directory = match self.top.descend(path) {
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => self.make(path)?,
                found => found.during("open the directory", self.top.path().join(path))?,
            };
            let modified = modified(&directory)?;
            let default_acl = directory.attribute(DEFAULT_ACL)?;
            if default_acl.is_some() {
                directory.remove_attribute(DEFAULT_ACL)?;
            }
            let closed = open_up(&directory)?;
            self.current = Some(Current { path: path.to_owned(), directory, modified, default_acl, closed });
        }
        Ok(self.current.as_ref().map_or(&self.top, |current| &current.directory))
    }

    /// Gives the current directory back what it had before, if there is one.
    pub fn leave(&mut self) -> Result<()> {
        let Some(Current { path: _, directory, modified, default_acl, closed }) = self.current.take() else {
            return Ok(());
        };
        if let Some(mode) = closed {
            fchmod(&directory, mode).during("set its mode", directory.path())?;
        }
        if let Some(acl) = default_acl {
            directory.set_attribute(DEFAULT_ACL, &acl)?;
        }
        set_modified(&directory, modified)
    }

    /// Makes a directory with its parents; existing ones keep their times.
    fn make(&self, path: &Path) -> Result<Directory> {
        let mut directory = self.top.again()?;
        for name in path {
            directory = match directory.descend(Path::new(name)) {
                Ok(child) => child,
                Err(Errno::ENOENT) => self.make_child(&directory, name, false)?,
                Err(Errno::ENOTDIR | Errno::ELOOP) if is_whiteout(&directory, name)? => {
                    self.make_child(&directory, name, true)?
                }
                Err(errno) => {
                    let error = Error::new("open the directory", directory.path_of(name), errno);
                    return Err(
                        error.hint("the archive has an entry in something that is no directory there")
                    );
                }
            };
        }
        Ok(directory)
    }

    fn make_child(&self, directory: &Directory, name: &OsStr, replaces_whiteout: bool) -> Result<Directory> {
        let before = modified(directory)?;
        if replaces_whiteout {
            remove::remove(directory, name)?;
        }
        mkdirat(directory, name, Mode::from_bits_truncate(0o755))
            .during("make the directory", directory.path_of(name))?;
        let child = directory.child(name)?;
        make::forget_attributes(&child)?;
        if replaces_whiteout {
            mark::make_opaque(&child, self.format)?;
        }
        self.imply(&child)?;
        set_modified(directory, before)?;
        Ok(child)
    }

    fn imply(&self, directory: &Directory) -> Result<()> {
        if self.note_implied {
            let name = OsStr::new(IMPLIED);
            mark::make_file(directory, name).during("make a note", directory.path_of(name))?;
        }
        Ok(())
    }
}

/// Lets its owner write to a directory, which root may in any case; returns the mode to be set again.
pub fn open_up(directory: &Directory) -> Result<Option<Mode>> {
    let mode = Mode::from_bits_truncate(directory.own_stat()?.st_mode);
    if geteuid().is_root() || mode.contains(Mode::S_IRWXU) {
        return Ok(None);
    }
    fchmod(directory, mode | Mode::S_IRWXU).during("set its mode", directory.path())?;
    Ok(Some(mode))
}

/// Whether our own whiteout, of a kernel's format, is at `name`.
pub fn is_whiteout(directory: &Directory, name: &OsStr) -> Result<bool> {
    match directory.stat(name)? {
        Some(stat) => Ok(listing::kernel_whiteout(directory, name, &stat)?.is_some()),
        None => Ok(false),
    }
}

/// Whether the directory was made without an entry of its own.
pub fn is_implied(directory: &Directory) -> Result<bool> {
    Ok(directory.stat(OsStr::new(IMPLIED))?.is_some())
}

/// Its entry has come.
pub fn describe(directory: &Directory) -> Result<()> {
    remove::remove(directory, OsStr::new(IMPLIED))
}

/// When something was last put into the directory, or taken out.
pub fn modified(directory: &Directory) -> Result<TimeSpec> {
    let stat = directory.own_stat()?;
    Ok(TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec))
}

/// Sets that time.
pub fn set_modified(directory: &Directory, time: TimeSpec) -> Result<()> {
    futimens(directory, &TimeSpec::UTIME_OMIT, &time).during("set its time", directory.path())
}
