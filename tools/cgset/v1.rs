//! cgroup v2's keys on a cgroup v1 host: which files they become, and by which formula.
//!
//! | v2 | v1 | formula |
//! | --- | --- | --- |
//! | memory.max | memory.limit_in_bytes | the same; memory.memsw moves along, so that swap's share stays |
//! | memory.swap.max | memory.memsw.limit_in_bytes | memory.max + memory.swap.max |
//! | memory.low, memory.high | memory.soft_limit_in_bytes | the same |
//! | cpu.max | cpu.cfs_quota_us, cpu.cfs_period_us | the same, `max` is -1 |
//! | cpu.weight | cpu.shares | 2^L, L² + 125 L = 612 (log10(weight) + 7/34) |
//! | io.max | blkio.throttle.*_device | the same, `max` is 0 |
//! | io.weight | blkio.weight | 10 + (weight - 1) * 990 / 9999 |
//! | io.weight | blkio.bfq.weight | the same up to 100, above 100 + (weight - 100) * 900 / 9900 |
//! | hugetlb.SIZE.max | hugetlb.SIZE.limit_in_bytes | the same |
//! | cgroup.freeze | freezer.state | FROZEN, THAWED |

use std::collections::BTreeMap;
use std::path::Path;

use common::{Error, Result};

use crate::apply::{Expect, Write, granule};
use crate::file;
use crate::formula;
use crate::key::{Setting, huge_page_of};
use crate::value::{Device, IO_LIMITS, Value, or_max};

/// Fails for what v2 has and v1 cannot express.
pub fn check(key: &str) -> Result<()> {
    let why = match key {
        "memory.min" | "memory.swap.high" | "memory.oom.group" | "memory.reclaim" => {
            "cgroup v1 has nothing like it"
        }
        "cpu.weight.nice" => "cgroup v1 has nothing like it; cpu.weight is translated",
        "cpuset.cpus.partition" | "cpuset.cpus.exclusive" => "cgroup v1 has nothing like it",
        "io.latency" | "io.prio.class" | "io.bfq.weight" => {
            "cgroup v1 has nothing like it; io.weight is translated"
        }
        _ if key.starts_with("memory.zswap.") || key.starts_with("io.cost.") => {
            "cgroup v1 has nothing like it"
        }
        _ => return Ok(()),
    };
    Err(Error::new("set", key, why)
        .hint("this host has the controller on cgroup v1; it can be had on v2 only"))
}

/// The v2 name of a v1 file, for those who bring their habits to a v2 host.
pub fn v2_name_of(key: &str) -> Option<&'static str> {
    Some(match key {
        "memory.limit_in_bytes" => "memory.max",
        "memory.memsw.limit_in_bytes" => "memory.swap.max (swap alone, without memory)",
        "memory.soft_limit_in_bytes" => "memory.low",
        "cpu.shares" => "cpu.weight",
        "cpu.cfs_quota_us" | "cpu.cfs_period_us" => "cpu.max",
        "freezer.state" => "cgroup.freeze",
        _ if key.starts_with("hugetlb.") && key.ends_with(".limit_in_bytes") => "hugetlb.SIZE.max",
        _ if key.starts_with("blkio.throttle.") => "io.max",
        _ if key.starts_with("blkio.") => "io.weight",
        _ => return None,
    })
}

/// Both of v2's soft limits become v1's one: they cannot differ.
pub fn check_together(settings: &[Setting]) -> Result<()> {
    let value = |key| settings.iter().rev().find(|setting| setting.key == key).map(|setting| &setting.value);
    match (value("memory.low"), value("memory.high")) {
        (Some(low), Some(high)) if low != high => {
            Err(Error::new("set", "memory.low and memory.high", "cgroup v1 has one soft limit for both")
                .hint("give one of them, or both with one value"))
        }
        _ => Ok(()),
    }
}

