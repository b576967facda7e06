//! Signals by name or number, as kill(1) takes them.

use std::str::FromStr;

use nix::sys::signal::Signal;

/// A signal that has a name (not a real-time one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalNumber(pub Signal);

impl FromStr for SignalNumber {
    type Err = String;

    /// `TERM`, `SIGTERM`, `sigterm` or `15`.
    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let by_number = || text.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
        let by_name = || format!("SIG{bare}").parse().ok();
        by_number().or_else(by_name).map(Self).ok_or_else(|| "no signal has this name or number".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(text.parse(), Ok(SignalNumber(Signal::SIGTERM)), "{text}");
        }
        for text in ["", "0", "99", "-1", "NOPE"] {
            assert!(text.parse::<SignalNumber>().is_err(), "{text}");
        }
    }
}
