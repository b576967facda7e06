//! Mode, owner and times: a directory that stands for another looks like it.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use common::Result;
use common::error::During as _;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};

use crate::layer::Layer;

/// What stat(2) says of `name` in `directory` (itself where it is `.`), links not followed.
pub fn of(directory: &Layer, name: &CStr) -> nix::Result<FileStat> {
    fstatat(directory.fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// The kind of file.
pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Gives `name` in `directory`, which is not a link, the attributes in `stat`.
pub fn set(directory: &Layer, name: &CStr, stat: &FileStat) -> Result<()> {
    set_all(directory.fd(), name, stat).during("set mode and times", directory.join(name))
}

fn set_all(directory: BorrowedFd<'_>, name: &CStr, stat: &FileStat) -> nix::Result<()> {
    let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    // An owner that has no id in this user namespace cannot be given: then it stays ours.
    let _ = fchownat(directory, name, Some(owner), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW);
    // After the owner, whose change clears the set-id bits.
    let mode = Mode::from_bits_truncate(stat.st_mode);
    fchmodat(directory, name, mode, FchmodatFlags::FollowSymlink)?;
    let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
    let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    utimensat(directory, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
}
