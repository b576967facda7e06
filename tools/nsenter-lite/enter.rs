//! The way in. What is needed from outside is open by now; each step takes away a right
//! that the step before it needed.

use std::os::fd::AsFd as _;

use common::namespace::{self, NamespaceKind};
use common::process::Process;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::sched::setns;
use nix::unistd::{Gid, Uid, chdir, chroot, fchdir, getcwd, setgid, setgroups, setuid};

use crate::plan::{Become, Directory, Entry, NamespaceFile};

/// Enters all that the plan names, and becomes whom it names.
pub(crate) fn enter(target: &Process, entry: &Entry) -> Result<()> {
    if let Some(cgroup) = &entry.cgroup {
        cgroup.enter()?; // first, so that nothing of ours runs unlimited inside
    }
    namespaces(target, entry)?;
    root_and_directory(entry)?;
    credentials(entry)
}

fn namespaces(target: &Process, entry: &Entry) -> Result<()> {
    if !entry.kinds.is_empty() {
        let names: Vec<_> = entry.kinds.iter().map(|kind| kind.name()).collect();
        trace::step(format_args!("enter {} of {target}", names.join(", ")));
    }
    namespace::enter(target, &entry.kinds)?;
    files(&entry.files)
}

/// Pinned namespaces, in an order that works for both kinds of caller: root may enter those
/// that the user namespace does not own only before it enters that one, and an ordinary
/// user may enter those that it owns only after.
fn files(files: &[NamespaceFile]) -> Result<()> {
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

impl NamespaceFile {
    fn enter(&self) -> Result<()> {
        trace::step(format_args!("enter the {} namespace of {}", self.kind.name(), self.path.display()));
        setns(self.fd.as_fd(), self.kind.flag()).map_err(|errno| {
            Error::new(format!("enter the {} namespace", self.kind.name()), &self.path, errno).or_hint(match errno {
                Errno::EINVAL => Some("the file is not a namespace of this kind (or it is the user namespace that we are in)"),
                Errno::EPERM => Some("entering takes CAP_SYS_ADMIN in the user namespace that owns it"),
                _ => None,
            })
        })
    }
}

fn root_and_directory(entry: &Entry) -> Result<()> {
    if let Some(root) = &entry.root {
        trace::step("take the target's root directory");
        fchdir(root).and_then(|()| chroot(".")).during("change the root directory", "root")?;
    }
    if let Some(path) = &entry.chroot {
        trace::step(format_args!("chroot to {}", path.display()));
        chdir(path).and_then(|()| chroot(".")).during("change the root directory", path)?;
    }
    match &entry.directory {
        Directory::Inner(path) => chdir(path).during("change the working directory", path)?,
        Directory::Outer(fd, path) => {
            fchdir(fd).during("change the working directory", path)?;
            getcwd().map_err(|errno| {
                Error::new("change the working directory", path, errno)
                    .hint("it lies outside the root that was entered")
            })?;
        }
        Directory::Targets(fd) if fchdir(fd).is_ok() && getcwd().is_ok() => {}
        Directory::Targets(_) => chdir("/").during("change the working directory", "/")?,
        // A directory outside the new root would be a way out (CVE-2024-21626).
        Directory::Unchanged if entry.root.is_some() => {
            chdir("/").during("change the working directory", "/")?
        }
        Directory::Unchanged => {}
    }
    Ok(())
}

fn credentials(entry: &Entry) -> Result<()> {
    if entry.gid != Become::Unchanged {
        leave_groups()?;
    }
    take("group", entry.gid, |id| setgid(Gid::from_raw(id)))?;
    take("user", entry.uid, |id| setuid(Uid::from_raw(id)))
}

fn take(what: &str, whom: Become, set: impl FnOnce(u32) -> nix::Result<()>) -> Result<()> {
    let (id, default) = match whom {
        Become::Unchanged => return Ok(()),
        Become::RootIfMapped => (0, true),
        Become::Id(id) => (id, false),
    };
    trace::step(format_args!("become {what} {id}"));
    match set(id) {
        // Nobody asked for it by number, and who we are stays true.
        Err(Errno::EINVAL) if default => Ok(()),
        result => result.during(format!("become the {what}"), id.to_string()).map_err(unmapped),
    }
}

/// A user namespace with an unprivileged group map denies setgroups(2) for good.
fn leave_groups() -> Result<()> {
    trace::step("leave all supplementary groups");
    match setgroups(&[]) {
        Err(Errno::EPERM) => Ok(()),
        result => result.during("leave the supplementary groups", "setgroups"),
    }
}

fn unmapped(error: Error) -> Error {
    let hint = (error.errno() == Some(Errno::EINVAL)).then_some(
        "the user namespace does not map this id: choose another with -S and -G, or --preserve-credentials",
    );
    error.or_hint(hint)
}
