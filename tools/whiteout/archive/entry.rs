//! One entry of an archive.

use std::fmt;

use crate::node::Attributes;

/// What an archive says of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where, relative to the layer's top.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions with set-user-ID, set-group-ID and sticky bit.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last modification.
    pub mtime: Time,
    /// Extended attributes.
    pub attributes: Attributes,
}

/// A kind of node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this size, holes included.
    File(u64),
    /// Another name for the node at this path, which came earlier.
    HardLink(Vec<u8>),
    /// A symbolic link that holds this.
    Symlink(Vec<u8>),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// The number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its driver.
    pub major: u32,
    /// Which of the driver's.
    pub minor: u32,
}

/// Seconds since 1970, and nanoseconds after that: those of -1.5 s are -2 and 500,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Time {
    /// Reads a decimal number of seconds; digits past nanoseconds are cut off.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let mut halves = digits.splitn(2, |&byte| byte == b'.');
        let seconds = i64::try_from(decimal(halves.next()?)?).ok()?;
        let mut nanoseconds = 0;
        if let Some(fraction) = halves.next() {
            if !fraction.iter().all(u8::is_ascii_digit) {
                return None;
            }
            for place in 0..9 {
                let digit = fraction.get(place).map_or(0, |digit| u32::from(digit - b'0'));
                nanoseconds = nanoseconds * 10 + digit;
            }
        }
        Some(match (negative, nanoseconds) {
            (false, _) => Self { seconds, nanoseconds },
            (true, 0) => Self { seconds: -seconds, nanoseconds: 0 },
            (true, _) => Self { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
        })
    }
}

/// As a decimal number of seconds, as pax records have it.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, seconds, nanoseconds) = match (self.seconds < 0, self.nanoseconds) {
            (true, 1..) => ("-", (self.seconds + 1).unsigned_abs(), 1_000_000_000 - self.nanoseconds),
            (true, 0) => ("-", self.seconds.unsigned_abs(), 0),
            (false, nanoseconds) => ("", self.seconds.unsigned_abs(), nanoseconds),
        };
        write!(f, "{sign}{seconds}")?;
        match nanoseconds {
            0 => Ok(()),
            _ => f.write_str(format!(".{nanoseconds:09}").trim_end_matches('0')),
        }
    }
}

/// Digits and nothing else, as a number.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64, nanoseconds: u32) -> Time {
        Time { seconds, nanoseconds }
    }

    #[test]
    fn times_before_1970_and_parts_of_seconds_come_back_as_they_were() {
        for (value, text) in [
            (time(0, 0), "0"),
            (time(1, 500_000_000), "1.5"),
            (time(1, 1), "1.000000001"),
            (time(-1, 0), "-1"),
            (time(-1, 500_000_000), "-0.5"),
            (time(-2, 999_999_999), "-1.000000001"),
            (time(i64::MAX, 999_999_999), "9223372036854775807.999999999"),
        ] {
            assert_eq!(value.to_string(), text);
            assert_eq!(Time::parse(text.as_bytes()), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "-", ".5", "1.x", "+1", "1e3", " 1", "99999999999999999999", "--1"] {
            assert_eq!(Time::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Time::parse(b"1."), Some(time(1, 0)));
        assert_eq!(Time::parse(b"1.1234567899"), Some(time(1, 123_456_789)));
    }
}
