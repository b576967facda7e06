//! Paths of the root that COMMAND must not see, or must not change.

use std::os::fd::AsFd as _;
use std::path::Path;

use common::sys::mount::{Attributes, Reach, clone_tree};
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use crate::api::INERT_READ_ONLY;
use crate::attributes;
use crate::dev;
use crate::filesystem::{Filesystem, make};
use crate::tree::{Tree, is_kernels, kind_of};

/// What Docker hides: the kernel's memory, keys, timers, devices and firmware.
pub const DOCKER_MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What Docker shows but lets nobody change.
pub const DOCKER_READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Hides Docker's list, which is of the kernel's filesystems: a decoy in the image is no target.
pub fn apply_dockers(tree: &mut Tree) -> Result<()> {
    for path in DOCKER_MASKED.map(Path::new) {
        if is_the_kernels(tree, path)? {
            hide(tree, path)?;
        }
    }
    for path in DOCKER_READ_ONLY.map(Path::new) {
        if is_the_kernels(tree, path)? {
            make_read_only(tree, path)?;
        }
    }
    Ok(())
}

fn is_the_kernels(tree: &Tree, path: &Path) -> Result<bool> {
    match tree.root().resolve(path, OFlag::O_PATH) {
        Ok(fd) => is_kernels(&fd).during("look at", tree.root().name(path)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
        Err(errno) => Err(Error::new("look at", tree.root().name(path), errno)),
    }
}

/// Puts an empty read-only directory, or /dev/null, over what is at `path`. What is not there is hidden already.
pub fn hide(tree: &mut Tree, path: &Path) -> Result<()> {
    let Some(found) = find(tree, path)? else { return Ok(()) };
    if kind_of(&found).during("look at", tree.root().name(path))? == SFlag::S_IFDIR {
        let empty = Filesystem::with(c"tmpfs", INERT_READ_ONLY, &[(c"size", c"4096"), (c"mode", c"0755")]);
        let mount = make(&empty, tree.root().name(path))?;
        return tree.mount(path, mount, "an empty directory", INERT_READ_ONLY);
    }
    let null = dev::clone_of_callers("null", (1, 3))?;
    tree.mount(path, null, "/dev/null", Attributes::NONE)
}

/// Binds what is at `path` on itself, read-only with all that is mounted below.
pub fn make_read_only(tree: &mut Tree, path: &Path) -> Result<()> {
    let Some(found) = find(tree, path)? else { return Ok(()) };
    let (step, name) = ("make read-only", tree.root().name(path));
    let mount = clone_tree(found.as_fd(), Reach::Tree).during(step, &name)?;
    attributes::confine(&mount, Attributes::READ_ONLY, &name)?;
    tree.mount(path, mount, "itself", Attributes::READ_ONLY)
}

fn find(tree: &Tree, path: &Path) -> Result<Option<std::os::fd::OwnedFd>> {
    match tree.root().resolve(path, OFlag::O_PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => {
            trace::step(format_args!("{}: not there, so it is left out", tree.root().name(path).display()));
            Ok(None)
        }
        Err(errno) => Err(Error::new("look at", tree.root().name(path), errno)),
    }
}
