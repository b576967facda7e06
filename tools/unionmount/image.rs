//! A layer in one file: an erofs or squashfs image, mounted by itself.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use common::sys::fscontext::FsContext;
use common::sys::loopdev;
use common::sys::mount::Attributes;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;

use crate::layer::Layer;
use crate::scratch::Scratch;

/// What is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Erofs,
    Squashfs,
}

/// Mounts the image `file`, read-only, as a layer.
pub fn mount(file: &Layer, scratch: &Scratch) -> Result<Layer> {
    let path = file.path();
    let open = File::open(path).during("open the image", path)?;
    let format = Format::of(&open).during("read the image", path)?.ok_or_else(|| {
        Error::new("mount the image", path, "neither an erofs nor a squashfs").hint(
            "a layer is a directory or such an image; 'whiteout unpack' makes a directory of an archive",
        )
    })?;
    let mounted = match format {
        // Linux 6.12 needs no block device for erofs, if so configured.
        Format::Erofs => match mount_source(format, &by_descriptor(&open)) {
            Ok(mounted) => {
                trace::step(format_args!("mount erofs image {}", path.display()));
                mounted
            }
            Err((Errno::ENOTBLK, _)) => mount_on_loop(format, &open, path)?,
            Err((errno, why)) => return Err(failed(path, format, errno, why)),
        },
        Format::Squashfs => mount_on_loop(format, &open, path)?,
    };
    Ok(Layer::private(path.to_owned(), scratch.admit(mounted)?))
}

fn mount_on_loop(format: Format, image: &File, path: &Path) -> Result<OwnedFd> {
    let device = loopdev::attach_read_only(image.as_fd()).map_err(|errno| {
        Error::new("set up a loop device", path, errno).or_hint(match errno {
            Errno::EACCES | Errno::EPERM => {
                Some("an image as a layer takes root: unpack it into a directory")
            }
            Errno::ENOENT | Errno::ENXIO => Some("no loop devices here: 'modprobe loop' brings them"),
            _ => None,
        })
    })?;
    trace::step(format_args!("mount {} image {} on {}", format.name(), path.display(), device.name));
    // The mount keeps the device, which is set to go with its last user.
    let source = CString::new(device.name.as_str()).unwrap_or_default();
    mount_source(format, &source).map_err(|(errno, why)| failed(path, format, errno, why))
}

fn mount_source(format: Format, source: &CStr) -> std::result::Result<OwnedFd, (Errno, String)> {
    let context = FsContext::open(format.c_name()).map_err(|errno| (errno, errno.desc().to_owned()))?;
    let configure = || {
        context.set_string(c"source", source)?;
        context.set_flag(c"ro")?;
        context.mount(Attributes::READ_ONLY)
    };
    configure().map_err(|errno| (errno, context.explain(errno)))
}

fn failed(path: &Path, format: Format, errno: Errno, why: String) -> Error {
    let name = format.name();
    Error::new(format!("mount the {name} image"), path, why).or_hint(match errno {
        Errno::ENODEV => {
            Some(format!("this kernel has no {name}: 'modprobe {name}' loads it where it is a module"))
        }
        Errno::EPERM => Some("the kernel lets only root mount images: unpack it into a directory".to_owned()),
        // EIO, EINVAL, EUCLEAN, EOPNOTSUPP: each filesystem says it in its own way.
        _ => Some(format!("the image is damaged, or made with what this kernel's {name} lacks: dmesg(1)")),
    })
}

fn by_descriptor(file: &File) -> CString {
    CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default()
}

impl Format {
    /// By the magic numbers, which stand at 1024 in erofs and at the beginning in squashfs.
    fn of(file: &File) -> std::io::Result<Option<Self>> {
        let mut head = [0; 1028];
        let mut length = 0;
        while length < head.len() {
            match file.read_at(&mut head[length..], length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        Ok(if head.starts_with(b"hsqs") {
            Some(Self::Squashfs)
        } else if head[1024..] == 0xe0f5_e1e2_u32.to_le_bytes() {
            Some(Self::Erofs)
        } else {
            None
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
        }
    }

    fn c_name(self) -> &'static CStr {
        match self {
            Self::Erofs => c"erofs",
            Self::Squashfs => c"squashfs",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn format(content: &[u8]) -> Option<Format> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Format::of(&file).unwrap()
    }

    #[test]
    fn an_image_is_known_by_its_magic_number() {
        assert_eq!(format(b"hsqs"), Some(Format::Squashfs));
        assert_eq!(format(&[&[0; 1024][..], b"\xe2\xe1\xf5\xe0"].concat()), Some(Format::Erofs));
        assert_eq!(format(b"PK\x03\x04"), None);
        assert_eq!(format(b""), None);
    }
}
