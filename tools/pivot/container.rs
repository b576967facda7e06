//! `--from`: the switch for a container that `unshare-lite --detach` has started.

use std::path::Path;
use std::process::ExitCode;

use common::namespace::{NamespaceKind, differing, enter};
use common::process::Process;
use common::record::{Record, Root};
use common::supervise::{self, Ended, Options};
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::cgroup::Membership;
use crate::plan::Plan;
use crate::process::Prepared;
use crate::{furnish, guard, switch};

/// Switches the root of the container in the record `file`, and prints the record.
pub fn switch_root_of(file: &Path, plan: Plan) -> Result<ExitCode> {
    let record = Record::read(file)?;
    let process = record.process()?;
    if !plan.force {
        refuse_a_shared_one(&process)?;
    }
    let is_lost = record.is_lost_with_us();
    from_outside(record, &process, plan).map_err(|error| process.left_behind_by(error, is_lost))
}

/// The record may be forged: what it names must be a container, with mounts of its own.
fn refuse_a_shared_one(process: &Process) -> Result<()> {
    guard::refuse_the_machines_own(&process.pid().to_string())?;
    if NamespaceKind::Mount.id_of(process.pid())? != NamespaceKind::Mount.id_of("self")? {
        return process.still_running();
    }
    Err(Error::new("switch the root", process.to_string(), "it shares this process's mount namespace")
        .hint("'unshare-lite --detach --mount' starts a container that has one of its own"))
}

fn from_outside(record: Record, process: &Process, plan: Plan) -> Result<ExitCode> {
    let is_lost = record.is_lost_with_us();
    let kinds: Vec<_> = differing(process)?.into_iter().filter(|kind| *kind != NamespaceKind::Time).collect();
    let membership = Membership::of(process.pid())?;
    // Once inside, nobody there may look into this process (CVE-2016-9962).
    prctl::set_dumpable(false).during("set", "not dumpable")?;
    trace::step(format_args!("enter the namespaces of {process}"));
    enter(process, &kinds)?;
    if kinds.contains(&NamespaceKind::User) {
        become_root()?;
    }
    // A child, because only a child is inside the PID namespace, and procfs is of that of who mounts it.
    let options = Options { death_signal: Some(Signal::SIGKILL), ..Options::default() };
    let ended = supervise::run(&options, |_| {
        inside(record, plan, membership).map_err(|error| process.left_behind_by(error, is_lost))?;
        Ok(Ended::Command(0))
    })?;
    Ok(ExitCode::from(ended.status()))
}

fn inside(mut record: Record, plan: Plan, membership: Option<Membership>) -> Result<()> {
    let mut tree = furnish::furnish(&plan, membership)?;
    let prepared = Prepared::new(plan.process, &mut tree)?;
    furnish::restrict(&plan.mounts, &mut tree)?;
    let method = switch::switch(&tree, &plan.switch)?;
    let root = Root { path: plan.new_root, method: method.to_string(), imposed: prepared.to_json() };
    record.set_root(&root);
    record.write()?;
    tree.keep();
    Ok(())
}

/// Who enters a user namespace is nobody there until it takes one of its ids (user_namespaces(7)).
fn become_root() -> Result<()> {
    // Denied where the namespace's maps were written without privilege: then they stay.
    let _ = setgroups(&[]);
    let (gid, uid) = (Gid::from_raw(0), Uid::from_raw(0));
    // Where 0 is not mapped, the caller is the one user that is.
    let unless_unmapped = |result: nix::Result<()>| match result {
        Err(Errno::EINVAL) => Ok(()),
        result => result.during("become root of", "the user namespace"),
    };
    unless_unmapped(setresgid(gid, gid, gid))?;
    unless_unmapped(setresuid(uid, uid, uid))
}
