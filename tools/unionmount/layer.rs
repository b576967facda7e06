//! A directory that takes part in a union, held open so that what was checked is what is used.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use common::Result;
use common::error::During as _;
use common::sys::mount::{Reach, clone_tree};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat, stat};
use xattr::FileExt as _;

/// An open directory and its name.
#[derive(Debug)]
pub struct Layer {
    path: PathBuf,
    fd: OwnedFd,
}

impl Layer {
    /// Opens the directory `path`, which we trust: a link is followed.
    pub fn open(path: &Path, what: &'static str) -> Result<Self> {
        let step = || format!("open the {what}");
        let path = path.canonicalize().during(step(), path)?;
        let fd = openat(AT_FDCWD, &path, DIRECTORY | OFlag::O_PATH, Mode::empty()).during(step(), &path)?;
        Ok(Self { path, fd })
    }

    /// A directory in this one, which must not be a link; open for reading, so that the kernel
    /// checks that we may.
    pub fn child(&self, name: &CStr) -> nix::Result<Self> {
        let fd = openat(&self.fd, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?;
        Ok(Self { path: self.join(name), fd })
    }

    /// A directory that we have opened ourselves.
    pub fn named(path: PathBuf, fd: OwnedFd) -> Self {
        Self { path, fd }
    }

    /// Its absolute path, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path, if that leads here: it does not for what is in our tmpfs, nor for what that covers.
    pub fn reachable_path(&self) -> Option<&Path> {
        let (here, there) = (fstat(&self.fd).ok()?, stat(&self.path).ok()?);
        (self.path.has_root() && (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
            .then_some(self.path.as_path())
    }

    /// A path that leads here for this process, whatever covers its own.
    pub fn path_by_descriptor(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    /// The path of what is called `name` in it.
    pub fn join(&self, name: &CStr) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        self.path.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
    }

    /// The same directory, opened once more.
    pub fn again(&self) -> Result<Self> {
        let fd = self.fd.try_clone().during("duplicate a descriptor", &self.path)?;
        Ok(Self { path: self.path.clone(), fd })
    }

    /// The same directory, open for reading.
    pub fn reopened(&self) -> Result<Self> {
        let fd = openat(&self.fd, ".", DIRECTORY, Mode::empty()).during("open the layer", &self.path)?;
        Ok(Self { path: self.path.clone(), fd })
    }

    /// Whether it hides the directories of the same name in the layers below it; it must be open for reading.
    pub fn is_opaque(&self) -> bool {
        let Ok(fd) = self.fd.try_clone() else { return false };
        let file = std::fs::File::from(fd);
        ["trusted.overlay.opaque", "user.overlay.opaque"]
            .iter()
            .any(|name| matches!(file.get_xattr(name), Ok(Some(value)) if value == b"y"))
    }

    /// Whether the kernel refuses it as a layer because of mounts below it.
    ///
    /// In a mount namespace that belongs to another user namespace than the one it was copied
    /// from, the mounts are locked together (mount_namespaces(7)), because the one above might hide
    /// something. overlayfs clones a layer's mount without those below it, which would show
    /// that; so it gets EINVAL, as an open_tree(2) of the same directory does.
    pub fn is_locked_together(&self) -> bool {
        matches!(clone_tree(self.fd(), Reach::One), Err(Errno::EINVAL))
    }

    /// The directory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);
