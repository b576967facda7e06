//! Directories of a layer, held open: everything in them is reached through the descriptor.
//!
//! A layer's links, devices and pipes come from strangers: no link is followed, and
//! nothing but directories and regular files is ever opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use common::{During as _, Error, Result};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use xattr::FileExt as _;

use crate::node::{self, Attributes};

/// A directory that is open for reading.
#[derive(Debug)]
pub struct Directory {
    fd: File,
    path: PathBuf,
    /// How many directories it is below the one that was opened by its path.
    level: usize,
}

/// How deep a layer may be: a bound for memory, open files and our own stack.
pub const MOST_LEVELS: usize = 1024;

impl Directory {
    /// Opens `path`, an operand, which we trust: a link there is followed.
    pub fn open(path: &Path) -> Result<Self> {
        let fd = openat(AT_FDCWD, path, DIRECTORY, Mode::empty()).during("open the directory", path)?;
        Ok(Self { fd: File::from(fd), path: path.to_owned(), level: 0 })
    }

    /// Opens the directory `name` in this one; a link there is an error.
    pub fn child(&self, name: &OsStr) -> Result<Self> {
        let path = self.path_of(name);
        let step = "open the directory";
        if self.level >= MOST_LEVELS {
            return Err(Error::new(step, &path, "it is more than 1024 levels deep"));
        }
        let flags = DIRECTORY | OFlag::O_NOFOLLOW;
        let fd = openat(&self.fd, name, flags, Mode::empty()).during(step, &path)?;
        Ok(Self { fd: File::from(fd), path, level: self.level + 1 })
    }

    /// Opens the directory `name` in this one, unless something is mounted on it.
    pub fn child_of_same_mount(&self, name: &OsStr) -> Result<Self> {
        self.refuse_mount(name)?;
        self.child(name)
    }

