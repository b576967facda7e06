//! Resource limits, umask and OOM score: what a process takes along through exec.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use serde_json::{Map, Value, json};

use crate::error::{During as _, Error, Result};
use crate::trace;

/// What to set; nothing is changed that is not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Key `rlimits`, in the order given.
    pub rlimits: Vec<Rlimit>,
    /// Key `umask`.
    pub umask: Option<u32>,
    /// Key `oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

/// One resource limit (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    resource: Resource,
    soft: u64,
    hard: u64,
}

const RESOURCES: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

impl Rlimit {
    /// Parses `NAME=SOFT[:HARD]`, such as `nofile=1024:4096`; without HARD both are SOFT.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let (name, limits) = text.split_once('=').ok_or("write it as NAME=SOFT[:HARD]")?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let name = name.to_ascii_lowercase();
        let Some((_, resource)) =
            RESOURCES.iter().find(|(known, _)| *known == name.trim_start_matches("rlimit_"))
        else {
            let known: Vec<_> = RESOURCES.iter().map(|(name, _)| *name).collect();
            return Err(format!("no such resource; there are {}", known.join(", ")));
        };
        let (soft, hard) = (limit(soft)?, limit(hard)?);
        if soft > hard {
            return Err("the soft limit is above the hard one".into());
        }
        Ok(Self { resource: *resource, soft, hard })
    }

    fn name(&self) -> &'static str {
        RESOURCES.iter().find(|(_, resource)| *resource == self.resource).map_or("", |(name, _)| name)
    }

    fn shown(&self) -> String {
        let show = |limit| if limit == libc::RLIM_INFINITY { "unlimited".into() } else { format!("{limit}") };
        format!("{}={}:{}", self.name(), show(self.soft), show(self.hard))
    }
}

fn limit(text: &str) -> std::result::Result<u64, String> {
    match text {
        "unlimited" | "infinity" | "-1" => Ok(libc::RLIM_INFINITY),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| "the limit is too large".into())
        }
        _ => Err("a limit is a number or 'unlimited'".into()),
    }
}

impl Limits {
    /// As keys of the record's `root`.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        if !self.rlimits.is_empty() {
            keys.insert("rlimits".into(), self.rlimits.iter().map(Rlimit::shown).collect());
        }
        if let Some(umask) = self.umask {
            keys.insert("umask".into(), json!(umask));
        }
        if let Some(score) = self.oom_score_adj {
            keys.insert("oom_score_adj".into(), json!(score));
        }
        keys
    }

    /// What [`to_json`](Self::to_json) wrote, other keys left aside; or which key is malformed.
    pub fn from_json(keys: &Map<String, Value>) -> std::result::Result<Self, &'static str> {
        let rlimits = match keys.get("rlimits") {
            None => Some(Vec::new()),
            Some(value) => value.as_array().and_then(|limits| {
                limits.iter().map(|text| text.as_str().and_then(|text| Rlimit::parse(text).ok())).collect()
            }),
        };
        let umask = keys.get("umask").map(|value| {
            value.as_u64().and_then(|bits| u32::try_from(bits).ok()).filter(|bits| *bits <= 0o777)
        });
        let score = keys.get("oom_score_adj").map(|value| {
            value.as_i64().and_then(|score| i32::try_from(score).ok()).filter(|s| s.abs() <= 1000)
        });
        Ok(Self {
            rlimits: rlimits.ok_or("rlimits")?,
            umask: umask.map(|value| value.ok_or("umask")).transpose()?,
            oom_score_adj: score.map(|value| value.ok_or("oom_score_adj")).transpose()?,
        })
    }

    /// Sets the OOM score, by the caller's own /proc: so before that is out of sight.
    pub fn apply_oom_score(&self) -> Result<()> {
        let Some(score) = self.oom_score_adj else { return Ok(()) };
        let path = "/proc/self/oom_score_adj";
        trace::step(format_args!("set oom_score_adj to {score}"));
        let mut file: File = OpenOptions::new().write(true).open(path).during("open", path)?;
        // A decoy must not take the value in the kernel's place.
        if fstatfs(&file).during("look at", path)?.filesystem_type() != PROC_SUPER_MAGIC {
            return Err(Error::new("set the OOM score", path, "it is not on procfs"));
        }
        file.write_all(score.to_string().as_bytes()).map_err(|error| {
            Error::new("set the OOM score", path, error)
                .hint("a value below the present one takes CAP_SYS_RESOURCE")
        })
    }

    /// Sets umask and resource limits: late, as they bind us too, and while we may still raise them.
    pub fn apply(&self) -> Result<()> {
        if let Some(bits) = self.umask {
            trace::step(format_args!("set umask {bits:04o}"));
            umask(Mode::from_bits_truncate(bits));
        }
        for rlimit in &self.rlimits {
            trace::step(format_args!("set resource limit {}", rlimit.shown()));
            setrlimit(rlimit.resource, rlimit.soft, rlimit.hard).map_err(|errno| {
                Error::new("set the resource limit", rlimit.shown(), errno).or_hint(match errno {
                    Errno::EPERM => {
                        Some("raising a hard limit takes CAP_SYS_RESOURCE in the initial user namespace")
                    }
                    _ => None,
                })
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_people_write_them() {
        assert_eq!(Rlimit::parse("nofile=10").unwrap().shown(), "nofile=10:10");
        assert_eq!(Rlimit::parse("RLIMIT_CORE=0:unlimited").unwrap().shown(), "core=0:unlimited");
        for bad in ["nofile", "files=1", "nofile=", "nofile=2:1", "nofile=1:", "nofile=-2", "nofile=1x"] {
            assert!(Rlimit::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_come_back_from_json() {
        let limits = Limits {
            rlimits: vec![Rlimit::parse("nofile=10:20").unwrap(), Rlimit::parse("core=unlimited").unwrap()],
            umask: Some(0o027),
            oom_score_adj: Some(-5),
        };
        assert_eq!(Limits::from_json(&limits.to_json()), Ok(limits));
        let keys = [("umask".to_owned(), json!(512))].into_iter().collect();
        assert_eq!(Limits::from_json(&keys), Err("umask"));
    }
}
