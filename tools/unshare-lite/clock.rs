//! Clock offsets of a new time namespace (time_namespaces(7)).

use std::fs;
use std::str::FromStr;

use common::{During as _, Result, trace};
use nix::errno::Errno;

/// Seconds with a fraction, of either sign: `nanos` counts upwards from `secs`, 0 to 999,999,999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset {
    secs: i64,
    nanos: u32,
}

/// A clock that has an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Monotonic,
    Boottime,
}

/// Sets the offsets, which must be before the first process enters the namespace.
pub(crate) fn set(offsets: &[(Clock, Offset)]) -> Result<()> {
    let path = "/proc/self/timens_offsets";
    for (clock, offset) in offsets {
        let name = match clock {
            Clock::Monotonic => "monotonic",
            Clock::Boottime => "boottime",
        };
        trace::step(format_args!("set the {name} clock's offset to {}.{:09} s", offset.secs, offset.nanos));
        fs::write(path, format!("{name} {} {}\n", offset.secs, offset.nanos))
            .during(format!("set the {name} clock's offset"), path)
            .map_err(|error| {
                let hint = (error.errno() == Some(Errno::ERANGE))
                    .then_some("the clock would be negative, or beyond 146 years");
                error.or_hint(hint)
            })?;
    }
    Ok(())
}

impl FromStr for Offset {
    type Err = String;

    /// `3`, `-3`, `+0.25`, `-1.000000001`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let bad = || "not a number of seconds, such as 3600 or -1.5".to_owned();
        let (negative, magnitude) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(bad());
        }
        let secs: i64 = whole.parse().map_err(|_| bad())?;
        let nanos: u32 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
        Ok(match (negative, nanos) {
            (false, _) => Self { secs, nanos },
            (true, 0) => Self { secs: -secs, nanos: 0 },
            (true, _) => Self { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_and_signs() {
        for (text, secs, nanos) in [
            ("3", 3, 0),
            ("+0.25", 0, 250_000_000),
            ("-3", -3, 0),
            ("-1.5", -2, 500_000_000),
            ("-0.000000001", -1, 999_999_999),
        ] {
            assert_eq!(text.parse(), Ok(Offset { secs, nanos }), "{text}");
        }
    }

    #[test]
    fn what_is_no_offset_is_refused() {
        for text in ["", "-", "1.", ".5", "1e3", "1.0000000001", "--1", "99999999999999999999", "1,5"] {
            assert!(text.parse::<Offset>().is_err(), "{text}");
        }
    }
}
