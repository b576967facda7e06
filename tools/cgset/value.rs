//! Values as people write them, and what they mean.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use common::{During as _, Error, Result, size};
use nix::sys::stat::{major, minor};

/// What a key is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, a part of the machine's memory, or `max`.
    Bytes,
    /// A number of things, or `max`.
    Count,
    /// CPUs, or a quota and its period in microseconds.
    Bandwidth,
    /// A share beside the siblings' shares, 1 to 10000.
    Weight,
    /// Numbers and ranges of CPUs or memory nodes.
    List,
    /// 0 or 1.
    Switch,
    /// A disk with rates.
    IoLimits,
    /// A disk, or `default`, with a weight.
    IoWeight,
    /// Whatever the kernel's file takes.
    Raw,
}

/// A value that has been understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A limit; `None` is `max`.
    Limit(Option<u64>),
    /// Microseconds of CPU time in each period of microseconds; `None` is `max`.
    Bandwidth(Option<u64>, u64),
    /// 1 to 10000.
    Weight(u64),
    /// CPUs or memory nodes.
    List(BTreeSet<u32>),
    /// On or off.
    Switch(bool),
    /// Limits of a disk, in the order of [`IO_LIMITS`]; only those that were named.
    IoLimits(Device, Vec<(&'static str, Option<u64>)>),
    /// The weight of a disk, or of all that have none of their own.
    IoWeight(Option<Device>, u64),
    /// The text itself.
    Raw(String),
}

/// A block device by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    major: u64,
    minor: u64,
}

/// What io.max limits: bytes and operations a second, read and written.
pub const IO_LIMITS: [&str; 4] = ["rbps", "wbps", "riops", "wiops"];

/// The period that the kernel itself begins with.
const PERIOD: u64 = 100_000;

impl Value {
    /// Reads `text` as a value of `unit`.
    pub fn parse(unit: Unit, text: &str) -> Result<Self> {
        match unit {
            Unit::Bytes => limit(text, |text| size::parse(text, size::machine_memory)).map(Self::Limit),
            Unit::Count => limit(text, count).map(Self::Limit),
            Unit::Bandwidth => bandwidth(text),
            Unit::Weight => weight(text).map(Self::Weight),
            Unit::List => list(text).map(Self::List),
            Unit::Switch => switch(text).map(Self::Switch),
            Unit::IoLimits => io_limits(text),
            Unit::IoWeight => io_weight(text),
            Unit::Raw if text.contains('\n') => Err(bad(text, "it holds a line break", "")),
            Unit::Raw => Ok(Self::Raw(text.to_owned())),
        }
    }
}

/// As cgroup v2's files take it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(limit) => f.write_str(&or_max(*limit)),
            Self::Bandwidth(quota, period) => write!(f, "{} {period}", or_max(*quota)),
            Self::Weight(weight) => write!(f, "{weight}"),
            Self::List(list) => f.write_str(&ranges(list)),
            Self::Switch(on) => write!(f, "{}", u8::from(*on)),
            Self::IoLimits(device, limits) => {
                write!(f, "{device}")?;
                limits.iter().try_for_each(|(name, limit)| write!(f, " {name}={}", or_max(*limit)))
            }
            Self::IoWeight(Some(device), weight) => write!(f, "{device} {weight}"),
            Self::IoWeight(None, weight) => write!(f, "default {weight}"),
            Self::Raw(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A limit as cgroup v2 writes it.
pub fn or_max(limit: Option<u64>) -> String {
    limit.map_or_else(|| "max".to_owned(), |number| number.to_string())
}

/// `0-3,5` as a set; also the kernel's `first-last:used/group`. `None` where it is no such list.
pub fn parse_list(text: &str) -> Option<BTreeSet<u32>> {
    const MOST: u32 = 1 << 16; // more than any kernel's NR_CPUS; bounds a typo's cost
    let mut numbers = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
        let (range, stride) =
            part.split_once(':').map_or((part, None), |(range, stride)| (range, Some(stride)));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (plain(first)?, plain(last)?);
        let (used, group) = match stride {
            Some(stride) => stride.split_once('/').and_then(|(u, g)| Some((plain(u)?, plain(g)?)))?,
            None => (1, 1),
        };
        if first > last || last >= MOST.into() || used == 0 || used > group {
            return None;
        }
        numbers.extend((first..=last).filter(|n| (n - first) % group < used).map(|n| n as u32));
    }
    Some(numbers)
}

