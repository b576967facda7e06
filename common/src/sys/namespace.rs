//! What a namespace's own descriptor tells (ioctl_nsfs(2)).

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::check_fd;

/// NS_GET_USERNS (Linux 4.9): the user namespace that owns the namespace `namespace` is open on.
/// EPERM where that one is not this process's own or below it.
pub fn owner(namespace: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    // SAFETY: the request takes no argument; it returns a new descriptor, close-on-exec.
    check_fd(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) }.into())
}
