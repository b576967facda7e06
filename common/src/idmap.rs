//! Id maps: one line of /proc/PID/uid_map or gid_map (user_namespaces(7)).

use std::fmt;
use std::str::FromStr;

/// `count` ids from `inner` on, inside, are those from `outer` on, outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// First id inside.
    pub inner: u32,
    /// First id outside.
    pub outer: u32,
    /// How many ids, at least one.
    pub count: u32,
}

impl IdMap {
    /// One id.
    #[must_use]
    pub fn one(inner: u32, outer: u32) -> Self {
        Self { inner, outer, count: 1 }
    }

    /// The first id inside after this range, 2^32 - 1 at the most.
    #[must_use]
    pub fn end(self) -> u32 {
        self.inner.saturating_add(self.count)
    }
}

impl FromStr for IdMap {
    type Err = String;

    /// Parses `INNER:OUTER:COUNT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u32>> = text.split(':').map(id).collect();
        let Some([inner, outer, count]) = numbers.as_deref() else {
            return Err("not INNER:OUTER:COUNT in numbers".into());
        };
        let (inner, outer, count) = (*inner, *outer, *count);
        // The last id, 2^32 - 1, means "no id" to the kernel and cannot be mapped.
        let fits = |first: u32| first.checked_add(count).is_some();
        match count {
            0 => Err("a range of no ids".into()),
            _ if fits(inner) && fits(outer) => Ok(Self { inner, outer, count }),
            _ => Err("a range beyond the last id, 4294967294".into()),
        }
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inner, self.outer, self.count)
    }
}

/// A line for each range, as the kernel reads them.
#[must_use]
pub fn to_file(maps: &[IdMap]) -> String {
    maps.iter().map(|map| format!("{map}\n")).collect()
}

/// Digits only: `parse` alone would take a sign.
fn id(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_three_numbers() {
        assert_eq!("0:100000:65536".parse(), Ok(IdMap { inner: 0, outer: 100_000, count: 65536 }));
        assert!("0:0:4294967295".parse::<IdMap>().is_ok());
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "1",
            "1:2",
            "1:2:3:4",
            "a:1:1",
            "+1:1:1",
            "-1:1:1",
            "0:0:0",
            "1:0:4294967295",
            "0:4294967296:1",
            "0: 1:1",
        ] {
            assert!(text.parse::<IdMap>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_kernel_gets_a_line_for_each() {
        assert_eq!(
            to_file(&[IdMap::one(0, 1000), IdMap { inner: 1, outer: 9, count: 5 }]),
            "0 1000 1\n1 9 5\n"
        );
    }
}
