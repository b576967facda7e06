//! What a group has used: the same figures on v1 and v2.

use std::collections::BTreeMap;

use common::error::printable;
use common::{Result, output};
use serde_json::{Value, json};

use crate::file;
use crate::get;
use crate::group::{Group, Place};
use crate::hierarchy::{Host, Version};

/// Figures; `None` is one that this host does not count, or whose controller is not enabled.
#[derive(Debug, Default)]
pub struct Usage {
    memory: Memory,
    cpu: Cpu,
    pids: Pids,
    io: BTreeMap<String, Io>,
    /// By resource: the share of the last 10 seconds, in percent, that some process waited for it.
    pressure: BTreeMap<&'static str, Option<f64>>,
}

#[derive(Debug, Default)]
struct Memory {
    current: Option<u64>,
    peak: Option<u64>,
    max: Option<String>,
    swap: Option<u64>,
    oom_kills: Option<u64>,
}

#[derive(Debug, Default)]
struct Cpu {
    usage_usec: Option<u64>,
    user_usec: Option<u64>,
    system_usec: Option<u64>,
    max: Option<String>,
    periods: Option<u64>,
    throttled: Option<u64>,
    throttled_usec: Option<u64>,
}

#[derive(Debug, Default)]
struct Pids {
    current: Option<u64>,
    peak: Option<u64>,
    max: Option<String>,
    refused: Option<u64>,
}

#[derive(Debug, Default)]
struct Io {
    read_bytes: u64,
    write_bytes: u64,
    reads: u64,
    writes: u64,
}

/// Prints the figures as a table, or as one JSON object.
pub fn print(host: &Host, group: &Group<'_>, as_json: bool) -> Result<()> {
    let usage = Usage::of(host, group)?;
    if as_json {
        output::write_json(&usage.to_json())
    } else {
        output::write(usage.to_table(&printable(&group.name)))
    }
}

impl Usage {
    fn of(host: &Host, group: &Group<'_>) -> Result<Self> {
        let mut usage = Self::default();
        if let Some(place) = group.place_with("memory") {
            usage.memory = Memory::of(place)?;
        }
        // v2 counts CPU time without its controller; v1 in a hierarchy of its own.
        usage.cpu = Cpu::of(group)?;
        if let Some(place) = group.place_with("pids") {
            usage.pids = Pids::of(place)?;
        }
        if let Some(place) = group.place_with("io").or_else(|| group.place_with("blkio")) {
            usage.io = io_of(place)?;
        }
        for (setting, key) in [
            (&mut usage.memory.max, "memory.max"),
            (&mut usage.cpu.max, "cpu.max"),
            (&mut usage.pids.max, "pids.max"),
        ] {
            *setting = if crate::key::home(host, key).is_ok() { get::read(host, group, key)? } else { None };
        }
        for resource in ["cpu", "memory", "io"] {
            usage.pressure.insert(resource, pressure(group, resource)?);
        }
        Ok(usage)
    }

    fn to_json(&self) -> Value {
        let Self { memory, cpu, pids, io, pressure } = self;
        let io: Vec<_> = io
            .iter()
            .map(|(device, io)| {
                json!({ "device": device, "read_bytes": io.read_bytes, "write_bytes": io.write_bytes,
                        "reads": io.reads, "writes": io.writes })
            })
            .collect();
        json!({
            "memory": {
                "current": memory.current, "peak": memory.peak, "max": limit(&memory.max),
                "swap": memory.swap, "oom_kills": memory.oom_kills,
            },
            "cpu": {
                "usage_usec": cpu.usage_usec, "user_usec": cpu.user_usec, "system_usec": cpu.system_usec,
                "max": cpu.max, "periods": cpu.periods, "throttled": cpu.throttled,
                "throttled_usec": cpu.throttled_usec,
            },
            "pids": {
                "current": pids.current, "peak": pids.peak, "max": limit(&pids.max), "refused": pids.refused,
            },
            "io": io,
            "pressure": pressure,
        })
    }

