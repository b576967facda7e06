//! A directory that takes part in a union, held open so that what was checked is what is used.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use common::error::Why;
use common::sys::mount::{Reach, clone_tree};
use common::{During as _, Error, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};
use xattr::FileExt as _;

use crate::attributes;
use crate::real_path::RealPaths;

/// An open directory and its name.
#[derive(Debug)]
pub struct Layer {
    path: PathBuf,
    fd: OwnedFd,
    /// It is on a mount of ours, to which its path does not lead.
    is_private: bool,
    is_file: bool,
}

impl Layer {
    /// Opens the directory `path`, which we trust: a link is followed.
    pub fn open(path: &Path, what: &'static str) -> Result<Self> {
        let fd = open_path(path, what, OFlag::O_DIRECTORY)?;
        let path = path.canonicalize().map_err(|error| not_opened(what, path, error))?;
        Ok(Self { path, fd, is_private: false, is_file: false })
    }

    /// Opens a read-only layer: a directory, or a file that may be an image. A link is followed.
    pub fn open_lower(path: &Path, real: &mut RealPaths) -> Result<Self> {
        // Without a slash at its end, which would follow a link.
        let path: PathBuf = path.components().collect();
        let fd = open_path(&path, "layer", OFlag::O_NOFOLLOW)?;
        let is_file = match attributes::kind(&fstat(&fd).during("look at", &path)?) {
            SFlag::S_IFLNK => {
                let target = path.canonicalize().map_err(|error| not_opened("layer", &path, error))?;
                return Self::open_lower(&target, real);
            }
            SFlag::S_IFDIR => false,
            SFlag::S_IFREG => true,
            _ => return Err(not_opened("layer", &path, Errno::ENOTDIR)),
        };
        let path = real.of(&path).map_err(|error| not_opened("layer", &path, error))?;
        Ok(Self { path, fd, is_private: false, is_file })
    }

    /// A directory in this one, which must not be a link; open for reading, so that the kernel
    /// checks that we may.
    pub fn child(&self, name: &CStr) -> nix::Result<Self> {
        let fd = openat(&self.fd, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?;
        Ok(Self { path: self.join(name), fd, is_private: self.is_private, is_file: false })
    }

    /// A directory on a mount of ours; `path` is for messages.
    pub fn private(path: PathBuf, fd: OwnedFd) -> Self {
        Self { path, fd, is_private: true, is_file: false }
    }

    /// Whether its path leads nowhere outside this process.
    pub fn is_private(&self) -> bool {
        self.is_private
    }

    /// What is in it.
    pub fn names(&self) -> Result<Vec<CString>> {
        let step = "list the directory";
        let mut open = Dir::openat(&self.fd, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .during(step, &self.path)?;
        let mut names = Vec::new();
        for entry in open.iter() {
            let name = entry.during(step, &self.path)?.file_name().to_owned();
            if name.as_bytes() != b"." && name.as_bytes() != b".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The file `name` in it, as a mount that is not attached yet.
    pub fn bind(&self, name: &CStr) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        clone_tree(openat(&self.fd, name, flags, Mode::empty())?.as_fd(), Reach::One)
    }

    /// What stat(2) says of it.
    pub fn stat(&self) -> Result<FileStat> {
        fstat(&self.fd).during("look at", &self.path)
    }

    /// Whether it is a file, which makes it an image.
    pub fn is_file(&self) -> bool {
        self.is_file
    }

    /// Whether what `path` leads to is on the same filesystem.
    pub fn is_on_filesystem_of(&self, path: &Path) -> bool {
        matches!((self.stat(), stat(path)), (Ok(a), Ok(b)) if a.st_dev == b.st_dev)
    }

    /// Its absolute path, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path, if that leads here: it does not for what is on a mount of ours, nor for what that covers.
    pub fn reachable_path(&self) -> Option<&Path> {
        if self.is_private {
            return None;
        }
        let (here, there) = (fstat(&self.fd).ok()?, stat(&self.path).ok()?);
        ((here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)).then_some(self.path.as_path())
    }

    /// A path that leads here for this process, whatever covers its own.
    pub fn path_by_descriptor(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    /// The path of what is called `name` in it.
    pub fn join(&self, name: &CStr) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.to_bytes()))
    }

    /// The same directory, opened once more.
    pub fn again(&self) -> Result<Self> {
        let fd = self.fd.try_clone().during("duplicate a descriptor", &self.path)?;
        Ok(Self { path: self.path.clone(), fd, is_private: self.is_private, is_file: false })
    }

    /// The same directory, open for reading.
    pub fn reopened(&self) -> Result<Self> {
        let fd = openat(&self.fd, ".", DIRECTORY, Mode::empty()).during("open the layer", &self.path)?;
        Ok(Self { path: self.path.clone(), fd, is_private: self.is_private, is_file: false })
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

fn open_path(path: &Path, what: &'static str, flags: OFlag) -> Result<OwnedFd> {
    openat(AT_FDCWD, path, flags | OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| not_opened(what, path, errno))
}

/// The error for what is no directory that we can open, with what `what` must be.
fn not_opened(what: &str, path: &Path, why: impl Into<Why>) -> Error {
    let error = Error::new(format!("open the {what}"), path, why);
    let hint = match (error.errno(), what) {
        (Some(Errno::EMFILE), _) => "each layer takes a descriptor: raise the limit with 'ulimit -n'",
        (Some(Errno::EACCES), _) => "every directory on the way to it must be open to this user ('namei -l')",
        (Some(Errno::ENOENT), "mount point") => "make the directory first: the union is mounted on it",
        (Some(Errno::ENOENT), _) => "check the name; 'whiteout unpack DIR' makes a layer of an archive",
        (Some(Errno::ENOTDIR), "layer") => {
            "a layer is a directory, or a file that is an erofs or squashfs image"
        }
        (Some(Errno::ENOTDIR), _) => "it must be a directory",
        _ => return error,
    };
    error.hint(hint)
}

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);
