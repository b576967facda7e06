//! Masks and queues of all 64 signals (rt_sigprocmask(2), signalfd(2)).
//!
//! glibc keeps signals 32 and 33 out of every `sigset_t`. Another process can send them all the
//! same, so masks go to the kernel directly here.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use super::{check, check_fd};

/// The kernel's own signal set: bit N-1 is signal N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(u64);

impl Mask {
    /// Every signal. The kernel leaves SIGKILL and SIGSTOP out by itself.
    pub const ALL: Self = Self(u64::MAX);

    /// rt_sigprocmask(2): blocks these signals and no others; returns what was blocked.
    pub fn block_only(self) -> nix::Result<Self> {
        let mut old = 0_u64;
        let size = size_of::<u64>();
        // SAFETY: both masks are of the size that is passed, which is the kernel's.
        check(unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const self.0, &raw mut old, size)
        })?;
        Ok(Self(old))
    }
}

/// signalfd(2): blocked signals to be read.
#[derive(Debug)]
pub struct Queue(OwnedFd);

/// A signal that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its number, 1 to 64.
    pub signal: i32,
    /// Where it came from (`si_code`, sigaction(2)): not above 0 for a process, above for the kernel.
    pub code: i32,
}

impl Queue {
    /// A queue of the signals in `mask`, which never waits.
    pub fn open(mask: Mask) -> nix::Result<Self> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the mask is of the size that is passed, which is the kernel's.
        let fd = check_fd(unsafe {
            libc::syscall(libc::SYS_signalfd4, -1, &raw const mask.0, size_of::<u64>(), flags)
        })?;
        Ok(Self(fd))
    }

    /// The next signal, if one has arrived.
    pub fn next(&self) -> Option<Arrived> {
        let mut info = [0_i32; size_of::<libc::signalfd_siginfo>() / size_of::<i32>()];
        // SAFETY: the buffer has room for one signalfd_siginfo, and any bytes are valid integers.
        let length = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size_of_val(&info)) };
        // The first three members: ssi_signo, ssi_errno, ssi_code.
        (length == size_of_val(&info) as isize).then_some(Arrived { signal: info[0], code: info[2] })
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