/// The writes that `setting` becomes in a v1 hierarchy.
pub fn writes(group: &Path, setting: &Setting) -> Result<Vec<Write>> {
    let Setting { key, value } = setting;
    Ok(match (key.as_str(), value) {
        ("memory.max", Value::Limit(limit)) => Memory::read(group)?.with_max(*limit)?,
        ("memory.swap.max", Value::Limit(limit)) => Memory::read(group)?.with_swap(*limit)?,
        ("memory.low" | "memory.high", Value::Limit(limit)) => {
            vec![limit_write("memory.soft_limit_in_bytes", *limit)]
        }
        ("cpu.max", Value::Bandwidth(quota, period)) => bandwidth(group, *quota, *period)?,
        ("cpu.max.burst", Value::Limit(Some(burst))) => {
            vec![text_write("cpu.cfs_burst_us", burst.to_string())]
        }
        ("cpu.max.burst", _) => {
            return Err(Error::new("set", key, "cgroup v1 cannot take max").hint("give it in microseconds"));
        }
        ("cpu.weight", Value::Weight(weight)) => {
            vec![text_write("cpu.shares", formula::shares_of_weight(*weight).to_string())]
        }
        ("io.max", Value::IoLimits(device, limits)) => throttles(*device, limits),
        ("io.weight", Value::IoWeight(device, weight)) => vec![blkio_weight(group, *device, *weight)],
        ("cgroup.freeze", Value::Switch(on)) => vec![Write {
            file: "freezer.state".into(),
            text: if *on { "FROZEN" } else { "THAWED" }.into(),
            expect: Expect::Frozen(*on),
        }],
        ("freezer.state", Value::Raw(text)) => {
            vec![Write { file: key.clone(), text: text.clone(), expect: Expect::Frozen(text == "FROZEN") }]
        }
        ("cpuset.cpus" | "cpuset.mems", Value::List(list)) if list.is_empty() => {
            // v2's "no list of its own": on v1 that is the parent's.
            let parent = group.parent().map(|parent| parent.join(key));
            let text = parent.map_or_else(|| Ok(String::new()), |parent| file::read(&parent))?;
            vec![Write { file: key.clone(), text, expect: Expect::Loose }]
        }
        (_, Value::Limit(limit)) if huge_page_of(key).is_some() => {
            let file = format!("{}.limit_in_bytes", key.trim_end_matches(".max"));
            vec![Write { file, text: or_minus_one(*limit), expect: Expect::Limit(*limit, granule(key)) }]
        }
        // pids.max, cpuset.cpus, rdma.max and the host's own names are the same.
        _ => vec![Write::in_v2(setting)],
    })
}

/// What v2's file of the name `key` would hold. `None` where there is no such file.
pub fn read(group: &Path, key: &str) -> Result<Option<String>> {
    let same = |file: &str| file::read_if_any(&group.join(file));
    let limit = |file: &str| Ok(same(file)?.map(|text| or_max(limit_of(&text))));
    match key {
        "memory.max" => limit(LIMIT),
        "memory.low" | "memory.high" => limit("memory.soft_limit_in_bytes"),
        "memory.swap.max" => Memory::read(group).map(|memory| memory.swap()),
        "memory.current" => same("memory.usage_in_bytes"),
        "memory.peak" => same("memory.max_usage_in_bytes"),
        "cpu.max" => {
            let (Some(quota), Some(period)) = (same(QUOTA)?, same(PERIOD)?) else { return Ok(None) };
            Ok(Some(format!("{} {period}", quota.replace("-1", "max"))))
        }
        "cpu.max.burst" => same("cpu.cfs_burst_us"),
        "cpu.weight" => Ok(same("cpu.shares")?
            .and_then(|shares| Some(formula::weight_of_shares(shares.parse().ok()?).to_string()))),
        "io.max" => throttled(group).map(Some),
        "io.weight" => {
            let number = |text: Option<String>| text?.split_ascii_whitespace().last()?.parse().ok();
            let blkio = number(same("blkio.weight")?).map(formula::weight_of_blkio);
            let weight = blkio.or(number(same("blkio.bfq.weight")?).map(formula::weight_of_bfq));
            Ok(weight.map(|weight| format!("default {weight}")))
        }
        "cgroup.freeze" => same("freezer.self_freezing"),
        _ if huge_page_of(key).is_some() => {
            limit(&format!("{}.limit_in_bytes", key.trim_end_matches(".max")))
        }
        _ => same(key),
    }
}

