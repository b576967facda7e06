//! One overlay by mount(2) and an option string: kernels before 6.7.
//!
//! The string has a page's room, 4,095 bytes. Where the layers' paths need more, we go to
//! /proc/self/fd and call each layer by its descriptor's number.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use common::error::During as _;
use common::sys::mount::{Reach, clone_tree};
use common::undo::Undo;
use common::{Error, Result};
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir};

use crate::kernel_log::KernelLog;
use crate::layer::Layer;
use crate::overlay::Overlay;
use crate::scratch::Scratch;

/// Makes it in the scratch, and returns a detached clone.
pub fn mount(overlay: &Overlay<'_>, scratch: &Scratch, log: &mut KernelLog) -> Result<OwnedFd> {
    let stage = c"stage";
    if !overlay.data_only.is_empty() {
        return Err(Error::new("mount overlay", overlay.place, "this kernel has no data-only layers")
            .hint("--data-only takes Linux 6.7"));
    }
    let root = scratch.path().ok_or_else(|| {
        Error::new("mount overlay", overlay.place, "this kernel takes neither lowerdir+ nor a detached layer")
    })?;
    let path = root.join("stage");
    if !path.exists() {
        scratch.directory(stage)?;
    }
    let options = options(overlay, |layer| by_path(layer, root));
    if options.len() < PAGE {
        mount_options(overlay, &path, &options, log)?;
    } else {
        let _back = in_directory_of_descriptors()?;
        mount_options(overlay, &path, &self::options(overlay, by_number), log)?;
    }
    let _unstage = Undo::new(|| {
        let _ = umount2(&path, MntFlags::MNT_DETACH);
    });
    scratch
        .open(stage)
        .and_then(|mounted| clone_tree(mounted.as_fd(), Reach::One))
        .during("clone the overlay", overlay.place)
}

/// A page, with the NUL at its end.
const PAGE: usize = 4096;

fn mount_options(overlay: &Overlay<'_>, path: &Path, options: &OsStr, log: &mut KernelLog) -> Result<()> {
    if options.len() >= PAGE {
        return Err(Error::new(
            "mount overlay",
            overlay.place,
            format!("{} layers do not fit the option string of this kernel", overlay.lowers.len()),
        )
        .hint("Linux 6.7 takes layers one by one"));
    }
    nix::mount::mount(Some(overlay.source), path, Some("overlay"), MsFlags::empty(), Some(options))
        .map_err(|errno| overlay.failed(errno, log.of_overlayfs()))
}

/// `lowerdir=TOP:…:BOTTOM,upperdir=…,workdir=…` and the flags.
fn options(overlay: &Overlay<'_>, name: impl Fn(&Layer) -> Vec<u8>) -> OsString {
    let lowers: Vec<Vec<u8>> = overlay.lowers.iter().rev().map(|layer| name(layer)).collect();
    let mut text = [b"lowerdir=".to_vec(), lowers.join(&b':')].concat();
    if let Some((upper, work)) = overlay.writable {
        text.extend([b",upperdir=", &name(upper)[..], b",workdir=", &name(work)].concat());
    }
    for setting in overlay.settings {
        text.extend([b",", &setting.to_bytes()[..]].concat());
    }
    OsString::from_vec(text)
}

/// With a backslash before what separates layers or options (Documentation/filesystems/overlayfs.rst).
/// `scratch` is where our tmpfs can be reached.
fn by_path(layer: &Layer, scratch: &Path) -> Vec<u8> {
    if let Some(inside) = Scratch::path_inside(layer) {
        return escaped_path(&scratch.join(inside)).into_vec();
    }
    match layer.reachable_path() {
        Some(path) => escaped_path(path).into_vec(),
        None => layer.path_by_descriptor().into_bytes(),
    }
}

fn by_number(layer: &Layer) -> Vec<u8> {
    layer.fd().as_raw_fd().to_string().into_bytes()
}

/// A path as an option string holds it.
pub fn escaped_path(path: &Path) -> OsString {
    OsString::from_vec(escaped(path.as_os_str().as_bytes()))
}

fn escaped(path: &[u8]) -> Vec<u8> {
    let escape = |&byte: &u8| if b"\\:,".contains(&byte) { vec![b'\\', byte] } else { vec![byte] };
    path.iter().flat_map(escape).collect()
}

/// Makes /proc/self/fd the working directory until the value is dropped.
fn in_directory_of_descriptors() -> Result<impl Drop> {
    let here = open(".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).during("open", ".")?;
    chdir("/proc/self/fd").during("go to", "/proc/self/fd")?;
    Ok(Undo::new(move || {
        let _ = fchdir(&here);
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Setting;

    fn layer(path: &str) -> Layer {
        Layer::private(path.into(), std::fs::File::open("/").unwrap().into())
    }

    fn of_nothing() -> Overlay<'static> {
        Overlay {
            place: Path::new("/m"),
            lowers: Vec::new(),
            writable: None,
            data_only: &[],
            settings: &[],
            source: c"unionmount",
        }
    }

    fn by_its_name(layer: &Layer) -> Vec<u8> {
        escaped(layer.path().as_os_str().as_bytes())
    }

    #[test]
    fn what_separates_layers_and_options_is_escaped() {
        let (bottom, top, upper, work) = (layer("/a:b"), layer("/c,d"), layer("/e\\f"), layer("/w"));
        let settings = [Setting { key: c"userxattr".to_owned(), value: None }];
        let overlay = Overlay {
            lowers: vec![&bottom, &top],
            writable: Some((&upper, &work)),
            settings: &settings,
            ..of_nothing()
        };
        assert_eq!(
            options(&overlay, by_its_name),
            "lowerdir=/c\\,d:/a\\:b,upperdir=/e\\\\f,workdir=/w,userxattr"
        );
    }

    #[test]
    fn five_hundred_numbers_fit_a_page() {
        let bottom = layer("/a");
        let overlay = Overlay { lowers: vec![&bottom; 500], ..of_nothing() };
        assert!(options(&overlay, by_number).len() < PAGE);
    }
}
