//! A directory in which something is prepared, unseen by others, until it is whole.
//!
//! Its name is fixed by what it is for, and who works in it holds a lock on it: so the next
//! run finds and removes what a killed one left.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};

use common::{During as _, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, renameat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::directory::Directory;
use crate::{make, remove};

/// The directory; removed with all that is in it when dropped, unless it took its place.
#[derive(Debug)]
pub struct Staging {
    parent: Directory,
    name: OsString,
    _lock: File,
    gone: bool,
}

impl Staging {
    /// Makes the directory `name` in `parent`, for us alone.
    pub fn new(parent: Directory, name: OsString) -> Result<(Self, Directory)> {
        let path = parent.path_of(&name);
        let step = "make a directory to work in";
        for _ in 0..3 {
            match mkdirat(&parent, name.as_os_str(), Mode::S_IRWXU) {
                Ok(()) => {
                    let Some((directory, lock)) = open_new(&parent, &name)? else { continue };
                    let staging = Self { parent, name, _lock: lock, gone: false };
                    // Such as an inherited ACL, which all that we make would inherit again.
                    make::forget_attributes(&directory)?;
                    return Ok((staging, directory));
                }
                Err(Errno::EEXIST) => remove_abandoned(&parent, &name)?,
                Err(errno) => return Err(errno).during(step, &path),
            }
        }
        Err(Error::new(step, &path, "somebody else makes it again and again"))
    }

    /// Renames the directory to `target`, which is missing or an empty directory, in the same directory.
    pub fn place(mut self, target: &OsStr) -> Result<()> {
        let path = self.parent.path_of(target);
        renameat(&self.parent, self.name.as_os_str(), &self.parent, target).map_err(|errno| {
            let hint = (errno == Errno::EBUSY).then_some("it is a mount point; name a directory in it");
            Error::new("put the layer in place", &path, errno).or_hint(hint)
        })?;
        self.gone = true;
        Ok(())
    }

    /// Removes the directory with what is left in it.
    pub fn remove(mut self) -> Result<()> {
        remove::remove(&self.parent, &self.name)?;
        self.gone = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.gone {
            // What cannot be removed now the next run removes.
            let _ = remove::remove(&self.parent, &self.name);
        }
    }
}

/// Opens and locks the directory that we have just made, if it is still there; where that fails it is not left.
fn open_new(parent: &Directory, name: &OsStr) -> Result<Option<(Directory, File)>> {
    let open = || {
        let directory = parent.child(name)?;
        let lock = lock(&directory)?;
        Ok(is_at(&directory, parent, name)?.then_some((directory, lock)))
    };
    open().inspect_err(|error: &Error| {
        // Without an errno somebody else has locked it, and removes it.
        if error.errno().is_some() {
            let _ = unlinkat(parent, name, UnlinkatFlags::RemoveDir);
        }
    })
}

/// Removes what a killed run left; one at work holds the lock.
fn remove_abandoned(parent: &Directory, name: &OsStr) -> Result<()> {
    let directory = match parent.child(name) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(()), // somebody else did
        directory => directory?,
    };
    let _lock = lock(&directory)?;
    if is_at(&directory, parent, name)? { remove::remove(parent, name) } else { Ok(()) }
}

/// Whether `name` still is `directory`: before it was locked, somebody may have taken it for one left behind.
fn is_at(directory: &Directory, parent: &Directory, name: &OsStr) -> Result<bool> {
    let step = "look at";
    let ours = fstat(directory).during(step, directory.path())?;
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno).during(step, parent.path_of(name)),
    }
}

/// Locks the directory for as long as the file is open.
fn lock(directory: &Directory) -> Result<File> {
    let step = "lock";
    let file = directory.file().try_clone().during(step, directory.path())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(step, directory.path(), "another whiteout is at work here"))
        }
        Err(TryLockError::Error(why)) => Err(Error::new(step, directory.path(), why)),
    }
}
