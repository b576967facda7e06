//! Signals that ask us to end: what was made half way is removed first, then we die of them.
//!
//! They are blocked but for the moments when we look, so that none slips in between a look
//! and a read that waits.

use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use common::sys::signal;
use common::{During as _, Error, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise};
use nix::sys::time::{TimeSpec, TimeValLike as _};

const SIGNALS: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];

/// The mask that we were started with; none while nobody watches.
static OURS: OnceLock<SigSet> = OnceLock::new();

/// Takes note of SIGHUP, SIGINT and SIGTERM from now on, unless they are ignored.
pub fn watch() -> Result<()> {
    let mask = SigSet::thread_get_mask().during("read", "signal mask")?;
    SIGNALS.into_iter().collect::<SigSet>().thread_block().during("block", "signals")?;
    for signal in SIGNALS {
        signal::note(signal).during("set a signal's action", signal.as_str())?;
    }
    OURS.get_or_init(|| mask);
    Ok(())
}

/// Fails if a signal has come.
pub fn check() -> Result<()> {
    let now = Some(TimeSpec::nanoseconds(0));
    if let Some(mask) = OURS.get() {
        let _ = ppoll(&mut [], now, Some(*mask)); // where one is pending, it comes in here
    }
    match signal::noted() {
        Some(signal) => Err(Error::new("unpack", "", format!("ended by {signal}"))),
        None => Ok(()),
    }
}

/// Waits until `input` can be read; fails if a signal comes first.
pub fn wait_for(input: BorrowedFd<'_>) -> Result<()> {
    loop {
        check()?;
        let mut sources = [PollFd::new(input, PollFlags::POLLIN)];
        match ppoll(&mut sources, None, OURS.get().copied()) {
            Err(Errno::EINTR) => {}
            result => return result.map(|_| ()).during("wait for", "standard input"),
        }
    }
}

/// Ends as a program does that got the signal, if one has come.
pub fn die_if_noted() {
    if let Some(signal) = signal::noted() {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // Should that not end us, the error does.
        let _ = signal::set_action(signal, &default).and_then(|_| raise(signal));
        let _ = OURS.get().map(SigSet::thread_set_mask); // unblocked, it comes
    }
}
