//! The union, from the layers' names to the finished mount: all of it or nothing.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use common::record::Rootfs;
use common::undo::Undo;
use common::{Result, trace};

use crate::cli::Fuse;
use crate::layer::Layer;
use crate::options::Setting;
use crate::overlay::Overlay;
use crate::plan::{Stack, Writable};
use crate::real_path::RealPaths;
use crate::scratch::Scratch;
use crate::shift::Shift;
use crate::source::Source;
use crate::split::{self, Obstacles};
use crate::tree::Tree;
use crate::upper::Upper;
use crate::{checks, fuse, image, init_layer};

/// A mounted union: taken back when dropped, unless kept.
#[must_use = "dropping it takes the mount back"]
pub struct Union {
    // In this order: what is mounted must go before the directories that it was made of.
    mounted: Undo<Box<dyn FnOnce()>>,
    upper: Option<Upper>,
    rootfs: Rootfs,
}

/// What all overlays of one union have in common.
pub struct Parts<'a> {
    /// Where the union will be.
    pub merged: &'a Layer,
    /// The read-only layers, bottom first; the init layer is the last.
    pub lowers: &'a [Layer],
    /// Below them, for data alone.
    pub data_only: &'a [Layer],
    /// What takes the writes.
    pub upper: Option<&'a Upper>,
    /// The tmpfs of this run.
    pub scratch: &'a Scratch,
    /// overlayfs's options.
    pub settings: &'a [Setting],
    /// What the mount table calls it.
    pub source: &'a CStr,
}

/// The layers that are read only, opened.
struct ReadOnly {
    lowers: Vec<Layer>,
    data_only: Vec<Layer>,
    init: Option<Layer>,
}

impl Union {
    /// Builds it and mounts it; `user_xattrs`: whether overlayfs needs them here.
    pub fn mount(stack: &Stack, user_xattrs: bool) -> Result<Self> {
        let merged = Layer::open(&stack.merged, "mount point")?;
        let layers = ReadOnly::open(stack)?;
        layers.check(stack)?;
        let rootfs = layers.rootfs(stack, &merged);
        let scratch = Scratch::new(stack.size(), &merged)?;
        let layers = layers.mounted(stack, &scratch)?;
        let upper = Upper::prepare(&stack.writable, layers.top(), &scratch)?;
        let settings = settings(stack, user_xattrs);
        let init = layers.init.as_ref().map(init_layer::files).transpose()?.unwrap_or_default();
        let (lowers, data_only) = layers.stacked();
        let obstacles = Obstacles::of(&lowers, &data_only);
        let in_pieces = obstacles.are_below(&lowers);
        checks::whole(&lowers)?;
        let source = source(stack, upper.as_ref(), in_pieces).to_c_string();
        let parts = Parts {
            merged: &merged,
            lowers: &lowers,
            data_only: &data_only,
            upper: upper.as_ref(),
            scratch: &scratch,
            settings: &settings,
            source: &source,
        };
        let by_overlayfs = || if in_pieces { split::assemble(&parts, &obstacles) } else { parts.whole() };
        let tree = match stack.fuse {
            Fuse::Never => by_overlayfs()?,
            Fuse::Always => fuse::mount(&parts)?,
            Fuse::Auto => by_overlayfs().or_else(|error| {
                trace::step(format_args!("the kernel refuses overlayfs ({error})"));
                fuse::mount(&parts)
            })?,
        };
        drop(scratch); // where it covered MERGED, it would cover the union
        let mounted = tree.with(init).attach(&merged)?;
        Ok(Self { mounted, upper, rootfs })
    }

    /// What the record says about it.
    pub fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    /// Lets it stand.
    pub fn keep(self) {
        self.mounted.keep();
        if let Some(upper) = self.upper {
            upper.keep();
        }
    }
}

