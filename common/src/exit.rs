//! Exit status, as env(1), chroot(1) and docker-run(1) have it.

use crate::sys::wait::Wait;

/// Why a tool ends without COMMAND's own status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The tool failed, usage errors included.
    Tool = 125,
    /// COMMAND was found but could not be run.
    NotRunnable = 126,
    /// COMMAND was not found.
    NotFound = 127,
}

/// The exit status that stands for how a child ended: its own, or 128+N
/// where signal N killed it. `None` while it has not ended.
#[must_use]
pub fn code_of(what: Wait) -> Option<u8> {
    match what {
        Wait::Exited(status) => Some(status),
        // Signals end at 64, so the sum fits.
        Wait::Killed(signal) => Some(128 + signal as u8),
        Wait::Stopped(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_death_is_128_plus_the_signal() {
        assert_eq!(code_of(Wait::Killed(9)), Some(137));
        assert_eq!(code_of(Wait::Killed(64)), Some(192));
        assert_eq!(code_of(Wait::Exited(255)), Some(255));
        assert_eq!(code_of(Wait::Stopped(19)), None);
    }
}