fn ranges(list: &BTreeSet<u32>) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for &number in list {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => parts.push((number, number)),
        }
    }
    let shown = parts.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    shown.collect::<Vec<_>>().join(",")
}

fn bad(text: &str, why: &str, hint: &str) -> Error {
    Error::new("read the value", text, why).or_hint((!hint.is_empty()).then_some(hint))
}

fn limit(text: &str, number: impl FnOnce(&str) -> Result<u64>) -> Result<Option<u64>> {
    if text == "max" { Ok(None) } else { number(text).map(Some) }
}

/// Digits only: no sign, no white space, and decimal although a zero leads.
fn plain(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn count(text: &str) -> Result<u64> {
    plain(text).ok_or_else(|| bad(text, "not a number", "write a whole number, or max"))
}

/// CPUs (`1.5`), a percentage of one (`150%`), `max`, or the kernel's own `QUOTA PERIOD`.
fn bandwidth(text: &str) -> Result<Value> {
    let hint = "write it as 1.5 (CPUs), 150% (of one CPU), max, or QUOTA PERIOD in microseconds";
    let bad = |why| bad(text, why, hint);
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    match words[..] {
        ["max"] => Ok(Value::Bandwidth(None, PERIOD)),
        [quota, period] => {
            let period = plain(period).ok_or_else(|| bad("not a period"))?;
            let quota = limit(quota, |quota| plain(quota).ok_or_else(|| bad("not a quota")))?;
            if !(1_000..=1_000_000).contains(&period) {
                return Err(bad("a period is 1000 to 1000000 microseconds"));
            }
            if quota.is_some_and(|quota| quota < 1_000) {
                return Err(bad("a quota is at least 1000 microseconds"));
            }
            Ok(Value::Bandwidth(quota, period))
        }
        [one] => {
            let cpus = cpus(one).ok_or_else(|| bad("not a number of CPUs"))?;
            // Most likely a quota that was typed without its period.
            if cpus >= 1_000.0 {
                return Err(bad("that many CPUs"));
            }
            // The kernel takes no quota below 1 ms: a longer period makes room for small shares.
            let period = if cpus * (PERIOD as f64) < 1_000.0 { 1_000_000 } else { PERIOD };
            let quota = (cpus * period as f64).round() as u64;
            if quota < 1_000 {
                return Err(bad("less than the kernel can give, 0.001 CPUs"));
            }
            Ok(Value::Bandwidth(Some(quota), period))
        }
        _ => Err(bad("not a quota and a period")),
    }
}

fn cpus(text: &str) -> Option<f64> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && number.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| number.parse::<f64>().ok().map(|number| number / unit))?
}

fn weight(text: &str) -> Result<u64> {
    let weight = plain(text).filter(|weight| (1..=10_000).contains(weight));
    weight.ok_or_else(|| bad(text, "not a weight", "a weight is 1 to 10000, and 100 where nothing is set"))
}

fn list(text: &str) -> Result<BTreeSet<u32>> {
    parse_list(text).ok_or_else(|| bad(text, "not a list", "write it as 0-3,5"))
}

fn switch(text: &str) -> Result<bool> {
    match text {
        "1" | "yes" | "on" | "true" => Ok(true),
        "0" | "no" | "off" | "false" => Ok(false),
        _ => Err(bad(text, "not a switch", "write 1 or 0")),
    }
}

fn device(text: &str) -> Result<Device> {
    if let Some((major, minor)) = text.split_once(':').and_then(|(a, b)| Some((plain(a)?, plain(b)?))) {
        return Ok(Device { major, minor });
    }
    let metadata = std::fs::metadata(text).during("look at the disk", text)?;
    if !metadata.file_type().is_block_device() {
        return Err(Error::new("look at the disk", text, "not a block device"));
    }
    Ok(Device { major: major(metadata.rdev()), minor: minor(metadata.rdev()) })
}

