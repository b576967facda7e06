//! The union, from the opened layers to the finished mount: all of it or nothing.

use std::ffi::CString;
use std::path::PathBuf;

use common::Result;
use common::record::Rootfs;
use common::undo::Undo;

use crate::layer::Layer;
use crate::overlay::{self, Overlay};
use crate::plan::{Stack, Writable};
use crate::scratch::Scratch;
use crate::split;
use crate::tree::Tree;
use crate::upper::Upper;

/// A mounted union: taken back when dropped, unless kept.
#[must_use = "dropping it takes the mount back"]
pub struct Union {
    // In this order: what is mounted must go before the directories that it was made of.
    mounted: Undo<Box<dyn FnOnce()>>,
    upper: Option<Upper>,
    rootfs: Rootfs,
}

/// What the steps of building have in common.
pub struct Parts<'a> {
    /// Where the union will be.
    pub merged: &'a Layer,
    /// The read-only layers, bottom first.
    pub lowers: &'a [Layer],
    /// What takes the writes.
    pub upper: Option<&'a Upper>,
    /// The tmpfs of this run.
    pub scratch: &'a Scratch,
    /// Options of every overlay.
    pub flags: &'a [CString],
}

impl Union {
    /// Builds it and mounts it.
    pub fn mount(stack: &Stack) -> Result<Self> {
        let merged = Layer::open(&stack.merged, "mount point")?;
        let lowers: Vec<Layer> =
            stack.lowers.iter().map(|path| Layer::open(path, "layer")).collect::<Result<_>>()?;
        let scratch = Scratch::new(stack.size(), &merged)?;
        let upper = Upper::prepare(&stack.writable, &lowers[lowers.len() - 1], &scratch)?;
        let flags = flags()?;
        let parts = Parts {
            merged: &merged,
            lowers: &lowers,
            upper: upper.as_ref(),
            scratch: &scratch,
            flags: &flags,
        };
        let tree = if lowers.iter().any(Layer::is_locked_together) {
            split::assemble(&parts)?
        } else {
            parts.whole()?
        };
        drop(scratch); // where it covered MERGED, it would cover the union
        let mounted = tree.attach(&merged)?;
        Ok(Self { mounted, rootfs: rootfs(stack, &merged, &lowers, upper.as_ref()), upper })
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
        let lowers = self.lowers.iter().collect();
        let overlay = Overlay { place: self.merged.path(), lowers, writable, flags: self.flags };
        overlay.mount(self.scratch).map(Tree::new)
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

fn flags() -> Result<Vec<CString>> {
    Ok(if overlay::needs_user_xattrs()? { vec![c"userxattr".to_owned()] } else { Vec::new() })
}

fn rootfs(stack: &Stack, merged: &Layer, lowers: &[Layer], upper: Option<&Upper>) -> Rootfs {
    let path = |layer: &Layer| -> PathBuf { layer.path().to_owned() };
    let ephemeral = matches!(stack.writable, Writable::Ephemeral { .. });
    let upper = upper.filter(|_| !ephemeral);
    Rootfs {
        merged: path(merged),
        lower: lowers.iter().map(path).collect(),
        upper: upper.map(|upper| path(&upper.layer)),
        work: upper.map(|upper| path(&upper.work)),
        init: None,
        ephemeral,
    }
}
