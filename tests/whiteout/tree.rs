//! Trees as text: all that a layer has to carry, so that two can be compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// A line for each node below `top`, and for `top` itself: kind, mode, owner, device, size, time, attributes,
/// content and other names. Overlay's own attributes are left out.
pub fn described(top: &Path) -> String {
    let mut nodes = Vec::new();
    collect(top, &mut nodes);
    nodes.sort();
    let mut first_names = BTreeMap::new();
    let mut text = String::new();
    for path in nodes {
        let stat = fs::symlink_metadata(&path).unwrap();
        let kind = stat.file_type();
        let name = path.strip_prefix(top).unwrap();
        write!(text, "/{} {:o} {}:{}", name.display(), stat.mode(), stat.uid(), stat.gid()).unwrap();
        write!(text, " {}.{:09}", stat.mtime(), stat.mtime_nsec()).unwrap();
        if kind.is_char_device() || kind.is_block_device() {
            write!(text, " device {:x}", stat.rdev()).unwrap();
        } else if kind.is_symlink() {
            write!(text, " -> {}", fs::read_link(&path).unwrap().display()).unwrap();
        } else if kind.is_file() {
            write!(text, " {} bytes {:x}", stat.len(), sum(&path, stat.len())).unwrap();
        }
        for (attribute, value) in attributes(&path) {
            write!(text, " {attribute}={value:?}").unwrap();
        }
        if !kind.is_dir() && stat.nlink() > 1 {
            let first = first_names.entry(stat.ino()).or_insert_with(|| name.to_owned());
            write!(text, " same as /{}", first.display()).unwrap();
        }
        text.push('\n');
    }
    text
}

fn collect(path: &Path, nodes: &mut Vec<std::path::PathBuf>) {
    nodes.push(path.to_owned());
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), nodes);
        }
    }
}

/// A checksum of the content; of a huge file, of its first and last bytes.
fn sum(path: &Path, size: u64) -> u64 {
    let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
    if size < 8 << 20 {
        return fs::read(path).unwrap().iter().fold(0, add);
    }
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 16];
    [0, size / 2, size - (1 << 16)].iter().fold(0, |sum, &at| {
        file.read_exact_at(&mut buffer, at).unwrap();
        buffer.iter().fold(sum, add)
    })
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = xattr::list(path).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    names
        .into_iter()
        .filter(|name| {
            let name = name.as_bytes();
            ![&b"trusted.overlay."[..], b"user.overlay.", b"security.selinux"]
                .iter()
                .any(|own| name.starts_with(own))
        })
        .map(|name| {
            (name.to_string_lossy().into_owned(), xattr::get(path, &name).unwrap().unwrap_or_default())
        })
        .collect()
}
