//! A group: one directory in each hierarchy. Made, joined and removed as one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use common::undo::Changes;
use common::{Error, Result, trace};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkdir;

use crate::file;
use crate::hierarchy::{Hierarchy, Host, Version, words};
use crate::members;

/// Which group is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Relative to the top of each hierarchy.
    FromTop(PathBuf),
    /// Relative to the caller's own cgroup in each hierarchy.
    FromOwn(PathBuf),
}

/// A group on a host.
#[derive(Clone, Debug)]
pub struct Group<'h> {
    /// As it was named, for messages.
    pub name: PathBuf,
    /// Where it is, or is to be.
    pub places: Vec<Place<'h>>,
}

/// The group's directory in one hierarchy.
#[derive(Clone, Debug)]
pub struct Place<'h> {
    /// The hierarchy.
    pub hierarchy: &'h Hierarchy,
    /// Below the hierarchy's top.
    pub path: PathBuf,
}

impl Name {
    /// Reads GROUP as it was typed: `a/b`, `/a/b`, or `./b`.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bad =
            |why: &str| Err(Error::new("read GROUP", text, why).hint("write it as demo, a/b, or ./demo"));
        let typed = Path::new(text);
        let path: PathBuf = typed.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        if typed.components().any(|part| part == Component::ParentDir) {
            return bad("'..' would lead out of the hierarchy");
        }
        if text.as_encoded_bytes().contains(&b'\n') {
            return bad("the kernel allows no line break in the name of a cgroup");
        }
        match text.as_encoded_bytes() {
            b"" => bad("it is empty"),
            [b'.'] | [b'.', b'/', ..] => Ok(Self::FromOwn(path)),
            _ => Ok(Self::FromTop(path)),
        }
    }

    /// Where it is in `hierarchy`; `None` where the mount does not show the caller's own cgroup.
    fn within(&self, hierarchy: &Hierarchy) -> Option<PathBuf> {
        match self {
            Self::FromTop(path) => Some(path.clone()),
            Self::FromOwn(path) => own(hierarchy).map(|own| own.join(path)),
        }
    }

    /// As a person writes it.
    fn shown(&self) -> PathBuf {
        match self {
            Self::FromTop(path) if path.as_os_str().is_empty() => "/".into(),
            Self::FromTop(path) => path.clone(),
            Self::FromOwn(path) => Path::new(".").join(path),
        }
    }
}

impl Place<'_> {
    /// The directory.
    pub fn directory(&self) -> PathBuf {
        self.hierarchy.top.join(&self.path)
    }

    /// A control file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Makes the group here, with `controllers` enabled down the path (v2) and a usable cpuset (v1).
    fn create(&self, controllers: &[&str], changes: &mut Changes<'_>) -> Result<()> {
        let mut directory = self.hierarchy.top.clone();
        for part in self.path.components() {
            if self.hierarchy.version == Version::V2 {
                enable(&directory, controllers, changes)?;
            }
            let parent = directory.clone();
            directory.push(part);
            make(&directory, changes)?;
            if self.hierarchy.version == Version::V1 && self.hierarchy.has("cpuset") {
                inherit_cpuset(&parent, &directory)?;
            }
        }
        Ok(())
    }
}

impl<'h> Group<'h> {
    /// The group `name` in all hierarchies, whether it exists or not.
    pub fn named(host: &'h Host, name: &Name) -> Result<Self> {
        let places: Vec<_> = host
            .hierarchies
            .iter()
            .filter_map(|hierarchy| Some(Place { hierarchy, path: name.within(hierarchy)? }))
            .collect();
        let name = name.shown();
        if places.is_empty() {
            return Err(Error::new(
                "find the caller's own cgroup",
                &name,
                "no mount of this mount namespace shows it",
            )
            .hint("name GROUP from the top of the hierarchy, without ./"));
        }
        Ok(Self { name, places })
    }

    /// The group `name` where it exists. An error where it is in no hierarchy.
    pub fn existing(host: &'h Host, name: &Name) -> Result<Self> {
        let mut group = Self::named(host, name)?;
        group.places.retain(|place| place.directory().is_dir());
        if group.places.is_empty() {
            return Err(Error::new("find the group", &group.name, "no such cgroup")
                .hint("'cgset / --list' shows those that exist"));
        }
        Ok(group)
    }

