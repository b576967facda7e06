//! Acting on a group that exists: freeze, thaw, kill, remove.

use std::process::ExitCode;
use std::time::Duration;

use common::record::Record;
use common::undo::Changes;
use common::{Error, Result};

use crate::end;
use crate::group::{Group, Place};
use crate::hierarchy::{Host, Version};
use crate::key::Setting;
use crate::plan::Control;
use crate::value::Value;
use crate::{apply, members, v1};

/// Carries the plan out, in the order freeze or thaw, kill, delete.
pub fn run(host: &Host, plan: &Control) -> Result<ExitCode> {
    let group = Group::existing(host, &plan.group)?;
    if let Some(record) = &plan.record {
        check_is_of(record, &group)?;
    }
    match plan.frozen {
        Some(true) => freeze(&group)?,
        Some(false) => thaw(&group)?,
        None => {}
    }
    if plan.kill {
        end::kill_all(&group)?;
    }
    if plan.delete {
        end::remove(&group, plan.recursive)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A record may be old, and its group's name another container's by now: whom it names must be in
/// the group, or nobody. One that has just ended is given a moment to take the others along.
fn check_is_of(record: &Record, group: &Group<'_>) -> Result<()> {
    match record.process_if_any() {
        Ok(None) => Ok(()), // the group was made for a container that never came
        Ok(Some(init)) if members::is_below(group, init.pid()) => Ok(()),
        Ok(Some(init)) => Err(Error::new("find the container", &group.name, format!("{init} is not in this group"))
            .hint("the record and the group no longer belong together; name GROUP to act on it all the same")),
        Err(_) if end::is_emptied_within(group, Duration::from_secs(1))? => Ok(()),
        Err(error) => Err(error.hint(
            "the container has ended, and its group holds other processes; name GROUP to act on it all the same",
        )),
    }
}

/// v2's switch where the group is in v2's tree (a frozen process can still be killed there),
/// else v1's freezer. Where some process does not stop, all go on.
fn freeze(group: &Group<'_>) -> Result<()> {
    group.check_is_not_ours("freeze")?;
    let place = group.place_with("cgroup").or_else(|| group.place_with("freezer"));
    let place = place.ok_or_else(|| {
        Error::new("freeze", &group.name, "it is neither in cgroup v2's tree nor in v1's freezer")
    })?;
    let mut changes = Changes::default();
    set_frozen(place, true, &mut changes)?;
    changes.keep();
    Ok(())
}

/// Whatever froze it.
fn thaw(group: &Group<'_>) -> Result<()> {
    let mut changes = Changes::default();
    for place in ["cgroup", "freezer"].into_iter().filter_map(|controller| group.place_with(controller)) {
        set_frozen(place, false, &mut changes)?;
    }
    changes.keep();
    Ok(())
}

fn set_frozen(place: &Place<'_>, frozen: bool, changes: &mut Changes<'_>) -> Result<()> {
    let setting = Setting { key: "cgroup.freeze".into(), value: Value::Switch(frozen) };
    let writes = match place.hierarchy.version {
        Version::V1 => v1::writes(&place.directory(), &setting)?,
        Version::V2 => vec![apply::Write::in_v2(&setting)],
    };
    writes.iter().try_for_each(|write| write.perform(place, changes))
}
