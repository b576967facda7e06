//! What is set on a mount before it is attached.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use common::sys::mount::{Attributes, Propagation, Reach, set_attributes, set_propagation};
use common::{Error, Result};
use nix::errno::Errno;

/// Sets attributes; none are no call.
pub fn set(mount: impl AsFd, attributes: Attributes, reach: Reach, name: &Path) -> Result<()> {
    if attributes == Attributes::NONE {
        return Ok(());
    }
    let set = set_attributes(mount.as_fd(), attributes, reach);
    set.map_err(|errno| refused(format!("make the mount {attributes}"), name, errno))
}

/// Sets how it spreads, with all that is mounted in it.
pub fn spread(mount: &OwnedFd, propagation: Propagation, name: &Path) -> Result<()> {
    set_propagation(mount.as_fd(), propagation, Reach::Tree)
        .map_err(|errno| refused("set the propagation of the mount".into(), name, errno))
}

/// Makes a bind mount private, and sets attributes on all that is mounted in it.
pub fn confine(mount: &OwnedFd, attributes: Attributes, name: &Path) -> Result<()> {
    spread(mount, Propagation::Private, name)?;
    set(mount, attributes, Reach::Tree, name)
}

fn refused(step: String, name: &Path, errno: Errno) -> Error {
    Error::new(step, name, errno).or_hint(match errno {
        Errno::ENOSYS => Some("it takes mount_setattr(2), which Linux 5.12 brought"),
        Errno::EPERM => Some("in a user namespace a mount of its parent cannot be made less restricted"),
        _ => None,
    })
}
