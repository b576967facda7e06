//! The eight kinds of namespace (namespaces(7)), and entering those of a process.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;

use crate::error::{During as _, Error, Result};
use crate::process::Process;
use crate::trace;

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamespaceKind {
    /// user_namespaces(7)
    User,
    /// mount_namespaces(7)
    Mount,
    /// pid_namespaces(7)
    Pid,
    /// uts_namespaces(7)
    Uts,
    /// ipc_namespaces(7)
    Ipc,
    /// network_namespaces(7)
    Net,
    /// cgroup_namespaces(7)
    Cgroup,
    /// time_namespaces(7), Linux 5.6
    Time,
}

impl NamespaceKind {
    /// All of them, in the order of the container record. The user namespace is first
    /// because entering it gives the privilege to enter the others.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Mount, Self::Pid, Self::Uts, Self::Ipc, Self::Net, Self::Cgroup, Self::Time];

    /// The name of its file in /proc/PID/ns, which is also its key in the container record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// Its bit for clone(2), unshare(2) and setns(2).
    #[must_use]
    pub fn flag(self) -> CloneFlags {
        match self {
            Self::User => CloneFlags::CLONE_NEWUSER,
            Self::Mount => CloneFlags::CLONE_NEWNS,
            Self::Pid => CloneFlags::CLONE_NEWPID,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Net => CloneFlags::CLONE_NEWNET,
            Self::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            // nix has no name for it.
            Self::Time => CloneFlags::from_bits_retain(libc::CLONE_NEWTIME),
        }
    }

    /// The kind with this [`name`](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the running kernel has this kind.
    #[must_use]
    pub fn is_supported(self) -> bool {
        self.file_of("self").exists()
    }

    /// The inode number that names the namespace of this kind that `who` (a PID or `self`) is in.
    pub fn id_of(self, who: impl ToString) -> Result<u64> {
        inode(&self.file_of(who))
    }

    /// The inode number of the namespace that the *children* of `who` are made in. It differs
    /// from [`id_of`](Self::id_of) for PID and time namespaces between unshare(2) and fork(2).
    pub fn id_for_children_of(self, who: impl ToString) -> Result<u64> {
        match self {
            Self::Pid | Self::Time => {
                let path = self.file_of(who).with_file_name(format!("{}_for_children", self.name()));
                inode(&path)
            }
            _ => self.id_of(who),
        }
    }

    /// Its file in /proc.
    #[must_use]
    pub fn file_of(self, who: impl ToString) -> PathBuf {
        Path::new("/proc").join(who.to_string()).join("ns").join(self.name())
    }
}

fn inode(path: &Path) -> Result<u64> {
    match std::fs::metadata(path).during("look at the namespace", path) {
        Ok(metadata) => Ok(metadata.ino()),
        Err(error) => {
            // ptrace(2), "Ptrace access mode checking".
            let hint = (error.errno() == Some(Errno::EACCES))
                .then_some("looking into another user's process takes CAP_SYS_PTRACE: be its owner or root");
            Err(error.or_hint(hint))
        }
    }
}

/// The bits of several kinds together.
#[must_use]
pub fn flags(kinds: &[NamespaceKind]) -> CloneFlags {
    kinds.iter().fold(CloneFlags::empty(), |flags, kind| flags | kind.flag())
}

/// The kinds in which `process` is elsewhere than this process is.
pub fn differing(process: &Process) -> Result<Vec<NamespaceKind>> {
    let mut kinds = Vec::new();
    for kind in NamespaceKind::ALL.into_iter().filter(|kind| kind.is_supported()) {
        if kind.id_of(process.pid())? != kind.id_of("self")? {
            kinds.push(kind);
        }
    }
    process.still_running()?; // else the numbers may be another process's
    Ok(kinds)
}

/// Enters the namespaces of `process`, all at once through its pidfd (setns(2), Linux 5.8),
/// so that they are one process's; where that cannot be done, one by one. A PID namespace takes
/// effect with the next fork. A mount namespace changes the root and the working directory to the
/// namespace's root.
pub fn enter(process: &Process, kinds: &[NamespaceKind]) -> Result<()> {
    if kinds.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    match setns(process.pidfd(), flags(kinds)) {
        // A pidfd is no namespace's file to an older kernel, or to what imitates one.
        Err(Errno::EINVAL | Errno::EBADF) => return enter_one_by_one(process, kinds),
        result => result,
    }
    .map_err(|errno| {
        Error::new(format!("enter its namespaces ({})", names.join(", ")), process.to_string(), errno)
            .or_hint(match errno {
                Errno::EPERM => {
                    Some("entering takes CAP_SYS_ADMIN in the target's user namespace: be its owner or root")
                }
                Errno::ESRCH => Some("the process has ended"),
                _ => None,
            })
    })
}

fn enter_one_by_one(process: &Process, kinds: &[NamespaceKind]) -> Result<()> {
    let open = |kind: &NamespaceKind| NamespaceFile::open(*kind, &kind.file_of(process.pid()));
    let files: Vec<_> = kinds.iter().map(open).collect::<Result<_>>()?;
    process.still_running()?; // else the files may be another process's
    enter_files(&files)
}

/// A namespace that is held by its file: one in /proc/PID/ns, or one that it is pinned to.
#[derive(Debug)]
pub struct NamespaceFile {
    /// Its kind, as it was asked for; entering checks it.
    pub kind: NamespaceKind,
    /// The file's name, for messages.
    pub path: PathBuf,
    /// The file.
    pub fd: OwnedFd,
}

impl NamespaceFile {
    /// Opens `path`.
    pub fn open(kind: NamespaceKind, path: &Path) -> Result<Self> {
        let fd = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty())
            .during("open the namespace", path)?;
        Ok(Self { kind, path: path.to_owned(), fd })
    }

    fn enter(&self) -> Result<()> {
        trace::step(format_args!("enter the {} namespace of {}", self.kind.name(), self.path.display()));
        setns(self.fd.as_fd(), self.kind.flag()).map_err(|errno| {
            Error::new(format!("enter the {} namespace", self.kind.name()), &self.path, errno).or_hint(
                match errno {
                    Errno::EINVAL => Some(
                        "the file is not a namespace of this kind (or it is the user namespace that we are in)",
                    ),
                    Errno::EPERM => Some("entering takes CAP_SYS_ADMIN in the user namespace that owns it"),
                    _ => None,
                },
            )
        })
    }
}

/// Enters these one by one, in an order that works for both kinds of caller: root may enter those
/// that the user namespace does not own only before it enters that one, and an ordinary
/// user may enter those that it owns only after.
pub fn enter_files(files: &[NamespaceFile]) -> Result<()> {
    let (user, others): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.kind == NamespaceKind::User);
    let mut refused = Vec::new();
    for file in others {
        match file.enter() {
            Err(error) if error.errno() == Some(Errno::EPERM) && !user.is_empty() => refused.push(file),
            result => result?,
        }
    }
    user.into_iter().chain(refused).try_for_each(NamespaceFile::enter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_kinds_are_one_to_one() {
        for kind in NamespaceKind::ALL {
            assert_eq!(NamespaceKind::named(kind.name()), Some(kind));
        }
        assert_eq!(NamespaceKind::named("mount"), None);
    }

    #[test]
    fn a_process_differs_from_itself_in_nothing() {
        let myself = Process::open(std::process::id() as i32).unwrap();
        assert_eq!(differing(&myself).unwrap(), []);
    }
}