impl Parts<'_> {
    /// One overlay of the layers as they are.
    fn whole(&self) -> Result<Tree> {
        let writable = self.upper.map(|upper| (&upper.layer, &upper.work));
        let overlay = self.overlay(self.merged.path(), self.lowers.iter().collect(), writable);
        overlay.mount(self.scratch).map(Tree::new)
    }

    /// An overlay with what they all have in common.
    pub fn overlay<'a>(
        &'a self,
        place: &'a Path,
        lowers: Vec<&'a Layer>,
        writable: Option<(&'a Layer, &'a Layer)>,
    ) -> Overlay<'a> {
        let Self { data_only, settings, source, .. } = self;
        Overlay { place, lowers, writable, data_only, settings, source }
    }
}

impl ReadOnly {
    fn open(stack: &Stack) -> Result<Self> {
        let mut real = RealPaths::default();
        let mut open = |paths: &[PathBuf]| {
            paths.iter().map(|path| Layer::open_lower(path, &mut real)).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            lowers: open(&stack.lowers)?,
            data_only: open(&stack.data_only)?,
            init: stack.init.as_deref().map(|path| Layer::open(path, "init layer")).transpose()?,
        })
    }

    fn check(&self, stack: &Stack) -> Result<()> {
        let all: Vec<&Layer> = self.lowers.iter().chain(&self.data_only).chain(&self.init).collect();
        checks::lowers(&all)?;
        match &stack.writable {
            Writable::Directory { upper, work } => {
                checks::writable(upper, work, &all, stack.fuse != Fuse::Never)
            }
            _ => Ok(()),
        }
    }

    /// With images mounted and ids shifted.
    fn mounted(self, stack: &Stack, scratch: &Scratch) -> Result<Self> {
        let shift = if stack.idmap.is_empty() { None } else { Some(Shift::new(&stack.idmap)?) };
        let mount = |layer: Layer| {
            let layer = if layer.is_file() { image::mount(&layer, scratch)? } else { layer };
            match &shift {
                Some(shift) => shift.of(&layer, scratch),
                None => Ok(layer),
            }
        };
        Ok(Self {
            lowers: self.lowers.into_iter().map(mount).collect::<Result<_>>()?,
            data_only: self.data_only.into_iter().map(mount).collect::<Result<_>>()?,
            init: self.init,
        })
    }

    /// The uppermost layer of the image: the union's root directory looks like its.
    fn top(&self) -> &Layer {
        &self.lowers[self.lowers.len() - 1]
    }

    /// As overlayfs stacks them, bottom first.
    fn stacked(self) -> (Vec<Layer>, Vec<Layer>) {
        (self.lowers.into_iter().chain(self.init).collect(), self.data_only)
    }

    fn rootfs(&self, stack: &Stack, merged: &Layer) -> Rootfs {
        let path = |layer: &Layer| layer.path().to_owned();
        let (upper, work) = match &stack.writable {
            Writable::Directory { upper, work } => (Some(upper.clone()), Some(work.clone())),
            _ => (None, None),
        };
        Rootfs {
            merged: path(merged),
            lower: self.lowers.iter().map(path).collect(),
            data: self.data_only.iter().map(path).collect(),
            upper,
            work,
            init: self.init.as_ref().map(path),
            ephemeral: matches!(stack.writable, Writable::Ephemeral { .. }),
        }
    }
}

impl Stack {
    fn size(&self) -> Option<u64> {
        match self.writable {
            Writable::Ephemeral { size } => size,
            _ => None,
        }
    }
}

/// What was asked for, and what the user namespace demands.
fn settings(stack: &Stack, user_xattrs: bool) -> Vec<Setting> {
    let mut settings = stack.settings.clone();
    if user_xattrs && !stack.has("userxattr") {
        settings.push(Setting { key: c"userxattr".to_owned(), value: None });
    }
    settings
}

fn source(stack: &Stack, upper: Option<&Upper>, in_pieces: bool) -> Source {
    Source {
        ephemeral: matches!(stack.writable, Writable::Ephemeral { .. }),
        init: stack.init.is_some(),
        work_is_ours: upper.is_some_and(|upper| upper.work_is_ours),
        in_pieces,
    }
}
