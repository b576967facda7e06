//! What the process was given, before Rust's runtime changed it.
//!
//! The runtime ignores SIGPIPE and opens /dev/null on standard streams that are
//! closed. COMMAND must get both as the tool got them, so they are looked at from
//! `.init_array`, which runs before the runtime, and put back before exec.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigHandler, Signal, raise, signal};

static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

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
    // SAFETY: an all-zero sigaction is a valid value for the kernel to overwrite.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with no new action the call only writes `old`, which lives here.
    let read = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut old) };
    SIGPIPE_IGNORED.store(read == 0 && old.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
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
