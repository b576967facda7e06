//! Signals that ask us to end: what was made half way is removed first, then we die of them.

use common::sys::signal;
use common::{During as _, Error, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise};

/// Takes note of SIGHUP, SIGINT and SIGTERM from now on, unless they are ignored.
pub fn watch() -> Result<()> {
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]
        .into_iter()
        .try_for_each(|signal| signal::note(signal).during("set a signal's action", signal.as_str()))
}

/// Fails if a signal has come.
pub fn check() -> Result<()> {
    match signal::noted() {
        Some(signal) => Err(Error::new("unpack", "", format!("ended by {signal}"))),
        None => Ok(()),
    }
}

/// Ends as a program does that got the signal, if one has come.
pub fn die_if_noted() {
    if let Some(signal) = signal::noted() {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // Should that not end us, the error does.
        let _ = signal::set_action(signal, &default).and_then(|_| raise(signal));
    }
}
