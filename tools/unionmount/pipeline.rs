//! A stage of a pipeline: the union is mounted inside the container of a record.

use std::path::Path;

use common::namespace::{self, NamespaceKind};
use common::process::Process;
use common::record::Record;
use common::{Result, trace};
use nix::unistd::{Gid, Uid, setresgid, setresuid};

use crate::plan::Stack;
use crate::union::Union;
use crate::user_namespace;

/// Reads the record, mounts in its container (or here, where it names none) and prints it.
pub fn stage(file: &Path, stack: &Stack) -> Result<()> {
    let mut record = Record::read(file)?;
    // Now, since the container's /proc need not know this process.
    let is_inner = user_namespace::is_inner()?;
    let is_lost = record.is_lost_with_us();
    match record.process_if_any()? {
        None => step(&mut record, stack, is_inner),
        Some(process) => enter(&process)
            .and_then(|kinds| step(&mut record, stack, is_inner || kinds.contains(&NamespaceKind::User)))
            .map_err(|error| process.left_behind_by(error, is_lost)),
    }
}

fn step(record: &mut Record, stack: &Stack, user_xattrs: bool) -> Result<()> {
    let union = Union::mount(stack, user_xattrs)?;
    record.set_rootfs(union.rootfs());
    record.write()?;
    union.keep();
    Ok(())
}

/// Enters the container's mount namespace, and its user namespace, as its root. Returns which
/// of them are not ours.
fn enter(process: &Process) -> Result<Vec<NamespaceKind>> {
    let kinds: Vec<_> = namespace::differing(process)?
        .into_iter()
        .filter(|kind| matches!(kind, NamespaceKind::User | NamespaceKind::Mount))
        .collect();
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    trace::step(format_args!("enter the namespaces of {process} ({})", names.join(", ")));
    namespace::enter(process, &kinds)?;
    if kinds.contains(&NamespaceKind::User) {
        // Our own ids may have none there, and then we could make no file. Where 0 is not
        // mapped, ours has to do.
        let (root, group) = (Uid::from_raw(0), Gid::from_raw(0));
        let _ = setresgid(group, group, group);
        let _ = setresuid(root, root, root);
    }
    Ok(kinds)
}
