//! Sizes as people write them: `64M`, `1.5G`, `50%` of the machine's memory.

use crate::error::{During as _, Error, Result};

/// Parses a size into bytes. Suffixes K, M, G, T, P are powers of 1024, with or
/// without a trailing `B` or `iB`; a fraction is allowed; `N%` is a part of `whole`.
pub fn parse(text: &str, whole: impl FnOnce() -> Result<u64>) -> Result<u64> {
    let bad = |why: &str| Error::new("read a size", text, why).hint("write it as 64M, 1.5G or 50%");
    if let Some(percent) = text.strip_suffix('%') {
        let percent = decimal(percent).ok_or_else(|| bad("not a percentage"))?;
        if percent > 100.0 {
            return Err(bad("more than all of it"));
        }
        return Ok((whole()? as f64 * percent / 100.0) as u64);
    }
    let (number, exponent) = split_suffix(text);
    let unit = 1u64 << (10 * exponent);
    if let Ok(whole_number) = number.parse::<u64>() {
        // Digits only: parse() would also take a leading '+'.
        if number.starts_with(|c: char| c.is_ascii_digit()) {
            return whole_number.checked_mul(unit).ok_or_else(|| bad("too large"));
        }
    }
    let value = decimal(number).ok_or_else(|| bad("not a number of bytes"))? * unit as f64;
    // 2^64 as f64 is exact; anything below it fits.
    if value < 18_446_744_073_709_551_616.0 { Ok(value as u64) } else { Err(bad("too large")) }
}

/// The machine's memory in bytes, MemTotal of /proc/meminfo (proc_meminfo(5)).
pub fn machine_memory() -> Result<u64> {
    let path = "/proc/meminfo";
    let text = std::fs::read_to_string(path).during("read", path)?;
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| Error::new("read", path, "no MemTotal line"))
}

/// The number before the suffix, and the suffix as a power of 1024.
fn split_suffix(text: &str) -> (&str, u32) {
    let bare = text.strip_suffix("iB").or_else(|| text.strip_suffix('B')).unwrap_or(text);
    for (exponent, letter) in (1..).zip(['k', 'm', 'g', 't', 'p']) {
        if let Some(number) = bare.strip_suffix([letter, letter.to_ascii_uppercase()]) {
            return (number, exponent);
        }
    }
    (text, 0)
}

/// Digits with at most one point between them: no sign, exponent, `inf` or `nan`.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let bounded =
        text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_digit());
    (plain && bounded).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Option<u64> {
        parse(text, || Ok(1000)).ok()
    }

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!(bytes("0"), Some(0));
        assert_eq!(bytes("64M"), Some(64 << 20));
        assert_eq!(bytes("64MiB"), Some(64 << 20));
        assert_eq!(bytes("1.5G"), Some(3 << 29));
        assert_eq!(bytes("7k"), Some(7168));
        assert_eq!(bytes("50%"), Some(500));
        assert_eq!(bytes("18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "-1",
            "+1",
            "1e3",
            "1.",
            ".5",
            "1..2",
            "inf",
            "nan",
            "64X",
            "101%",
            "5B5",
            "B",
            "20000000P",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
