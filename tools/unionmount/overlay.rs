//! One overlay, by the new mount API: one call a layer (`lowerdir+`, Linux 6.7), so that
//! neither the number of layers nor the bytes in their names are limited by an option string.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use common::error::During as _;
use common::sys::fscontext::FsContext;
use common::sys::mount::Attributes;
use common::{Error, Result, trace};
use nix::errno::Errno;

use crate::layer::Layer;
use crate::legacy;
use crate::scratch::{NEEDS_PRIVILEGE, Scratch};

/// What overlayfs is to stack, and how.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// Where it will be seen, for messages.
    pub place: &'a Path,
    /// The read-only layers, bottom first.
    pub lowers: Vec<&'a Layer>,
    /// The upper and its work directory.
    pub writable: Option<(&'a Layer, &'a Layer)>,
    /// Options without a value.
    pub flags: &'a [CString],
}

impl Overlay<'_> {
    /// Makes it: a detached mount.
    pub fn mount(self, scratch: &Scratch) -> Result<OwnedFd> {
        if self.lowers.len() > 1 || self.writable.is_some() {
            return self.mount_as_is(scratch);
        }
        // overlayfs wants two layers where there is no upper.
        let empty = scratch.empty()?;
        let mut overlay = Overlay { ..self };
        overlay.lowers.insert(0, &empty);
        overlay.mount_as_is(scratch)
    }

    fn mount_as_is(&self, scratch: &Scratch) -> Result<OwnedFd> {
        trace::step(format_args!("mount overlay on {}", self.shown()));
        match self.by_context()? {
            Some(mount) => Ok(mount),
            None => legacy::mount(self, scratch),
        }
    }

    /// By fsopen(2); `None` where this kernel's overlayfs takes layers by option string only.
    fn by_context(&self) -> Result<Option<OwnedFd>> {
        let context = FsContext::open(c"overlay").map_err(|errno| self.failed(errno, errno.desc()))?;
        let configure = || -> nix::Result<Option<OwnedFd>> {
            // overlayfs stacks in the order given, the top first.
            for layer in self.lowers.iter().rev() {
                if !append(&context, c"lowerdir+", layer)? {
                    return Ok(None);
                }
            }
            if let Some((upper, work)) = self.writable {
                append(&context, c"upperdir", upper)?;
                append(&context, c"workdir", work)?;
            }
            for flag in self.flags {
                context.set_flag(flag)?;
            }
            context.set_string(c"source", c"unionmount")?;
            context.mount(Attributes::NONE).map(Some)
        };
        configure().map_err(|errno| self.failed(errno, &context.explain(errno)))
    }

    /// The error for `errno`, in the kernel's words, with the usual cause.
    pub fn failed(&self, errno: Errno, why: &str) -> Error {
        Error::new("mount overlay", self.place, why.to_owned()).or_hint(match errno {
            Errno::EPERM => Some(NEEDS_PRIVILEGE),
            Errno::ENODEV => {
                Some("this kernel has no overlayfs: 'modprobe overlay' loads it where it is a module")
            }
            Errno::EBUSY => Some("the upper or the work directory is in use by another overlay"),
            Errno::ELOOP => Some("a layer lies inside the upper, the work directory or another layer"),
            Errno::ESTALE => {
                Some("the upper was used with other layers before, and index=on holds it to them")
            }
            Errno::EINVAL => Some(
                "not every filesystem can hold an upper (another overlay, NFS, vfat and hostfs cannot); \
                 a directory on ext4, xfs, btrfs or tmpfs can, and --ephemeral needs none",
            ),
            _ => None,
        })
    }

    fn shown(&self) -> String {
        let mut text = format!("{} (lower", self.place.display());
        for layer in &self.lowers {
            text += &format!(" {}", layer.path().display());
        }
        if let Some((upper, _)) = self.writable {
            text += &format!(", upper {}", upper.path().display());
        }
        for flag in self.flags {
            text += &format!(", {}", flag.to_string_lossy());
        }
        text + ")"
    }
}

/// Gives the context a layer. `false`: this kernel does not know the key.
fn append(context: &FsContext, key: &CStr, layer: &Layer) -> nix::Result<bool> {
    match context.set_fd(key, layer.fd()) {
        Ok(()) => return Ok(true),                  // Linux 6.13
        Err(Errno::EOPNOTSUPP) => return Ok(false), // before Linux 6.5, all is one string
        Err(Errno::EINVAL) => {}
        Err(errno) => return Err(errno),
    }
    let set = context.set_string(key, &name_for_context(layer)?);
    match set {
        Ok(()) => {
            let _ = context.messages(); // about our first try
            Ok(true)
        }
        Err(Errno::EINVAL) if key == c"lowerdir+" => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A string value is limited to 255 bytes, and `upperdir` treats backslashes as escapes.
fn name_for_context(layer: &Layer) -> nix::Result<CString> {
    let path = layer.reachable_path().map(|path| path.as_os_str().as_bytes());
    let plain = path.filter(|path| path.len() <= 255 && !path.contains(&b'\\')).map(<[u8]>::to_vec);
    CString::new(plain.unwrap_or_else(|| layer.path_by_descriptor().into_bytes())).map_err(|_| Errno::EINVAL)
}

/// Whether overlayfs needs `userxattr`: it does where we have no privilege over `trusted.*`
/// extended attributes, that is, in any user namespace but the first.
pub fn needs_user_xattrs() -> Result<bool> {
    let path = "/proc/self/uid_map";
    let map = std::fs::read_to_string(path).during("read", path)?;
    Ok(map.split_ascii_whitespace().ne(["0", "0", "4294967295"]))
}
