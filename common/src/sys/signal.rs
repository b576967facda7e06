//! sigaction(2) for dispositions that run no code of ours, or almost none.

use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Sets default or ignore; returns what was in force.
pub fn set_action(signal: Signal, action: &SigAction) -> nix::Result<SigAction> {
    debug_assert!(matches!(action.handler(), SigHandler::SigDfl | SigHandler::SigIgn));
    // SAFETY: neither default nor ignore runs code of ours, and nothing here sets another.
    unsafe { sigaction(signal, action) }
}

static NOTED: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_it(signal: libc::c_int) {
    NOTED.store(signal, Ordering::Relaxed);
}

/// From now on `signal` does nothing but be noted, for [`noted`], and end system calls that
/// wait (EINTR); an ignored signal stays ignored.
pub fn note(signal: Signal) -> nix::Result<()> {
    let action = SigAction::new(SigHandler::Handler(note_it), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only stores an integer in an atomic, which a signal may interrupt anywhere.
    let before = unsafe { sigaction(signal, &action) }?;
    if matches!(before.handler(), SigHandler::SigIgn) {
        set_action(signal, &before)?;
    }
    Ok(())
}

/// The last signal that was noted.
pub fn noted() -> Option<Signal> {
    Signal::try_from(NOTED.load(Ordering::Relaxed)).ok()
}
