//! Mounts by descriptor: open_tree(2), move_mount(2), mount_setattr(2).

use std::fmt;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::{check, check_fd};

/// Attributes of a mount, as bits of `MOUNT_ATTR_*` (mount_setattr(2), fsmount(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// Nothing set.
    pub const NONE: Self = Self(0);
    /// Read-only.
    pub const READ_ONLY: Self = Self(0x1);
    /// Set-user-ID bits and file capabilities do nothing.
    pub const NOSUID: Self = Self(0x2);
    /// Device nodes cannot be opened.
    pub const NODEV: Self = Self(0x4);
    /// Nothing can be executed.
    pub const NOEXEC: Self = Self(0x8);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This without what is in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The bits for the kernel.
    pub(super) fn bits(self) -> u64 {
        self.0
    }
}

/// As mount(8) writes them: `ro,nosuid`.
impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::READ_ONLY, "ro"),
            (Self::NOSUID, "nosuid"),
            (Self::NODEV, "nodev"),
            (Self::NOEXEC, "noexec"),
        ];
        let have: Vec<_> = names.iter().filter(|(one, _)| self.has(*one)).map(|(_, name)| *name).collect();
        f.write_str(if have.is_empty() { "rw" } else { "" })?;
        f.write_str(&have.join(","))
    }
}

/// Whether a call acts on one mount or on all mounts below it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This mount alone.
    One,
    /// With all submounts (AT_RECURSIVE).
    Tree,
}

impl Reach {
    fn flag(self) -> libc::c_int {
        match self {
            Self::One => 0,
            Self::Tree => libc::AT_RECURSIVE,
        }
    }
}

/// open_tree(2) with OPEN_TREE_CLONE, Linux 5.2: a detached bind mount of what `at` is open on.
/// It goes away when the descriptor closes, unless [`attach`]ed.
pub fn clone_tree(at: BorrowedFd<'_>, reach: Reach) -> nix::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_int = 1;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH | reach.flag();
    // SAFETY: the path is a NUL-terminated constant.
    check_fd(unsafe { libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), c"".as_ptr(), flags) })
}

/// move_mount(2), Linux 5.2: attaches a detached mount on the file or directory that `target` is open on.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> nix::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
    const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
    // SAFETY: both paths are NUL-terminated constants.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })?;
    Ok(())
}

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// mount_setattr(2), Linux 5.12: sets attributes on the mount that `mount` is open on.
pub fn set_attributes(mount: BorrowedFd<'_>, set: Attributes, reach: Reach) -> nix::Result<()> {
    mount_setattr(mount, reach, &MountAttr { attr_set: set.bits(), ..MountAttr::default() })
}

/// mount_setattr(2) with MOUNT_ATTR_IDMAP: what the mount shows is owned by the ids that the
/// user namespace `user_namespace` (an open /proc/PID/ns/user) maps its owners to. The mount must be detached.
pub fn set_idmap(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, reach: Reach) -> nix::Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    let userns_fd = user_namespace.as_raw_fd() as u64;
    mount_setattr(mount, reach, &MountAttr { attr_set: MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() })
}

/// mount_setattr(2): takes attributes away.
pub fn clear_attributes(mount: BorrowedFd<'_>, clear: Attributes, reach: Reach) -> nix::Result<()> {
    mount_setattr(mount, reach, &MountAttr { attr_clr: clear.bits(), ..MountAttr::default() })
}

/// How mounts that come later spread (mount_namespaces(7), SHARED SUBTREES).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Neither in nor out.
    Private,
    /// In, not out.
    Slave,
    /// In and out.
    Shared,
    /// Neither, and it cannot be bound again.
    Unbindable,
}

/// mount_setattr(2): sets the propagation.
pub fn set_propagation(mount: BorrowedFd<'_>, propagation: Propagation, reach: Reach) -> nix::Result<()> {
    let propagation = match propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
        Propagation::Unbindable => libc::MS_UNBINDABLE,
    };
    mount_setattr(mount, reach, &MountAttr { propagation, ..MountAttr::default() })
}

fn mount_setattr(mount: BorrowedFd<'_>, reach: Reach, attr: &MountAttr) -> nix::Result<()> {
    let flags = libc::AT_EMPTY_PATH | reach.flag();
    // SAFETY: the path is a NUL-terminated constant and `attr` is valid for its size.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of_val(attr),
        )
    })?;
    Ok(())
}
