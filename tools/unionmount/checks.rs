//! What the kernel would refuse without saying why, or take without it working: found out
//! before anything is made.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use common::mountinfo::{self, Mount};
use common::{During as _, Error, Result};
use nix::libc::__fsword_t;
use nix::sys::statfs::statfs;
use nix::sys::statvfs::FsFlags;

use crate::layer::Layer;
use crate::source::Source;
use crate::users;

/// Checks the read-only layers against each other.
pub fn lowers(lowers: &[&Layer]) -> Result<()> {
    let mut seen = HashSet::new();
    for layer in lowers {
        let stat = layer.stat()?;
        if !seen.insert((stat.st_dev, stat.st_ino)) {
            return Err(Error::new("stack the layers", layer.path(), "the same layer twice")
                .hint("give each layer once; the uppermost place is the one that counts"));
        }
    }
    Ok(())
}

/// A union that was built in pieces is many mounts, of which a layer is only one: the others would be missing.
pub fn whole(lowers: &[Layer]) -> Result<()> {
    let Ok(table) = mountinfo::of_self() else { return Ok(()) };
    let is_in_pieces = |mount: &Mount| Source::of(&mount.source).is_some_and(|source| source.in_pieces);
    let pieces: Vec<_> = table.iter().filter(|mount| is_in_pieces(mount)).collect();
    for layer in lowers.iter().filter(|_| !pieces.is_empty()) {
        let Some(own) = mountinfo::holding(&table, layer.path()).filter(|own| is_in_pieces(own)) else {
            continue;
        };
        let below = |mount: &&&Mount| mount.parent == own.id && mount.mount_point.starts_with(layer.path());
        if let Some(lost) = pieces.iter().find(below) {
            let why = format!(
                "it is of a union built in pieces, and what is mounted on {} is none of it",
                lost.mount_point.display()
            );
            return Err(Error::new("stack the layers", layer.path(), why)
                .hint("give the layers of that union instead: 'unionmount --show' lists them"));
        }
    }
    Ok(())
}

/// Checks the writable layer, which may be missing still, its work directory, and the layers
/// that it covers. `on_any`: the filesystem need not be one that overlayfs can use.
pub fn writable(upper: &Path, work: &Path, lowers: &[&Layer], on_any: bool) -> Result<()> {
    let (upper, work) = (resolved(upper)?, resolved(work)?);
    let refused = |path: &Path, why: &str| Error::new("take it as the upper", path, why.to_owned());
    if upper == work || upper.starts_with(&work) || work.starts_with(&upper) {
        return Err(Error::new("take it as the work directory", &work, "the upper and it lie in each other")
            .hint("--work names a directory beside the upper, on the same filesystem"));
    }
    for layer in lowers {
        if layer.path() == upper {
            return Err(refused(&upper, "it is also a read-only layer")
                .hint("name another directory, which is made if missing: a write must not change a layer"));
        }
        for (ours, what) in [(&upper, "upper"), (&work, "work directory")] {
            if layer.path().starts_with(ours) {
                return Err(Error::new(
                    "stack the layers",
                    layer.path(),
                    format!("it lies inside the {what}"),
                )
                .hint("move it out: a write would change it under the union"));
            }
        }
    }
    filesystems(&upper, &work, on_any)?;
    empty_but_for_overlayfs(&work)?;
    users::none_of(&upper, &work)
}

fn filesystems(upper: &Path, work: &Path, on_any: bool) -> Result<()> {
    let (upper_place, work_place) = (existing(upper), existing(work));
    if device(upper_place)? != device(work_place)? {
        return Err(Error::new(
            "take it as the work directory",
            work,
            "it is on another filesystem than the upper",
        )
        .hint("--work names a directory on the upper's filesystem, such as one beside the upper"));
    }
    let filesystem = statfs(upper_place).during("look at the filesystem", upper_place)?;
    if filesystem.flags().contains(FsFlags::ST_RDONLY) {
        return Err(Error::new("take it as the upper", upper, "it is on a read-only filesystem")
            .hint("name one on a filesystem that can be written to; --ephemeral needs none"));
    }
    match UNFIT.iter().find(|(unfit, _)| !on_any && *unfit == filesystem.filesystem_type().0) {
        None => Ok(()),
        Some((_, name)) => Err(Error::new(
            "take it as the upper",
            upper,
            format!("it is on {name}, which cannot hold what overlayfs writes"),
        )
        .hint("an upper can be on ext4, xfs, btrfs or tmpfs, and --ephemeral needs no directory")),
    }
}

/// Filesystems without what an upper needs: whiteouts, d_type, trusted or user attributes,
/// renames that exchange (statfs(2) has the numbers).
const UNFIT: [(__fsword_t, &str); 12] = [
    (0x794c_7630, "another overlay"),
    (0x6969, "NFS"),
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x00c0_ffee, "hostfs"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "a cgroup hierarchy"),
    (0x6367_7270, "a cgroup hierarchy"),
];

/// overlayfs clears what it finds of its own from earlier runs; anything else is somebody's.
fn empty_but_for_overlayfs(work: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(work) else { return Ok(()) };
    for entry in entries.filter_map(|entry| entry.ok()) {
        let name = entry.file_name();
        let ours = name == "work"
            || name == "index"
            || name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if !ours {
            return Err(Error::new("take it as the work directory", work, "it is not empty")
                .hint("overlayfs needs a directory of its own, and clears it"));
        }
    }
    let volatile = work.join("work/incompat/volatile");
    if volatile.exists() {
        return Err(Error::new(
            "take it as the work directory",
            work,
            "its last use was volatile and may have lost data",
        )
        .hint(format!("if the upper is good nevertheless, remove {}", volatile.display())));
    }
    Ok(())
}

/// The path without links, as far as it exists.
fn resolved(path: &Path) -> Result<PathBuf> {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(path), ..) => Ok(path),
        (Err(_), Some(parent), Some(name)) => Ok(resolved(parent)?.join(name)),
        (Err(error), ..) => Err(Error::new("find", path, error)),
    }
}

/// The path, or the nearest directory above it that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(path)
}

fn device(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).during("look at", path)?.dev())
}
