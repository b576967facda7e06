//! The new namespaces furnished, in the process that will become COMMAND.

use std::path::Path;

use common::creds::setgroups_is_denied;
use common::sys::fscontext::FsContext;
use common::sys::mount::{Attributes, attach};
use common::{During as _, Error, Result, death_signal, sys, trace};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, setgid, setgroups, sethostname, setuid};
use std::os::fd::AsFd as _;

use crate::cli::Propagation;
use crate::plan::Inside;

/// All of it, in the order that the kernel allows: mounts while we are privileged, the user last.
pub(crate) fn furnish(plan: &Inside) -> Result<()> {
    if let Some(mode) = plan.propagation {
        set_propagation(mode)?;
    }
    if let Some(name) = &plan.hostname {
        trace::step(format_args!("set the host name to {}", name.display()));
        sethostname(name).during("set the host name", name)?;
    }
    if let Some(name) = &plan.domainname {
        trace::step(format_args!("set the domain name to {}", name.display()));
        sys::uts::set_domain_name(name).during("set the domain name", name)?;
    }
    if plan.loopback {
        trace::step("bring the loopback interface up");
        sys::net::bring_loopback_up().during("bring the interface up", "lo")?;
    }
    if let Some(directory) = &plan.proc_directory {
        mount_proc(directory)?;
    }
    death_signal::keep_over(|| become_user(plan))
}

fn set_propagation(mode: Propagation) -> Result<()> {
    let (flag, word) = match mode {
        Propagation::Private => (MsFlags::MS_PRIVATE, "private"),
        Propagation::Slave => (MsFlags::MS_SLAVE, "slave"),
        Propagation::Shared => (MsFlags::MS_SHARED, "shared"),
        Propagation::Unchanged => return Ok(()),
    };
    trace::step(format_args!("make all mounts {word}"));
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | flag, none).during(format!("make all mounts {word}"), "/").map_err(|error| {
        let chrooted = (error.errno() == Some(Errno::EINVAL)).then_some(
            "the root directory is no mount point (a chroot): bind it onto itself first, or use --propagation unchanged",
        );
        error.or_hint(chrooted)
    })
}

fn mount_proc(directory: &Path) -> Result<()> {
    let step = "mount proc";
    trace::step(format_args!("mount proc on {} (nosuid,nodev,noexec)", directory.display()));
    let target = open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .during(step, directory)?;
    let refused = |errno| {
        Error::new(step, directory, errno).or_hint((errno == Errno::EPERM).then_some(
            "a user namespace may mount proc only with its own PID namespace (--pid), and where the old /proc is whole",
        ))
    };
    let proc = FsContext::open(c"proc").map_err(refused)?;
    let safe = Attributes::NOSUID.and(Attributes::NODEV).and(Attributes::NOEXEC);
    let tree = proc.mount(safe).map_err(refused)?;
    attach(tree.as_fd(), target.as_fd()).map_err(refused)
}

/// Groups before the group, the group before the user: each step takes away the right to the one before.
fn become_user(plan: &Inside) -> Result<()> {
    if plan.keep_caps {
        // Else the change of user would clear them (capabilities(7)).
        prctl::set_keepcaps(true).during("keep the capabilities", "prctl")?;
    }
    if let Some(gid) = plan.gid {
        trace::step(format_args!("leave all supplementary groups, become group {gid}"));
        leave_groups()?;
        setgid(Gid::from_raw(gid))
            .during("become the group", gid.to_string())
            .map_err(|error| unmapped(error, "group"))?;
    }
    if let Some(uid) = plan.uid {
        trace::step(format_args!("become user {uid}"));
        setuid(Uid::from_raw(uid))
            .during("become the user", uid.to_string())
            .map_err(|error| unmapped(error, "user"))?;
    }
    if plan.keep_caps {
        trace::step("make the capabilities ambient");
        make_ambient()?;
    }
    Ok(())
}

/// Where setgroups(2) is denied there is nothing to leave that the kernel would let us.
fn leave_groups() -> Result<()> {
    match setgroups(&[]) {
        Err(Errno::EPERM) if setgroups_is_denied() => Ok(()),
        result => result.during("leave the supplementary groups", "setgroups"),
    }
}

fn unmapped(error: Error, what: &str) -> Error {
    let hint = match error.errno() {
        Some(Errno::EINVAL) => {
            Some(format!("the user namespace does not map this {what}: see --map-{what}s"))
        }
        _ => None,
    };
    error.or_hint(hint)
}

/// Ambient capabilities survive the exec of a program by a user that is not root.
fn make_ambient() -> Result<()> {
    use caps::CapSet::{Ambient, Inheritable, Permitted};
    let step = "make the capabilities ambient";
    let failed = |error: caps::errors::CapsError| Error::new(step, "capabilities", error.to_string());
    let permitted = caps::read(None, Permitted).map_err(failed)?;
    caps::set(None, caps::CapSet::Effective, &permitted).map_err(failed)?;
    caps::set(None, Inheritable, &permitted).map_err(failed)?;
    caps::set(None, Ambient, &permitted).map_err(failed)
}
