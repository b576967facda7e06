//! The kernel's own filesystems in the new root: /proc, /sys, /dev/mqueue.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use common::root::Root;
use common::sys::mount::{Attributes, Reach, clone_tree};
use common::sys::namespace::owner;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};

use crate::attributes;
use crate::filesystem::{Filesystem, make};
use crate::tree::Tree;

/// No set-user-ID bits, no device nodes, no programs.
pub const INERT: Attributes = Attributes::NOSUID.and(Attributes::NODEV).and(Attributes::NOEXEC);
/// The same, and read-only.
pub const INERT_READ_ONLY: Attributes = INERT.and(Attributes::READ_ONLY);

/// A procfs of this process's PID namespace on /proc.
pub fn mount_proc(tree: &mut Tree) -> Result<()> {
    let inside = Path::new("/proc");
    tree.must_not_be_a_link(inside)?;
    let filesystem = Filesystem::plain(c"proc", INERT);
    let mount = match filesystem.make() {
        Ok(mount) => mount,
        // Without a PID namespace of one's own the caller's processes are the container's: no
        // other procfs would show less.
        Err(refused) if refused.errno == Errno::EPERM && callers_proc_is_ours() => {
            bind("/proc", PROC_SUPER_MAGIC, INERT)?
        }
        Err(refused) => {
            return Err(refused.error(&filesystem, tree.root().name(inside)).hint(
                "it takes a PID namespace of one's own ('unshare-lite --pid'), and a /proc here that is not masked",
            ));
        }
    };
    must_be(&mount, PROC_SUPER_MAGIC, "proc")?;
    tree.mount(inside, mount, "proc", INERT)
}

/// Whether /proc is a procfs of this process's own PID namespace.
fn callers_proc_is_ours() -> bool {
    Root::open(Path::new("/proc")).is_ok_and(|proc| is(proc.fd(), PROC_SUPER_MAGIC))
        && common::procfs::must_be_of_our_pid_namespace().is_ok()
}

/// sysfs, read-only, on /sys.
pub fn mount_sys(tree: &mut Tree) -> Result<()> {
    let inside = Path::new("/sys");
    tree.must_not_be_a_link(inside)?;
    let filesystem = Filesystem::plain(c"sysfs", INERT_READ_ONLY);
    let mount = match filesystem.make() {
        Ok(mount) => mount,
        // sysfs belongs to the network namespace: in a user namespace without one of its own
        // the kernel allows no new one, and the caller's shows the same network.
        Err(refused) if refused.errno == Errno::EPERM && network_is_of_a_user_namespace_above() => {
            bind("/sys", SYSFS_MAGIC, INERT_READ_ONLY)?
        }
        Err(refused) => return Err(refused.error(&filesystem, tree.root().name(inside))),
    };
    must_be(&mount, SYSFS_MAGIC, "sysfs")?;
    tree.mount(inside, mount, "sysfs", INERT_READ_ONLY)
}

/// ioctl_nsfs(2): then, and only then, the owner is not to be had.
fn network_is_of_a_user_namespace_above() -> bool {
    std::fs::File::open("/proc/self/ns/net")
        .is_ok_and(|network| owner(network.as_fd()).is_err_and(|errno| errno == Errno::EPERM))
}

/// POSIX message queues in /dev, where the kernel has them and the IPC namespace lets us.
pub fn mount_mqueue(tree: &mut Tree, dev: &Root) -> Result<()> {
    let filesystem = Filesystem::plain(c"mqueue", INERT);
    match filesystem.make() {
        Ok(mount) => tree.mount_within(dev, Path::new("mqueue"), mount, "mqueue", INERT),
        Err(refused) if matches!(refused.errno, Errno::ENODEV | Errno::EPERM) => {
            trace::step(format_args!("leave /dev/mqueue out: {}", refused.why));
            Ok(())
        }
        Err(refused) => Err(refused.error(&filesystem, dev.name(Path::new("mqueue")))),
    }
}

/// A filesystem on /dev/shm.
pub fn mount_shm(tree: &mut Tree, dev: &Root) -> Result<()> {
    let options = [(c"mode", c"1777"), (c"size", c"67108864")];
    let filesystem = Filesystem::with(c"tmpfs", INERT, &options);
    let inside = Path::new("shm");
    let mount = make(&filesystem, dev.name(inside))?;
    tree.mount_within(dev, inside, mount, "tmpfs", INERT)
}

/// The caller's filesystem at `path` with all that is mounted in it, spreading nothing.
pub fn bind(path: &str, fs_type: FsType, attributes: Attributes) -> Result<OwnedFd> {
    let step = "bind the caller's";
    let source = Root::open(Path::new(path))?;
    if !is(source.fd(), fs_type) {
        return Err(Error::new(step, path, "it is not the filesystem that belongs there"));
    }
    trace::step(format_args!("take the caller's {path}: the kernel allows no new one here"));
    let mount = clone_tree(source.fd(), Reach::Tree).during(step, path)?;
    attributes::confine(&mount, attributes, Path::new(path))?;
    Ok(mount)
}

fn is(fd: std::os::fd::BorrowedFd<'_>, fs_type: FsType) -> bool {
    fstatfs(fd).is_ok_and(|found| found.filesystem_type() == fs_type)
}

fn must_be(mount: &OwnedFd, fs_type: FsType, name: &str) -> Result<()> {
    if is(mount.as_fd(), fs_type) {
        return Ok(());
    }
    Err(Error::new("check the mount", name, "it is of another filesystem"))
}
