//! One overlay, by the new mount API: one call a layer (`lowerdir+`, Linux 6.7), so that
//! neither the number of layers nor the bytes in their names are limited by an option string.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use common::sys::fscontext::FsContext;
use common::sys::mount::Attributes;
use common::{Error, Result, trace};
use nix::errno::Errno;

use crate::kernel_log::KernelLog;
use crate::layer::Layer;
use crate::legacy;
use crate::options::Setting;
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
    /// Below the lowers: only data, for metacopy files.
    pub data_only: &'a [Layer],
    /// overlayfs's own options.
    pub settings: &'a [Setting],
    /// What the mount table calls it.
    pub source: &'a CStr,
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
        let mut log = KernelLog::from_now();
        match self.by_context(&mut log)? {
            Some(mount) => Ok(mount),
            None => legacy::mount(self, scratch, &mut log),
        }
    }

    /// By fsopen(2); `None` where this kernel's overlayfs takes layers by option string only.
    fn by_context(&self, log: &mut KernelLog) -> Result<Option<OwnedFd>> {
        let context = FsContext::open(c"overlay").map_err(|errno| self.failed(errno, Vec::new()))?;
        let configure = || -> nix::Result<Option<OwnedFd>> {
            // overlayfs stacks in the order given, the top first.
            for layer in self.lowers.iter().rev() {
                if !append(&context, c"lowerdir+", layer)? {
                    return Ok(None);
                }
            }
            for layer in self.data_only.iter().rev() {
                append(&context, c"datadir+", layer)?;
            }
            if let Some((upper, work)) = self.writable {
                append(&context, c"upperdir", upper)?;
                append(&context, c"workdir", work)?;
            }
            for Setting { key, value } in self.settings {
                match value {
                    Some(value) => context.set_string(key, value)?,
                    None => context.set_flag(key)?,
                }
            }
            context.set_string(c"source", self.source)?;
            context.mount(Attributes::NONE).map(Some)
        };
        configure().map_err(|errno| {
            let mut messages = context.messages();
            messages.extend(log.of_overlayfs());
            self.failed(errno, messages)
        })
    }

    /// The error for `errno`, in the kernel's words where it left some, with the usual cause.
    pub fn failed(&self, errno: Errno, messages: Vec<String>) -> Error {
        let hint = match errno {
            Errno::EPERM => Some(NEEDS_PRIVILEGE),
            Errno::ENODEV => {
                Some("this kernel has no overlayfs: 'modprobe overlay' loads it where it is a module")
            }
            Errno::EBUSY => Some("the upper or the work directory is in use by another overlay"),
            Errno::ELOOP => Some("two layers are the same directory, or one lies inside another"),
            Errno::ESTALE => {
                Some("the upper was used with other layers before, and index=on holds it to them")
            }
            Errno::EINVAL if messages.is_empty() => {
                Some("the kernel's log may say more: dmesg(1); an upper must be on ext4, xfs, btrfs or tmpfs")
            }
            _ => None,
        };
        let why = match messages.is_empty() {
            true => errno.desc().to_owned(),
            false => format!("{} ({})", messages.join("; "), errno.desc()),
        };
        Error::new("mount overlay", self.place, why).or_hint(hint)
    }

    fn shown(&self) -> String {
        let mut text = format!("{} (lower", self.place.display());
        for layer in &self.lowers {
            text += &format!(" {}", layer.path().display());
        }
        if let Some((upper, _)) = self.writable {
            text += &format!(", upper {}", upper.path().display());
        }
        for layer in self.data_only {
            text += &format!(", data {}", layer.path().display());
        }
        for setting in self.settings {
            text += &format!(", {}", String::from_utf8_lossy(&setting.to_bytes()));
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
