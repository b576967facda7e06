//! The new root while it is being furnished: what is mounted in it, and how that is taken back.
//!
//! Nothing inside the root is trusted. Every path in it is resolved inside it, by openat2(2),
//! to a descriptor, and the mount is attached to that descriptor: a link, or a directory that
//! somebody swaps meanwhile, never leads a mount elsewhere (CVE-2021-30465, CVE-2015-1335).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use common::root::{Made, Root};
use common::sys::mount::{
    Attributes, Propagation, Reach, attach, clear_attributes, clone_tree, set_propagation,
};
use common::undo::Undo;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, fstat, umask};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use nix::unistd::fchdir;

use crate::attributes;
use crate::filesystem::{self, Filesystem};

/// A directory with what was mounted in it. Dropped before it is [kept](Tree::keep), it is as it was.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    steps: Steps,
}

/// On what a mount may be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Any,
    NotTheKernels,
}

/// What was done, in order.
#[derive(Debug, Default)]
struct Steps {
    /// The bind mount of the root on itself.
    bound: Option<OwnedFd>,
    read_only: bool,
    mounted: Vec<(OwnedFd, PathBuf)>,
    made: Made,
}

impl Tree {
    /// `path` as a mount of its own, in a mount namespace whose mounts reach nobody else's.
    pub fn bind(path: &Path) -> Result<Self> {
        let root = Root::open(path)?;
        trace::step("make all mounts slaves, so that nothing spreads from here");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>).map_err(
            |errno| {
                Error::new("make the mounts slaves", "/", errno).or_hint(match errno {
                    Errno::EPERM => {
                        Some("run it under 'unshare-lite --mount', with --map-root-user for an ordinary user")
                    }
                    Errno::EINVAL => Some("/ is not a mount point: this process is in a chroot already"),
                    _ => None,
                })
            },
        )?;
        // pivot_root(2) wants a mount point, and what is set on this mount is not set on another.
        trace::step(format_args!("bind {} on itself", path.display()));
        let bound = clone_tree(root.fd(), Reach::Tree).during("bind on itself", path)?;
        // Slaves of the machine's they would be: what is mounted there later would show here.
        match set_propagation(bound.as_fd(), Propagation::Private, Reach::Tree) {
            Err(Errno::ENOSYS) => {} // before Linux 5.12
            result => result.during("make private", path)?,
        }
        attach(bound.as_fd(), root.fd()).during("bind on itself", path)?;
        let root = root.replaced_by(bound.try_clone().during("bind on itself", path)?);
        let mut steps = Steps::default();
        steps.bound = Some(bound);
        Ok(Self { root, steps })
    }

    /// `path` as it is, for a chroot that changes no mount.
    pub fn plain(path: &Path) -> Result<Self> {
        Ok(Self { root: Root::open(path)?, steps: Steps::default() })
    }

    /// The root, for paths inside it.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The directory `inside`, made if missing.
    pub fn directory(&mut self, inside: &Path) -> Result<OwnedFd> {
        let (fd, made) = self.root.make_directory(inside)?;
        self.steps.made.append(made);
        Ok(fd)
    }

    /// Mounts a new filesystem at `inside`.
    pub fn mount_filesystem(&mut self, inside: &Path, filesystem: &Filesystem) -> Result<()> {
        let mount = filesystem::make(filesystem, self.root.name(inside))?;
        self.mount_asked(inside, mount, &filesystem.name(), filesystem.attributes)
    }

    /// Attaches `mount` at `inside` as the user asked: so not on procfs or sysfs (CVE-2019-16884).
    pub fn mount_asked(
        &mut self,
        inside: &Path,
        mount: OwnedFd,
        what: &str,
        attributes: Attributes,
    ) -> Result<()> {
        self.steps.mount(&self.root, inside, mount, what, attributes, Place::NotTheKernels)
    }

    /// Attaches `mount` at `inside`, where a directory (or, for the mount of a file, a file) is made if missing.
    pub fn mount(&mut self, inside: &Path, mount: OwnedFd, what: &str, attributes: Attributes) -> Result<()> {
        self.steps.mount(&self.root, inside, mount, what, attributes, Place::Any)
    }

    /// The same within `part`, a mount of this tree.
    pub fn mount_within(
        &mut self,
        part: &Root,
        inside: &Path,
        mount: OwnedFd,
        what: &str,
        attributes: Attributes,
    ) -> Result<()> {
        self.steps.mount(part, inside, mount, what, attributes, Place::Any)
    }

    /// Refuses an image in which `inside` is a link: what is mounted there would be found under two names,
    /// and what is masked under one of them (CVE-2019-19921).
    pub fn must_not_be_a_link(&self, inside: &Path) -> Result<()> {
        match self.root.resolve(inside, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
            Ok(fd) if kind_of(&fd).during("look at", self.root.name(inside))? == SFlag::S_IFLNK => {
                Err(Error::new("mount on", self.root.name(inside), "it is a symbolic link in the root"))
            }
            _ => Ok(()),
        }
    }

    /// Fails where what was mounted at `inside` is covered by what was mounted after it.
    pub fn must_show(&self, inside: &Path) -> Result<()> {
        let (step, name) = ("mount on", self.root.name(inside));
        let seen = match self.root.resolve(inside, OFlag::O_PATH).and_then(fstat) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => None,
            seen => seen.during(step, &name).map(|seen| Some((seen.st_dev, seen.st_ino)))?,
        };
        for (mount, _) in self.steps.mounted.iter().filter(|(_, place)| place == inside) {
            let mounted = fstat(mount).during(step, &name)?;
            if seen != Some((mounted.st_dev, mounted.st_ino)) {
                return Err(Error::new(step, name, "what is mounted after it covers it")
                    .hint("another --volume or --tmpfs leads there, or above it: leave one of them out"));
            }
        }
        Ok(())
    }

    /// Makes the root itself read-only.
    pub fn make_read_only(&mut self) -> Result<()> {
        trace::step("make the root read-only");
        attributes::set(self.root.fd(), Attributes::READ_ONLY, Reach::One, &self.root.name(Path::new("")))?;
        self.steps.read_only = true;
        Ok(())
    }

    /// Lets all of it stand.
    pub fn keep(mut self) {
        self.steps.bound = None;
        self.steps.mounted.clear();
        std::mem::take(&mut self.steps.made).keep();
    }
}

