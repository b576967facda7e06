//! execve(2), close_range(2) and _exit(2).

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use nix::errno::Errno;

use super::check;

/// execve(2) with this process's own environment, malformed entries included,
/// or with `environment`. Returns only on failure.
pub fn execve(path: &CStr, argv: &[CString], environment: Option<&[CString]>) -> Errno {
    if let Some(environment) = environment {
        let Err::<Infallible, _>(errno) = nix::unistd::execve(path, argv, environment);
        return errno;
    }
    let mut pointers: Vec<*const libc::c_char> = argv.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    // SAFETY: `path` and all of `argv` are NUL-terminated and outlive the call, the array
    // ends with a null pointer, and execv(3) passes glibc's own environ.
    unsafe { libc::execv(path.as_ptr(), pointers.as_ptr()) };
    Errno::last()
}

/// fexecve(3): runs the program that `file` is open on, with this process's own environment.
/// Returns only on failure.
pub fn execute(file: BorrowedFd<'_>, argv: &[CString]) -> Errno {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut pointers: Vec<*const libc::c_char> = argv.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    // SAFETY: all of `argv` is NUL-terminated and outlives the call, the array ends with a null
    // pointer; environ is glibc's own, and no other thread changes it.
    unsafe { libc::fexecve(file.as_raw_fd(), pointers.as_ptr(), environ) };
    Errno::last()
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC (Linux 5.11): all descriptors from `first` up close at exec.
pub fn close_on_exec_from(first: u32) -> nix::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;
    // SAFETY: no memory is passed; the descriptors stay open until exec, so no owner is cheated.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// close_range(2), Linux 5.9: closes everything above 2 but `keep`, in a forked child that will
/// only use these and end by [`exit_now`], so that it holds open nothing of its parent's.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    let mut first = 3;
    for next in kept.into_iter().chain([u32::MAX]) {
        if first < next {
            // SAFETY: no memory is passed. Rust values of this child that own one of these
            // descriptors are never used or dropped, as the contract says.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, next - 1, 0) })?;
        }
        first = next.saturating_add(1);
    }
    Ok(())
}

/// fcntl(2) F_SETFD: the descriptor with this number, ours or inherited, closes at exec.
pub fn close_on_exec(number: u32) -> nix::Result<()> {
    // SAFETY: sets one flag; the descriptor stays open until exec, so no owner is cheated.
    Errno::result(unsafe { libc::fcntl(number as libc::c_int, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(())
}

/// _exit(2): ends a forked child at once, without the parent's destructors and buffers.
pub fn exit_now(status: u8) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(status.into()) }
}
