//! Layers that the kernel does not take whole, because mounts below them are locked.
//!
//! That is the machine's own `/` for an ordinary user: in a user namespace, /proc, /sys and
//! the like are locked onto it, and overlayfs refuses it (see [`Layer::is_locked_together`]).
//! So the union is built in pieces. For each directory with mounts below it, a skeleton in
//! our tmpfs stands in the layer's place: links and small files copied, directories made,
//! mount points left empty. Each of those directories that has no mounts below it is a
//! layer that the kernel does take: it gets an overlay of its own, mounted on its place in the union,
//! with the directory of the same name in the upper as its upper. So all that is
//! written is in the upper, where it would be had the kernel taken the layer whole.
//!
//! Left out: sockets, devices, what the mounts below show, and what the user may not read.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use common::error::During as _;
use common::sys::mount::{Attributes, Reach, clone_tree, set_attributes};
use common::sys::statx::is_mount_root;
use common::{Error, Result, trace};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, mkdirat, mknodat};
use nix::unistd::symlinkat;

use crate::attributes::{self, kind};
use crate::layer::Layer;
use crate::overlay::Overlay;
use crate::tree::Tree;
use crate::union::Parts;

/// A larger file is bound read-only from the layer instead of copied.
const SMALL: u64 = 1 << 20;

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
    inside: Vec<(PathBuf, OwnedFd)>,
    work_directories: usize,
}

/// Builds the union in pieces.
pub fn assemble(parts: &Parts<'_>) -> Result<Tree> {
    let mut assembly = Assembly { parts, inside: Vec::new(), work_directories: 0 };
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
            let skeleton = if layer.is_locked_together() {
                trace::step(format_args!(
                    "build {} in pieces: the kernel does not take {} as one layer, for mounts below it are \
                     locked in this user namespace",
                    self.parts.merged.path().display(),
                    layer.path().display()
                ));
                Some(self.parts.scratch.directory(&c_string(format!("skeleton{index}"))?)?)
            } else {
                None
            };
            // Open for reading: the directory will be listed.
            let directory = layer.reopened()?;
            parts.push(Part { directory, skeleton });
        }
        let upper = self.parts.upper.map(|upper| upper.layer.again()).transpose()?;
        Ok(Place { path: Path::new(""), parts, upper })
    }

    /// Fills the skeletons of a place, and builds what goes on the directories in it.
    fn mirror(&mut self, place: &Place<'_>) -> Result<()> {
        let mut directories = BTreeSet::new();
        for (index, part) in place.parts.iter().enumerate() {
            let Some(skeleton) = &part.skeleton else { continue };
            for name in names(&part.directory)? {
                let stat = match attributes::of(&part.directory, &name) {
                    Err(Errno::ENOENT) => continue, // gone meanwhile
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
        let path = place.path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        if parts.iter().any(|part| part.skeleton.is_some() && part.directory.is_locked_together()) {
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

    /// Mount points show what is mounted on them, which is no part of the layer; MERGED must not hold itself.
    fn stays_empty(&self, directory: &Layer, name: &CStr) -> Result<bool> {
        let path = directory.join(name);
        Ok(path == self.parts.merged.path() || is_mount_root(directory.fd(), name).during("look at", path)?)
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
        let overlay =
            Overlay { place: &place, lowers, writable: upper.zip(work.as_ref()), flags: self.parts.flags };
        overlay.mount(self.parts.scratch)
    }

    /// Puts the image of what is no directory into the skeleton of the part at `index`.
    fn mirror_file(&mut self, place: &Place<'_>, index: usize, name: &CStr, stat: &FileStat) -> Result<()> {
        let part = &place.parts[index];
        let Some(skeleton) = &part.skeleton else { return Ok(()) };
        let path = part.directory.join(name);
        match kind(stat) {
            SFlag::S_IFLNK => {
                let target = readlinkat(part.directory.fd(), name).during("read the link", &path)?;
                symlinkat(target.as_os_str(), skeleton.fd(), name).during("mirror", &path)
            }
            SFlag::S_IFREG => match copy_small(&part.directory, skeleton, name).during("mirror", &path)? {
                Copied::Whole => attributes::set(skeleton, name, stat),
                Copied::NotReadable => Ok(()),
                Copied::TooLarge => {
                    if self.shows(place, index, name) {
                        let mount = bound(&part.directory, name).during("bind read-only", &path)?;
                        self.inside.push((place.path.join(path.file_name().unwrap_or_default()), mount));
                    }
                    attributes::set(skeleton, name, stat)
                }
            },
            SFlag::S_IFCHR if stat.st_rdev == 0 => {
                mknodat(skeleton.fd(), name, SFlag::S_IFCHR, Mode::empty(), 0)
                    .during("mirror the whiteout", &path)
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing above the part at `index` has the name.
    fn shows(&self, place: &Place<'_>, index: usize, name: &CStr) -> bool {
        let above = place.parts[index + 1..].iter().map(|part| &part.directory).chain(&place.upper);
        above.into_iter().all(|directory| attributes::of(directory, name) == Err(Errno::ENOENT))
    }
}

/// What became of a file's image in the skeleton.
enum Copied {
    Whole,
    /// There is an empty file, to mount the real one on.
    TooLarge,
    /// There is none.
    NotReadable,
}

fn copy_small(from: &Layer, to: &Layer, name: &CStr) -> std::io::Result<Copied> {
    // O_NONBLOCK: a fifo may have taken its place.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(file) = openat(from.fd(), name, flags, Mode::empty()) else { return Ok(Copied::NotReadable) };
    let mut content = Vec::new();
    // Some files, such as a pinned namespace, can be opened but not read.
    if File::from(file).take(SMALL + 1).read_to_end(&mut content).is_err() {
        return Ok(Copied::NotReadable);
    }
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let mut image = File::from(openat(to.fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    if content.len() as u64 > SMALL {
        return Ok(Copied::TooLarge);
    }
    image.write_all(&content).map(|()| Copied::Whole)
}

/// The file itself, as a read-only mount.
fn bound(directory: &Layer, name: &CStr) -> nix::Result<OwnedFd> {
    let file =
        openat(directory.fd(), name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    let mount = clone_tree(file.as_fd(), Reach::One)?;
    set_attributes(mount.as_fd(), Attributes::READ_ONLY, Reach::One)?;
    Ok(mount)
}

fn names(directory: &Layer) -> Result<Vec<CString>> {
    let step = "list the directory";
    let mut open = Dir::openat(directory.fd(), ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .during(step, directory.path())?;
    let mut names = Vec::new();
    for entry in open.iter() {
        let name = entry.during(step, directory.path())?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn c_string(text: String) -> Result<CString> {
    CString::new(text).map_err(|_| Error::usage("a name holds a NUL byte"))
}
