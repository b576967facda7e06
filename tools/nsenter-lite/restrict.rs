//! What COMMAND must not exceed: what pivot imposed on the container, and what its process is held to.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use common::capability::CapabilitySet;
use common::creds::{Capabilities, Credentials};
use common::limits::Limits;
use common::process::Process;
use common::record::Root;
use common::{Error, Result, json, procfs};
use serde_json::{Map, Value};

/// Key `root` of a record, as far as it is about processes.
#[derive(Debug, Default)]
pub(crate) struct Imposed {
    pub credentials: Credentials,
    pub limits: Limits,
    pub workdir: Option<PathBuf>,
    environment: Vec<OsString>,
    clear_environment: bool,
}

impl Imposed {
    /// What the record says, without the user where the caller says who. Without `held_to`, what limits
    /// power is lifted; where and with which environment stays.
    pub(crate) fn new(root: Option<&Root>, whom_is_said: bool, held_to: Option<&Process>) -> Result<Self> {
        let mut imposed = root.map_or_else(|| Ok(Self::default()), |root| Self::from_json(&root.imposed))?;
        if whom_is_said {
            imposed.credentials.user = None;
        }
        match held_to {
            Some(target) => imposed.hold_to(target)?,
            None => {
                imposed.credentials = Credentials::default();
                imposed.limits = Limits::default();
            }
        }
        Ok(imposed)
    }

    /// Parses the keys that pivot wrote.
    fn from_json(keys: &Map<String, Value>) -> Result<Self> {
        let malformed = |key: &str| {
            Error::new("read the container record", "root", format!("its {key} is not what pivot writes"))
        };
        let names = |values: &Vec<Value>| values.iter().map(json::to_name).collect::<Option<Vec<_>>>();
        let environment = keys.get("environment").map(|value| value.as_array().and_then(names));
        let workdir = keys.get("workdir").map(json::to_name);
        let clear = keys.get("clear_environment").map_or(Some(false), Value::as_bool);
        Ok(Self {
            credentials: Credentials::from_json(keys).map_err(malformed)?,
            limits: Limits::from_json(keys).map_err(malformed)?,
            workdir: workdir
                .map(|name| name.ok_or_else(|| malformed("workdir")))
                .transpose()?
                .map(PathBuf::from),
            environment: environment
                .map_or(Ok(Vec::new()), |names| names.ok_or_else(|| malformed("environment")))?,
            clear_environment: clear.ok_or_else(|| malformed("clear_environment"))?,
        })
    }

    /// Adds what the running process is held to, whoever did that: never more capabilities than it
    /// can have, no_new_privs, its OOM score.
    fn hold_to(&mut self, target: &Process) -> Result<()> {
        let theirs = CapabilitySet::bounding_of(target.pid())?;
        let Credentials { capabilities, no_new_privs, .. } = &mut self.credentials;
        let recorded =
            capabilities.unwrap_or(Capabilities { bounding: theirs, ambient: CapabilitySet::EMPTY });
        *capabilities = Some(Capabilities {
            bounding: recorded.bounding.intersection(theirs),
            ambient: recorded.ambient.intersection(theirs),
        });
        *no_new_privs |= procfs::status(target.pid(), "NoNewPrivs")? == "1";
        let score = oom_score(&target.pid().to_string())?;
        // A lower one takes privilege, and to be killed sooner gives no power.
        if score > oom_score("self")? {
            self.limits.oom_score_adj = Some(score);
        }
        Ok(())
    }

    /// What COMMAND gets; `None` where that is the caller's own, untouched.
    pub(crate) fn environment(&self) -> Option<Vec<CString>> {
        if !self.clear_environment && self.environment.is_empty() {
            return None;
        }
        let set = |name: &OsStr| {
            self.environment.iter().any(|one| {
                one.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
            })
        };
        let inherited = std::env::vars_os().filter(|(name, _)| !self.clear_environment && !set(name));
        let inherited = inherited.map(|(name, value)| [name.as_os_str(), &value].join(OsStr::new("=")));
        // Neither the kernel nor json::to_name lets a NUL pass.
        let all = inherited.chain(self.environment.iter().cloned());
        Some(all.filter_map(|one| CString::new(one.into_vec()).ok()).collect())
    }
}

fn oom_score(who: &str) -> Result<i32> {
    let path = format!("/proc/{who}/oom_score_adj");
    let text = std::fs::read_to_string(&path).map_err(|error| Error::new("read", &path, error))?;
    text.trim().parse().map_err(|_| Error::new("read", &path, "not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn imposed(value: &Value) -> Result<Imposed> {
        Imposed::from_json(value.as_object().unwrap())
    }

    #[test]
    fn what_pivot_wrote_is_read() {
        let imposed = imposed(&json!({
            "workdir": "/w", "environment": ["A=1", [66, 61, 255]], "clear_environment": true, "umask": 18,
        }))
        .unwrap();
        assert_eq!(imposed.workdir, Some("/w".into()));
        assert_eq!(imposed.limits.umask, Some(0o022));
        assert_eq!(imposed.environment().unwrap(), [c"A=1".to_owned(), c"B=\xff".to_owned()]);
    }

    #[test]
    fn a_malformed_key_is_named() {
        for (key, value) in [
            ("workdir", json!(7)),
            ("environment", json!("A=1")),
            ("environment", json!(["A=\0"])),
            ("clear_environment", json!("yes")),
            ("user", json!("ann")),
            ("umask", json!(4096)),
        ] {
            let error = imposed(&json!({ key: value })).unwrap_err();
            assert!(error.to_string().contains(&format!("its {key} is not")), "{error}");
        }
    }

    #[test]
    fn without_changes_the_environment_is_the_callers() {
        assert_eq!(imposed(&json!({})).unwrap().environment(), None);
    }
}