/// io.max's lines from the four files of v1.
fn throttled(group: &Path) -> Result<String> {
    let mut disks: BTreeMap<String, [String; 4]> = BTreeMap::new();
    for (index, name) in IO_LIMITS.into_iter().enumerate() {
        let text = file::read_if_any(&group.join(throttle_file(name)))?.unwrap_or_default();
        for (disk, rate) in text.lines().filter_map(|line| line.split_once(' ')) {
            let rates =
                disks.entry(disk.to_owned()).or_insert_with(|| std::array::from_fn(|_| "max".to_owned()));
            rates[index] = rate.to_owned();
        }
    }
    let line = |(disk, rates): (&String, &[String; 4])| {
        let words: Vec<_> =
            IO_LIMITS.iter().zip(rates).map(|(name, rate)| format!("{name}={rate}")).collect();
        format!("{disk} {}", words.join(" "))
    };
    Ok(disks.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// v1's pair of limits: memory, and memory and swap together.
struct Memory {
    limit: Option<u64>,
    /// The outer `None`: the kernel accounts no swap.
    both: Option<Option<u64>>,
}

const LIMIT: &str = "memory.limit_in_bytes";
const BOTH: &str = "memory.memsw.limit_in_bytes";
const QUOTA: &str = "cpu.cfs_quota_us";
const PERIOD: &str = "cpu.cfs_period_us";

impl Memory {
    fn read(group: &Path) -> Result<Self> {
        Ok(Self {
            limit: limit_of(&file::read(&group.join(LIMIT))?),
            both: file::read_if_any(&group.join(BOTH))?.map(|text| limit_of(&text)),
        })
    }

    /// memory.swap.max; `None` where no swap is accounted.
    fn swap(&self) -> Option<String> {
        Some(or_max(self.both?.map(|both| both.saturating_sub(self.limit.unwrap_or(both)))))
    }

    /// Memory's limit changes, swap's stays: the sum moves along, and never below the part.
    fn with_max(&self, max: Option<u64>) -> Result<Vec<Write>> {
        let alone = limit_write(LIMIT, max);
        let Some(Some(both)) = self.both else { return Ok(vec![alone]) };
        let Some(max) = max else {
            return Err(Error::new(
                "set",
                "memory.max",
                "swap is limited, and cgroup v1 cannot limit swap alone",
            )
            .hint("set memory.swap.max=max before"));
        };
        let swap = both.saturating_sub(self.limit.unwrap_or(both));
        let sum = limit_write(BOTH, Some(max.saturating_add(swap)));
        let grows = self.limit.is_some_and(|limit| max > limit);
        Ok(if grows { vec![sum, alone] } else { vec![alone, sum] })
    }

    /// Swap's limit is the sum less memory's.
    fn with_swap(&self, swap: Option<u64>) -> Result<Vec<Write>> {
        let sum = match (swap, self.limit) {
            (None, _) => None,
            (Some(swap), Some(limit)) => Some(limit.saturating_add(swap)),
            (Some(_), None) => {
                return Err(Error::new(
                    "set",
                    "memory.swap.max",
                    "cgroup v1 limits only memory and swap together",
                )
                .hint("set memory.max too, before memory.swap.max"));
            }
        };
        Ok(vec![limit_write(BOTH, sum)])
    }
}

/// PAGE_COUNTER_MAX pages, on pages of 64 KiB at most: what v1 shows for "no limit", or more.
const NO_LIMIT: u64 = i64::MAX as u64 / 65536 * 65536;

/// A limit as v1 shows it: without one, as its largest number of pages.
pub fn limit_of(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|bytes| *bytes < NO_LIMIT)
}

fn or_minus_one(limit: Option<u64>) -> String {
    limit.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string())
}

