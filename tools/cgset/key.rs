//! The keys: cgroup v2's names, which mean the same on every host.

use common::{Error, Result};

use crate::hierarchy::{Hierarchy, Host, Version};
use crate::v1;
use crate::value::{Unit, Value};

/// One `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key, a file name of cgroup v2, or of this host's v1.
    pub key: String,
    /// Its value.
    pub value: Value,
}

impl Setting {
    /// Reads `KEY=VALUE`.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::new("read KEY=VALUE", text, "it holds no '='")
                .hint("write it as memory.max=64M; a COMMAND goes after --"));
        };
        check_name(key)?;
        let value = Value::parse(unit_of(key), value).map_err(|error| {
            let text = format!("{key}={value}");
            let hint = error.hint_text().map(str::to_owned);
            Error::new("read KEY=VALUE", text, error.to_string()).or_hint(hint)
        })?;
        Ok(Self { key: key.to_owned(), value })
    }

    /// Its turn among others of one command line: what others need is set before them.
    pub fn turn(&self) -> u8 {
        match (self.key.as_str(), &self.value) {
            // A threaded group has other rules for all that follows.
            ("cgroup.type", _) => 0,
            // v1 limits the sum: memory may be unlimited only once swap is, and swap limited only once memory is.
            ("memory.swap.max", Value::Limit(None)) => 1,
            ("memory.swap.max" | "cpu.max.burst", _) => 3,
            ("cgroup.freeze", _) => 4,
            _ => 2,
        }
    }

    /// The hierarchy that it is set in, and its controller there. An error where this host cannot do it.
    pub fn home<'h>(&self, host: &'h Host) -> Result<(&'h Hierarchy, &str)> {
        home(host, &self.key)
    }
}

/// Where `key` is set on this host: the hierarchy, and the controller's name there.
pub fn home<'h, 'k>(host: &'h Host, key: &'k str) -> Result<(&'h Hierarchy, &'k str)> {
    if key == "cgroup.clone_children" {
        return Err(Error::new("set", key, "it belongs to a hierarchy of cgroup v1, not to a controller")
            .hint("write it to that file of each hierarchy"));
    }
    let prefix = key.split('.').next().unwrap_or_default();
    let controller = match prefix {
        "io" if host.with("io").is_none() => "blkio",
        "cgroup" if key == "cgroup.freeze" && host.v2().is_none() => "freezer",
        other => other,
    };
    let Some(hierarchy) = host.with(controller) else { return Err(no_controller(host, key, prefix)) };
    match hierarchy.version {
        Version::V1 => v1::check(key)?,
        Version::V2 => {
            if let Some(name) = v1::v2_name_of(key) {
                return Err(Error::new(
                    "set",
                    key,
                    "this is cgroup v1's name, and this host has the controller on v2",
                )
                .hint(format!("write {name}")));
            }
        }
    }
    Ok((hierarchy, controller))
}

/// The unit of a key of cgroup v2; other names are taken as they are.
pub fn unit_of(key: &str) -> Unit {
    match key {
        "memory.max" | "memory.high" | "memory.low" | "memory.min" | "memory.swap.max"
        | "memory.swap.high" | "memory.zswap.max" => Unit::Bytes,
        "pids.max" | "cgroup.max.depth" | "cgroup.max.descendants" | "cpu.max.burst" => Unit::Count,
        "cpu.max" => Unit::Bandwidth,
        "cpu.weight" => Unit::Weight,
        "cpuset.cpus" | "cpuset.mems" | "cpuset.cpus.exclusive" => Unit::List,
        "cgroup.freeze" | "memory.oom.group" | "memory.zswap.writeback" | "cpu.idle" | "cgroup.pressure" => {
            Unit::Switch
        }
        "io.max" => Unit::IoLimits,
        "io.weight" | "io.bfq.weight" => Unit::IoWeight,
        _ if huge_page_of(key).is_some() => Unit::Bytes,
        _ => Unit::Raw,
    }
}

/// The page size (`2MB`) in `hugetlb.2MB.max` and `hugetlb.2MB.rsvd.max`.
pub fn huge_page_of(key: &str) -> Option<&str> {
    let middle = key.strip_prefix("hugetlb.")?.strip_suffix(".max")?;
    let page = middle.strip_suffix(".rsvd").unwrap_or(middle);
    (!page.is_empty() && !page.contains('.')).then_some(page)
}

/// A key is the name of a file in the group, and never leads out of it; and what is not a
/// setting but an act has an option of its own.
pub fn check_name(key: &str) -> Result<()> {
    let bad = |why, hint: &str| Err(Error::new("read KEY", key, why).hint(hint));
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    match key {
        "cgroup.procs" | "cgroup.threads" | "tasks" => bad("not a setting", "--pid PID moves a process"),
        "cgroup.kill" => bad("not a setting", "--kill kills all processes of the group"),
        "notify_on_release" | "release_agent" => {
            bad("refused", "a program that the kernel starts on the host is nothing for a container tool")
        }
        _ if !plain || key.starts_with('.') || key.ends_with('.') || !key.contains('.') => bad(
            "not the name of a control file",
            "keys are cgroup v2's names, such as memory.max or pids.max",
        ),
        _ => Ok(()),
    }
}

/// Why this host cannot set `key`: what /proc/cgroups says of its controller.
fn no_controller(host: &Host, key: &str, prefix: &str) -> Error {
    if prefix == "cgroup" {
        return Error::new("set", key, "cgroup v1 has nothing like it").hint("this host has cgroup v1 only");
    }
    let name = if prefix == "io" { "blkio" } else { prefix };
    let table = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let line = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let hint = match line.into_iter().find(|words| words.first() == Some(&name)).as_deref() {
        Some([.., "0"]) => {
            format!("{name} is switched off: the machine was booted with cgroup_disable={name}")
        }
        Some([_, hierarchy, ..]) if *hierarchy != "0" => {
            format!(
                "{name} is bound to a cgroup v1 hierarchy that is not mounted here: mount -t cgroup -o {name} {name} DIR"
            )
        }
        _ => format!(
            "this kernel has no such controller, or it is not delegated to here; there are: {}",
            host.controllers()
        ),
    };
    Error::new("set", key, format!("no controller {prefix}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_leads_out_of_the_group() {
        for key in [
            "",
            "memory",
            "../memory.max",
            "a/b.c",
            ".x",
            "x.",
            "memory.max\n",
            "cgroup.procs",
            "release_agent",
        ] {
            assert!(check_name(key).is_err(), "{key:?}");
        }
        for key in [
            "memory.max",
            "hugetlb.2MB.max",
            "blkio.throttle.read_bps_device",
            "memory.kmem.tcp.limit_in_bytes",
        ] {
            assert!(check_name(key).is_ok(), "{key:?}");
        }
    }

    #[test]
    fn a_value_may_hold_equals_signs() {
        let setting = Setting::parse("io.max=8:0 rbps=1M").unwrap();
        assert_eq!(setting.value.to_string(), "8:0 rbps=1048576");
    }

    #[test]
    fn an_error_names_key_and_value() {
        let error = Setting::parse("memory.max=much").unwrap_err();
        assert!(error.to_string().starts_with("memory.max=much: read KEY=VALUE: "), "{error}");
        assert!(error.hint_text().is_some());
    }

    #[test]
    fn huge_pages_are_named_by_size() {
        assert_eq!(huge_page_of("hugetlb.2MB.max"), Some("2MB"));
        assert_eq!(huge_page_of("hugetlb.1GB.rsvd.max"), Some("1GB"));
        assert_eq!(huge_page_of("hugetlb.2MB.current"), None);
    }
}
