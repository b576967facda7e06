//! The formats in which layers record deletions.
//!
//! Sources: the kernel's Documentation/filesystems/overlayfs.rst ("whiteouts and opaque
//! directories", "Nesting overlayfs mounts", "User xattr") and the OCI image specification's
//! layer.md ("Whiteouts").

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use clap::ValueEnum;
use common::{During as _, Result, procfs};

/// How a layer says that something is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Device 0:0, and trusted.overlay.opaque: as overlay writes it
    Overlay,
    /// Device 0:0, and user.overlay.opaque: as overlay with userxattr does
    Userxattr,
    /// Empty file with user.overlay.whiteout: for lower layers, Linux 6.7
    Xattr,
    /// Files .wh.NAME, and .wh..wh..opq: as in OCI image layers, and AUFS
    Oci,
}

/// What an OCI whiteout's name begins with.
pub const PREFIX: &str = ".wh.";
/// The OCI mark of an opaque directory.
pub const OPAQUE_NAME: &str = ".wh..wh..opq";
/// What fuse-overlayfs writes in an opaque directory besides: a device, or a file.
pub const FUSE_OPAQUE_NAME: &str = ".wh..opq";
/// What fuse-overlayfs's own attributes begin with.
pub const FUSE_ATTRIBUTE_PREFIX: &str = "user.fuseoverlayfs.";
/// What AUFS's own bookkeeping begins with, such as `.wh..wh.plnk`; it hides nothing.
pub const AUFS_PREFIX: &str = ".wh..wh.";
/// What overlay's own attributes begin with, for root and with `userxattr`.
pub const ATTRIBUTE_PREFIXES: [&str; 2] = ["trusted.overlay.", "user.overlay."];
/// What overlay puts before the names of attributes that it shows as its own kind, not taking them for its own.
pub const ESCAPE: &[u8] = b"overlay.";
/// Marks an empty file as a whiteout.
pub const WHITEOUT_ATTRIBUTE: &str = "user.overlay.whiteout";
/// The value of an opaque directory's attribute.
pub const OPAQUE: &[u8] = b"y";
/// The value, of the same attribute, for a directory in which overlay is to look for empty files
/// that are whiteouts; without it a listing shows them (Linux 6.8, and stable 6.7).
pub const HAS_WHITEOUTS: &[u8] = b"x";

/// The OCI whiteout of `name`.
pub fn oci_name(name: &OsStr) -> OsString {
    let mut mark = OsString::from(PREFIX);
    mark.push(name);
    mark
}

/// Why `name` cannot be hidden in OCI's format.
pub fn why_not_in_oci(name: &OsStr) -> Option<&'static str> {
    if name.as_bytes().starts_with(PREFIX.as_bytes()) {
        Some("names that begin with .wh. are marks themselves in this format")
    } else if name.len() + PREFIX.len() > 255 {
        Some("the name is too long to bear .wh. as well")
    } else {
        None
    }
}

impl Format {
    /// What an overlay that this user can mount writes: without privilege over the whole machine
    /// it has to be mounted with `userxattr`.
    pub fn of_host() -> Result<Self> {
        Ok(if is_privileged()? { Self::Overlay } else { Self::Userxattr })
    }

    /// The format's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Userxattr => "userxattr",
            Self::Xattr => "xattr",
            Self::Oci => "oci",
        }
    }

    /// Whether a whiteout of this format is one of the other, too.
    pub fn is_written_as(self, other: Self) -> bool {
        let is_device = |format| matches!(format, Self::Overlay | Self::Userxattr);
        self == other || (is_device(self) && is_device(other))
    }

    /// The name of what is a whiteout of `name`.
    pub fn file_of(self, name: &OsStr) -> OsString {
        if self == Self::Oci { oci_name(name) } else { name.to_owned() }
    }

    /// What the attributes of its marks, and of an overlay that writes them, begin with.
    pub fn attribute_prefix(self) -> Option<&'static str> {
        match self {
            Self::Overlay => Some("trusted.overlay."),
            Self::Userxattr | Self::Xattr => Some("user.overlay."),
            Self::Oci => None,
        }
    }

    /// The attribute that makes a directory opaque, where the format has one.
    pub fn opaque_attribute(self) -> Option<&'static str> {
        match self {
            Self::Overlay => Some("trusted.overlay.opaque"),
            Self::Userxattr | Self::Xattr => Some("user.overlay.opaque"),
            Self::Oci => None,
        }
    }
}

/// Whether we have CAP_SYS_ADMIN in the machine's first user namespace, which `trusted.*`
/// attributes need (xattr(7)).
fn is_privileged() -> Result<bool> {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    /// PROC_USER_INIT_INO of the kernel's include/linux/proc_ns.h.
    const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;
    let effective = procfs::status("self", "CapEff")?;
    if u64::from_str_radix(&effective, 16).unwrap_or(0) & CAP_SYS_ADMIN == 0 {
        return Ok(false);
    }
    let namespace = "/proc/self/ns/user";
    Ok(std::fs::metadata(namespace).during("look at the user namespace", namespace)?.ino()
        == FIRST_USER_NAMESPACE)
}