fn io_limits(text: &str) -> Result<Value> {
    let hint = "write it as '/dev/vda rbps=10M wiops=1000': rbps, wbps, riops, wiops";
    let mut words = text.split_ascii_whitespace();
    let disk = device(words.next().ok_or_else(|| bad(text, "no disk", hint))?)?;
    let mut limits = Vec::new();
    for word in words {
        let (name, rate) = word.split_once('=').ok_or_else(|| bad(word, "not NAME=RATE", hint))?;
        let name = IO_LIMITS
            .into_iter()
            .find(|known| *known == name)
            .ok_or_else(|| bad(word, "no such limit", hint))?;
        let rate = limit(rate, |rate| match name {
            "rbps" | "wbps" => {
                size::parse(rate, || Err(bad(rate, "a disk has no whole to be a part of", hint)))
            }
            _ => count(rate),
        })?;
        // The kernel takes no 0; a limit of none at all is what it would mean on v1.
        if rate == Some(0) {
            return Err(bad(word, "a rate is at least 1", hint));
        }
        limits.push((name, rate));
    }
    if limits.is_empty() { Err(bad(text, "no rate", hint)) } else { Ok(Value::IoLimits(disk, limits)) }
}

fn io_weight(text: &str) -> Result<Value> {
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    match words[..] {
        [one] | ["default", one] => Ok(Value::IoWeight(None, weight(one)?)),
        [disk, one] => Ok(Value::IoWeight(Some(device(disk)?), weight(one)?)),
        _ => Err(bad(text, "not a weight", "write it as 100 or '/dev/vda 200'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value as v2's file takes it; `None` where it is refused.
    fn read(unit: Unit, text: &str) -> Option<String> {
        Value::parse(unit, text).ok().map(|value| value.to_string())
    }

    fn reads(unit: Unit, cases: &[(&str, Option<&str>)]) {
        for (text, wanted) in cases {
            assert_eq!(read(unit, text).as_deref(), *wanted, "{unit:?} {text:?}");
        }
    }

    #[test]
    fn sizes_and_counts() {
        reads(Unit::Bytes, &[("64M", Some("67108864")), ("max", Some("max")), ("-1", None), ("64M\n", None)]);
        reads(Unit::Count, &[("32", Some("32")), ("0032", Some("32")), ("max", Some("max")), ("+3", None)]);
        reads(Unit::Count, &[("", None), ("3 ", None), ("1k", None), ("99999999999999999999", None)]);
        let half = size::machine_memory().unwrap() / 2;
        assert_eq!(read(Unit::Bytes, "50%"), Some(half.to_string()));
    }

    #[test]
    fn cpu_bandwidth() {
        reads(
            Unit::Bandwidth,
            &[
                ("1.5", Some("150000 100000")),
                ("2", Some("200000 100000")),
                ("150%", Some("150000 100000")),
                ("0.005", Some("5000 1000000")),
                ("max", Some("max 100000")),
                ("50000 100000", Some("50000 100000")),
                ("max 50000", Some("max 50000")),
                ("50000", None),
                ("0", None),
                ("-1", None),
                ("1 2 3", None),
                ("500 100000", None),
                ("50000 10", None),
                ("", None),
                ("x", None),
            ],
        );
    }

    #[test]
    fn lists_of_cpus() {
        reads(Unit::List, &[("3,0-1", Some("0-1,3")), ("0-6:1/2", Some("0,2,4,6")), ("", Some(""))]);
        reads(
            Unit::List,
            &[("1-0", None), ("a", None), ("0,", None), ("0-99999999", None), ("0-3:2/1", None)],
        );
    }

    #[test]
    fn weights_and_switches() {
        reads(Unit::Weight, &[("1", Some("1")), ("10000", Some("10000")), ("0", None), ("10001", None)]);
        reads(Unit::Switch, &[("on", Some("1")), ("0", Some("0")), ("2", None)]);
        reads(Unit::IoWeight, &[("50", Some("default 50")), ("8:0 60", Some("8:0 60")), ("8:0", None)]);
    }

    #[test]
    fn limits_of_a_disk() {
        reads(
            Unit::IoLimits,
            &[
                ("8:16 rbps=10M wiops=max", Some("8:16 rbps=10485760 wiops=max")),
                ("8:16", None),
                ("8:16 rbps", None),
                ("8:16 speed=1", None),
                ("8:16 rbps=0", None),
                ("8:16 rbps=50%", None),
                ("/dev/null rbps=1", None),
                ("/no/such rbps=1", None),
            ],
        );
    }
}
