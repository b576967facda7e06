//! Layers that the kernel does not take whole.
//!
//! Those are: a directory with locked mounts below it, such as the machine's own `/` for an
//! ordinary user, because in a user namespace /proc, /sys and the like are locked onto it (see
//! [`Layer::is_locked_together`]); and a directory that holds another of the layers, which
//! overlayfs calls overlapping (ELOOP).
//!
//! So the union is built in pieces. For each directory on the way to such a place, a skeleton in
//! our tmpfs stands in the layer's place: links and small files copied, directories made, the place
//! itself left empty. Each of those directories that is not on the way is a layer that
//! the kernel does take: it gets an overlay of its own, mounted on its place in the union,
//! with the directory of the same name in the upper as its upper. So all that is
//! written is in the upper, where it would be had the kernel taken the layer whole.
//!
//! Left out: sockets, devices, what the mounts below show, and what the user may not read.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use common::sys::statx::is_mount_root;
use common::{During as _, Error, Result, mountinfo, trace};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode, SFlag, mkdirat};

use crate::attributes::{self, kind};
use crate::layer::Layer;
use crate::skeleton::{self, Image};
use crate::tree::Tree;
use crate::union::Parts;

/// What one of the layers has at one place of the union.
struct Part {
    directory: Layer,
    /// Its stand-in, where the kernel does not take the directory.
    skeleton: Option<Layer>,
}

/// A place in the union.
struct Place<'a> {
    /// Relative to the union's root.
    path: &'a Path,
    /// Of the layers that show here, bottom first.
    parts: Vec<Part>,
    /// The same place in the upper.
    upper: Option<Layer>,
}

struct Assembly<'a> {
    parts: &'a Parts<'a>,
    obstacles: &'a Obstacles,
    inside: Vec<(PathBuf, OwnedFd)>,
    work_directories: usize,
}

/// What a layer must not have below it.
#[derive(Debug)]
pub struct Obstacles {
    /// The mount points; `None`: they are not to be known, because /proc is not ours.
    mounts: Option<HashSet<PathBuf>>,
    /// The other layers, for data alone included.
    layers: HashSet<PathBuf>,
}

impl Obstacles {
    /// Those in the way of these layers.
    pub fn of(lowers: &[Layer], data_only: &[Layer]) -> Self {
        let mounts = mountinfo::of_self().ok();
        Self {
            mounts: mounts.map(|table| table.into_iter().map(|mount| mount.mount_point).collect()),
            layers: lowers.iter().chain(data_only).map(|layer| layer.path().to_owned()).collect(),
        }
    }

    /// Whether any of these layers is one that the kernel does not take whole.
    pub fn are_below(&self, lowers: &[Layer]) -> bool {
        // First by name: hundreds of layers make very many pairs, and asking the kernel takes time.
        let places: HashSet<&Path> = lowers.iter().map(Layer::path).collect();
        let below = |path: &PathBuf| path.ancestors().skip(1).any(|ancestor| places.contains(ancestor));
        let suspected = self.mounts.as_ref().is_none_or(|mounts| mounts.iter().any(below));
        (suspected || self.layers.iter().any(below)) && lowers.iter().any(|layer| self.why(layer).is_some())
    }

    /// Why the kernel does not take this directory whole, if so.
    fn why(&self, directory: &Layer) -> Option<String> {
        let below = |path: &&PathBuf| *path != directory.path() && path.starts_with(directory.path());
        let suspected = self.mounts.as_ref().is_none_or(|mounts| mounts.iter().any(|path| below(&path)));
        if suspected && directory.is_locked_together() {
            return Some("mounts below it are locked in this user namespace".to_owned());
        }
        let inner = self.layers.iter().filter(below).find(|layer| directory.is_on_filesystem_of(layer))?;
        Some(format!("it holds the layer {}", inner.display()))
    }
}

/// Builds the union in pieces.
pub fn assemble(parts: &Parts<'_>, obstacles: &Obstacles) -> Result<Tree> {
    let mut assembly = Assembly { parts, obstacles, inside: Vec::new(), work_directories: 0 };
    let root = assembly.root()?;
    assembly.mirror(&root)?;
    let lowers = root.parts.iter().map(|part| part.skeleton.as_ref().unwrap_or(&part.directory)).collect();
    let mount = assembly.overlay(Path::new(""), lowers, root.upper.as_ref())?;
    Ok(Tree::new(mount).with(assembly.inside))
}

