//! Detached mounts that belong together, and their place.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use common::sys::mount::attach;
use common::undo::Undo;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, umount2};

use crate::layer::Layer;

/// The union's own mount, and those on directories and files inside it.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    inside: Vec<(PathBuf, OwnedFd)>,
}

impl Tree {
    /// The union in one mount.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, inside: Vec::new() }
    }

    /// The same with more mounts inside it, each a place in it and what is mounted there.
    pub fn with(mut self, inside: Vec<(PathBuf, OwnedFd)>) -> Self {
        self.inside.extend(inside);
        self
    }

    /// Attaches all of it at `merged`. What is returned takes it away again when dropped.
    pub fn attach(self, merged: &Layer) -> Result<Undo<Box<dyn FnOnce()>>> {
        let path = merged.path().to_owned();
        attach(self.root.as_fd(), merged.fd()).during("attach the union", &path)?;
        let place = path.clone();
        let detach = move || {
            // What is mounted inside it goes along.
            let _ = umount2(&place, MntFlags::MNT_DETACH);
        };
        let attached: Undo<Box<dyn FnOnce()>> = Undo::new(Box::new(detach));
        for (place, mount) in &self.inside {
            self.attach_inside(place, mount).map_err(|errno| {
                Error::new("attach inside the union", path.join(place), errno).or_hint(match errno {
                    Errno::ELOOP | Errno::ENOENT | Errno::ENOTDIR => {
                        Some("the upper has a link or a deletion there: remove that from it")
                    }
                    _ => None,
                })
            })?;
        }
        if !self.inside.is_empty() {
            trace::step(format_args!("attach {} mounts inside {}", self.inside.len(), path.display()));
        }
        Ok(attached)
    }

    fn attach_inside(&self, place: &Path, mount: &OwnedFd) -> nix::Result<()> {
        // The layers' links must not lead us elsewhere.
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        attach(mount.as_fd(), openat2(&self.root, place, how)?.as_fd())
    }
}
