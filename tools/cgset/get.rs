//! Settings as they are, under cgroup v2's names on every host.

use std::fs;

use common::{Error, Result, output};
use serde_json::{Map, Value};

use crate::file;
use crate::group::Group;
use crate::hierarchy::{Host, Version};
use crate::key::{home, huge_page_of};
use crate::v1;
use crate::value::or_max;

/// The keys that `--get` shows where none is named, besides hugetlb's.
const KEYS: [&str; 24] = [
    "cgroup.freeze",
    "cgroup.max.depth",
    "cgroup.max.descendants",
    "cgroup.type",
    "cpu.idle",
    "cpu.max",
    "cpu.max.burst",
    "cpu.weight",
    "cpuset.cpus",
    "cpuset.cpus.partition",
    "cpuset.mems",
    "io.latency",
    "io.max",
    "io.weight",
    "memory.high",
    "memory.low",
    "memory.max",
    "memory.min",
    "memory.oom.group",
    "memory.swap.high",
    "memory.swap.max",
    "memory.zswap.max",
    "misc.max",
    "pids.max",
];

/// Prints `keys` of the group, or all that it has, as `KEY=VALUE` or as a JSON object.
pub fn print(host: &Host, group: &Group<'_>, keys: &[String], json: bool) -> Result<()> {
    let mut values = Vec::new();
    if keys.is_empty() {
        for key in KEYS.iter().map(|key| (*key).to_owned()).chain(huge_pages(group)) {
            // What this host does not have is not shown.
            if home(host, &key).is_ok()
                && let Some(value) = read(host, group, &key)?
            {
                values.push((key, value));
            }
        }
    } else {
        for key in keys {
            let value = read(host, group, key)?.ok_or_else(|| {
                Error::new("get", key, "the group has no such file").hint(
                    "on cgroup v2 the controller has to be enabled: cgset GROUP with a key of it does that",
                )
            })?;
            values.push((key.clone(), value));
        }
    }
    if json {
        let object: Map<_, _> = values.into_iter().map(|(key, value)| (key, to_json(&value))).collect();
        return output::write_json(&Value::Object(object));
    }
    let lines = values.iter().flat_map(|(key, value)| {
        // An empty value is one line too.
        let lines: Vec<_> = if value.is_empty() { vec![""] } else { value.lines().collect() };
        lines.into_iter().map(move |line| format!("{key}={line}\n"))
    });
    output::write(lines.collect::<String>())
}

/// A key's value, in v2's format. `None` where the group has no such file.
pub fn read(host: &Host, group: &Group<'_>, key: &str) -> Result<Option<String>> {
    let (hierarchy, controller) = home(host, key)?;
    let Some(place) = group.place_with(controller) else { return Ok(None) };
    match hierarchy.version {
        Version::V1 => v1::read(&place.directory(), key),
        // hugetlb's "no limit" is a number even there.
        Version::V2 => Ok(file::read_if_any(&place.file(key))?.map(|text| match huge_page_of(key) {
            Some(_) => or_max(v1::limit_of(&text)),
            None => text,
        })),
    }
}

fn huge_pages(group: &Group<'_>) -> Vec<String> {
    let Some(place) = group.place_with("hugetlb") else { return Vec::new() };
    let files = fs::read_dir(place.directory()).into_iter().flatten().flatten();
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    let mut keys: Vec<_> = names
        .map(|name| name.replace(".limit_in_bytes", ".max"))
        .filter(|name| huge_page_of(name).is_some() && !name.contains("rsvd"))
        .collect();
    keys.sort();
    keys
}

/// A number where it is one, the lines where there are several, else the text.
fn to_json(value: &str) -> Value {
    match value.parse::<u64>() {
        Ok(number) => number.into(),
        Err(_) if value.contains('\n') => value.lines().collect(),
        Err(_) => value.into(),
    }
}
