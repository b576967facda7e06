//! The new root with all that was asked for in it, in the order in which it must be mounted.

use std::path::Path;

use common::Result;

use crate::asked::Asked;
use crate::cgroup::Membership;
use crate::plan::{Mounts, Plan};
use crate::tree::{Tree, without_umask};
use crate::{api, cgroup, dev, mask};

/// NEW_ROOT with the kernel's filesystems, the tmpfs and the volumes.
pub fn furnish(plan: &Plan, mut membership: Option<Membership>) -> Result<Tree> {
    if plan.leaves_mounts_alone() {
        return Tree::plain(&plan.new_root);
    }
    let asked = &plan.mounts.asked;
    let ready = asked.iter().map(Asked::ready).collect::<Result<Vec<_>>>()?;
    let mut tree = Tree::bind(&plan.new_root)?;
    without_umask(|| {
        mount_api(&mut tree, &plan.mounts, membership.as_mut())?;
        ready.into_iter().try_for_each(|one| one.mount(&mut tree))?;
        asked.iter().try_for_each(|one| one.must_be_seen(&tree))?;
        plan.switch.keep_old.as_deref().map_or(Ok(()), |inside| tree.directory(inside).map(drop))
    })?;
    Ok(tree)
}

fn mount_api(tree: &mut Tree, mounts: &Mounts, membership: Option<&mut Membership>) -> Result<()> {
    if mounts.proc {
        api::mount_proc(tree)?;
    }
    if mounts.sys {
        api::mount_sys(tree)?;
    }
    let dev = if mounts.dev { Some(dev::mount(tree)?) } else { None };
    if mounts.rest_of_api {
        if let Some(dev) = &dev {
            api::mount_mqueue(tree, dev)?;
        }
        cgroup::mount(tree, membership)?;
        mask::apply_dockers(tree)?;
    }
    Ok(())
}

/// Takes away from the finished root what COMMAND must not see or change.
pub fn restrict(mounts: &Mounts, tree: &mut Tree) -> Result<()> {
    for path in &mounts.mask {
        mask::hide(tree, Path::new(path))?;
    }
    for path in &mounts.read_only_paths {
        mask::make_read_only(tree, Path::new(path))?;
    }
    if mounts.read_only { tree.make_read_only() } else { Ok(()) }
}