    /// Fails if something is mounted on `name`.
    pub fn refuse_mount(&self, name: &OsStr) -> Result<()> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS);
        match openat2(&self.fd, name, how) {
            Err(Errno::EXDEV) => Err(Error::new("look at", self.path_of(name), "something is mounted there")
                .hint("unmount it first")),
            result => result.map(drop).during("look at", self.path_of(name)),
        }
    }

    /// Opens the directory that `path` leads to from here; a link on the way is an error.
    pub fn descend(&self, path: &Path) -> nix::Result<Self> {
        let how = OpenHow::new()
            .flags(DIRECTORY)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let mut fd = self.fd.as_fd().try_clone_to_owned().map_err(|_| Errno::last())?;
        let mut parts = path.iter().peekable();
        while parts.peek().is_some() {
            // In pieces that the kernel takes (PATH_MAX).
            let mut piece = PathBuf::new();
            while let Some(part) = parts.next_if(|part| piece.as_os_str().len() + part.len() < 4000) {
                piece.push(part);
            }
            fd = loop {
                match openat2(&fd, &piece, how) {
                    // A rename somewhere raced with it: openat2(2) says to try again.
                    Err(Errno::EAGAIN) => {}
                    result => break result?,
                }
            };
        }
        Ok(Self { fd: File::from(fd), path: self.path.join(path), level: self.level + path.iter().count() })
    }

    /// The same directory, opened once more.
    pub fn again(&self) -> Result<Self> {
        self.descend(Path::new("")).during("open the directory", &self.path)
    }

    /// The same with another path for messages.
    pub fn named(self, path: &Path) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// The open directory as a file.
    pub fn file(&self) -> &File {
        &self.fd
    }

    /// The directory as its operand names it, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a name in it, for messages.
    pub fn path_of(&self, name: &OsStr) -> PathBuf {
        if self.path == Path::new(".") { PathBuf::from(name) } else { self.path.join(name) }
    }

    /// The names in it, in no order.
    pub fn names(&self) -> Result<Vec<OsString>> {
        Ok(self.entries()?.into_iter().map(|(name, _)| name).collect())
    }

    /// The names in it with their types, where the filesystem tells them at once; in no order.
    pub fn entries(&self) -> Result<Vec<(OsString, Option<Type>)>> {
        let read = || -> nix::Result<Vec<(OsString, Option<Type>)>> {
            // A descriptor of its own, for reading moves the position.
            let mut stream = Dir::openat(&self.fd, ".", DIRECTORY, Mode::empty())?;
            let mut entries = Vec::new();
            for entry in stream.iter() {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
                if name != "." && name != ".." {
                    entries.push((name, entry.file_type()));
                }
            }
            Ok(entries)
        };
        read().during("read the directory", &self.path)
    }

    /// What is at `name`, if anything; a link is itself.
    pub fn stat(&self, name: &OsStr) -> Result<Option<FileStat>> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            // A name over the limit of the filesystem cannot be there either.
            Err(Errno::ENOENT | Errno::ENAMETOOLONG) => Ok(None),
            result => result.map(Some).during("look at", self.path_of(name)),
        }
    }

    /// What the directory itself is.
    pub fn own_stat(&self) -> Result<FileStat> {
        fstat(&self.fd).during("look at", &self.path)
    }

    /// Opens the regular file `name` for reading. Anything else that got into its place is an error.
    pub fn open_file(&self, name: &OsStr) -> Result<(File, FileStat)> {
        let path = self.path_of(name);
        // Non-blocking, for it might be a pipe by now.
        let flags =
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.fd, name, flags, Mode::empty()).during("open", &path)?);
        let stat = fstat(&file).during("look at", &path)?;
        if !node::is_regular(&stat) {
            return Err(Error::new("open", &path, "it is no regular file any more"));
        }
        Ok((file, stat))
    }

    /// What the symbolic link `name` holds.
    pub fn link_target(&self, name: &OsStr) -> Result<OsString> {
        readlinkat(&self.fd, name).during("read the link", self.path_of(name))
    }

    /// The directory's own attributes, without overlay's.
    pub fn attributes(&self) -> Result<Attributes> {
        node::attributes_of(&self.fd, &self.path)
    }

    /// The directory's own attribute `attribute`, if it has it.
    pub fn attribute(&self, attribute: &str) -> Result<Option<Vec<u8>>> {
        if_supported(self.fd.get_xattr(attribute)).during("read its attributes", &self.path)
    }

    /// Sets the directory's own attribute.
    pub fn set_attribute(&self, attribute: &str, value: &[u8]) -> Result<()> {
        self.fd.set_xattr(attribute, value).map_err(|why| attribute_error(attribute, &self.path, why))
    }

    /// Takes an attribute off the directory.
    pub fn remove_attribute(&self, attribute: &str) -> Result<()> {
        self.fd.remove_xattr(attribute).map_err(|why| attribute_error(attribute, &self.path, why))
    }

    /// The names of the directory's own attributes.
    pub fn attribute_names(&self) -> Result<Vec<OsString>> {
        let names = if_supported(self.fd.list_xattr().map(Some)).during("read its attributes", &self.path)?;
        Ok(names.into_iter().flatten().collect())
    }

    /// A path to `name` for calls that take no descriptor: what the descriptor is open on is
    /// meant, whatever has been renamed since.
    pub fn procfs_path(&self, name: &OsStr) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).join(name)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A filesystem without attributes has none set.
pub fn if_supported<T>(result: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(None),
        result => result,
    }
}

/// Why an attribute could not be changed, and what to do about it.
pub fn attribute_error(attribute: &str, path: &Path, why: io::Error) -> Error {
    let hint = match why.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EOPNOTSUPP) if attribute.starts_with("user.") => Some(
            "this filesystem has no user attributes here (tmpfs has them from Linux 6.6); use another one",
        ),
        Some(Errno::EOPNOTSUPP) => Some("this filesystem has no trusted attributes; use another one"),
        Some(Errno::EPERM) if attribute.starts_with("trusted.") => {
            Some("trusted attributes need CAP_SYS_ADMIN on the machine itself; use --format userxattr")
        }
        Some(Errno::EPERM) if attribute.starts_with("security.") => Some(
            "it needs privilege in a user namespace at least; run it under unshare-lite --user --map-root-user",
        ),
        Some(Errno::EINVAL) if attribute.starts_with("system.posix_acl_") => {
            Some("it names ids that this user namespace does not have; map more ids")
        }
        _ => None,
    };
    Error::new(format!("set {attribute}"), path, why).or_hint(hint)
}

/// Raises the limit of open files to the most that we may have: a walk holds one open
/// for each directory on its way, in each layer.
pub fn allow_many_open() -> Result<()> {
    let step = "raise the limit of open files";
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).during(step, "")?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).during(step, "")?;
    }
    Ok(())
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
