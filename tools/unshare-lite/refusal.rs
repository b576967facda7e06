//! Why unshare(2) said no: its few errnos stand for many causes, which are told apart here.

use std::path::Path;
use std::{fs, iter};

use common::namespace::NamespaceKind;
use common::{Error, mountinfo, procfs};
use nix::errno::Errno;
use nix::unistd::geteuid;

/// The error of a refused unshare(2) of `kinds`, with the likeliest cause of this machine as its hint.
pub(crate) fn explain(errno: Errno, kinds: &[NamespaceKind]) -> Error {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let object = format!("namespaces {}", names.join(", "));
    let user = kinds.contains(&NamespaceKind::User);
    let hint = match errno {
        Errno::EPERM if user => Some(user_refused()),
        Errno::EPERM if !geteuid().is_root() => {
            Some("an ordinary user needs a user namespace as well: add --map-root-user".into())
        }
        Errno::EPERM => Some("it takes CAP_SYS_ADMIN, which this root does not have".into()),
        // user_namespaces(7): 32 levels of nesting, or the limits in /proc/sys/user.
        Errno::ENOSPC | Errno::EUSERS => Some(limit_reached(kinds)),
        Errno::EINVAL if user => Some("the kernel is built without user namespaces (CONFIG_USER_NS)".into()),
        _ => None,
    };
    Error::new("unshare", object, errno).or_hint(hint)
}

fn user_refused() -> String {
    if reads("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "user namespaces are switched off for ordinary users: sysctl kernel.unprivileged_userns_clone=1".into();
    }
    if is_chrooted() {
        return "a process in a chroot cannot make a user namespace (user_namespaces(7))".into();
    }
    if reads("/proc/self/uid_map", "") {
        return "the caller is nobody in its own user namespace, whose maps are empty: give that one a map first"
            .into();
    }
    if reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "AppArmor forbids it: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile with 'userns,'".into();
    }
    "a security module, a seccomp filter, a chroot, or ids that are not mapped in the caller's own user namespace forbid it".into()
}

fn limit_reached(kinds: &[NamespaceKind]) -> String {
    let zero = kinds.iter().find(|kind| reads(&limit_file(**kind), "0"));
    match zero {
        Some(kind) => format!(
            "no {} namespaces are allowed here: sysctl user.max_{}_namespaces",
            kind.name(),
            kind.name()
        ),
        None => "a limit is reached: one of sysctl user.max_*_namespaces, or 32 levels of nesting".into(),
    }
}

fn limit_file(kind: NamespaceKind) -> String {
    format!("/proc/sys/user/max_{}_namespaces", kind.name())
}

fn reads(file: &str, value: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.trim() == value)
}

/// Whether our root is not the root of our mount namespace.
///
/// Where it is no mount point, none in our own mount table is "/". Where it is one, whoever changed
/// the root has it elsewhere in its own table, which anybody may read: a mount's id is unique.
fn is_chrooted() -> bool {
    let top = Path::new("/");
    let Ok(own) = mountinfo::of_self() else { return false };
    let Some(root) = mountinfo::at(&own, top) else { return true };
    ancestors().any(|pid| {
        mountinfo::read(format!("/proc/{pid}/mountinfo"))
            .is_ok_and(|seen| seen.iter().any(|mount| mount.id == root.id && mount.mount_point != top))
    })
}

/// The parent, its parent and so on, as far as /proc shows them.
fn ancestors() -> impl Iterator<Item = i32> {
    let parent = |pid: &i32| procfs::status(*pid, "PPid").ok()?.parse().ok().filter(|pid| *pid > 0);
    iter::successors(procfs::own_pid().ok().and_then(|pid| parent(&pid)), parent)
}
