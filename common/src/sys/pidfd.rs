//! pidfd_open(2) and pidfd_send_signal(2): a process that cannot be mistaken for another.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;

use nix::unistd::Pid;

use super::{check, check_fd};

/// pidfd_open(2), Linux 5.3.
pub fn open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    check_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
}

/// pidfd_send_signal(2), Linux 5.1. `signal` is any number, real-time ones included; 0 only asks.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for what kill(2) would send.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) })?;
    Ok(())
}