    /// Makes the group where it is missing. A hierarchy that this user may not write to is left
    /// out, unless one of `controllers`, which are to be set, is in it.
    pub fn create(&mut self, controllers: &[&str], changes: &mut Changes<'_>) -> Result<()> {
        let mut refused = None;
        let mut made = Vec::new();
        for place in self.places.drain(..) {
            let needed: Vec<_> = controllers
                .iter()
                .copied()
                .filter(|controller| {
                    place.hierarchy.has(controller)
                        || (*controller == "cgroup" && place.hierarchy.version == Version::V2)
                })
                .collect();
            match place.create(&needed, changes) {
                Ok(()) => made.push(place),
                Err(error) if needed.is_empty() && is_denial(&error) => {
                    trace::step(format_args!("leave {} out: {error}", place.hierarchy.top.display()));
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        self.places = made;
        match refused {
            Some(error) if self.places.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether `controllers` are still enabled for the group (v2).
    pub fn has_still(&self, controllers: &[&str]) -> Result<bool> {
        let Some(place) = self.place_with("cgroup") else { return Ok(true) };
        let enabled = words(&place.file("cgroup.controllers"))?;
        let mut needed = controllers.iter().filter(|controller| place.hierarchy.has(controller));
        Ok(needed.all(|controller| enabled.iter().any(|have| have == controller)))
    }

    /// Fails where cgroup v2 made the group one that no process can be in: a child, not threaded
    /// itself, of a group that is threaded, or became so because it has processes of its own.
    pub fn check_usable(&self) -> Result<()> {
        let Some(place) = self.place_with("cgroup") else { return Ok(()) };
        if file::read_if_any(&place.file("cgroup.type"))?.as_deref() != Some("domain invalid") {
            return Ok(());
        }
        let parent = place.directory().parent().map(|parent| parent.join("cgroup.procs"));
        let crowded = parent.is_some_and(|procs| words(&procs).is_ok_and(|pids| !pids.is_empty()));
        Err(Error::new("use the cgroup", place.directory(), "its type is 'domain invalid'").hint(
            if crowded {
                file::NO_INTERNAL_PROCESSES
            } else {
                "its parent is threaded, so it can only be threaded too: set cgroup.type=threaded"
            },
        ))
    }

    /// Where `controller` is set.
    pub fn place_with(&self, controller: &str) -> Option<&Place<'h>> {
        match controller {
            "cgroup" => self.places.iter().find(|place| place.hierarchy.version == Version::V2),
            _ => self.places.iter().find(|place| place.hierarchy.has(controller)),
        }
    }

    /// The path for a container record: one for all hierarchies.
    pub fn record_path(&self) -> Result<PathBuf> {
        let path = &self.places[0].path;
        if self.places.iter().any(|place| place.path != *path) {
            return Err(Error::new(
                "write the container record",
                &self.name,
                "its path differs between the hierarchies",
            )
            .hint("name GROUP from the top of the hierarchies, without ./"));
        }
        Ok(path.clone())
    }

    /// Refuses to `act` (kill, freeze) on the whole machine, or on cgset itself.
    pub fn check_is_not_ours(&self, act: &'static str) -> Result<()> {
        if self.is_top() {
            let why = "the top of the hierarchy holds everything on this machine";
            return Err(Error::new(act, &self.name, why));
        }
        let holds_us =
            |place: &Place<'_>| own(place.hierarchy).is_some_and(|own| own.starts_with(&place.path));
        if self.places.iter().any(holds_us) {
            return Err(Error::new(act, &self.name, "cgset itself is in it")
                .hint("run it from another group, or name a child of this one"));
        }
        Ok(())
    }

    /// Whether it is the top of a hierarchy, which is not anybody's group.
    pub fn is_top(&self) -> bool {
        self.places.iter().any(|place| place.path.as_os_str().is_empty())
    }
}

/// The caller's own cgroup, below the hierarchy's top. Where the cgroup namespace's top is somewhere below
/// that of the mount, /proc does not say where, but the control files know who is in which group.
pub fn own(hierarchy: &Hierarchy) -> Option<PathBuf> {
    hierarchy.own.clone().or_else(|| {
        let we = i32::try_from(std::process::id()).ok()?;
        let holds_us = |directory: &PathBuf| members::pids(directory).is_ok_and(|pids| pids.contains(&we));
        let directory = members::subtree(&hierarchy.top).into_iter().find(holds_us)?;
        directory.strip_prefix(&hierarchy.top).ok().map(Path::to_owned)
    })
}

/// Makes one directory, unless it is there.
fn make(directory: &Path, changes: &mut Changes<'_>) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    trace::step(format_args!("make the cgroup {}", common::error::printable(directory)));
    match mkdir(directory, Mode::from_bits_truncate(0o755)) {
        Ok(()) => {
            let directory = directory.to_owned();
            // Where somebody has moved in meanwhile, it is theirs.
            changes.made(move || drop(fs::remove_dir(directory)));
            Ok(())
        }
        // Another cgset was faster.
        Err(Errno::EEXIST) if directory.is_dir() => Ok(()),
        Err(errno) => {
            Err(Error::new("make the cgroup", directory, errno).or_hint(hint_for_making(directory, errno)))
        }
    }
}

/// Lets the children of `directory` have `controllers`, those that they do not have yet.
fn enable(directory: &Path, controllers: &[&str], changes: &mut Changes<'_>) -> Result<()> {
    let subtree_control = directory.join("cgroup.subtree_control");
    let enabled = words(&subtree_control)?;
    for controller in controllers.iter().filter(|controller| **controller != "cgroup") {
        if enabled.iter().any(|have| have == controller) {
            continue;
        }
        file::write(&subtree_control, &format!("+{controller}")).map_err(|error| {
            // Only where the controller is not in the parent's own list.
            let missing = error.errno() == Some(Errno::ENOENT);
            let hint =
                format!("{controller} is not enabled for {}, so it has none to give", directory.display());
            if missing { error.hint(hint) } else { error }
        })?;
        let (directory, controller) = (directory.to_owned(), (*controller).to_owned());
        let before = limits_of_children(&directory, &controller);
        changes.made(move || {
            // Disabling it would drop what somebody has set for a sibling meanwhile: then it stays.
            if limits_of_children(&directory, &controller) == before {
                file::put_back(&directory.join("cgroup.subtree_control"), &format!("-{controller}"));
            }
        });
    }
    Ok(())
}

/// What can be set of `controller` in each child of `directory`, and how it is set.
fn limits_of_children(directory: &Path, controller: &str) -> BTreeMap<PathBuf, String> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let children = entries(directory).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let files = children.flat_map(|child| entries(&child.path())).filter(|file| {
        file.file_name().to_string_lossy().split_once('.').is_some_and(|(prefix, _)| prefix == controller)
            && file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o222 != 0)
    });
    files.map(|file| (file.path(), file::read(&file.path()).unwrap_or_default())).collect()
}

/// A v1 cpuset is born empty, and an empty one takes no process (cpuset(7)).
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        if file::read(&child.join(name))?.is_empty() {
            file::write(&child.join(name), &file::read(&parent.join(name))?)?;
        }
    }
    Ok(())
}

