//! Layers shown with shifted ownership: idmapped mounts (mount_setattr(2)).

use std::fs::File;
use std::os::fd::AsFd as _;

use common::idmap::IdMap;
use common::sys::mount::{Reach, clone_tree, set_idmap};
use common::{During as _, Error, Result, mapping, trace};
use nix::errno::Errno;

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
        Ok(Self { namespace: mapping::user_namespace(maps)? })
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
