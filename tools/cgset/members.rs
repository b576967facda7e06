//! The processes of a group: who they are, and moving in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::namespace::NamespaceKind;
use common::process::Process;
use common::undo::Changes;
use common::{During as _, Error, Result, procfs, trace};
use nix::errno::Errno;

use crate::file;
use crate::group::{Group, Place, own};
use crate::hierarchy::{Membership, Version, membership};

/// Whether whole processes move or single threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// With all their threads.
    Processes,
    /// Each by itself (v2: only within a threaded subtree).
    Threads,
}

impl Unit {
    /// The file that takes them.
    fn file(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Processes, _) => "cgroup.procs",
            (Self::Threads, Version::V1) => "tasks",
            (Self::Threads, Version::V2) => "cgroup.threads",
        }
    }
}

/// Moves this process into `group`. It names itself `0`: its PID may differ from what /proc shows,
/// as it does for PID 1 of a PID namespace whose /proc is not mounted yet.
pub fn join(group: &Group<'_>, unit: Unit, changes: &mut Changes<'_>) -> Result<()> {
    move_in(group, "0", &membership("self")?, unit, changes).map(|_| ())
}

/// Moves the process or thread `pid`. Says whether it still was there.
pub fn adopt(group: &Group<'_>, pid: i32, unit: Unit, changes: &mut Changes<'_>) -> Result<bool> {
    match membership(pid) {
        Ok(old) => move_in(group, &pid.to_string(), &old, unit, changes),
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ESRCH)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn move_in(
    group: &Group<'_>,
    who: &str,
    old: &[Membership],
    unit: Unit,
    changes: &mut Changes<'_>,
) -> Result<bool> {
    for place in &group.places {
        let file = place.file(unit.file(place.hierarchy.version));
        let back = place.hierarchy.place_of(old).or_else(|| match who {
            "0" => own(place.hierarchy).map(|own| place.hierarchy.top.join(own)),
            _ => None,
        });
        trace::step(format_args!("write {who:?} to {}", common::error::printable(&file)));
        match file::put(&file, who) {
            Ok(()) => {}
            // It has ended meanwhile.
            Err(Errno::ESRCH) => return Ok(false),
            Err(errno) => {
                let (step, object) = match who {
                    "0" => ("join the cgroup".to_owned(), place.directory()),
                    pid => (format!("move {pid} into the cgroup"), place.directory()),
                };
                return Err(Error::new(step, object, errno).or_hint(hint_for_moving(errno)));
            }
        }
        if let Some(back) = back {
            let (back, who) = (back.join(unit.file(place.hierarchy.version)), who.to_owned());
            changes.made(move || file::put_back(&back, &who));
        }
    }
    Ok(true)
}

/// Fails where `init` is an ancestor of cgset itself: a forged record would have us move the shell that
/// started the pipeline, or the whole machine.
pub fn check_is_a_container(init: &Process) -> Result<()> {
    let mut pid = procfs::own_pid()?;
    while pid > 0 && pid != init.pid() {
        pid = procfs::status(pid, "PPid")?.parse().unwrap_or(0);
    }
    if pid == 0 {
        return Ok(());
    }
    Err(Error::new("move the container", init.to_string(), "it is an ancestor of cgset itself")
        .hint("the record names no container, but a process that started this pipeline"))
}

/// Moves the container of `init`, its PID 1: all of its processes, however they fork meanwhile.
/// What a process forks before it is moved is found by the next look; after that it is born inside.
pub fn adopt_container(group: &Group<'_>, init: &Process, changes: &mut Changes<'_>) -> Result<()> {
    sweep_back(group, init, changes)?;
    let mut moved = BTreeSet::new();
    loop {
        let mut outside = container_of(init)?;
        outside.retain(|pid| !moved.contains(pid) && !is_inside(group, *pid));
        if outside.is_empty() {
            return init.still_running();
        }
        for pid in outside {
            adopt(group, pid, Unit::Processes, changes)?;
            moved.insert(pid);
        }
    }
}

/// Notes the last way back: what has been forked inside the group by then goes where PID 1 was.
fn sweep_back(group: &Group<'_>, init: &Process, changes: &mut Changes<'_>) -> Result<()> {
    let old = membership(init.pid())?;
    for place in &group.places {
        let Some(back) = place.hierarchy.place_of(&old) else { continue };
        let directory = place.directory();
        let residents: BTreeSet<_> = pids(&directory)?.into_iter().collect();
        changes.made(move || {
            let left = pids(&directory).unwrap_or_default();
            for pid in left.into_iter().filter(|pid| !residents.contains(pid)) {
                file::put_back(&back.join("cgroup.procs"), &pid.to_string());
            }
        });
    }
    Ok(())
}

fn is_inside(group: &Group<'_>, pid: i32) -> bool {
    membership(pid).is_ok_and(|now| {
        group.places.iter().all(|place| place.hierarchy.place_of(&now).as_ref() == Some(&place.directory()))
    })
}

/// Whether `pid` is in the group or below it, in some hierarchy.
pub fn is_below(group: &Group<'_>, pid: i32) -> bool {
    membership(pid).is_ok_and(|now| {
        let is_at = |place: &Place<'_>| Some(place.hierarchy.place_of(&now)?.starts_with(place.directory()));
        group.places.iter().any(|place| is_at(place) == Some(true))
    })
}

/// The processes in PID 1's PID namespace, and the descendants of all of them.
fn container_of(init: &Process) -> Result<BTreeSet<i32>> {
    let own = NamespaceKind::Pid.id_of("self")?;
    let namespace = NamespaceKind::Pid.id_of(init.pid())?;
    let mut parents = BTreeMap::new();
    let mut members = BTreeSet::from([init.pid()]);
    for entry in fs::read_dir("/proc").during("list", "/proc")? {
        let name = entry.during("list", "/proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // One that ends while we look is no member any more; one that we may not look at is another user's.
        let Ok(parent) = procfs::status(pid, "PPid") else { continue };
        parents.insert(pid, parent.parse().unwrap_or(0));
        // A container without a PID namespace of its own is PID 1's descendants.
        if namespace != own && NamespaceKind::Pid.id_of(pid).is_ok_and(|id| id == namespace) {
            members.insert(pid);
        }
    }
    init.still_running()?;
    let descends = |mut pid: i32| {
        // Bounded: a PID that is used again while we look could close a circle.
        for _ in 0..parents.len() {
            if members.contains(&pid) {
                return true;
            }
            match parents.get(&pid) {
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    let descendants: Vec<_> = parents.keys().copied().filter(|pid| descends(*pid)).collect();
    members.extend(descendants);
    Ok(members)
}

/// The directories of the subtree at `directory`, itself first, parents before children.
pub fn subtree(directory: &Path) -> Vec<PathBuf> {
    let mut all = vec![directory.to_owned()];
    let mut next = 0;
    while next < all.len() {
        // A group that is removed while we look has nothing to show.
        let children = fs::read_dir(&all[next]).into_iter().flatten().flatten();
        let mut children: Vec<_> = children
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|e| e.path())
            .collect();
        children.sort();
        all.extend(children);
        next += 1;
    }
    all
}

/// The processes in one directory, 0 for each that this PID namespace does not show.
pub fn pids(directory: &Path) -> Result<Vec<i32>> {
    let list = match file::read(&directory.join("cgroup.procs")) {
        // A threaded group has threads, not processes.
        Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => {
            file::read(&directory.join("cgroup.threads"))?
        }
        // It was removed meanwhile.
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => String::new(),
        list => list?,
    };
    Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
}

/// The processes in the group and below it, in all hierarchies.
pub fn all_pids(group: &Group<'_>) -> Result<BTreeSet<i32>> {
    let mut all = BTreeSet::new();
    for place in &group.places {
        for directory in subtree(&place.directory()) {
            all.extend(pids(&directory)?);
        }
    }
    Ok(all)
}

fn hint_for_moving(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::EBUSY => {
            "cgroup v2 has no processes beside child groups that are limited: join one of the children, or take \
             the controllers out of this group's cgroup.subtree_control"
        }
        Errno::EOPNOTSUPP => {
            "threads move only within one threaded subtree, and processes not into a group of type 'domain \
             invalid': move the whole process to the subtree's top first"
        }
        Errno::EACCES | Errno::EPERM => {
            "moving takes write access to cgroup.procs of the group and, on v2, of the nearest group that holds \
             both the old place and the new: root starts the first process there"
        }
        Errno::ENOSPC => "its cpuset.cpus or cpuset.mems is empty",
        Errno::EINVAL => {
            "kernel threads and, on v1, real-time processes without cpu.rt_runtime_us cannot move"
        }
        file::DECOY => "something else is mounted over this part of the cgroup hierarchy",
        Errno::EROFS => "the cgroup filesystem is mounted read-only",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_holds_the_descendants_of_its_first_process() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let init = Process::open(child.id() as i32).unwrap();
        while container_of(&init).unwrap().len() < 2 {
            std::thread::yield_now();
        }
        let members = container_of(&init).unwrap();
        assert!(!members.contains(&(std::process::id() as i32)), "{members:?}");
        for pid in members {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
                .unwrap();
        }
        child.wait().unwrap();
    }
}
