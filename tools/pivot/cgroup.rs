//! /sys/fs/cgroup in the new root: read-only, and of each hierarchy only what is the container's.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use common::mountinfo::{self, Mount};
use common::root::Root;
use common::sys::mount::{Attributes, Reach, clone_tree};
use common::{During as _, Error, Result};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::symlinkat;

use crate::api::INERT_READ_ONLY;
use crate::attributes;
use crate::filesystem::Filesystem;
use crate::tree::Tree;

/// A process's /proc/PID/cgroup, held open: what is read shows paths as the reader's cgroup
/// namespace has them at that time.
#[derive(Debug)]
pub struct Membership(File);

const PLACE: &str = "/sys/fs/cgroup";

impl Membership {
    /// That of process `who`, a PID or `self`. `None` where the kernel has no cgroups.
    pub fn of(who: impl ToString) -> Result<Option<Self>> {
        let path = Path::new("/proc").join(who.to_string()).join("cgroup");
        match File::open(&path) {
            Ok(file) => Ok(Some(Self(file))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::new("read", path, error)),
        }
    }

    fn lines(&mut self) -> Result<Vec<(Vec<u8>, PathBuf)>> {
        let mut text = Vec::new();
        self.0.read_to_end(&mut text).during("read", "/proc/PID/cgroup")?;
        Ok(text.split(|&byte| byte == b'\n').filter_map(line).collect())
    }
}

/// `ID:CONTROLLERS:PATH` (cgroups(7)).
fn line(text: &[u8]) -> Option<(Vec<u8>, PathBuf)> {
    let mut fields = text.splitn(3, |&byte| byte == b':').skip(1);
    let controllers = fields.next()?.to_vec();
    Some((controllers, Path::new(OsStr::from_bytes(fields.next()?)).to_owned()))
}

/// Mounts what the caller has at /sys/fs/cgroup: cgroup v2 alone, or a directory a hierarchy.
pub fn mount(tree: &mut Tree, membership: Option<&mut Membership>) -> Result<()> {
    let Some(membership) = membership else { return Ok(()) };
    let paths = membership.lines()?;
    let table = mountinfo::of_self()?;
    let hierarchies: Vec<&Mount> = table
        .iter()
        .filter(|m| m.fs_type.starts_with("cgroup") && m.mount_point.starts_with(PLACE))
        .collect();
    let place = Path::new(PLACE);
    match hierarchies[..] {
        [] => Ok(()),
        [single] if single.mount_point == place => {
            let mount = view(single, &paths)?;
            tree.mount(place, mount, &single.fs_type, INERT_READ_ONLY)
        }
        _ => mount_each(tree, &hierarchies, &paths),
    }
}

fn mount_each(tree: &mut Tree, hierarchies: &[&Mount], paths: &[(Vec<u8>, PathBuf)]) -> Result<()> {
    let place = Path::new(PLACE);
    let inert = INERT_READ_ONLY.without(Attributes::READ_ONLY);
    let directory = crate::filesystem::make(
        &Filesystem::with(c"tmpfs", inert, &[(c"mode", c"0755"), (c"size", c"65536")]),
        tree.root().name(place),
    )?;
    let part = tree.root().below(place, directory.try_clone().during("mount tmpfs", place)?);
    tree.mount(place, directory, "tmpfs", inert)?;
    for hierarchy in hierarchies {
        // Only what is directly below has a name that a program looks for.
        let Ok(name) = hierarchy.mount_point.strip_prefix(place) else { continue };
        if name.components().count() != 1 {
            continue;
        }
        let mount = view(hierarchy, paths)?;
        tree.mount_within(&part, name, mount, &hierarchy.fs_type, INERT_READ_ONLY)?;
        for controller in name.as_os_str().as_bytes().split(|&byte| byte == b',') {
            let link = OsStr::from_bytes(controller);
            if link != name.as_os_str() {
                symlinkat(name, part.fd(), link).during("make the link", part.name(Path::new(link)))?;
            }
        }
    }
    attributes::set(part.fd(), Attributes::READ_ONLY, Reach::One, &part.name(Path::new("")))
}

