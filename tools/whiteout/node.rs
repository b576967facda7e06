//! What a node is, and whether two of them are the same.

use common::{During as _, Result};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use nix::libc;
use nix::sys::stat::FileStat;

use crate::directory::{Directory, if_supported};
use crate::listing::is_overlays_own;

fn kind(stat: &FileStat) -> libc::mode_t {
    stat.st_mode & libc::S_IFMT
}

/// Whether it is a directory.
pub fn is_directory(stat: &FileStat) -> bool {
    kind(stat) == libc::S_IFDIR
}

/// Whether it is a regular file.
pub fn is_regular(stat: &FileStat) -> bool {
    kind(stat) == libc::S_IFREG
}

/// Whether it is a character device.
pub fn is_character_device(stat: &FileStat) -> bool {
    kind(stat) == libc::S_IFCHR
}

/// Extended attributes by name.
pub type Attributes = BTreeMap<OsString, Vec<u8>>;

/// The attributes of the node `name`, without overlay's own.
pub fn attributes(directory: &Directory, name: &OsStr) -> Result<Attributes> {
    let (object, path) = (directory.path().join(name), directory.procfs_path(name));
    let step = "read its attributes";
    let names = if_supported(xattr::list(&path).map(Some)).during(step, &object)?;
    let mut attributes = Attributes::new();
    for attribute in names.into_iter().flatten().filter(|attribute| !is_overlays_own(attribute)) {
        // One that was taken off meanwhile is not there.
        if let Some(value) = if_supported(xattr::get(&path, &attribute)).during(step, &object)? {
            attributes.insert(attribute, value);
        }
    }
    Ok(attributes)
}

/// Whether docker diff calls a node changed that was `old` and is `new`. Size and time of a
/// directory say nothing: they change with its entries.
pub fn differs(old: &FileStat, new: &FileStat) -> bool {
    old.st_mode != new.st_mode
        || old.st_uid != new.st_uid
        || old.st_gid != new.st_gid
        || old.st_rdev != new.st_rdev
        || (!is_directory(new) && (old.st_size != new.st_size || !same_time(old, new)))
}

/// Archives that know only whole seconds give files back with no nanoseconds.
fn same_time(old: &FileStat, new: &FileStat) -> bool {
    old.st_mtime == new.st_mtime
        && (old.st_mtime_nsec == new.st_mtime_nsec || old.st_mtime_nsec == 0 || new.st_mtime_nsec == 0)
}