fn is_denial(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS))
}

fn hint_for_making(directory: &Path, errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EACCES | Errno::EPERM => Some(
            "without root, groups can be made only below one that was delegated: 'systemd-run --user --scope \
             -p Delegate=yes sh' gives such a one, or root does with 'cgset GROUP --owner UID'; then use ./NAME",
        ),
        Errno::EROFS => Some("the cgroup filesystem is mounted read-only, as it is inside a container"),
        Errno::EAGAIN => Some("a parent's cgroup.max.depth or cgroup.max.descendants is reached"),
        Errno::EEXIST => Some("a control file of the parent group has this name"),
        Errno::ENOENT if !directory.parent().is_some_and(Path::is_dir) => {
            Some("the parent was removed meanwhile")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(OsStr::new(text)).unwrap()
    }

    #[test]
    fn a_name_is_from_the_top_or_from_the_callers_own() {
        assert_eq!(name("a/b"), Name::FromTop("a/b".into()));
        assert_eq!(name("/a//b/"), Name::FromTop("a/b".into()));
        assert_eq!(name("a/./b"), Name::FromTop("a/b".into()));
        assert_eq!(name("./b"), Name::FromOwn("b".into()));
        assert_eq!(name("."), Name::FromOwn("".into()));
        assert_eq!(name(".hidden"), Name::FromTop(".hidden".into()));
        assert_eq!(name("/"), Name::FromTop("".into()));
    }

    #[test]
    fn a_name_that_leads_out_or_cannot_be_is_refused() {
        for text in ["", "..", "a/../b", "./..", "a\nb"] {
            assert!(Name::parse(OsStr::new(text)).is_err(), "{text:?}");
        }
    }
}
