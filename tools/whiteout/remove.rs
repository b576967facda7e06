//! Removing a node with all that is in it, without ever leaving it.

use std::ffi::OsStr;

use common::{During as _, Result};
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::directory::Directory;

/// Removes the node `name`; links are not followed. What is gone already is fine.
pub fn remove(directory: &Directory, name: &OsStr) -> Result<()> {
    let step = "remove";
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR) => {}
        Err(errno) => return Err(errno).during(step, directory.path_of(name)),
    }
    match unlinkat(directory, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
        result => return result.during(step, directory.path_of(name)),
    }
    remove_content(&directory.child(name)?)?;
    unlinkat(directory, name, UnlinkatFlags::RemoveDir).during(step, directory.path_of(name))
}

/// Removes all that is in the directory.
pub fn remove_content(directory: &Directory) -> Result<()> {
    directory.names()?.iter().try_for_each(|name| remove(directory, name))
}
