//! The stand-in for a directory that the kernel does not take as a layer: images of its files.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use common::sys::mount::{Attributes, Reach, set_attributes};
use common::{During as _, Result};
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, mknodat};
use nix::unistd::symlinkat;

use crate::attributes::{self, kind};
use crate::layer::Layer;

/// A larger file is bound read-only from the layer instead of copied.
const SMALL: u64 = 1 << 20;

/// What became of a file in the skeleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Its like.
    Copy,
    /// An empty file, to mount the real one on.
    MountPoint,
    /// Nothing: it is not readable, or of a kind that no image has.
    None,
}

/// Puts the image of `name`, which is no directory, into `skeleton`.
pub fn image(directory: &Layer, skeleton: &Layer, name: &CStr, stat: &FileStat) -> Result<Image> {
    let path = directory.join(name);
    match kind(stat) {
        SFlag::S_IFLNK => {
            let target = readlinkat(directory.fd(), name).during("read the link", &path)?;
            symlinkat(target.as_os_str(), skeleton.fd(), name).during("mirror", &path)?;
            Ok(Image::Copy)
        }
        SFlag::S_IFREG => {
            let image = copy_small(directory, skeleton, name).during("mirror", &path)?;
            if image != Image::None {
                attributes::set(skeleton, name, stat)?;
            }
            Ok(image)
        }
        // A whiteout, which hides what a layer below has.
        SFlag::S_IFCHR if stat.st_rdev == 0 => {
            mknodat(skeleton.fd(), name, SFlag::S_IFCHR, Mode::empty(), 0).during("mirror", &path)?;
            Ok(Image::Copy)
        }
        _ => Ok(Image::None),
    }
}

/// The file itself, as a read-only mount.
pub fn bound(directory: &Layer, name: &CStr) -> nix::Result<OwnedFd> {
    let mount = directory.bind(name)?;
    set_attributes(mount.as_fd(), Attributes::READ_ONLY, Reach::One)?;
    Ok(mount)
}

fn copy_small(from: &Layer, to: &Layer, name: &CStr) -> std::io::Result<Image> {
    // O_NONBLOCK: a fifo may have taken its place.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(file) = openat(from.fd(), name, flags, Mode::empty()) else { return Ok(Image::None) };
    let mut content = Vec::new();
    // Some files, such as a pinned namespace, can be opened but not read.
    if File::from(file).take(SMALL + 1).read_to_end(&mut content).is_err() {
        return Ok(Image::None);
    }
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let mut copy = File::from(openat(to.fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    if content.len() as u64 > SMALL {
        return Ok(Image::MountPoint);
    }
    copy.write_all(&content).map(|()| Image::Copy)
}
