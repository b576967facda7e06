//! A new filesystem, as fsopen(2) makes it.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use common::sys::fscontext::FsContext;
use common::sys::mount::Attributes;
use common::{Error, Result};
use nix::errno::Errno;

/// What to make.
#[derive(Clone, Debug)]
pub struct Filesystem {
    pub fs_type: &'static CStr,
    /// Keys with values; an empty value stands for a key without one.
    pub options: Vec<(CString, CString)>,
    pub attributes: Attributes,
}

/// Why the kernel would not make it.
#[derive(Debug)]
pub struct Refused {
    pub errno: Errno,
    pub why: String,
}

impl Filesystem {
    /// One without options.
    pub fn plain(fs_type: &'static CStr, attributes: Attributes) -> Self {
        Self::with(fs_type, attributes, &[])
    }

    /// One with options that are known beforehand.
    pub fn with(fs_type: &'static CStr, attributes: Attributes, options: &[(&CStr, &CStr)]) -> Self {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self { fs_type, options, attributes }
    }

    /// Its type, for people.
    pub fn name(&self) -> String {
        self.fs_type.to_string_lossy().into_owned()
    }

    /// Makes it, mounted nowhere yet.
    pub fn make(&self) -> std::result::Result<OwnedFd, Refused> {
        let context =
            FsContext::open(self.fs_type).map_err(|errno| Refused { errno, why: errno.desc().to_owned() })?;
        let explain = |errno| Refused { errno, why: context.explain(errno) };
        // What mount(8) and mountinfo show as the device; by custom, the type.
        context.set_string(c"source", self.fs_type).map_err(explain)?;
        for (key, value) in &self.options {
            let set = if value.is_empty() { context.set_flag(key) } else { context.set_string(key, value) };
            set.map_err(explain)?;
        }
        context.mount(self.attributes).map_err(explain)
    }
}

impl Refused {
    /// As the error of a step that has no other way.
    pub fn error(self, filesystem: &Filesystem, object: impl AsRef<std::ffi::OsStr>) -> Error {
        let Self { errno, why } = self;
        Error::new(format!("mount {}", filesystem.name()), object, why).or_hint(match errno {
            Errno::EPERM => Some("it takes CAP_SYS_ADMIN in a mount namespace of one's own: 'unshare-lite --mount', with --map-root-user for an ordinary user"),
            Errno::ENODEV => Some("the kernel is built without this filesystem"),
            Errno::ENOSYS => Some("the kernel lacks fsopen(2), which Linux 5.2 brought"),
            _ => None,
        })
    }
}

/// Makes it, or tells why not for `object`.
pub fn make(filesystem: &Filesystem, object: impl AsRef<std::ffi::OsStr>) -> Result<OwnedFd> {
    filesystem.make().map_err(|refused| refused.error(filesystem, object))
}
