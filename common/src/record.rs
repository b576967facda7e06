//! The container record: one JSON object on one line, what the stages of a pipeline hand on.
//!
//! Known keys are checked when a record is read, so that what they give is valid;
//! unknown keys pass through untouched. A tool sets its own keys and no others.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::{Map, Value, json};

use crate::error::{During as _, Error, Result};
use crate::namespace::NamespaceKind;
use crate::process::Process;
use crate::{json, output};

/// A container record.
#[derive(Clone, Debug, Default)]
pub struct Record {
    keys: Map<String, Value>,
    /// It came through a pipe, and nobody else has it.
    is_piped: bool,
}

/// Key `cgroup`, written by cgset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Relative to the hierarchy's root, no leading slash.
    pub path: PathBuf,
    /// `v1`, `v2` or `hybrid`.
    pub version: String,
}

/// Key `rootfs`, written by unionmount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rootfs {
    /// Where the union is mounted.
    pub merged: PathBuf,
    /// The read-only layers, bottom first.
    pub lower: Vec<PathBuf>,
    /// Below them, bottom first, the layers whose names do not show, only their data.
    pub data: Vec<PathBuf>,
    /// The writable layer.
    pub upper: Option<PathBuf>,
    /// overlayfs's work directory.
    pub work: Option<PathBuf>,
    /// The init layer.
    pub init: Option<PathBuf>,
    /// Whether the writable layer is a tmpfs that goes with the mount.
    pub ephemeral: bool,
}

/// Key `root`, written by pivot.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// The new root, as the container's mount namespace showed it before the switch.
    pub path: PathBuf,
    /// `pivot_root`, `move` or `chroot`.
    pub method: String,
    /// What else pivot imposed and nsenter-lite must re-apply: further keys of the object.
    pub imposed: Map<String, Value>,
}

/// A record is a few hundred bytes; this bounds what a forged one costs.
const LIMIT: u64 = 1 << 20;

