//! The way in. What is needed from outside is open by now; each step takes away a right
//! that the step before it needed.

use std::path::Path;

use common::namespace::{self, NamespaceKind};
use common::process::Process;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{chdir, chroot, fchdir, getcwd};

use crate::plan::{Directory, Entry};

/// Enters all that the plan names, still as who we are.
pub(crate) fn enter(target: &Process, entry: &Entry) -> Result<()> {
    if let Some(cgroup) = &entry.cgroup {
        cgroup.enter()?; // first, so that nothing of ours runs unlimited inside
    }
    entry.limits.apply_oom_score()?;
    // Once inside, nobody there may look into this process (CVE-2016-9962).
    prctl::set_dumpable(false).during("set", "not dumpable")?;
    namespaces(target, entry)?;
    root_and_directory(entry)
}

fn namespaces(target: &Process, entry: &Entry) -> Result<()> {
    if !entry.kinds.is_empty() {
        let names: Vec<_> = entry.kinds.iter().map(|kind| kind.name()).collect();
        trace::step(format_args!("enter {} of {target}", names.join(", ")));
    }
    let by_file = |kind| entry.files.iter().any(|file| file.kind == kind);
    match namespace::enter(target, &entry.kinds) {
        // The user namespace that gives the right to the others is among the files.
        Err(error) if error.errno() == Some(Errno::EPERM) && by_file(NamespaceKind::User) => {
            namespace::enter_files(&entry.files)?;
            namespace::enter(target, &entry.kinds)
        }
        result => result.and_then(|()| namespace::enter_files(&entry.files)),
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
        Directory::Inner(path) => {
            chdir(path).during("change the working directory", path)?;
            must_be_inside(path)?;
        }
        Directory::Outer(fd, path) => {
            fchdir(fd).during("change the working directory", path)?;
            must_be_inside(path)?;
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

/// A descriptor's link in /proc leads out of any root (CVE-2024-21626).
fn must_be_inside(path: &Path) -> Result<()> {
    getcwd().map(drop).map_err(|errno| {
        Error::new("change the working directory", path, errno)
            .hint("it lies outside the root that was entered")
    })
}
