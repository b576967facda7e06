//! The cgroup hierarchies of this host, found from the mount table and /proc/self/cgroup.
//!
//! No path is assumed: a hierarchy is where a mount of it is, and the mount point must
//! really show the filesystem that the mount table says (cgroups(7)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::error::{During as _, Error, Result};
use crate::mountinfo::{self, Mount};
use nix::errno::Errno;
use nix::sys::stat::{major, minor, stat};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

/// Which of the two cgroup interfaces a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The first: one hierarchy for each controller, or for a few of them together.
    V1,
    /// The second: one tree for all controllers.
    V2,
}

/// One hierarchy, as a mount shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// What can be set in it: `memory`, `pids`, …
    pub controllers: Vec<String>,
    /// Where its top directory is.
    pub top: PathBuf,
    /// The caller's own cgroup below `top`; `None` where the mount does not show it.
    pub own: Option<PathBuf>,
    /// Whether the mount can only be read.
    pub read_only: bool,
    /// The top within the whole hierarchy: not `/` where only a part of it is mounted.
    root: PathBuf,
}

/// All hierarchies that take part: cgroup v2's tree and those of v1 that have controllers.
/// Named v1 hierarchies (`name=systemd`) limit nothing and are their owner's business.
#[derive(Debug)]
pub struct Host {
    /// v2 first, where there is a v2 tree.
    pub hierarchies: Vec<Hierarchy>,
}

/// A line of /proc/PID/cgroup: controllers (none for v2) and path.
#[derive(Debug, PartialEq, Eq)]
pub struct Membership {
    controllers: Vec<String>,
    path: PathBuf,
}

impl Host {
    /// Looks for the hierarchies.
    pub fn find() -> Result<Self> {
        Self::find_if_any()?.ok_or_else(|| {
            Error::new("find the cgroup hierarchies", "/proc/self/mountinfo", "none is mounted")
                .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        })
    }

    /// The same where there may be none.
    pub fn find_if_any() -> Result<Option<Self>> {
        let (mounts, own) = (mountinfo::of_self()?, membership("self")?);
        let mut hierarchies = Vec::new();
        for line in own {
            let mut shown = candidates(&mounts, &line)
                .into_iter()
                .map(|(mount, hierarchy)| is_really(mount).map(|it_is| it_is.then_some(hierarchy)));
            let Some(mut hierarchy) = shown.find_map(Result::transpose).transpose()? else {
                continue;
            };
            if hierarchy.version == Version::V2 {
                hierarchy.controllers = words(&hierarchy.top.join("cgroup.controllers"))?;
            }
            hierarchies.push(hierarchy);
        }
        hierarchies.sort_by_key(|hierarchy| hierarchy.version == Version::V1);
        Ok((!hierarchies.is_empty()).then_some(Self { hierarchies }))
    }

    /// The word for a container record: `v1`, `v2` or `hybrid`.
    pub fn version(&self) -> &'static str {
        let has = |version| self.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
        match (has(Version::V1), has(Version::V2)) {
            (true, true) => "hybrid",
            (true, false) => "v1",
            _ => "v2",
        }
    }

    /// The v2 tree, if it is mounted.
    pub fn v2(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2)
    }

    /// The hierarchy that has `controller`; `cgroup` is what v2 itself has without any controller.
    pub fn with(&self, controller: &str) -> Option<&Hierarchy> {
        if controller == "cgroup" {
            return self.v2();
        }
        self.hierarchies.iter().find(|hierarchy| hierarchy.has(controller))
    }

    /// What can be set on this host, for messages.
    pub fn controllers(&self) -> String {
        let all = self.hierarchies.iter().flat_map(|hierarchy| &hierarchy.controllers);
        all.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

impl Hierarchy {
    /// Whether `controller` is this hierarchy's.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|have| have == controller)
    }

    /// Where in this hierarchy a process with these memberships is; `None` where the mount does not show it.
    pub fn place_of(&self, memberships: &[Membership]) -> Option<PathBuf> {
        let line = memberships.iter().find(|line| match self.version {
            Version::V2 => line.controllers.is_empty(),
            Version::V1 => line.controllers.first().is_some_and(|first| self.has(first)),
        })?;
        below(&line.path, &self.root).map(|relative| self.top.join(relative))
    }
}

/// The cgroups of a process (a PID or `self`), save those of named hierarchies.
pub fn membership(who: impl ToString) -> Result<Vec<Membership>> {
    let path = format!("/proc/{}/cgroup", who.to_string());
    let text = std::fs::read(&path).during("read", &path)?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse_line).collect())
}

/// `ID:CONTROLLERS:PATH`. A path may hold colons, controllers never do.
fn parse_line(line: &[u8]) -> Option<Membership> {
    let mut fields = line.splitn(3, |&byte| byte == b':');
    let (id, names, path) = (fields.next()?, fields.next()?, fields.next()?);
    let names = std::str::from_utf8(names).ok()?;
    if names.contains('=') || (names.is_empty() && id != b"0") {
        return None;
    }
    let controllers = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(Membership { controllers, path: Path::new(OsStr::from_bytes(path)).to_owned() })
}

