//! fork(2), and clone3(2) where the child must begin inside a cgroup.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::unistd::{ForkResult, Pid};

use super::check;

/// Which side of the fork this is.
#[derive(Clone, Copy, Debug)]
pub enum Fork {
    /// The parent, with the child's PID.
    Parent(Pid),
    /// The child.
    Child,
}

/// fork(2). The tools have one thread, so the child may do whatever its parent could.
pub fn fork() -> nix::Result<Fork> {
    // SAFETY: no tool starts a thread, so no lock can be held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// clone3(2) with CLONE_INTO_CGROUP (Linux 5.7): a fork whose child starts inside
/// `cgroup`, an open directory of a cgroup v2 tree, and never runs outside it.
pub fn fork_into_cgroup(cgroup: BorrowedFd<'_>) -> nix::Result<Fork> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: clone_args is plain integers, for which zero means "unused".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: `args` is valid for its size. Without CLONE_VM the child has its own copy of
    // memory, as after fork; there is one thread, so what glibc's fork does beyond this
    // (atfork handlers, locks of other threads) has nothing to do.
    match check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid::from_raw(pid as libc::pid_t))),
    }
}
