//! Who COMMAND is and what it may do at most, taken on by the process that becomes it.

use common::capability::CapabilitySet;
use common::creds::{Capabilities, setgroups_is_denied};
use common::{During as _, Error, Result, death_signal, trace};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::plan::{Become, Entry};
use crate::pty::NewTerminal;

/// Takes all of it on and becomes COMMAND, on a terminal of its own if one is given. Returns only the error.
pub(crate) fn become_command(entry: &Entry, terminal: Option<NewTerminal>) -> Error {
    match take_on(entry, terminal) {
        Ok(()) => entry.chain.exec_prepared(entry.environment.as_deref()),
        Err(error) => error,
    }
}

fn take_on(entry: &Entry, terminal: Option<NewTerminal>) -> Result<()> {
    entry.limits.apply()?;
    death_signal::keep_over(|| become_whom(entry))?;
    if let Some(terminal) = terminal {
        // By an id of the container's, so that it owns its terminal; and while we may still give it away.
        terminal.take(entry.credentials.user.as_ref().map(|ids| ids.uid))?;
    }
    let mut credentials = entry.credentials.clone();
    if entry.keep_caps {
        let bounding = credentials.capabilities.map_or_else(CapabilitySet::bounding, |keep| keep.bounding);
        let ambient = bounding.intersection(CapabilitySet::permitted()?);
        credentials.capabilities = Some(Capabilities { bounding, ambient });
    }
    credentials.apply(|| entry.chain.prepare())
}

/// Groups before the group, the group before the user: each step takes away the right to the one before.
fn become_whom(entry: &Entry) -> Result<()> {
    if entry.uid == Become::Unchanged && entry.gid == Become::Unchanged {
        return Ok(());
    }
    // The bounding set is still to be reduced, which takes a capability.
    prctl::set_keepcaps(true).during("keep over the change of user", "capabilities")?;
    if entry.gid != Become::Unchanged {
        leave_groups(entry.gid)?;
    }
    take("group", entry.gid, |id| setgid(Gid::from_raw(id)))?;
    take("user", entry.uid, |id| setuid(Uid::from_raw(id)))?;
    CapabilitySet::permitted()?.make_effective()
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

fn leave_groups(whom: Become) -> Result<()> {
    trace::step("leave all supplementary groups");
    match setgroups(&[]) {
        // Denied for good, or no group is mapped at all: then no group of the caller's means anything there.
        Err(Errno::EPERM) if whom == Become::RootIfMapped || setgroups_is_denied() => Ok(()),
        result => result.during("leave the supplementary groups", "setgroups"),
    }
}

fn unmapped(error: Error) -> Error {
    let hint = (error.errno() == Some(Errno::EINVAL)).then_some(
        "the user namespace does not map this id: choose another with -S and -G, or --preserve-credentials",
    );
    error.or_hint(hint)
}