    fn to_table(&self, name: &str) -> String {
        let Self { memory, cpu, pids, io, pressure } = self;
        let mut lines = vec![
            name.to_owned(),
            format!(
                "memory    {} of {}, peak {}, swap {}, OOM kills {}",
                size(memory.current),
                memory
                    .max
                    .as_deref()
                    .map_or_else(unknown, |max| max.parse().map_or("max".into(), |n| size(Some(n)))),
                size(memory.peak),
                size(memory.swap),
                number(memory.oom_kills),
            ),
            format!(
                "cpu       {} (user {}, system {}), limit {}, throttled {} in {} of {} periods",
                seconds(cpu.usage_usec),
                seconds(cpu.user_usec),
                seconds(cpu.system_usec),
                cpus(cpu.max.as_deref()),
                seconds(cpu.throttled_usec),
                number(cpu.throttled),
                number(cpu.periods),
            ),
            format!(
                "pids      {} of {}, peak {}, refused {}",
                number(pids.current),
                pids.max.clone().unwrap_or_else(unknown),
                number(pids.peak),
                number(pids.refused),
            ),
        ];
        lines.extend(io.iter().map(|(device, io)| {
            let (read, written) = (size(Some(io.read_bytes)), size(Some(io.write_bytes)));
            format!("io        {device} read {read} in {}, written {written} in {}", io.reads, io.writes)
        }));
        let waits = pressure.iter().map(|(resource, share)| {
            format!("{resource} {}", share.map_or_else(unknown, |share| format!("{share}%")))
        });
        lines.push(format!("pressure  {}", waits.collect::<Vec<_>>().join(", ")));
        lines.join("\n") + "\n"
    }
}

impl Memory {
    fn of(place: &Place<'_>) -> Result<Self> {
        let one = |file: &str| number_in(place, file);
        Ok(match place.hierarchy.version {
            Version::V2 => Self {
                current: one("memory.current")?,
                peak: one("memory.peak")?,
                max: None,
                swap: one("memory.swap.current")?,
                oom_kills: keyed(place, "memory.events")?.get("oom_kill").copied(),
            },
            Version::V1 => {
                let current = one("memory.usage_in_bytes")?;
                let both = one("memory.memsw.usage_in_bytes")?;
                Self {
                    current,
                    peak: one("memory.max_usage_in_bytes")?,
                    max: None,
                    swap: both.zip(current).map(|(both, memory)| both.saturating_sub(memory)),
                    oom_kills: keyed(place, "memory.oom_control")?.get("oom_kill").copied(),
                }
            }
        })
    }
}

impl Cpu {
    fn of(group: &Group<'_>) -> Result<Self> {
        let v1 =
            |controller| group.place_with(controller).filter(|place| place.hierarchy.version == Version::V1);
        let mut cpu = Self::default();
        if let Some(place) = group.place_with("cgroup").filter(|_| v1("cpuacct").is_none()) {
            let stat = keyed(place, "cpu.stat")?;
            let get = |name: &str| stat.get(name).copied();
            (cpu.usage_usec, cpu.user_usec, cpu.system_usec) =
                (get("usage_usec"), get("user_usec"), get("system_usec"));
            (cpu.periods, cpu.throttled, cpu.throttled_usec) =
                (get("nr_periods"), get("nr_throttled"), get("throttled_usec"));
        }
        if let Some(place) = v1("cpuacct") {
            cpu.usage_usec = number_in(place, "cpuacct.usage")?.map(|ns| ns / 1000);
            cpu.user_usec = number_in(place, "cpuacct.usage_user")?.map(|ns| ns / 1000);
            cpu.system_usec = number_in(place, "cpuacct.usage_sys")?.map(|ns| ns / 1000);
        }
        if let Some(place) = v1("cpu") {
            let stat = keyed(place, "cpu.stat")?;
            let get = |name: &str| stat.get(name).copied();
            (cpu.periods, cpu.throttled) = (get("nr_periods"), get("nr_throttled"));
            cpu.throttled_usec = get("throttled_time").map(|ns| ns / 1000);
        }
        Ok(cpu)
    }
}

impl Pids {
    fn of(place: &Place<'_>) -> Result<Self> {
        Ok(Self {
            current: number_in(place, "pids.current")?,
            peak: number_in(place, "pids.peak")?,
            max: None,
            refused: keyed(place, "pids.events")?.get("max").copied(),
        })
    }
}

