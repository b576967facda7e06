//! /dev: a tmpfs with the standard nodes and links, and terminals of its own.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use common::root::Root;
use common::sys::mount::{Attributes, Reach, clone_tree};
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mknodat};
use nix::unistd::symlinkat;

use crate::api;
use crate::filesystem::{Filesystem, make};
use crate::tree::Tree;

/// The nodes that every program may expect: name, major, minor.
const NODES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// Mounts it, and returns it for what else belongs there.
pub fn mount(tree: &mut Tree) -> Result<Root> {
    let inside = Path::new("/dev");
    tree.must_not_be_a_link(inside)?;
    let options = [(c"mode", c"0755"), (c"size", c"67108864")];
    let filesystem = Filesystem::with(c"tmpfs", Attributes::NOSUID, &options);
    let mount = make(&filesystem, tree.root().name(inside))?;
    let dev = tree.root().below(inside, mount.try_clone().during("mount tmpfs", inside)?);
    tree.mount(inside, mount, "tmpfs", Attributes::NOSUID)?;
    for (name, major, minor) in NODES {
        add_node(tree, &dev, name, (major, minor))?;
    }
    for (name, target) in LINKS {
        let path = dev.name(Path::new(name));
        symlinkat(target, dev.fd(), name).during("make the link", &path)?;
        trace::step(format_args!("make {} (a link to {target})", path.display()));
    }
    mount_pts(tree, &dev)?;
    api::mount_shm(tree, &dev)?;
    Ok(dev)
}

/// A node of our own; where the kernel does not let us make one (in a user namespace never), the caller's.
fn add_node(tree: &mut Tree, dev: &Root, name: &str, number: (u64, u64)) -> Result<()> {
    let path = dev.name(Path::new(name));
    let all = Mode::from_bits_truncate(0o666);
    match mknodat(dev.fd(), name, SFlag::S_IFCHR, all, makedev(number.0, number.1)) {
        Ok(()) => {
            trace::step(format_args!("make {} (c {}:{})", path.display(), number.0, number.1));
            Ok(())
        }
        Err(Errno::EPERM) => {
            let mount = clone_of_callers(name, number)?;
            tree.mount_within(dev, Path::new(name), mount, &format!("/dev/{name}"), Attributes::NONE)
        }
        Err(errno) => Err(Error::new("make the device node", path, errno)),
    }
}

/// A mount of the caller's own node, checked to be what its name says (CVE-2025-31133).
pub fn clone_of_callers(name: &str, (major, minor): (u64, u64)) -> Result<OwnedFd> {
    let path = format!("/dev/{name}");
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let node = open(path.as_str(), flags, Mode::empty()).during("open the device node", &path)?;
    let found = fstat(&node).during("look at", &path)?;
    let is_character = found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits();
    if !is_character || found.st_rdev != makedev(major, minor) {
        return Err(Error::new("use the device node", &path, format!("it is not c {major}:{minor}")));
    }
    clone_tree(node.as_fd(), Reach::One).during("bind the device node", &path)
}

/// Terminals that no other container sees. gid 5 is Debian's and Fedora's tty group, as in Docker's.
fn mount_pts(tree: &mut Tree, dev: &Root) -> Result<()> {
    let attributes = Attributes::NOSUID.and(Attributes::NOEXEC);
    let common = [(c"newinstance", c""), (c"ptmxmode", c"0666"), (c"mode", c"0620")];
    let with_group = [common[0], common[1], common[2], (c"gid", c"5")];
    let inside = Path::new("pts");
    let mount = match Filesystem::with(c"devpts", attributes, &with_group).make() {
        Ok(mount) => mount,
        // A user namespace may have no group 5.
        Err(refused) if refused.errno == Errno::EINVAL => {
            make(&Filesystem::with(c"devpts", attributes, &common), dev.name(inside))?
        }
        Err(refused) => {
            return Err(refused.error(&Filesystem::plain(c"devpts", attributes), dev.name(inside)));
        }
    };
    tree.mount_within(dev, inside, mount, "devpts", attributes)
}