/// The container's part of a hierarchy. At the root of its cgroup namespace that is all that a new
/// mount shows; else the directory of its own cgroup is bound, as Docker does.
fn view(hierarchy: &Mount, paths: &[(Vec<u8>, PathBuf)]) -> Result<OwnedFd> {
    let own = paths.iter().find(|(controllers, _)| is_of(controllers, hierarchy)).map(|(_, path)| path);
    let below = own.and_then(|path| path.strip_prefix("/").ok()).unwrap_or(Path::new(""));
    // "/..": moved out of its namespace's root, which then is all that it may see.
    if below.as_os_str().is_empty() || below.starts_with("..") {
        if let Ok(mount) = new_mount_of(hierarchy).make() {
            return Ok(mount);
        }
        return bind(hierarchy, Path::new("."));
    }
    // Where the caller's mount itself shows only a part, the path begins with that.
    let shown = hierarchy.root.strip_prefix("/").unwrap_or(&hierarchy.root);
    bind(hierarchy, below.strip_prefix(shown).unwrap_or(Path::new(".")))
}

fn is_of(controllers: &[u8], hierarchy: &Mount) -> bool {
    if hierarchy.fs_type == "cgroup2" {
        return controllers.is_empty();
    }
    !controllers.is_empty()
        && controllers.split(|&byte| byte == b',').all(|controller| {
            std::str::from_utf8(controller).is_ok_and(|controller| hierarchy.has_super_option(controller))
        })
}

/// The same hierarchy mounted anew: seen from the root of this process's cgroup namespace.
fn new_mount_of(hierarchy: &Mount) -> Filesystem {
    if hierarchy.fs_type == "cgroup2" {
        return Filesystem::plain(c"cgroup2", INERT_READ_ONLY);
    }
    let mut options = Vec::new();
    for option in hierarchy.super_options.as_bytes().split(|&byte| byte == b',') {
        let Ok(option) = CString::new(option) else { continue };
        match option.as_bytes() {
            b"rw" | b"ro" => {}
            [b'n', b'a', b'm', b'e', b'=', name @ ..] => {
                options.push((c"none".into(), c"".into()));
                options.push((c"name".into(), CString::new(name).unwrap_or_default()));
            }
            _ if option.as_bytes().contains(&b'=') => {}
            _ => options.push((option, c"".into())),
        }
    }
    Filesystem { fs_type: c"cgroup", options, attributes: INERT_READ_ONLY }
}

fn bind(hierarchy: &Mount, below: &Path) -> Result<OwnedFd> {
    let step = "bind the cgroup";
    let root = Root::open(&hierarchy.mount_point)?;
    let directory = root.open_inside(below, nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY)?;
    let name = root.name(below);
    let found = fstatfs(&directory).during(step, &name)?.filesystem_type();
    if ![CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&found) {
        return Err(Error::new(step, name, "it is not a cgroup"));
    }
    let mount = clone_tree(directory.as_fd(), Reach::One)
        .or_else(|_| clone_tree(directory.as_fd(), Reach::Tree))
        .during(step, &name)?;
    attributes::confine(&mount, INERT_READ_ONLY, &name)?;
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(fs_type: &str, super_options: &str) -> Mount {
        Mount {
            id: 1,
            parent: 0,
            device: "0:1".into(),
            root: "/".into(),
            mount_point: PLACE.into(),
            options: "rw".into(),
            propagation: Vec::new(),
            fs_type: fs_type.into(),
            source: "x".into(),
            super_options: super_options.into(),
        }
    }

    #[test]
    fn a_line_belongs_to_the_hierarchy_with_its_controllers() {
        assert!(is_of(b"cpu,cpuacct", &hierarchy("cgroup", "rw,cpu,cpuacct")));
        assert!(is_of(b"name=systemd", &hierarchy("cgroup", "rw,name=systemd")));
        assert!(!is_of(b"cpu", &hierarchy("cgroup", "rw,cpuset")));
        assert!(is_of(b"", &hierarchy("cgroup2", "rw")));
        assert!(!is_of(b"", &hierarchy("cgroup", "rw,cpu")));
    }

    #[test]
    fn a_path_may_hold_colons() {
        assert_eq!(line(b"4:memory:/a:b"), Some((b"memory".to_vec(), "/a:b".into())));
        assert_eq!(line(b"0::/"), Some((Vec::new(), "/".into())));
        assert_eq!(line(b""), None);
    }

    #[test]
    fn a_named_hierarchy_is_mounted_by_its_name() {
        let filesystem = new_mount_of(&hierarchy("cgroup", "rw,xattr,name=systemd,release_agent=/x"));
        let keys: Vec<_> = filesystem.options.iter().map(|(key, _)| key.to_str().unwrap()).collect();
        assert_eq!(keys, ["xattr", "none", "name"]);
    }
}
