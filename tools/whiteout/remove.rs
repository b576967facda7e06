//! Removing a node with all that is in it, and nothing of what is mounted there.

use std::ffi::OsStr;

use common::{During as _, Result};
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::directory::Directory;
use crate::{node, tree};

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
    remove_content(&directory.child_of_same_mount(name)?)?;
    unlinkat(directory, name, UnlinkatFlags::RemoveDir).during(step, directory.path_of(name))
}

/// Removes all that is in the directory.
pub fn remove_content(directory: &Directory) -> Result<()> {
    // One of another owner's stays closed, and says so.
    let _ = tree::open_up(directory);
    directory.names()?.iter().try_for_each(|name| remove(directory, name))
}

/// Fails if [`remove`] would, for something is mounted on the node or in it.
pub fn check(directory: &Directory, name: &OsStr) -> Result<()> {
    let Some(stat) = directory.stat(name)? else { return Ok(()) };
    directory.refuse_mount(name)?;
    if node::is_directory(&stat) {
        let child = directory.child(name)?;
        child.names()?.iter().try_for_each(|name| check(&child, name))?;
    }
    Ok(())
}
