//! The main thing: a group is made, its limits are set, and somebody moves in.

use std::process::ExitCode;

use common::chain::Chain;
use common::process::Process;
use common::record::{Cgroup, Record};
use common::supervise::{self, Ended};
use common::undo::Changes;
use common::{Error, Result, procfs, trace};
use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::group::{Group, Name};
use crate::hierarchy::{Host, Version, membership};
use crate::members::{self, Unit};
use crate::plan::{Set, Wanted, Who};
use crate::{apply, end, owner, v1};

/// Carries the plan out.
pub fn run(host: &Host, plan: Set) -> Result<ExitCode> {
    let Set { wanted, who, unit } = plan;
    match who {
        Who::Container(record) => stage(host, &wanted, record),
        Who::Caller(None) => done(prepare(host, &wanted, Order::LimitFirst)?.1),
        Who::Caller(Some(chain)) => {
            let from_own = matches!(wanted.group, Name::FromOwn(_)) && unit == Unit::Processes;
            let order = if from_own { Order::JoinFirst } else { Order::LimitFirst };
            let (group, mut changes) = prepare(host, &wanted, order)?;
            members::join(&group, unit, &mut changes)?;
            Err(chain.exec()) // where it fails, the changes are taken back
        }
        Who::Pids(pids, chain) => {
            pids.iter().try_for_each(|pid| must_run(*pid, unit))?;
            let (group, mut changes) = prepare(host, &wanted, Order::LimitFirst)?;
            for pid in pids {
                move_in(&group, pid, unit, &mut changes)?;
            }
            match chain {
                Some(chain) => Err(chain.exec()),
                None => done(changes),
            }
        }
        Who::Child(chain) => supervised(host, &wanted, unit, &chain),
    }
}

/// When cgset moves in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Once the limits are in force.
    LimitFirst,
    /// Before: cgroup v2 enables no controllers for the children of a group that has processes. Where that
    /// group is cgset's own, and cgset alone in it, all is well once cgset has moved to `./GROUP`.
    JoinFirst,
}

/// The group as it was asked for, and the way back.
fn prepare<'h>(host: &'h Host, wanted: &Wanted, order: Order) -> Result<(Group<'h>, Changes<'static>)> {
    let Wanted { group, settings, devices, owner } = wanted;
    let mut group = Group::named(host, group)?;
    if group.is_top() && (!settings.is_empty() || devices.is_some() || owner.is_some()) {
        return Err(Error::new("set limits", &group.name, "the top of a hierarchy has none")
            .hint("name a group below it"));
    }
    let homes = settings.iter().map(|setting| setting.home(host)).collect::<Result<Vec<_>>>()?;
    if homes.iter().any(|(hierarchy, _)| hierarchy.version == Version::V1) {
        v1::check_together(settings)?;
    }
    let controllers: Vec<_> = homes.into_iter().map(|(_, controller)| controller).collect();
    let mut changes = Changes::default();
    if order == Order::JoinFirst {
        let mut early = group.clone();
        early.create(&[], &mut changes)?;
        members::join(&early, Unit::Processes, &mut changes)?;
    }
    loop {
        group.create(&controllers, &mut changes)?;
        match apply::all(host, &group, settings, &mut changes) {
            // Another cgset that failed took back a controller that it had enabled before us.
            Err(error) if error.errno() == Some(Errno::ENOENT) && !group.has_still(&controllers)? => {}
            set => break set?,
        }
    }
    group.check_usable()?;
    if let Some(devices) = devices {
        devices.apply(&group, &mut changes)?;
    }
    if let Some(owner) = owner {
        owner::give(&group, *owner, &mut changes)?;
    }
    Ok((group, changes))
}

fn done(changes: Changes<'_>) -> Result<ExitCode> {
    changes.keep();
    Ok(ExitCode::SUCCESS)
}

/// A PID that names nobody is a mistake, to be told before anything is made.
fn must_run(pid: i32, unit: Unit) -> Result<()> {
    match unit {
        Unit::Processes => Process::open(pid).map(drop),
        Unit::Threads => {
            procfs::must_be_of_our_pid_namespace()?;
            membership(pid).map(drop).map_err(|error| {
                let gone = error.errno() == Some(Errno::ENOENT);
                if gone { Error::new("find the thread", pid.to_string(), Errno::ESRCH) } else { error }
            })
        }
    }
}

/// One that ends while it is moved is no failure: it needs no limit any more.
fn move_in(group: &Group<'_>, pid: i32, unit: Unit, changes: &mut Changes<'_>) -> Result<()> {
    if !members::adopt(group, pid, unit, changes)? {
        trace::step(format_args!("{pid} has ended meanwhile"));
    }
    Ok(())
}

/// `--rm`: COMMAND is a child, and nothing of the group outlives it.
fn supervised(host: &Host, wanted: &Wanted, unit: Unit, chain: &Chain) -> Result<ExitCode> {
    let (group, changes) = prepare(host, wanted, Order::LimitFirst)?;
    // What we clean up is found by its path.
    let options =
        supervise::Options { death_signal: Some(Signal::SIGKILL), keeps_mounts: true, ..Default::default() };
    let ended = supervise::run(&options, |_| {
        let mut moved = Changes::default();
        members::join(&group, unit, &mut moved)?;
        Err(chain.exec())
    })
    .inspect_err(|_| drop(end::kill_all(&group)))?; // the changes, too, are taken back
    if let Ended::Tool(status) = ended {
        drop(changes); // COMMAND never ran: as if nothing had been
        return Ok(ExitCode::from(status));
    }
    end::kill_all(&group)?;
    end::remove(&group, true)?;
    drop(changes); // what was made for it goes too: parent groups, controllers enabled for them
    Ok(ExitCode::from(ended.status()))
}

/// A stage of a pipeline: the record's container moves in, and the record goes on.
fn stage(host: &Host, wanted: &Wanted, mut record: Record) -> Result<ExitCode> {
    let container = record.process_if_any()?;
    let is_lost = record.is_lost_with_us();
    container.iter().try_for_each(members::check_is_a_container)?;
    let mut limited = || -> Result<Changes<'static>> {
        let (group, mut changes) = prepare(host, wanted, Order::LimitFirst)?;
        if group.is_top() {
            return Err(Error::new("move a container", &group.name, "the top of a hierarchy limits nothing"));
        }
        if let Some(init) = &container {
            members::adopt_container(&group, init, &mut changes)?;
        }
        record.set_cgroup(&Cgroup { path: group.record_path()?, version: host.version().to_owned() });
        record.write()?;
        Ok(changes)
    };
    match (limited(), container) {
        (Ok(changes), _) => done(changes),
        (Err(error), Some(init)) => Err(init.left_behind_by(error, is_lost)),
        (Err(error), None) => Err(error),
    }
}
