//! An OCI layer carried out on a root filesystem: what it deletes is removed, what it has is put in place.
//!
//! The archive is first unpacked whole into a directory of its own inside the root filesystem, with its
//! marks as files. So nothing is touched unless all of the archive is sound; and marks are about
//! what was there before, in whatever order the archive has them (OCI image-spec, layer.md).

use std::ffi::{OsStr, OsString};
use std::path::Path;

use common::{During as _, Result, trace};
use nix::fcntl::renameat;
use nix::sys::stat::{FileStat, Mode, mkdirat};

use crate::directory::Directory;
use crate::format::Format;
use crate::listing::{Listing, Node, Reading};
use crate::make;
use crate::staging::Staging;
use crate::tree::{self, Tree};
use crate::unpack::{self, Options, Unpacking};
use crate::{node, remove};

/// What we work in; entries cannot have this name, which is AUFS's.
const STAGING: &str = ".wh..wh.whiteout";

/// Applies the archive on standard input to the root filesystem `root`.
pub fn apply(root: &Path, options: &Options) -> Result<()> {
    let root = Directory::open(root)?;
    let mut reader = unpack::reader()?;
    let modified = tree::modified(&root)?;
    let (staging, top) = Staging::new(root.again()?, OsString::from(STAGING))?;
    let options = Options { format: Format::Oci, ..options.clone() };
    trace::step(format_args!("unpack the layer into {}", top.path().display()));
    let mut unpacking =
        Unpacking::new(Tree::new(top.again()?.named(root.path()), Format::Oci, true)?, &options, Some(&root));
    unpacking.all(&mut reader)?;
    trace::step(format_args!("put it in place in {}", root.path().display()));
    check_content(&top, &root)?;
    merge_content(&top, &root)?;
    staging.remove()?;
    // Last, for the end of our working directory changed its time as well.
    tree::set_modified(&root, modified)?;
    unpacking.finish_top_on(&root)
}

/// Finds what stands in the way of [`merge_content`], before anything is changed.
fn check_content(layer: &Directory, target: &Directory) -> Result<()> {
    let Listing { nodes, whiteouts, opaque } = Listing::read(layer, Reading::ALL)?;
    if opaque.is_some() {
        return target
            .names()?
            .iter()
            .filter(|name| *name != STAGING)
            .try_for_each(|name| remove::check(target, name));
    }
    whiteouts.keys().try_for_each(|name| remove::check(target, name))?;
    for Node { name, .. } in nodes.iter().filter(|node| !whiteouts.contains_key(&node.name)) {
        let is_directory = |stat: Option<FileStat>| stat.is_some_and(|stat| node::is_directory(&stat));
        if is_directory(layer.stat(name)?) && is_directory(target.stat(name)?) {
            check_content(&layer.child(name)?, &target.child_of_same_mount(name)?)?;
        } else {
            remove::check(target, name)?;
        }
    }
    Ok(())
}

/// Carries a directory's marks out on `target`, and moves what it holds there.
fn merge_content(layer: &Directory, target: &Directory) -> Result<()> {
    let Listing { nodes, whiteouts, opaque } = Listing::read(layer, Reading::ALL)?;
    if opaque.is_some() {
        for name in target.names()?.iter().filter(|name| *name != STAGING) {
            delete(target, name)?;
        }
    }
    for name in whiteouts.keys() {
        delete(target, name)?;
    }
    for Node { name, .. } in &nodes {
        let stat = layer.stat(name)?;
        if stat.is_some_and(|stat| node::is_directory(&stat)) {
            merge_directory(layer, target, name)?;
        } else {
            remove::remove(target, name)?;
            renameat(layer, name.as_os_str(), target, name.as_os_str())
                .during("put it in place", target.path_of(name))?;
        }
    }
    Ok(())
}

fn merge_directory(layer: &Directory, target: &Directory, name: &OsStr) -> Result<()> {
    let directory = layer.child(name)?;
    let exists = target.stat(name)?.is_some_and(|stat| node::is_directory(&stat));
    if !exists {
        remove::remove(target, name)?;
        mkdirat(target, name, Mode::from_bits_truncate(0o755))
            .during("make the directory", target.path_of(name))?;
    }
    let target = target.child(name)?;
    // Both change while things are moved.
    let (before, described) = (tree::modified(&target)?, tree::modified(&directory)?);
    merge_content(&directory, &target)?;
    if tree::is_implied(&directory)? {
        // No entry says anything about it.
        return if exists { tree::set_modified(&target, before) } else { Ok(()) };
    }
    make::copy_description(&directory, &target)?;
    tree::set_modified(&target, described)
}

/// Deletes a name, if it is there.
fn delete(target: &Directory, name: &OsStr) -> Result<()> {
    trace::step(format_args!("delete {}", target.path_of(name).display()));
    remove::remove(target, name)
}
