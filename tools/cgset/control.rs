//! Acting on a group that exists: freeze, thaw, kill, remove.

use std::process::ExitCode;

use common::{Error, Result};

use crate::changes::Changes;
use crate::end;
use crate::group::{Group, Place};
use crate::hierarchy::{Host, Version};
use crate::key::Setting;
use crate::plan::Control;
use crate::value::Value;
use crate::{apply, v1};

/// Carries the plan out, in the order freeze or thaw, kill, delete.
pub fn run(host: &Host, plan: &Control) -> Result<ExitCode> {
    let group = Group::existing(host, &plan.group)?;
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

fn set_frozen(place: &Place<'_>, frozen: bool, changes: &mut Changes) -> Result<()> {
    let setting = Setting { key: "cgroup.freeze".into(), value: Value::Switch(frozen) };
    let writes = match place.hierarchy.version {
        Version::V1 => v1::writes(&place.directory(), &setting)?,
        Version::V2 => vec![apply::Write::in_v2(&setting)],
    };
    writes.iter().try_for_each(|write| write.perform(place, changes))
}
