//! The machine's own mount namespace is not to be touched: every process of the machine would
//! find itself in another root.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use common::namespace::NamespaceKind;
use common::{During as _, Error, Result, procfs, sys};
use nix::errno::Errno;
use std::os::fd::AsFd as _;

/// The inode numbers that name the first namespaces of a running kernel (linux/nsfs.h; those of
/// the user and PID namespace from Linux 3.8 on, that of the mount namespace from 6.18 on).
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
const FIRST_MOUNT_NAMESPACE: u64 = 0xEFFF_FFF8;

const STEP: &str = "switch the root";
const OBJECT: &str = "mount namespace";

/// Fails if the mount namespace of `who`, a PID or `self`, is or may be the machine's own.
pub fn refuse_the_machines_own(who: &str) -> Result<()> {
    let path = Path::new("/proc").join(who).join("ns/mnt");
    let refuse = |why: &str| {
        Err(Error::new(STEP, OBJECT, why)
            .hint("'unshare-lite --mount' makes one of one's own; --force goes on all the same"))
    };
    let namespace = match File::open(&path) {
        Ok(namespace) => namespace,
        Err(error) => return refuse(&format!("cannot tell whose it is: {}: {error}", path.display())),
    };
    let owner = match sys::namespace::owner(namespace.as_fd()) {
        Ok(owner) => File::from(owner).metadata().during("look at", &path)?.ino(),
        Err(Errno::EPERM) => return refuse("it belongs to a user namespace above this one"),
        Err(errno) => return Err(Error::new("find the owner", path, errno)),
    };
    // Whoever made it could not have been the first.
    if owner != FIRST_USER_NAMESPACE {
        return Ok(());
    }
    let own = namespace.metadata().during("look at", &path)?.ino();
    if own == FIRST_MOUNT_NAMESPACE {
        return refuse("it is the machine's own");
    }
    if who == "self" && is_first_of_its_own_pid_namespace() {
        return Ok(());
    }
    match id_of_the_firsts() {
        Some(first) if first == own => refuse("it is that of PID 1"),
        Some(_) => Ok(()),
        None => refuse("cannot tell it from that of PID 1, which /proc does not show"),
    }
}

/// The mount namespace of PID 1, or where that is closed to us, of the first kernel thread, which
/// is in PID 1's. Where /proc is of a PID namespace of its own, its PID 1 is the one that counts.
fn id_of_the_firsts() -> Option<u64> {
    NamespaceKind::Mount.id_of(1).ok().or_else(|| {
        const PF_KTHREAD: u32 = 0x0020_0000;
        let is_kernel_thread = procfs::stat(2).is_ok_and(|stat| stat.flags & PF_KTHREAD != 0);
        is_kernel_thread.then(|| NamespaceKind::Mount.id_of(2).ok())?
    })
}

/// Whether we are the PID 1 that /proc shows, and not the machine's.
fn is_first_of_its_own_pid_namespace() -> bool {
    std::fs::read_link("/proc/self").is_ok_and(|own| own == Path::new("1"))
        && NamespaceKind::Pid.id_of("self").is_ok_and(|id| id != FIRST_PID_NAMESPACE)
}
