//! What a node is, and whether two of them are the same.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use common::{During as _, Error, Result};

use nix::libc;
use nix::sys::stat::FileStat;
use xattr::FileExt as _;

use crate::directory::{Directory, if_supported};
use crate::format;

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
    let path = directory.procfs_path(name);
    collect(|| xattr::list(&path), |attribute| xattr::get(&path, attribute), &directory.path_of(name))
}

/// The attributes of an open file or directory (`path`, for messages), without overlay's own.
pub fn attributes_of(file: &File, path: &Path) -> Result<Attributes> {
    collect(|| file.list_xattr(), |attribute| file.get_xattr(attribute), path)
}

fn collect(
    list: impl FnOnce() -> io::Result<xattr::XAttrs>,
    get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
    object: &Path,
) -> Result<Attributes> {
    let step = "read its attributes";
    let mut attributes = Attributes::new();
    for name in if_supported(list().map(Some)).during(step, object)?.into_iter().flatten() {
        if is_metacopy(&name) {
            return Err(without_data(object));
        }
        let Some(shown) = shown_attribute(&name) else { continue };
        // One that was taken off meanwhile is not there.
        if let Some(value) = if_supported(get(&name)).during(step, object)? {
            attributes.insert(shown, value);
        }
    }
    Ok(attributes)
}

/// Fails on a file without its data (overlay's metacopy).
pub fn refuse_metacopy(directory: &Directory, name: &OsStr) -> Result<()> {
    let object = directory.path_of(name);
    let names = if_supported(xattr::list(directory.procfs_path(name)).map(Some));
    match names.during("read its attributes", &object)?.into_iter().flatten().any(|name| is_metacopy(&name)) {
        true => Err(without_data(&object)),
        false => Ok(()),
    }
}

/// Those attributes of the node `name` that `which` chooses, overlay's own among them.
pub fn chosen_attributes(
    directory: &Directory,
    name: &OsStr,
    which: impl Fn(&OsStr) -> bool,
) -> Result<Attributes> {
    let (object, path) = (directory.path_of(name), directory.procfs_path(name));
    let step = "read its attributes";
    let mut attributes = Attributes::new();
    for attribute in if_supported(xattr::list(&path).map(Some)).during(step, &object)?.into_iter().flatten() {
        if which(&attribute)
            && let Some(value) = xattr::get(&path, &attribute).during(step, &object)?
        {
            attributes.insert(attribute, value);
        }
    }
    Ok(attributes)
}

/// Takes an attribute off the node `name`.
pub fn remove_attribute(directory: &Directory, name: &OsStr, attribute: &OsStr) -> Result<()> {
    let path = directory.procfs_path(name);
    xattr::remove(path, attribute).during("take off an attribute", directory.path_of(name))
}

/// Puts an attribute on the node `name`.
pub fn set_attribute(directory: &Directory, name: &OsStr, attribute: &OsStr, value: &[u8]) -> Result<()> {
    let path = directory.procfs_path(name);
    xattr::set(path, attribute, value).during("put on an attribute", directory.path_of(name))
}

fn without_data(object: &Path) -> Error {
    Error::new("read a layer", object, "its data is in a lower layer (metacopy)")
        .hint("mount the overlay with metacopy=off and open the file for writing: that copies its data up")
}

/// Whether the attribute says that a file is without its data, which is in a lower layer.
fn is_metacopy(attribute: &OsStr) -> bool {
    let own = |prefix: &str| attribute.as_bytes().strip_prefix(prefix.as_bytes());
    format::ATTRIBUTE_PREFIXES.iter().any(|prefix| own(prefix) == Some(b"metacopy"))
}

/// The name under which an overlay shows an attribute of its layers, if it does: its own stay hidden,
/// except escaped ones (`trusted.overlay.overlay.…`), which belong to an overlay inside this one
/// (the kernel's overlayfs.rst, "Nesting overlayfs mounts"). SELinux labels are the machine's.
fn shown_attribute(attribute: &OsStr) -> Option<OsString> {
    for prefix in format::ATTRIBUTE_PREFIXES {
        if let Some(own) = attribute.as_bytes().strip_prefix(prefix.as_bytes()) {
            let inner = own.strip_prefix(format::ESCAPE)?;
            return Some(OsString::from_vec([prefix.as_bytes(), inner].concat()));
        }
    }
    let is_fuses = attribute.as_bytes().starts_with(format::FUSE_ATTRIBUTE_PREFIX.as_bytes());
    (!is_fuses && attribute != "security.selinux").then(|| attribute.to_owned())
}

/// The name under which a layer has to hold an attribute so that an overlay shows it as this one.
pub fn hidden_attribute(attribute: &OsStr) -> OsString {
    for prefix in format::ATTRIBUTE_PREFIXES {
        if let Some(inner) = attribute.as_bytes().strip_prefix(prefix.as_bytes()) {
            return OsString::from_vec([prefix.as_bytes(), format::ESCAPE, inner].concat());
        }
    }
    attribute.to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inner_overlays_attributes_are_shown_and_hidden_again() {
        for (layer, shown) in [
            ("user.note", Some("user.note")),
            ("trusted.overlay.opaque", None),
            ("trusted.overlay.overlay.opaque", Some("trusted.overlay.opaque")),
            ("user.overlay.overlay.overlay.x", Some("user.overlay.overlay.x")),
            ("security.selinux", None),
            ("user.fuseoverlayfs.origin", None),
        ] {
            let found = shown_attribute(OsStr::new(layer));
            assert_eq!(found.as_deref(), shown.map(OsStr::new), "{layer}");
            if let Some(shown) = found {
                assert_eq!(hidden_attribute(&shown), layer);
            }
        }
    }
}
