//! The switch itself.

use std::fmt;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use common::root::Root;
use common::sys::mount::attach;
use common::{During as _, Error, Result, mountinfo, trace};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use crate::cli::MethodArg;
use crate::plan::Switch;
use crate::tree::Tree;

/// How the root was switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// pivot_root(2): the old root is gone.
    PivotRoot,
    /// MS_MOVE onto /: the old root lies below, out of reach.
    Move,
    /// chroot(2): the old root is there still.
    Chroot,
}

/// As the record has it.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PivotRoot => "pivot_root",
            Self::Move => "move",
            Self::Chroot => "chroot",
        })
    }
}

/// Switches this process's root, and that of all in its mount namespace who have the same, to the
/// tree's; the working directory is the new root then.
pub fn switch(tree: &Tree, plan: &Switch) -> Result<Method> {
    fchdir(tree.root().fd()).during("enter", tree.root().name(Path::new("")))?;
    let method = match plan.method {
        MethodArg::PivotRoot => pivot(tree, plan).map(|()| Method::PivotRoot),
        MethodArg::Move => move_onto_root(tree).map(|()| Method::Move),
        MethodArg::Chroot => change_root(tree).map(|()| Method::Chroot),
        MethodArg::Auto => auto(tree, plan),
    }?;
    trace::step(format_args!("the root is switched by {method}"));
    Ok(method)
}

/// EINVAL is how the kernel says that the root can be no pivot (an initramfs, a chroot), ENOSYS
/// that it has no such call; any other failure is one.
fn auto(tree: &Tree, plan: &Switch) -> Result<Method> {
    let cannot = |error: &Error| matches!(error.errno(), Some(Errno::EINVAL | Errno::ENOSYS));
    match pivot(tree, plan) {
        Err(error) if cannot(&error) && plan.keep_old.is_none() => {
            trace::step(format_args!("no pivot_root here: {error}"));
        }
        result => return result.map(|()| Method::PivotRoot),
    }
    match move_onto_root(tree) {
        Err(error) if cannot(&error) => trace::step(format_args!("no move here: {error}")),
        result => return result.map(|()| Method::Move),
    }
    change_root(tree).map(|()| Method::Chroot)
}

/// pivot_root(".", ".") needs no directory for the old root: it is put on top of the new one
/// and taken from there (pivot_root(2), NOTES).
fn pivot(tree: &Tree, plan: &Switch) -> Result<()> {
    let name = tree.root().name(Path::new(""));
    let old = Root::open(Path::new("/"))?;
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let put_old = plan.keep_old.as_deref().map(|inside| tree.root().open_inside(inside, directory));
    let put_old = put_old.transpose()?;
    trace::step(format_args!("pivot_root to {}", name.display()));
    pivot_root(".", ".").map_err(|errno| {
        Error::new("pivot_root", &name, errno).or_hint(match errno {
            Errno::EINVAL => Some("the present root is an initramfs or a chroot: --method move or chroot"),
            Errno::EPERM => {
                Some("run it under 'unshare-lite --mount', with --map-root-user for an ordinary user")
            }
            _ => None,
        })
    })?;
    match (put_old, &plan.keep_old) {
        (Some(target), Some(inside)) => {
            trace::step(format_args!("keep the old root at {}", inside.display()));
            attach(old.fd(), target.as_fd()).during("keep the old root", inside)?;
        }
        _ => {
            trace::step("unmount the old root");
            umount2(".", MntFlags::MNT_DETACH).during("unmount", "the old root")?;
        }
    }
    chdir("/").during("enter", "/")
}

/// The switch_root(8) way, for a root that cannot be unmounted: the new one covers it, and what
/// else was mounted in it goes.
fn move_onto_root(tree: &Tree) -> Result<()> {
    let name = tree.root().name(Path::new(""));
    let old = Root::open(Path::new("/"))?;
    let others = mounts_outside(&name);
    trace::step(format_args!("move {} to /", name.display()));
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).during("move to /", &name)?;
    chroot(".").during("chroot to", &name)?;
    // From the old root's directory its paths can still be named, although / is another by now.
    fchdir(old.fd()).during("enter", "the old root")?;
    for mount in others.iter().rev() {
        trace::step(format_args!("unmount {} of the old root", mount.display()));
        // A user namespace does not let single mounts of its parent go; covered they are all the same.
        let relative = mount.strip_prefix("/").unwrap_or(mount);
        let _ = umount2(relative, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
    chdir("/").during("enter", "/")
}

/// What is mounted elsewhere than in `root`. Without a /proc to read it from, nothing.
fn mounts_outside(root: &Path) -> Vec<PathBuf> {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let table = mountinfo::of_self().unwrap_or_default();
    let points = table.into_iter().map(|mount| mount.mount_point);
    points.filter(|point| point != Path::new("/") && !point.starts_with(&root)).collect()
}

fn change_root(tree: &Tree) -> Result<()> {
    let name = tree.root().name(Path::new(""));
    trace::step(format_args!("chroot to {}", name.display()));
    chroot(".").map_err(|errno| {
        Error::new("chroot to", &name, errno).or_hint(match errno {
            Errno::EPERM => {
                Some("it takes CAP_SYS_CHROOT: be root, or run it under 'unshare-lite --map-root-user'")
            }
            _ => None,
        })
    })?;
    chdir("/").during("enter", "/")
}
