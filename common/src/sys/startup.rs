//! What the process was given, before Rust's runtime changed it.
//!
//! Also which descriptors it inherited, so that these can be told from its own.
//!
//! The runtime ignores SIGPIPE and opens /dev/null on standard streams that are
//! closed. COMMAND must get both as the tool got them, so they are looked at from
//! `.init_array`, which runs before the runtime, and put back before exec.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::{SigHandler, Signal, raise, signal};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
/// A bit for each descriptor below `LOOKED_AT` that was open.
static INHERITED: [AtomicU64; LOOKED_AT / 64] = [const { AtomicU64::new(0) }; LOOKED_AT / 64];
/// The usual soft limit on open files. Higher numbers only close at exec.
const LOOKED_AT: usize = 1024;

#[used]
// SAFETY: glibc calls what .init_array points to once, before main, as a C function;
// `capture` is one, and only makes async-signal-safe calls.
#[unsafe(link_section = ".init_array")]
static CAPTURE: extern "C" fn() = capture;

extern "C" fn capture() {
    for (fd, closed) in (0..).zip(&CLOSED) {
        // SAFETY: F_GETFD reads one flag and touches no memory.
        closed.store(unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1, Ordering::Relaxed);
    }
    look_for_descriptors();
    // SAFETY: an all-zero sigaction is a valid value for the kernel to overwrite.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with no new action the call only writes `old`, which lives here.
    let read = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut old) };
    SIGPIPE_IGNORED.store(read == 0 && old.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
}

/// One poll(2) tells open from closed. It takes no more than the limit on open files (getrlimit(2)).
fn look_for_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the call to write.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let mut all = [libc::pollfd { fd: 0, events: 0, revents: 0 }; LOOKED_AT];
    for (fd, one) in (0..).zip(&mut all) {
        one.fd = fd;
    }
    let count = limit.rlim_cur.min(LOOKED_AT as u64);
    // SAFETY: the array has at least `count` entries; with a timeout of zero the call only looks.
    if unsafe { libc::poll(all.as_mut_ptr(), count, 0) } == -1 {
        return;
    }
    for (number, one) in all.iter().enumerate().take(count as usize) {
        if one.revents & libc::POLLNVAL == 0 {
            INHERITED[number / 64].fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
    }
}

/// Closes what this process inherited from `first` up. Not at exec but now: until then a path
/// through /proc/self/fd, as COMMAND or as its interpreter, leads to what it is open on (CVE-2024-21626).
pub fn close_inherited_from(first: u32) {
    for number in (first.max(3) as usize)..LOOKED_AT {
        let bit = 1 << (number % 64);
        if INHERITED[number / 64].fetch_and(!bit, Ordering::Relaxed) & bit != 0 {
            // SAFETY: it was open before main, when no Rust value owned a descriptor, and nothing of
            // ours takes inherited ones over; the bit is cleared, so it is closed once.
            unsafe { libc::close(number as libc::c_int) };
        }
    }
}

/// Whether this standard stream, 0 to 2, was closed when the process began.
#[must_use]
pub fn was_closed(stream: usize) -> bool {
    CLOSED[stream].load(Ordering::Relaxed)
}

/// Puts SIGPIPE and the standard streams back as they were: the last thing before exec.
pub fn restore() {
    restore_sigpipe();
    for (fd, closed) in (0..).zip(&CLOSED) {
        if closed.load(Ordering::Relaxed) {
            // SAFETY: the descriptor is the runtime's own /dev/null, which no Rust value owns.
            unsafe { libc::close(fd) };
        }
    }
}

/// Puts `file` in place of all three standard streams, for [`restore`] too.
pub fn replace_standard_streams(file: BorrowedFd<'_>) -> nix::Result<()> {
    dup2_stdin(file)?;
    dup2_stdout(file)?;
    dup2_stderr(file)?;
    CLOSED.iter().for_each(|closed| closed.store(false, Ordering::Relaxed));
    Ok(())
}

/// Dies as a program does whose reader has gone. Returns only if SIGPIPE was ignored from the start.
pub fn die_of_sigpipe() {
    restore_sigpipe();
    // If it is ignored or blocked the caller goes on to report EPIPE.
    let _ = raise(Signal::SIGPIPE);
}

fn restore_sigpipe() {
    let handler =
        if SIGPIPE_IGNORED.load(Ordering::Relaxed) { SigHandler::SigIgn } else { SigHandler::SigDfl };
    // SAFETY: neither default nor ignore runs code of ours. It cannot fail for SIGPIPE.
    let _ = unsafe { signal(Signal::SIGPIPE, handler) };
}
