//! Paths inside a root directory that we do not trust: no link in it leads out of it.
//!
//! Everything is resolved by openat2(2) with RESOLVE_IN_ROOT, as if we had chrooted,
//! and used by descriptor from then on, so that what was checked is what is used.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{During as _, Error, Result};
use crate::trace;

/// A root directory, held open.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// What was made inside a root: taken back, the last first, when dropped, unless kept.
#[must_use = "dropping it removes what was made"]
#[derive(Debug, Default)]
pub struct Made {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    parent: OwnedFd,
    name: CString,
    flag: UnlinkatFlags,
}

impl Root {
    /// Opens the directory `path`, which we trust; a link there is followed.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = openat2(AT_FDCWD, path, OpenHow::new().flags(flags)).during("open the directory", path)?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The directory itself.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The same root as seen through `fd`, such as a mount that now covers it.
    #[must_use]
    pub fn replaced_by(&self, fd: OwnedFd) -> Self {
        Self { fd, path: self.path.clone() }
    }

    /// The root that `fd` is open on, which is `inside` this one: a mount that we made there.
    #[must_use]
    pub fn below(&self, inside: &Path, fd: OwnedFd) -> Self {
        Self { fd, path: self.name(inside) }
    }

    /// Opens what `inside` names, with links in it resolved inside the root. `flags` as in open(2).
    pub fn open_inside(&self, inside: &Path, flags: OFlag) -> Result<OwnedFd> {
        self.resolve(inside, flags).during("open inside the root", self.name(inside))
    }

    /// Opens what `inside` names, or says which errno stood in the way.
    pub fn resolve(&self, inside: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let relative = inside.strip_prefix("/").unwrap_or(inside);
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        loop {
            match openat2(&self.fd, relative, how) {
                // A rename somewhere raced with "..": openat2(2) says to try again.
                Err(Errno::EAGAIN) => {}
                result => return result,
            }
        }
    }

    /// Opens the directory `inside` (O_PATH), making it and its parents (mode 0755) where missing.
    pub fn make_directory(&self, inside: &Path) -> Result<(OwnedFd, Made)> {
        let mut made = Made::default();
        let mut walked = PathBuf::new();
        let mut directory = self.open_inside(Path::new("."), DIRECTORY)?;
        for component in inside.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::ParentDir => OsStr::new(".."),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            };
            walked.push(name);
            directory = match self.resolve(&walked, DIRECTORY) {
                Err(Errno::ENOENT) => {
                    let step = "make a directory inside the root";
                    let path = self.name(&walked);
                    let name = c_name(name, step, &path)?;
                    match mkdirat(&directory, name.as_c_str(), Mode::from_bits_truncate(0o755)) {
                        Ok(()) => {
                            trace::step(format_args!("make {}", path.display()));
                            made.push(directory, name, UnlinkatFlags::RemoveDir);
                        }
                        // Somebody else made it meanwhile, or a link that dangles is in its place.
                        Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(Error::new(step, path, errno)),
                    }
                    self.open_inside(&walked, DIRECTORY)?
                }
                found => found.during("open inside the root", self.name(&walked))?,
            };
        }
        Ok((directory, made))
    }

    /// Opens the file `inside` (O_PATH), making it (empty, mode 0644) and its parent directories where missing.
    pub fn make_file(&self, inside: &Path) -> Result<(OwnedFd, Made)> {
        match self.resolve(inside, OFlag::O_PATH) {
            Err(Errno::ENOENT) => {}
            found => return Ok((found.during("open inside the root", self.name(inside))?, Made::default())),
        }
        let step = "make a file inside the root";
        let Some(name) = inside.file_name() else {
            return Err(Error::new(step, self.name(inside), "it does not end in a name"));
        };
        let (directory, mut made) = self.make_directory(inside.parent().unwrap_or(Path::new(".")))?;
        let name = c_name(name, step, &self.name(inside))?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
        nix::fcntl::openat(&directory, name.as_c_str(), flags, Mode::from_bits_truncate(0o644))
            .during(step, self.name(inside))?;
        trace::step(format_args!("make {}", self.name(inside).display()));
        made.push(directory, name, UnlinkatFlags::NoRemoveDir);
        Ok((self.open_inside(inside, OFlag::O_PATH)?, made))
    }

    /// `inside` as a person outside would write it, for messages.
    #[must_use]
    pub fn name(&self, inside: &Path) -> PathBuf {
        self.path.join(inside.strip_prefix("/").unwrap_or(inside))
    }
}

impl Made {
    fn push(&mut self, parent: OwnedFd, name: CString, flag: UnlinkatFlags) {
        self.nodes.push(Node { parent, name, flag });
    }

    /// Adds what another call made after this.
    pub fn append(&mut self, mut later: Self) {
        self.nodes.append(&mut later.nodes);
    }

    /// Lets what was made stand.
    pub fn keep(mut self) {
        self.nodes.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for node in self.nodes.drain(..).rev() {
            // Relative to the directory that we made it in, so that no swapped parent leads
            // elsewhere. Somebody may have put something into it: then it is not ours alone.
            let _ = unlinkat(&node.parent, node.name.as_c_str(), node.flag);
        }
    }
}

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);

fn c_name(name: &OsStr, step: &'static str, object: &Path) -> Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| Error::new(step, object, "it holds a NUL byte"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Fixture {
        _directory: tempfile::TempDir,
        root: Root,
        host: PathBuf,
    }

    /// A root beside a host directory that no path inside may reach.
    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let (inside, host) = (directory.path().join("root"), directory.path().join("host"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&host).unwrap();
        let root = Root::open(&inside).unwrap();
        Fixture { _directory: directory, root, host }
    }

    fn entries(path: &Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn directories_and_files_are_made_and_kept() {
        let f = fixture();
        let (_, made) = f.root.make_file(Path::new("/a/b/file")).unwrap();
        made.keep();
        assert!(f.root.path.join("a/b/file").is_file());
    }

    #[test]
    fn what_was_made_is_taken_back_when_dropped() {
        let f = fixture();
        fs::create_dir(f.root.path.join("a")).unwrap();
        drop(f.root.make_file(Path::new("a/b/c/file")).unwrap());
        assert!(f.root.path.join("a").is_dir());
        // Innermost first, or the directories would not be empty.
        assert_eq!(entries(&f.root.path.join("a")), 0);
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let f = fixture();
        symlink(&f.host, f.root.path.join("absolute")).unwrap();
        symlink("../host", f.root.path.join("relative")).unwrap();
        fs::create_dir_all(f.root.path.join(f.host.strip_prefix("/").unwrap())).unwrap();
        // A link that dangles inside the root is refused.
        assert_eq!(f.root.make_directory(Path::new("relative/x")).unwrap_err().errno(), Some(Errno::ENOENT));
        for inside in ["absolute/x", "../host/x", "../../../host/x"] {
            let (_, made) = f.root.make_directory(Path::new(inside)).unwrap();
            made.keep();
        }
        assert_eq!(entries(&f.host), 0);
    }

    #[test]
    fn magic_links_of_proc_are_refused() {
        let root = Root::open(Path::new("/")).unwrap();
        assert_eq!(root.resolve(Path::new("/proc/self/cwd/x"), OFlag::O_PATH).unwrap_err(), Errno::ELOOP);
    }

    #[test]
    fn a_root_that_is_no_directory_is_an_error() {
        let error = Root::open(Path::new("/proc/version")).unwrap_err();
        assert_eq!(error.to_string(), "/proc/version: open the directory: Not a directory");
    }
}