/// v2: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`. v1: `8:0 Read 1`, in two files.
fn io_of(place: &Place<'_>) -> Result<BTreeMap<String, Io>> {
    let mut all: BTreeMap<String, Io> = BTreeMap::new();
    let text = |file: &str| Ok(file::read_if_any(&place.file(file))?.unwrap_or_default());
    let mut add = |device: &str, name: &str, number: &str| {
        let (Ok(number), true) = (number.parse(), device.contains(':')) else { return };
        let io = all.entry(device.to_owned()).or_default();
        match name {
            "rbytes" => io.read_bytes = number,
            "wbytes" => io.write_bytes = number,
            "rios" => io.reads = number,
            "wios" => io.writes = number,
            _ => {}
        }
    };
    if place.hierarchy.version == Version::V2 {
        for line in text("io.stat")?.lines() {
            let (device, words) = line.split_once(' ').unwrap_or((line, ""));
            words
                .split(' ')
                .filter_map(|word| word.split_once('='))
                .for_each(|(name, n)| add(device, name, n));
        }
        return Ok(all);
    }
    for (file, read, write) in [
        ("blkio.throttle.io_service_bytes_recursive", "rbytes", "wbytes"),
        ("blkio.throttle.io_serviced_recursive", "rios", "wios"),
    ] {
        for line in text(file)?.lines() {
            match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
                [device, "Read", number] => add(device, read, number),
                [device, "Write", number] => add(device, write, number),
                _ => {}
            }
        }
    }
    Ok(all)
}

/// `some avg10=0.12 …`: v2 alone has it, without any controller.
fn pressure(group: &Group<'_>, resource: &str) -> Result<Option<f64>> {
    let Some(place) = group.place_with("cgroup") else { return Ok(None) };
    let text = file::read_if_any(&place.file(&format!("{resource}.pressure")))?.unwrap_or_default();
    let some = text.lines().find_map(|line| line.strip_prefix("some avg10="));
    Ok(some.and_then(|rest| rest.split(' ').next()?.parse().ok()))
}

fn number_in(place: &Place<'_>, name: &str) -> Result<Option<u64>> {
    Ok(file::read_if_any(&place.file(name))?.and_then(|text| text.parse().ok()))
}

/// A file of `NAME NUMBER` lines.
fn keyed(place: &Place<'_>, name: &str) -> Result<BTreeMap<String, u64>> {
    let text = file::read_if_any(&place.file(name))?.unwrap_or_default();
    let pair =
        |line: &str| line.split_once(' ').and_then(|(name, n)| Some((name.to_owned(), n.parse().ok()?)));
    Ok(text.lines().filter_map(pair).collect())
}

/// A limit for JSON: a number, or `"max"`.
fn limit(text: &Option<String>) -> Value {
    text.as_ref()
        .map_or(Value::Null, |text| text.parse::<u64>().map_or_else(|_| text.clone().into(), Value::from))
}

fn unknown() -> String {
    "-".to_owned()
}

fn number(n: Option<u64>) -> String {
    n.map_or_else(unknown, |n| n.to_string())
}

/// Bytes with three digits at most, and a suffix of 1024's powers.
fn size(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return unknown() };
    let mut value = bytes as f64;
    for suffix in ["", "K", "M", "G", "T"] {
        if value < 1000.0 || suffix == "T" {
            let decimals = usize::from(!suffix.is_empty() && value < 10.0 && value.fract() >= 0.05);
            return format!("{value:.decimals$}{suffix}");
        }
        value /= 1024.0;
    }
    unknown()
}

fn seconds(usec: Option<u64>) -> String {
    usec.map_or_else(unknown, |usec| format!("{:.2} s", usec as f64 / 1e6))
}

/// `50000 100000` as `0.5 CPUs`.
fn cpus(max: Option<&str>) -> String {
    let Some((quota, period)) = max.and_then(|max| max.split_once(' ')) else { return unknown() };
    match (quota.parse::<f64>(), period.parse::<f64>()) {
        (Ok(quota), Ok(period)) => format!("{} CPUs", quota / period),
        _ => quota.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(size(Some(0)), "0");
        assert_eq!(size(Some(999)), "999");
        assert_eq!(size(Some(64 << 20)), "64M");
        assert_eq!(size(Some(3 << 29)), "1.5G");
        assert_eq!(size(None), "-");
        assert_eq!(seconds(Some(1_500_000)), "1.50 s");
        assert_eq!(cpus(Some("50000 100000")), "0.5 CPUs");
        assert_eq!(cpus(Some("max 100000")), "max");
    }

    #[test]
    fn what_is_not_counted_is_null_or_a_dash() {
        let usage = Usage::default();
        assert_eq!(usage.to_json()["memory"]["current"], Value::Null);
        assert!(usage.to_table("x").contains("memory    - of -"));
    }
}
