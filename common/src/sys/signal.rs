//! sigaction(2) for dispositions that run no code of ours.

use nix::sys::signal::{SigAction, SigHandler, Signal, sigaction};

/// Sets default or ignore; returns what was in force.
pub fn set_action(signal: Signal, action: &SigAction) -> nix::Result<SigAction> {
    debug_assert!(matches!(action.handler(), SigHandler::SigDfl | SigHandler::SigIgn));
    // SAFETY: neither default nor ignore runs code of ours, and nothing here sets another.
    unsafe { sigaction(signal, action) }
}