impl Assembly<'_> {
    fn root(&self) -> Result<Place<'static>> {
        let mut parts = Vec::new();
        for (index, layer) in self.parts.lowers.iter().enumerate() {
            let skeleton = match self.obstacles.why(layer) {
                None => None,
                Some(why) => {
                    let (merged, layer) = (self.parts.merged.path().display(), layer.path().display());
                    trace::step(format_args!(
                        "build {merged} in pieces: the kernel does not take {layer} as one layer, for {why}"
                    ));
                    Some(self.skeleton(index, &self.parts.lowers[index])?)
                }
            };
            // Open for reading: the directory will be listed.
            let directory = layer.reopened()?;
            parts.push(Part { directory, skeleton });
        }
        let upper = self.parts.upper.map(|upper| upper.layer.again()).transpose()?;
        Ok(Place { path: Path::new(""), parts, upper })
    }

    /// An empty skeleton, whose path in our tmpfs holds the layer's: the mount table shows it.
    fn skeleton(&self, index: usize, layer: &Layer) -> Result<Layer> {
        let mut skeleton = self.parts.scratch.directory(&c_string(format!("skeleton{index}"))?)?;
        for part in layer.path().iter().skip(1) {
            let name = CString::new(part.as_bytes()).unwrap_or_default();
            mkdirat(skeleton.fd(), name.as_c_str(), Mode::S_IRWXU)
                .and_then(|()| skeleton.child(&name))
                .during("make the skeleton", layer.path())
                .map(|child| skeleton = child)?;
        }
        Ok(skeleton)
    }

    /// Fills the skeletons of a place, and builds what goes on the directories in it.
    fn mirror(&mut self, place: &Place<'_>) -> Result<()> {
        let mut directories = BTreeSet::new();
        for (index, part) in place.parts.iter().enumerate() {
            let Some(skeleton) = &part.skeleton else { continue };
            for name in part.directory.names()? {
                let stat = match attributes::of(&part.directory, &name) {
                    Err(Errno::ENOENT) => continue, // gone meanwhile
                    // Our tmpfs may cover it for the time being.
                    Ok(_) if part.directory.join(&name) == self.parts.merged.path() => {
                        self.parts.merged.stat()?
                    }
                    stat => stat.during("look at", part.directory.join(&name))?,
                };
                if kind(&stat) == SFlag::S_IFDIR {
                    mkdirat(skeleton.fd(), name.as_c_str(), Mode::S_IRWXU)
                        .during("mirror", part.directory.join(&name))?;
                    attributes::set(skeleton, &name, &stat)?;
                    directories.insert(name);
                } else {
                    self.mirror_file(place, index, &name, &stat)?;
                }
            }
        }
        for name in directories {
            self.directory(place, &name)?;
        }
        for part in &place.parts {
            // Now that nothing more is put into it, which would change its times.
            if let Some(skeleton) = &part.skeleton {
                let stat = attributes::of(&part.directory, c".").during("look at", part.directory.path())?;
                attributes::set(skeleton, c".", &stat)?;
            }
        }
        Ok(())
    }

    /// What goes on the directory `name`, of which some layer's skeleton has an empty image.
    fn directory(&mut self, place: &Place<'_>, name: &CStr) -> Result<()> {
        let parts = self.parts_of(place, name)?;
        let (Some(top), true) = (parts.last(), parts.iter().any(|part| part.skeleton.is_some())) else {
            return Ok(());
        };
        let upper = match (&place.upper, self.parts.upper) {
            (Some(directory), Some(upper)) => match self.upper_of(directory, name, &top.directory, upper)? {
                None => return Ok(()),
                upper => upper,
            },
            _ => None,
        };
        let path = place.path.join(OsStr::from_bytes(name.to_bytes()));
        if parts.iter().any(|part| part.skeleton.is_some() && self.obstacles.why(&part.directory).is_some()) {
            return self.mirror(&Place { path: &path, parts, upper });
        }
        let lowers = parts.iter().map(|part| &part.directory).collect();
        let mount = self.overlay(&path, lowers, upper.as_ref())?;
        self.inside.push((path, mount));
        Ok(())
    }

    /// The layers that show in the directory `name` of a place: overlayfs's own rules.
    fn parts_of(&self, place: &Place<'_>, name: &CStr) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for part in place.parts.iter().rev() {
            let path = part.directory.join(name);
            match attributes::of(&part.directory, name) {
                Ok(stat) if kind(&stat) == SFlag::S_IFDIR => {}
                Ok(_) => break, // a file or a whiteout: nothing below it shows
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(Error::new("look at", path, errno)),
            }
            if part.skeleton.is_some() && self.stays_empty(&part.directory, name)? {
                continue;
            }
            let directory = match part.directory.child(name) {
                // Not ours to read, or gone meanwhile: it stays empty.
                Err(Errno::EACCES | Errno::ENOENT) => continue,
                directory => directory.during("open the directory", path)?,
            };
            let opaque = directory.is_opaque();
            let skeleton = match &part.skeleton {
                Some(skeleton) => {
                    Some(skeleton.child(name).during("open the skeleton", skeleton.join(name))?)
                }
                None => None,
            };
            parts.push(Part { directory, skeleton });
            if opaque {
                break;
            }
        }
        parts.reverse();
        Ok(parts)
    }

    /// Mount points show what is mounted on them, which is no part of the layer; MERGED must not
    /// hold itself, nor a layer another one.
    fn stays_empty(&self, directory: &Layer, name: &CStr) -> Result<bool> {
        let path = directory.join(name);
        Ok(path == self.parts.merged.path()
            || self.obstacles.layers.contains(&path)
            || is_mount_root(directory.fd(), name).during("look at", path)?)
    }

    /// The directory `name` of the upper, made like `model` if missing. `None`: what the upper
    /// has there hides the layers, so that the overlay above shows it without our help.
    fn upper_of(
        &self,
        directory: &Layer,
        name: &CStr,
        model: &Layer,
        upper: &crate::upper::Upper,
    ) -> Result<Option<Layer>> {
        match attributes::of(directory, name) {
            Ok(stat) if kind(&stat) != SFlag::S_IFDIR => return Ok(None),
            Ok(_) => {
                let found = directory.child(name).during("open the directory", directory.join(name))?;
                return Ok((!found.is_opaque()).then_some(found));
            }
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Error::new("look at", directory.join(name), errno)),
        }
        let made = upper.make(directory, name)?;
        let stat = attributes::of(model, c".").during("look at", model.path())?;
        attributes::set(&made, c".", &stat)?;
        Ok(Some(made))
    }

    fn overlay(&mut self, path: &Path, lowers: Vec<&Layer>, upper: Option<&Layer>) -> Result<OwnedFd> {
        let number = self.work_directories;
        self.work_directories += 1;
        let work = match self.parts.upper {
            Some(upper) => Some(upper.make(&upper.work, &c_string(number.to_string())?)?),
            None => None,
        };
        let merged = self.parts.merged.path();
        // Joining an empty path would add a slash.
        let place = if path.as_os_str().is_empty() { merged.to_owned() } else { merged.join(path) };
        let overlay = self.parts.overlay(&place, lowers, upper.zip(work.as_ref()));
        overlay.mount(self.parts.scratch)
    }

    /// Puts the image of what is no directory into the skeleton of the part at `index`.
    fn mirror_file(&mut self, place: &Place<'_>, index: usize, name: &CStr, stat: &FileStat) -> Result<()> {
        let Part { directory, skeleton: Some(skeleton) } = &place.parts[index] else { return Ok(()) };
        let image = skeleton::image(directory, skeleton, name, stat)?;
        if image == Image::MountPoint && self.shows(place, index, name) {
            let mount = skeleton::bound(directory, name).during("bind read-only", directory.join(name))?;
            self.inside.push((place.path.join(OsStr::from_bytes(name.to_bytes())), mount));
        }
        Ok(())
    }

    /// Whether nothing above the part at `index` has the name.
    fn shows(&self, place: &Place<'_>, index: usize, name: &CStr) -> bool {
        let above = place.parts[index + 1..].iter().map(|part| &part.directory).chain(&place.upper);
        above.into_iter().all(|directory| attributes::of(directory, name) == Err(Errno::ENOENT))
    }
}

fn c_string(text: String) -> Result<CString> {
    CString::new(text).map_err(|_| Error::usage("a name holds a NUL byte"))
}
