//! Layers shown with shifted ownership: idmapped mounts (mount_setattr(2)).

use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};

use common::idmap::{IdMap, to_file};
use common::sys::clone::{Fork, fork};
use common::sys::exec::exit_now;
use common::sys::mount::{Reach, clone_tree, set_idmap};
use common::sys::wait;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, pipe2, read, write};

use crate::layer::Layer;
use crate::scratch::Scratch;

/// An id map as the kernel takes it: a user namespace.
#[derive(Debug)]
pub struct Shift {
    namespace: File,
}

impl Shift {
    /// Makes a user namespace with these maps, for users and groups alike.
    pub fn new(maps: &[IdMap]) -> Result<Self> {
        let (lives, dies) = pipe2(OFlag::O_CLOEXEC).during("make a pipe", "")?;
        let (ready, is_ready) = pipe2(OFlag::O_CLOEXEC).during("make a pipe", "")?;
        match fork().during("fork", "")? {
            Fork::Child => {
                drop((dies, ready));
                let made = unshare(CloneFlags::CLONE_NEWUSER);
                let _ = write(&is_ready, &[u8::from(made.is_ok())]);
                let _ = read(&lives, &mut [0]); // until the parent has what it needs, or has died
                exit_now(0)
            }
            Fork::Parent(child) => {
                drop((lives, is_ready));
                let namespace = map(child, &ready, maps);
                drop(dies);
                let _ = wait::wait(child);
                Ok(Self { namespace: namespace? })
            }
        }
    }

    /// `layer` with its ids shifted.
    pub fn of(&self, layer: &Layer, scratch: &Scratch) -> Result<Layer> {
        let path = layer.path();
        trace::step(format_args!("shift the ids of {}", path.display()));
        let mount = clone_tree(layer.fd(), Reach::One).during("clone the layer's mount", path)?;
        set_idmap(mount.as_fd(), self.namespace.as_fd(), Reach::One).map_err(|errno| {
            Error::new("shift the ids", path, errno).or_hint(match errno {
                Errno::ENOSYS => Some("idmapped mounts take Linux 5.12, and layers with them 5.19"),
                Errno::EINVAL => Some("this filesystem does not support idmapped mounts in this kernel"),
                Errno::EPERM => Some("it takes CAP_SYS_ADMIN over the filesystem: be root"),
                _ => None,
            })
        })?;
        Ok(Layer::private(path.to_owned(), scratch.admit(mount)?))
    }
}

fn map(child: Pid, ready: &OwnedFd, maps: &[IdMap]) -> Result<File> {
    let mut made = [0];
    if read(ready, &mut made).during("wait for", "child")? != 1 || made != [1] {
        return Err(Error::new("make a user namespace", "--idmap", "the kernel refused")
            .hint("user namespaces may be switched off: see user.max_user_namespaces"));
    }
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{child}/{file}");
        // The mount maps what is on disk, its inside, to what is shown, its outside.
        fs::write(&path, to_file(maps)).map_err(|error| {
            Error::new("write the id map", &path, error)
                .hint("--idmap FROM:TO:COUNT: the ranges must not overlap, and both ids must be yours to map")
        })?;
    }
    let path = format!("/proc/{child}/ns/user");
    File::open(&path).during("open", path)
}