impl Record {
    /// Reads a record from `file`, `-` being standard input.
    pub fn read(file: &Path) -> Result<Self> {
        if file == Path::new("-") {
            let piped = Self::from_reader(io::stdin().lock(), "standard input")?;
            return Ok(Self { is_piped: true, ..piped });
        }
        // O_NONBLOCK: a fifo that nobody writes to must not make us wait for ever. Who writes to one, or
        // to what /dev/fd names, is waited for.
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file);
        let open = open.during("open the container record", file)?;
        fcntl(&open, FcntlArg::F_SETFL(OFlag::empty())).during("open the container record", file)?;
        Self::from_reader(open, &file.to_string_lossy())
    }

    fn from_reader(reader: impl Read, name: &str) -> Result<Self> {
        const STEP: &str = "read the container record";
        let mut text = Vec::new();
        reader.take(LIMIT + 1).read_to_end(&mut text).during(STEP, name)?;
        if text.len() as u64 > LIMIT {
            return Err(Error::new(STEP, name, "it is larger than 1 MiB"));
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::new(STEP, name, "it is empty")
                .hint("the stage before this one has failed; a pipeline that starts here is fed '{}'"));
        }
        match serde_json::from_slice(&text) {
            Ok(Value::Object(keys)) => {
                let record = Self { keys, is_piped: false };
                record.check().map_err(|why| Error::new(STEP, name, why)).map(|()| record)
            }
            Ok(_) => Err(Error::new(STEP, name, "it is not a JSON object")),
            Err(error) => Err(Error::new(STEP, name, error.to_string())),
        }
    }

    /// Writes the record to standard output, on one line.
    pub fn write(&self) -> Result<()> {
        output::write_json(&Value::Object(self.keys.clone()))
    }

    /// Whether nobody has it any more if we fail, and so nobody knows of the container.
    pub fn is_lost_with_us(&self) -> bool {
        self.is_piped
    }

    /// PID 1 of the container, checked to be the same process still. An error where the record has none.
    pub fn process(&self) -> Result<Process> {
        self.process_if_any()?.ok_or_else(|| {
            Error::new("find the container", "container record", "it has no pid")
                .hint("'unshare-lite --detach' writes it")
        })
    }

    /// PID 1 of the container, if the record names one.
    pub fn process_if_any(&self) -> Result<Option<Process>> {
        match (self.keys.get("pid").and_then(pid), self.keys.get("start_time").and_then(Value::as_u64)) {
            (Some(pid), Some(start_time)) => Process::open_same(pid, start_time).map(Some),
            _ => Ok(None),
        }
    }

    /// The namespaces that were made for the container, by inode number.
    #[must_use]
    pub fn namespaces(&self) -> BTreeMap<NamespaceKind, u64> {
        self.keys.get("namespaces").and_then(namespaces).unwrap_or_default()
    }

    /// Key `cgroup`.
    #[must_use]
    pub fn cgroup(&self) -> Option<Cgroup> {
        self.keys.get("cgroup").and_then(Cgroup::from_json)
    }

    /// Key `rootfs`.
    #[must_use]
    pub fn rootfs(&self) -> Option<Rootfs> {
        self.keys.get("rootfs").and_then(Rootfs::from_json)
    }

    /// Key `root`.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        self.keys.get("root").and_then(Root::from_json)
    }

    /// Sets `pid`, `start_time` and `namespaces`.
    pub fn set_process(&mut self, process: &Process, namespaces: &BTreeMap<NamespaceKind, u64>) {
        self.keys.insert("pid".into(), json!(process.pid()));
        self.keys.insert("start_time".into(), json!(process.start_time()));
        let ids: Map<_, _> =
            namespaces.iter().map(|(kind, id)| (kind.name().to_owned(), json!(id))).collect();
        self.keys.insert("namespaces".into(), ids.into());
    }

    /// Sets `cgroup`.
    pub fn set_cgroup(&mut self, cgroup: &Cgroup) {
        let value = json!({ "path": json::from_name(&cgroup.path), "version": cgroup.version });
        self.keys.insert("cgroup".into(), value);
    }

    /// Sets `rootfs`.
    pub fn set_rootfs(&mut self, rootfs: &Rootfs) {
        self.keys.insert("rootfs".into(), rootfs.to_json());
    }

    /// Sets `root`.
    pub fn set_root(&mut self, root: &Root) {
        let mut value = root.imposed.clone();
        value.insert("path".into(), json::from_name(&root.path));
        value.insert("method".into(), root.method.clone().into());
        self.keys.insert("root".into(), value.into());
    }

    /// Why a known key's value is not one, if so.
    fn check(&self) -> std::result::Result<(), String> {
        type Check = fn(&Value) -> bool;
        let checks: [(&str, Check, &str); 6] = [
            ("pid", |v| pid(v).is_some(), "a positive integer"),
            ("start_time", |v| v.as_u64().is_some(), "a non-negative integer"),
            ("namespaces", |v| namespaces(v).is_some(), "an object of namespace kind and inode number"),
            ("cgroup", |v| Cgroup::from_json(v).is_some(), "an object with a relative path and a version"),
            (
                "rootfs",
                |v| Rootfs::from_json(v).is_some(),
                "an object with merged, lower, data, upper, work, init, ephemeral",
            ),
            ("root", |v| Root::from_json(v).is_some(), "an object with path and method"),
        ];
        for (key, valid, what) in checks {
            if self.keys.get(key).is_some_and(|value| !valid(value)) {
                return Err(format!("its {key} is not {what}"));
            }
        }
        if self.keys.contains_key("pid") != self.keys.contains_key("start_time") {
            return Err("pid and start_time name a process only together".into());
        }
        Ok(())
    }
}

impl Cgroup {
    fn from_json(value: &Value) -> Option<Self> {
        let path = PathBuf::from(json::to_name(value.get("path")?)?);
        let version = value.get("version")?.as_str().filter(|v| ["v1", "v2", "hybrid"].contains(v))?;
        // A forged record must not lead out of the hierarchy.
        let inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        (inside && path.components().next().is_some()).then(|| Self { path, version: version.to_owned() })
    }
}

