//! The writable layer and its work directory.

use std::cell::RefCell;
use std::ffi::CStr;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use common::error::During as _;
use common::{Error, Result, trace};
use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};

use crate::attributes;
use crate::layer::Layer;
use crate::plan::Writable;
use crate::scratch::Scratch;

/// Where writes go.
pub struct Upper {
    /// The writable layer.
    pub layer: Layer,
    /// overlayfs's own, on the same filesystem.
    pub work: Layer,
    /// Whether we made the work directory.
    pub work_is_ours: bool,
    made: Made,
}

/// Directories that we made: removed again when dropped, the last first, unless kept.
#[derive(Default)]
struct Made {
    directories: RefCell<Vec<PathBuf>>,
}

impl Upper {
    /// Opens the two directories, or makes them as `writable` says. `top` is the uppermost of
    /// the read-only layers: the union's root directory gets its attributes from a new upper,
    /// so that must have them from there. `None`: the union is to be read-only.
    pub fn prepare(writable: &Writable, top: &Layer, scratch: &Scratch) -> Result<Option<Self>> {
        let made = Made::default();
        let mut work_is_ours = false;
        let (layer, work, is_new) = match writable {
            Writable::No => return Ok(None),
            Writable::Ephemeral { .. } => (scratch.directory(c"upper")?, scratch.directory(c"work")?, true),
            Writable::Directory { upper, work } => {
                let is_new = make(upper, 0o755, &made)?;
                work_is_ours = make(work, 0o700, &made)?;
                (Layer::open(upper, "upper")?, Layer::open(work, "work directory")?, is_new)
            }
        };
        if is_new {
            let stat = attributes::of(top, c".").during("look at", top.path())?;
            attributes::set(&layer, c".", &stat)?;
        }
        Ok(Some(Self { layer, work, work_is_ours, made }))
    }

    /// Makes the directory `name` in `parent`, a directory of the upper or the work directory.
    pub fn make(&self, parent: &Layer, name: &CStr) -> Result<Layer> {
        let path = parent.join(name);
        let step = "make a directory";
        match mkdirat(parent.fd(), name, Mode::from_bits_truncate(0o755)) {
            Ok(()) if !parent.is_private() => self.made.push(&path),
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Error::new(step, path, errno)),
        }
        parent.child(name).during("open the directory", path)
    }

    /// Lets what was made stand.
    pub fn keep(self) {
        self.made.directories.take();
    }
}

impl Made {
    fn push(&self, path: &Path) {
        self.directories.borrow_mut().push(path.to_owned());
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.directories.take().iter().rev() {
            // With all that is in it: the kernel's own work/, and what this run put there.
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// Makes `path` if it is missing; whether it was.
fn make(path: &Path, mode: u32, made: &Made) -> Result<bool> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            trace::step(format_args!("make {}", path.display()));
            made.push(path);
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => {
            let error = Error::new("make the directory", path, error);
            let hint = match error.errno() {
                Some(Errno::ENOENT) => Some("make the directory that it is to lie in first"),
                Some(Errno::ENOTDIR) => Some("what it is to lie in must be a directory"),
                Some(Errno::EACCES | Errno::EPERM) => {
                    Some("this user cannot write there: name a directory elsewhere, or take --ephemeral")
                }
                _ => None,
            };
            Err(error.or_hint(hint))
        }
    }
}
