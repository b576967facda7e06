//! `--unmount`: takes away what a mount of ours made, and nothing else: its mounts, and of
//! the work directory what overlayfs and we put there. The upper stays: it is the result.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use common::sys::mount::{Reach, attach, clone_tree};
use common::{Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;

use crate::mounted::{Mounted, one_path};

/// Unmounts the union on `merged`.
pub fn unmount(merged: &Path) -> Result<()> {
    let union = Mounted::at(merged)?;
    let Some(source) = union.source else {
        return Err(Error::new(
            "unmount",
            &union.mount.mount_point,
            "it is not a union of this tool's making",
        )
        .hint("umount(8) takes it away"));
    };
    let works = work_directories(&union);
    take_away(&union)?;
    if source.ephemeral {
        return Ok(());
    }
    for work in &works {
        clear(work);
    }
    // Ours are the numbered ones inside it, and it itself where we made it.
    if let Some(work) = union.rootfs().work {
        for own in works.iter().filter(|own| **own != work) {
            let _ = fs::remove_dir(own);
        }
        if source.work_is_ours && fs::remove_dir(&work).is_ok() {
            trace::step(format_args!("remove {}", work.display()));
        }
    }
    Ok(())
}

/// Unmounts the innermost first. Where one is in use, what was unmounted is put back.
fn take_away(union: &Mounted) -> Result<()> {
    let mut taken: Vec<(&Path, OwnedFd)> = Vec::new();
    for mount in union.inside.iter().rev().chain([&union.mount]) {
        let place = mount.mount_point.as_path();
        match unmount_one(place) {
            Ok(copy) => taken.push((place, copy)),
            Err(errno) => {
                for (place, copy) in taken.iter().rev() {
                    let _ = opened(place).and_then(|target| attach(copy.as_fd(), target.as_fd()));
                }
                return Err(Error::new("unmount", place, errno).or_hint(match errno {
                    Errno::EBUSY => Some("a process uses it: 'fuser -vm' names it; nothing was unmounted"),
                    Errno::EPERM => Some("unmounting takes CAP_SYS_ADMIN over the mount namespace"),
                    _ => None,
                }));
            }
        }
    }
    Ok(())
}

/// Unmounts what is on `place`, and returns a copy that can be put back.
fn unmount_one(place: &Path) -> nix::Result<OwnedFd> {
    let copy = clone_tree(opened(place)?.as_fd(), Reach::One)?;
    trace::step(format_args!("unmount {}", place.display()));
    umount2(place, MntFlags::UMOUNT_NOFOLLOW).map(|()| copy)
}

fn opened(place: &Path) -> nix::Result<OwnedFd> {
    open(place, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// The work directories of all overlays of the union.
fn work_directories(union: &Mounted) -> Vec<PathBuf> {
    let overlays = union.inside.iter().chain([&union.mount]).filter(|mount| mount.fs_type == "overlay");
    overlays.filter_map(|mount| one_path(mount, "workdir")).collect()
}

/// Removes what overlayfs put into its work directory.
fn clear(work: &Path) {
    for name in ["work", "index"] {
        let _ = fs::remove_dir_all(work.join(name));
    }
}
