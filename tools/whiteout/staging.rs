//! A directory in which something is prepared, unseen by others, until it is whole.
//!
//! Its name is fixed by what it is for, and who works in it holds a lock on it: so the next
//! run finds and removes what a killed one left.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd as _;

use common::{During as _, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, renameat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};

use crate::directory::Directory;
use crate::{make, remove};

/// The directory; removed with all that is in it when dropped, unless it took its place.
#[derive(Debug)]
pub struct Staging {
    parent: Directory,
    name: OsString,
    _lock: Flock<File>,
    placed: bool,
}

impl Staging {
    /// Makes the directory `name` in `parent`, for us alone.
    pub fn new(parent: Directory, name: OsString) -> Result<(Self, Directory)> {
        let path = parent.path_of(&name);
        let step = "make a directory to work in";
        for _ in 0..3 {
            match mkdirat(&parent, name.as_os_str(), Mode::S_IRWXU) {
                Ok(()) => {
                    let directory = parent.child(&name)?;
                    let lock = lock(&directory)?;
                    if !is_at(&directory, &parent, &name)? {
                        continue;
                    }
                    // Such as an inherited ACL, which all that we make would inherit again.
                    make::forget_attributes(&directory)?;
                    return Ok((Self { parent, name, _lock: lock, placed: false }, directory));
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
        self.placed = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now the next run removes.
            let _ = remove::remove(&self.parent, &self.name);
        }
    }
}

/// Removes what a killed run left; one at work holds the lock.
fn remove_abandoned(parent: &Directory, name: &OsStr) -> Result<()> {
    let directory = parent.child(name)?;
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

fn lock(directory: &Directory) -> Result<Flock<File>> {
    let step = "lock";
    let file = File::from(directory.as_fd().try_clone_to_owned().during(step, directory.path())?);
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => Error::new(step, directory.path(), "another whiteout is at work here"),
        errno => Error::new(step, directory.path(), errno),
    })
}