impl Rootfs {
    fn from_json(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let optional = |key| match object.get(key) {
            None => Some(None),
            Some(value) => path(value).map(Some),
        };
        let paths = |value: &Value| value.as_array()?.iter().map(path).collect::<Option<Vec<_>>>();
        Some(Self {
            merged: path(object.get("merged")?)?,
            lower: paths(object.get("lower")?)?,
            data: object.get("data").map_or(Some(Vec::new()), paths)?,
            upper: optional("upper")?,
            work: optional("work")?,
            init: optional("init")?,
            ephemeral: object.get("ephemeral").is_none_or(Value::is_boolean)
                && object.get("ephemeral").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    /// The object as it stands in the record; also what `unionmount --show --json` prints.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("merged".into(), json::from_name(&self.merged));
        object.insert("lower".into(), self.lower.iter().map(json::from_name).collect());
        if !self.data.is_empty() {
            object.insert("data".into(), self.data.iter().map(json::from_name).collect());
        }
        for (key, path) in [("upper", &self.upper), ("work", &self.work), ("init", &self.init)] {
            if let Some(path) = path {
                object.insert(key.into(), json::from_name(path));
            }
        }
        object.insert("ephemeral".into(), self.ephemeral.into());
        object.into()
    }
}

impl Root {
    fn from_json(value: &Value) -> Option<Self> {
        let mut imposed = value.as_object()?.clone();
        let path = path(&imposed.remove("path")?)?;
        let method = imposed.remove("method")?;
        let method = method.as_str().filter(|m| ["pivot_root", "move", "chroot"].contains(m))?.to_owned();
        Some(Self { path, method, imposed })
    }
}

fn path(value: &Value) -> Option<PathBuf> {
    json::to_name(value).filter(|name| !name.is_empty()).map(PathBuf::from)
}

fn pid(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0)
}

fn namespaces(value: &Value) -> Option<BTreeMap<NamespaceKind, u64>> {
    value.as_object()?.iter().map(|(name, id)| Some((NamespaceKind::named(name)?, id.as_u64()?))).collect()
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Record> {
        Record::from_reader(text.as_bytes(), "test")
    }

    fn why(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_pass_through() {
        let mut record = read(r#"{"x":{"y":[1,2]},"cgroup":{"path":"a/b","version":"v2"}}"#).unwrap();
        record.set_cgroup(&Cgroup { path: "c".into(), version: "v1".into() });
        assert_eq!(Value::Object(record.keys), json!({"x":{"y":[1,2]},"cgroup":{"path":"c","version":"v1"}}));
    }

    #[test]
    fn what_is_set_is_read_back() {
        let mut record = Record::default();
        let rootfs = Rootfs {
            merged: "/mnt".into(),
            lower: vec!["/a".into(), "/b".into()],
            data: vec!["/d".into()],
            init: Some("/i".into()),
            ephemeral: true,
            ..Rootfs::default()
        };
        let imposed = json!({"user": "1000:1000"}).as_object().unwrap().clone();
        let root = Root { path: "/mnt".into(), method: "pivot_root".into(), imposed };
        record.set_rootfs(&rootfs);
        record.set_root(&root);
        assert!(record.check().is_ok());
        assert_eq!(record.rootfs(), Some(rootfs));
        assert_eq!(record.root(), Some(root));
    }

    #[test]
    fn a_wrong_type_is_an_error_that_names_the_key() {
        assert_eq!(
            why(r#"{"pid":"7","start_time":1}"#),
            "test: read the container record: its pid is not a positive integer"
        );
        for (key, value) in [
            ("pid", "-1"),
            ("pid", "4294967297"),
            ("start_time", "-3"),
            ("namespaces", r#"{"mount":1}"#),
            ("namespaces", "[]"),
            ("cgroup", r#"{"path":"../x","version":"v2"}"#),
            ("cgroup", r#"{"path":"/x","version":"v2"}"#),
            ("cgroup", r#"{"path":"","version":"v2"}"#),
            ("cgroup", r#"{"path":"x","version":"v3"}"#),
            ("rootfs", r#"{"merged":"/m"}"#),
            ("rootfs", r#"{"merged":"/m","lower":["a\u0000b"]}"#),
            ("rootfs", r#"{"merged":"/m","lower":[],"data":"/d"}"#),
            ("root", r#"{"path":"/m","method":"hope"}"#),
        ] {
            let text = format!(r#"{{"{key}":{value}}}"#);
            assert!(why(&text).contains(&format!("its {key} is not")), "{text}");
        }
    }

    #[test]
    fn a_pid_without_start_time_names_nobody() {
        assert!(why(r#"{"pid":7}"#).contains("only together"));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert!(why("").contains("it is empty"));
        assert!(why("[]").contains("not a JSON object"));
        assert!(why("{").contains("EOF"));
        assert!(why(&format!("{}{}", " ".repeat(1 << 20), "{}")).contains("larger than 1 MiB"));
        assert!(why(&"[".repeat(100_000)).contains("recursion limit"));
    }
}
