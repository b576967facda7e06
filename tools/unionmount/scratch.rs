//! A tmpfs for this run alone: the ephemeral layer, and whatever the union is built from
//! besides the layers. It lives on in the overlays made of it, and no path leads to it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use common::error::During as _;
use common::sys::fscontext::FsContext;
use common::sys::mount::{Attributes, Reach, attach, clone_tree};
use common::{Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, mkdirat};

use crate::layer::Layer;

/// The tmpfs, mounted for as long as this value lives.
#[derive(Debug)]
pub struct Scratch {
    mount: OwnedFd,
    attached_at: Option<PathBuf>,
}

impl Scratch {
    /// Makes it. Before Linux 6.15 overlayfs takes no layer from a mount that is not attached:
    /// there it covers `merged`, for our eyes only (mode 0700), until the union is complete.
    pub fn new(size: Option<u64>, merged: &Layer) -> Result<Self> {
        let mount = tmpfs(size)?;
        // The change that let overlayfs take such layers let open_tree(2) clone them.
        let attached_at = match clone_tree(mount.as_fd(), Reach::One) {
            Ok(_) => None,
            Err(errno) if errno != Errno::EINVAL => {
                return Err(errno).during("clone the private tmpfs", TMPFS);
            }
            Err(_) => {
                attach(mount.as_fd(), merged.fd())
                    .during("mount a tmpfs for the time being", merged.path())?;
                Some(merged.path().to_owned())
            }
        };
        Ok(Self { mount, attached_at })
    }

    /// Makes a directory in it.
    pub fn directory(&self, name: &CStr) -> Result<Layer> {
        let object = Path::new(TMPFS).join(name.to_string_lossy().as_ref());
        let step = "make a directory in the private tmpfs";
        mkdirat(&self.mount, name, Mode::from_bits_truncate(0o755)).during(step, &object)?;
        Ok(Layer::private(object.clone(), self.open(name).during(step, &object)?))
    }

    /// A directory with nothing in it.
    pub fn empty(&self) -> Result<Layer> {
        match self.open(c"empty") {
            Ok(fd) => Ok(Layer::private(Path::new(TMPFS).join("empty"), fd)),
            Err(_) => self.directory(c"empty"),
        }
    }

    /// Opens what is called `name` in it now, a mount there included.
    pub fn open(&self, name: &CStr) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.mount, name, flags, Mode::empty())
    }

    /// Makes a detached mount one that overlayfs takes a layer from.
    pub fn admit(&self, mount: OwnedFd) -> Result<OwnedFd> {
        if self.attached_at.is_some() {
            let name = CString::new(format!("mount{}", mount.as_raw_fd())).unwrap_or_default();
            let place = self.directory(&name)?;
            attach(mount.as_fd(), place.fd()).during("mount in the private tmpfs", place.path())?;
        }
        Ok(mount)
    }

    /// Makes it reachable at `place`, in a mount namespace that has just been copied from ours.
    pub fn reach_at(&self, place: &Path) -> nix::Result<()> {
        match self.attached_at {
            Some(_) => Ok(()), // so is its copy
            None => attach(
                self.mount.as_fd(),
                open(place, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?.as_fd(),
            ),
        }
    }

    /// Where in it a layer is, if it is in it.
    pub fn path_inside(layer: &Layer) -> Option<&Path> {
        layer.path().strip_prefix(TMPFS).ok()
    }

    /// Where it can be reached by path, if it can.
    pub fn path(&self) -> Option<&Path> {
        self.attached_at.as_deref()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.attached_at {
            // What was made of it keeps the filesystem, not this mount.
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
    }
}

/// What the paths of its directories begin with, in messages. (Those of other layers are absolute.)
const TMPFS: &str = "tmpfs";

fn tmpfs(size: Option<u64>) -> Result<OwnedFd> {
    trace::step(match size {
        Some(size) => format!("mount a private tmpfs (size={size})"),
        None => "mount a private tmpfs".to_owned(),
    });
    let step = "mount a private tmpfs";
    let context = FsContext::open(c"tmpfs").map_err(|errno| {
        Error::new(step, "tmpfs", errno).or_hint((errno == Errno::EPERM).then_some(NEEDS_PRIVILEGE))
    })?;
    let configure = || -> nix::Result<OwnedFd> {
        context.set_string(c"source", c"unionmount")?;
        // Nobody else may enter it, should a path lead to it.
        context.set_string(c"mode", c"0700")?;
        if let Some(size) = size {
            // Digits hold no NUL.
            context.set_string(c"size", &CString::new(size.to_string()).unwrap_or_default())?;
        }
        context.mount(Attributes::NONE)
    };
    configure().map_err(|errno| {
        Error::new(step, "tmpfs", context.explain(errno))
            .or_hint((errno == Errno::EPERM).then_some(NEEDS_PRIVILEGE))
    })
}

/// What a caller without the right to mount can do.
pub const NEEDS_PRIVILEGE: &str = "mounting takes CAP_SYS_ADMIN: be root, \
    or start with 'unshare-lite --user --map-root-user --mount --'";