impl Steps {
    fn mount(
        &mut self,
        root: &Root,
        inside: &Path,
        mount: OwnedFd,
        what: &str,
        attributes: Attributes,
        place: Place,
    ) -> Result<()> {
        let name = root.name(inside);
        let step = || format!("mount {what}");
        let source = fstat(&mount).during(step(), &name)?;
        let is_directory = kind_of(&mount).during(step(), &name)? == SFlag::S_IFDIR;
        let (target, made) =
            if is_directory { root.make_directory(inside)? } else { root.make_file(inside)? };
        self.made.append(made);
        trace::step(format_args!("mount {what} on {} ({attributes})", name.display()));
        let found = fstat(&target).during(step(), &name)?;
        let itself = fstat(root.fd()).during(step(), &name)?;
        if (found.st_dev, found.st_ino) == (itself.st_dev, itself.st_ino) {
            return Err(Error::new(step(), name, "that is the root itself"));
        }
        if place == Place::NotTheKernels && is_kernels(&target).during(step(), &name)? {
            return Err(Error::new(step(), name, "that is a file of procfs or sysfs"));
        }
        match (is_directory, kind_of(&target).during(step(), &name)? == SFlag::S_IFDIR) {
            (true, false) => return Err(Error::new(step(), name, "a directory cannot be mounted on a file")),
            (false, true) => return Err(Error::new(step(), name, "a file cannot be mounted on a directory")),
            _ => attach(mount.as_fd(), target.as_fd()).during(step(), &name)?,
        }
        self.mounted.push((mount, inside.to_owned()));
        // Where the target was renamed or replaced meanwhile, the mount is inside the root still,
        // but not where COMMAND will look for it.
        let there = root.open_inside(inside, OFlag::O_PATH)?;
        let there = fstat(&there).during(step(), &name)?;
        if (there.st_dev, there.st_ino) == (source.st_dev, source.st_ino) {
            return Ok(());
        }
        Err(Error::new(step(), name, "somebody moved the mount point at the same time"))
    }
}

impl Drop for Steps {
    /// Nobody is left to tell of a failure here, and each step may have lost its right by now.
    fn drop(&mut self) {
        if let Some(bound) = self.bound.take() {
            if self.read_only {
                let _ = clear_attributes(bound.as_fd(), Attributes::READ_ONLY, Reach::One);
            }
            // All that is mounted in it goes along. After the switch, in a user namespace, the
            // kernel does not let the root go: then one by one.
            if detach(&bound).is_err() {
                for (mount, inside) in self.mounted.drain(..).rev() {
                    let _ = detach(&mount).or_else(|_| umount2(&inside, MntFlags::MNT_DETACH));
                }
            }
        }
        // `made` is dropped after this: its directories are no mount points any more.
    }
}

/// Detaches the mount that `fd` is open on, without a path that could mean another.
fn detach(fd: &OwnedFd) -> nix::Result<()> {
    fchdir(fd)?;
    umount2(".", MntFlags::MNT_DETACH)
}

/// Directories and files that we make have just the mode we say.
pub fn without_umask<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let callers = umask(Mode::empty());
    let _restore = Undo::new(|| {
        umask(callers);
    });
    work()
}

/// What kind of file `fd` is open on.
pub fn kind_of(fd: impl AsFd) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode & SFlag::S_IFMT.bits()))
}

/// Whether `fd` is on procfs or sysfs, whose files are the kernel's own.
pub fn is_kernels(fd: impl AsFd) -> nix::Result<bool> {
    Ok([PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&fstatfs(fd)?.filesystem_type()))
}