fn limit_write(file: &str, limit: Option<u64>) -> Write {
    Write { file: file.into(), text: or_minus_one(limit), expect: Expect::Limit(limit, granule(file)) }
}

fn text_write(file: &str, text: String) -> Write {
    Write { file: file.into(), text, expect: Expect::Text }
}

/// Quota and period are two files, and each write must leave a share that the parent has: so
/// between two limits there is none for a moment.
fn bandwidth(group: &Path, quota: Option<u64>, period: u64) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    if file::read_if_any(&group.join(QUOTA))?.is_some_and(|quota| quota != "-1") {
        writes.push(text_write(QUOTA, "-1".into()));
    }
    writes.push(text_write(PERIOD, period.to_string()));
    writes.push(text_write(QUOTA, or_minus_one(quota)));
    Ok(writes)
}

/// One file for each direction and unit; 0 removes the limit.
fn throttles(device: Device, limits: &[(&'static str, Option<u64>)]) -> Vec<Write> {
    let write = |(name, limit): &(&str, Option<u64>)| {
        let file = throttle_file(name).to_owned();
        let rate = limit.unwrap_or(0).to_string();
        let expect =
            Expect::Line { of: device.to_string(), words: vec![rate.clone()], gone: format!("{device} 0") };
        Write { file, text: format!("{device} {rate}"), expect }
    };
    limits.iter().map(write).collect()
}

/// The file for one of io.max's limits.
pub fn throttle_file(name: &str) -> &'static str {
    match name {
        "rbps" => "blkio.throttle.read_bps_device",
        "wbps" => "blkio.throttle.write_bps_device",
        "riops" => "blkio.throttle.read_iops_device",
        _ => "blkio.throttle.write_iops_device",
    }
}

/// CFQ's blkio.weight went with Linux 5.0; BFQ's is there where BFQ is.
fn blkio_weight(group: &Path, device: Option<Device>, weight: u64) -> Write {
    let (base, weight) = match group.join("blkio.weight").exists() {
        true => ("blkio.weight", formula::blkio_of_weight(weight)),
        false => ("blkio.bfq.weight", formula::bfq_of_weight(weight)),
    };
    let weight = weight.to_string();
    match device {
        None => Write { file: base.into(), text: weight, expect: Expect::Loose },
        Some(device) => Write {
            file: format!("{base}_device"),
            text: format!("{device} {weight}"),
            expect: Expect::Line { of: device.to_string(), words: vec![weight], gone: format!("{device} 0") },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(writes: Result<Vec<Write>>) -> Vec<String> {
        writes.unwrap().iter().map(|write| format!("{} {}", write.file, write.text)).collect()
    }

    #[test]
    fn memorys_limit_moves_the_sum_along() {
        let memory = Memory { limit: Some(100), both: Some(Some(150)) };
        assert_eq!(texts(memory.with_max(Some(200))), [format!("{BOTH} 250"), format!("{LIMIT} 200")]);
        assert_eq!(texts(memory.with_max(Some(50))), [format!("{LIMIT} 50"), format!("{BOTH} 100")]);
        assert!(memory.with_max(None).is_err());
        let unlimited = Memory { limit: None, both: Some(None) };
        assert_eq!(texts(unlimited.with_max(Some(50))), [format!("{LIMIT} 50")]);
    }

    #[test]
    fn swap_is_the_sum_less_memory() {
        let memory = Memory { limit: Some(100), both: Some(None) };
        assert_eq!(texts(memory.with_swap(Some(20))), [format!("{BOTH} 120")]);
        assert_eq!(texts(memory.with_swap(None)), [format!("{BOTH} -1")]);
        assert!(Memory { limit: None, both: Some(None) }.with_swap(Some(20)).is_err());
    }
}
