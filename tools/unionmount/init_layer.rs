//! The init layer: files such as etc/hosts that belong to one run of a container, not to its image.
//!
//! It lies between the read-only layers and the upper, so that all of it shows. Each of
//! its files is also bound over its own image in the union: a write goes through the
//! bind mount to the file itself, and nothing is ever copied to the upper. What is bound
//! cannot be removed or replaced by a rename inside (EBUSY), as in docker run.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use common::{During as _, Result, trace};
use nix::sys::stat::SFlag;

use crate::attributes::{self, kind};
use crate::layer::Layer;

/// Each file of the layer, as a mount to go on its place.
pub fn files(init: &Layer) -> Result<Vec<(PathBuf, OwnedFd)>> {
    let mut files = Vec::new();
    let mut directories = vec![(PathBuf::new(), init.reopened()?)];
    while let Some((place, directory)) = directories.pop() {
        for name in directory.names()? {
            let path = directory.join(&name);
            let inside = place.join(OsStr::from_bytes(name.to_bytes()));
            match kind(&attributes::of(&directory, &name).during("look at", &path)?) {
                SFlag::S_IFDIR => {
                    directories.push((inside, directory.child(&name).during("open the directory", &path)?));
                }
                SFlag::S_IFREG => files.push((inside, directory.bind(&name).during("bind", &path)?)),
                _ => {} // a link shows as it is; a write follows it
            }
        }
    }
    trace::step(format_args!("bind {} files of the init layer {}", files.len(), init.path().display()));
    Ok(files)
}
