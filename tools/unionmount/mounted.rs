//! A union that is mounted already, as the mount table tells.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use common::mountinfo::{self, Mount};
use common::record::Rootfs;
use common::{During as _, Error, Result};

use crate::source::Source;

/// The union on one place.
#[derive(Debug)]
pub struct Mounted {
    /// Its own mount.
    pub mount: Mount,
    /// The mounts inside it, in mount order.
    pub inside: Vec<Mount>,
    /// What we noted when we mounted it; `None`: it is not of our making.
    pub source: Option<Source>,
}

impl Mounted {
    /// Finds it.
    pub fn at(merged: &Path) -> Result<Self> {
        let step = "look for the union";
        let merged = merged.canonicalize().during(step, merged)?;
        let table = mountinfo::of_self()?;
        let is_union = |mount: &&Mount| ["overlay", "fuse.fuse-overlayfs"].contains(&mount.fs_type.as_str());
        let Some(mount) = mountinfo::at(&table, &merged).filter(is_union) else {
            return Err(Error::new(step, merged, "no union is mounted there"));
        };
        let (mount, source) = (mount.clone(), Source::of(&mount.source));
        let mut inside = Vec::new();
        let mut mounts = vec![mount.id];
        for below in &table {
            if mounts.contains(&below.parent) && below.id != mount.id {
                mounts.push(below.id);
                inside.push(below.clone());
            }
        }
        Ok(Self { mount, inside, source })
    }

    /// Its stack, as far as the kernel tells.
    pub fn rootfs(&self) -> Rootfs {
        let source = self.source.unwrap_or_default();
        let [mut lower, data] = layers(&self.mount).map(|layers| self.as_given(layers));
        let init = if source.init { lower.pop() } else { None }; // the uppermost
        let writable = |key| one_path(&self.mount, key).filter(|_| !source.ephemeral);
        let work = writable("workdir").map(|work| if source.in_pieces { parent(&work) } else { work });
        Rootfs {
            merged: self.mount.mount_point.clone(),
            lower,
            data,
            upper: writable("upperdir"),
            work,
            init,
            ephemeral: source.ephemeral,
        }
    }
}

impl Mounted {
    /// The layers, top first, as they were given, bottom first.
    fn as_given(&self, layers: Vec<PathBuf>) -> Vec<PathBuf> {
        let is_ours = self.source.is_some();
        let layers = layers.into_iter().rev();
        layers.filter_map(|layer| if is_ours { self.given(layer) } else { Some(layer) }).collect()
    }

    /// The layer as it was given; `None` for the empty one that we add below a single one.
    fn given(&self, layer: PathBuf) -> Option<PathBuf> {
        // Before Linux 6.7, our tmpfs covered MERGED while it was built.
        let inside = layer.strip_prefix(&self.mount.mount_point).map(|path| Path::new("/").join(path));
        let inside = inside.as_deref().unwrap_or(&layer);
        if inside == Path::new("/empty") {
            return None;
        }
        Some(skeleton_of(inside).unwrap_or(layer))
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// The option's path, from an option string or by descriptor.
pub fn one_path(mount: &Mount, key: &str) -> Option<PathBuf> {
    let value = mount.super_option_values(key).pop()?;
    // By descriptor the kernel shows the path as it is, and our option string is the only one with escapes.
    let by_string = mount.super_option_values("lowerdir+").is_empty();
    Some(if by_string { unescaped(&value) } else { value.into() })
}

/// The layers and the data-only layers, top first.
fn layers(mount: &Mount) -> [Vec<PathBuf>; 2] {
    let one_by_one = ["lowerdir+", "datadir+"]
        .map(|key| mount.super_option_values(key).into_iter().map(PathBuf::from).collect::<Vec<_>>());
    if !one_by_one[0].is_empty() {
        return one_by_one;
    }
    let list = mount.super_option_values("lowerdir").pop().unwrap_or_default();
    split_list(list.as_bytes())
        .map(|layers| layers.iter().map(|layer| unescaped(OsStr::from_bytes(layer))).collect())
}

/// Splits at colons that are not escaped; after an empty part (`::`) come data-only layers.
fn split_list(list: &[u8]) -> [Vec<Vec<u8>>; 2] {
    let mut layers = vec![Vec::new()];
    let mut escaped = false;
    for &byte in list {
        if byte == b':' && !escaped {
            layers.push(Vec::new());
        } else if let Some(layer) = layers.last_mut() {
            layer.push(byte);
        }
        escaped = byte == b'\\' && !escaped;
    }
    let shown = layers.iter().position(Vec::is_empty).unwrap_or(layers.len());
    let mut data = layers.split_off(shown);
    data.retain(|layer| !layer.is_empty());
    [layers, data]
}

fn unescaped(text: &OsStr) -> PathBuf {
    let mut bytes = Vec::new();
    let mut escaped = false;
    for &byte in text.as_bytes() {
        escaped = byte == b'\\' && !escaped;
        if !escaped {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes).into()
}

/// The layer for which this skeleton, a directory of our tmpfs, stands.
fn skeleton_of(path: &Path) -> Option<PathBuf> {
    let mut parts = path.strip_prefix("/").ok()?.iter();
    let number = parts.next()?.to_str()?.strip_prefix("skeleton")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Path::new("/").join(parts.as_path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_where_its_colons_are_not_escaped() {
        assert_eq!(split_list(b"/a\\:b:/c\\\\:/d")[0], [&b"/a\\:b"[..], b"/c\\\\", b"/d"]);
        assert_eq!(
            split_list(b"/a::/data::/more"),
            [vec![b"/a".to_vec()], vec![b"/data".to_vec(), b"/more".to_vec()]]
        );
        assert_eq!(unescaped(OsStr::new("/a\\:b\\\\c\\,d")), Path::new("/a:b\\c,d"));
    }

    #[test]
    fn a_skeleton_stands_for_its_layer() {
        assert_eq!(skeleton_of(Path::new("/skeleton0")).as_deref(), Some(Path::new("/")));
        assert_eq!(skeleton_of(Path::new("/skeleton12/var/lib")).as_deref(), Some(Path::new("/var/lib")));
        assert_eq!(skeleton_of(Path::new("/skeletons/x")), None);
        assert_eq!(skeleton_of(Path::new("/usr")), None);
    }
}
