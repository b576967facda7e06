//! System calls that nix does not wrap, or not as we need them: safe and typed.
//!
//! The rules of the fence: the only `unsafe` of the project is here; a block is
//! a few lines and says why it is sound; descriptors are owned or borrowed, never
//! numbers; every descriptor that is made is close-on-exec; -1 becomes an `Errno`
//! in one place, `check`. No policy, no fallback, no message: callers have those.
#![allow(unsafe_code)]

pub mod bpf;
pub mod capability;
pub mod clone;
pub mod exec;
pub mod fscontext;
pub mod loopdev;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod pidfd;
pub mod rights;
pub mod seccomp;
pub mod signal;
pub mod signalfd;
pub mod startup;
pub mod statx;
pub mod terminal;
pub mod uts;
pub mod wait;

use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::errno::Errno;

/// What a raw system call returned: -1 is errno's error.
fn check(returned: libc::c_long) -> nix::Result<libc::c_long> {
    Errno::result(returned)
}

/// What a raw system call that makes a descriptor returned.
fn check_fd(returned: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = check(returned)?;
    // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it;
    // descriptors fit an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
