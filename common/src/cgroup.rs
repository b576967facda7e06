//! The way into a cgroup that exists, opened before the namespaces change.
//!
//! Files of a cgroup are looked at with the opener's rights, and may be out of sight later.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::error::{During as _, Error, Result};
use crate::hierarchy::{Hierarchy, Host, Version, membership};
use crate::trace;

/// The open doors of a cgroup, one in each hierarchy.
#[derive(Debug)]
pub struct Entrance {
    doors: Vec<Door>,
    v2_directory: Option<OwnedFd>,
}

#[derive(Debug)]
struct Door {
    path: PathBuf,
    version: Version,
    procs: File,
}

impl Entrance {
    /// Of the cgroup `path`, relative to the root of each hierarchy that has it.
    pub fn open(path: &Path) -> Result<Self> {
        let host = Host::find()?;
        let there: Vec<_> = host
            .hierarchies
            .iter()
            .map(|hierarchy| (hierarchy, hierarchy.top.join(path)))
            .filter(|(_, directory)| directory.is_dir())
            .collect();
        if there.is_empty() {
            return Err(Error::new("enter the cgroup", path, "no hierarchy has it").hint("cgset makes it"));
        }
        Self::of_directories(there)
    }

    /// Of the cgroups that the process `pid` is in and we are not.
    pub fn to_that_of(pid: i32) -> Result<Self> {
        let (theirs, ours) = (membership(pid)?, membership("self")?);
        // No cgroups mounted: nothing to join, and nothing that could limit the process.
        let Some(host) = Host::find_if_any()? else { return Self::of_directories(Vec::new()) };
        let mut there = Vec::new();
        for hierarchy in &host.hierarchies {
            let place = hierarchy.place_of(&theirs).ok_or_else(|| {
                Error::new("enter the cgroup", format!("process {pid}"), "its cgroup is not in our sight")
                    .hint("this process sees only a part of the cgroup tree (a cgroup namespace, or a partial mount)")
            })?;
            if hierarchy.place_of(&ours).as_ref() != Some(&place) {
                there.push((hierarchy, place));
            }
        }
        Self::of_directories(there)
    }

    fn of_directories(there: Vec<(&Hierarchy, PathBuf)>) -> Result<Self> {
        let mut entrance = Self { doors: Vec::new(), v2_directory: None };
        for (hierarchy, directory) in there {
            let path = directory.join("cgroup.procs");
            let procs = OpenOptions::new()
                .write(true)
                .open(&path)
                .during("enter the cgroup", &path)
                .map_err(refused)?;
            if hierarchy.version == Version::V2 {
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                entrance.v2_directory =
                    Some(open(&directory, flags, Mode::empty()).during("open", &directory)?);
            }
            entrance.doors.push(Door { path, version: hierarchy.version, procs });
        }
        Ok(entrance)
    }

    /// The cgroup v2 directory, for a child that starts inside it.
    #[must_use]
    pub fn v2_directory(&self) -> Option<BorrowedFd<'_>> {
        self.v2_directory.as_ref().map(OwnedFd::as_fd)
    }

    /// Moves this process in, in every hierarchy.
    pub fn enter(&self) -> Result<()> {
        self.doors.iter().try_for_each(Door::enter)
    }

    /// Moves this process in where it did not start inside: in the v1 hierarchies.
    pub fn enter_v1(&self) -> Result<()> {
        self.doors.iter().filter(|door| door.version == Version::V1).try_for_each(Door::enter)
    }
}

impl Door {
    /// `0` is the writer itself, whatever its PID is in which PID namespace (cgroups(7)).
    fn enter(&self) -> Result<()> {
        trace::step(format_args!("write \"0\" to {}", self.path.display()));
        (&self.procs).write_all(b"0").during("enter the cgroup", &self.path).map_err(refused)
    }
}

fn refused(error: Error) -> Error {
    let hint = match error.errno() {
        Some(Errno::EACCES | Errno::EPERM) => Some(
            "moving takes write access to cgroup.procs of the group and of the nearest group that holds both the \
             old place and the new",
        ),
        Some(Errno::EBUSY) => {
            Some("cgroup v2 has no processes beside child groups that are limited: it has such children")
        }
        _ => None,
    };
    error.or_hint(hint)
}