/// The mounts of the hierarchy that `own` is a membership in, the most useful first: writable
/// before read-only, the whole before a part.
fn candidates<'a>(mounts: &'a [Mount], own: &Membership) -> Vec<(&'a Mount, Hierarchy)> {
    let version = if own.controllers.is_empty() { Version::V2 } else { Version::V1 };
    let mut found: Vec<_> = mounts
        .iter()
        .filter(|mount| match version {
            Version::V2 => mount.fs_type == "cgroup2",
            Version::V1 => {
                mount.fs_type == "cgroup" && own.controllers.iter().all(|name| mount.has_super_option(name))
            }
        })
        .map(|mount| {
            let hierarchy = Hierarchy {
                version,
                controllers: own.controllers.clone(),
                top: mount.mount_point.clone(),
                own: below(&own.path, &mount.root),
                read_only: mount.has_option("ro") || mount.has_super_option("ro"),
                root: mount.root.clone(),
            };
            (mount, hierarchy)
        })
        .collect();
    found.sort_by_key(|(mount, hierarchy)| (hierarchy.read_only, mount.root.components().count()));
    found
}

/// `path` relative to `root`. Both are seen from the cgroup namespace: a root above it begins
/// with `/..`, and what lies between cannot be known from here (cgroup_namespaces(7)).
fn below(path: &Path, root: &Path) -> Option<PathBuf> {
    let relative = path.strip_prefix(root).ok()?;
    relative.components().all(|part| matches!(part, Component::Normal(_))).then(|| relative.to_owned())
}

/// Whether the mount point shows this mount, and not another one on top, or a decoy.
fn is_really(mount: &Mount) -> Result<bool> {
    let magic = if mount.fs_type == "cgroup2" { CGROUP2_SUPER_MAGIC } else { CGROUP_SUPER_MAGIC };
    let point = &mount.mount_point;
    let look = || -> nix::Result<bool> {
        let (filesystem, stat) = (statfs(point)?.filesystem_type(), stat(point)?);
        let device = format!("{}:{}", major(stat.st_dev), minor(stat.st_dev));
        Ok(filesystem == magic && device == mount.device)
    };
    match look() {
        // Something is mounted over it.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => Ok(false),
        // Left out, it would be one whose limits are not kept.
        found => found.during("look at the cgroup hierarchy", point),
    }
}

/// The words of a control file.
pub fn words(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).during("read", file)?;
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Membership> {
        text.lines().filter_map(|line| parse_line(line.as_bytes())).collect()
    }

    fn mount(root: &str, at: &str, fs_type: &str, options: &str, super_options: &str) -> Mount {
        Mount {
            id: 1,
            parent: 1,
            device: "0:1".into(),
            root: root.into(),
            mount_point: at.into(),
            options: options.into(),
            propagation: Vec::new(),
            fs_type: fs_type.into(),
            source: "cgroup".into(),
            super_options: super_options.into(),
        }
    }

    fn best(mounts: &[Mount], own: &str) -> Option<Hierarchy> {
        candidates(mounts, &lines(own)[0]).into_iter().next().map(|(_, hierarchy)| hierarchy)
    }

    #[test]
    fn a_line_gives_controllers_and_path() {
        let all = lines("5:cpu,cpuacct:/a:b\n9:name=systemd:/\n3::/x\n0::/user.slice");
        assert_eq!(all.len(), 2, "named hierarchies are left alone: {all:?}");
        assert_eq!(all[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(all[0].path, Path::new("/a:b"));
        assert_eq!(all[1].path, Path::new("/user.slice"));
    }

    #[test]
    fn several_controllers_may_share_a_mount_at_an_odd_place() {
        let mounts = [
            mount("/", "/odd/memory", "cgroup", "rw", "rw,memory"),
            mount("/", "/odd/cpu", "cgroup", "rw", "rw,cpu,cpuacct"),
        ];
        let found = best(&mounts, "5:cpu,cpuacct:/").unwrap();
        assert_eq!(found.top, Path::new("/odd/cpu"));
        assert!(found.has("cpuacct") && !found.has("memory"));
    }

    #[test]
    fn a_writable_mount_goes_before_a_read_only_one_and_the_whole_before_a_part() {
        let mounts = [
            mount("/", "/ro", "cgroup2", "ro", "rw"),
            mount("/a", "/part", "cgroup2", "rw", "rw"),
            mount("/", "/whole", "cgroup2", "rw", "rw"),
        ];
        assert_eq!(best(&mounts, "0::/a/b").unwrap().top, Path::new("/whole"));
        assert_eq!(best(&mounts[..2], "0::/a/b").unwrap().own, Some("b".into()));
        assert!(best(&mounts[..1], "0::/a/b").unwrap().read_only);
    }

    #[test]
    fn what_a_cgroup_namespace_hides_is_not_guessed() {
        let above = [mount("/../..", "/sys/fs/cgroup", "cgroup2", "rw", "rw")];
        assert_eq!(best(&above, "0::/").unwrap().own, None);
        let inside = [mount("/", "/sys/fs/cgroup", "cgroup2", "rw", "rw")];
        assert_eq!(best(&inside, "0::/").unwrap().own, Some("".into()));
        assert_eq!(best(&inside, "0::/../other").unwrap().own, None);
    }

    #[test]
    fn a_decoy_is_not_taken_for_a_hierarchy() {
        assert!(!is_really(&mount("/", "/proc", "cgroup2", "rw", "rw")).unwrap());
    }
}
