//! Why a user namespace is refused: the kernel says EPERM to all of it, and the hint tells which it was.
//!
//! The refusal is a true one of the kernel, or strace's where this kernel has no such switch; the
//! switches of other kernels are files in the place of /proc/sys.

use crate::common::scene::USER;
use crate::common::{Need, Scene, needs, stderr};
use crate::private;

/// A user whose own user namespace maps nobody cannot make another.
const UNMAPPED: &str = "unshare --user --";

/// A refusal that has no other reason.
const INJECTED: &str = "strace -qq -o /dev/null -e inject=unshare:error=EPERM";

/// Where the tool is run: in a private mount namespace, as an ordinary user.
const AS_USER: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

/// Nothing ran, and this is the hint.
fn assert_hint(run: assert_cmd::assert::Assert, expected: &str) {
    let run = run.code(125).stdout("");
    let said = stderr(&run);
    let hint =
        said.lines().last().unwrap_or_default().strip_prefix("unshare-lite: hint: ").unwrap_or_default();
    assert!(hint.starts_with(expected), "{expected}: {said}");
    assert!(said.starts_with("unshare-lite: namespaces user: unshare: Operation not permitted\n"), "{said}");
}

/// The hint where these files of /proc/sys hold these values, and no others are there.
fn assert_hint_with(sysctls: &[(&str, &str)], refusal: &str, expected: &str) {
    let mut script = String::from("mount -t tmpfs tmpfs /proc/sys; mkdir /proc/sys/kernel /proc/sys/user\n");
    for (name, value) in sysctls {
        script += &format!("echo {value} >/proc/sys/{}\n", name.replace('.', "/"));
    }
    script += &format!("exec {AS_USER} {refusal} unshare-lite -r -- echo ran");
    assert_hint(private(&Scene::new(), &script), expected);
}

#[test]
fn debians_switch_is_named() {
    if !needs(&[Need::Root]) {
        return;
    }
    let off = ("kernel.unprivileged_userns_clone", "0");
    let hint =
        "user namespaces are switched off for ordinary users: sysctl kernel.unprivileged_userns_clone=1";
    assert_hint_with(&[off], UNMAPPED, hint);
    // It outdoes AppArmor's, which comes into question only where it is on.
    assert_hint_with(&[off, ("kernel.apparmor_restrict_unprivileged_userns", "1")], UNMAPPED, hint);
}

#[test]
fn apparmors_switch_is_named() {
    if !needs(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    let on = ("kernel.apparmor_restrict_unprivileged_userns", "1");
    let hint = "AppArmor forbids it: sysctl kernel.apparmor_restrict_unprivileged_userns=0";
    assert_hint_with(&[on, ("kernel.unprivileged_userns_clone", "1")], INJECTED, hint);
    assert_hint_with(&[on], INJECTED, hint);
}

#[test]
fn switches_that_are_as_they_should_be_are_not_named() {
    if !needs(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    let allowed =
        [("kernel.apparmor_restrict_unprivileged_userns", "0"), ("kernel.unprivileged_userns_clone", "1")];
    assert_hint_with(&allowed, INJECTED, "a security module, a seccomp filter, a chroot, or ids");
    assert_hint_with(&[], INJECTED, "a security module, a seccomp filter, a chroot, or ids");
}

#[test]
fn a_caller_that_nobody_mapped_is_told_so() {
    let script = format!("{UNMAPPED} unshare-lite -r -- echo ran");
    assert_hint(Scene::new().user_sh(&script).assert(), "the caller is nobody in its own user namespace");
}

const CHROOT: &str = "a process in a chroot cannot make a user namespace";

#[test]
fn a_chroot_is_named_where_its_directory_is_no_mount_point() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.dir("root/proc");
    let script = format!(
        "cp $(command -v unshare-lite) root/bin; mount --rbind /proc root/proc
         exec chroot --userspec={USER}:{USER} root unshare-lite -r -- echo ran"
    );
    assert_hint(private(&scene, &script), CHROOT);
}

#[test]
fn a_chroot_is_named_where_its_directory_is_a_mount_point() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("root");
    // The shell that stays outside still has the whole mount table. (`:` keeps it from an exec.)
    let script = format!(
        "mount --rbind / root; tool=$(command -v unshare-lite); chroot root {AS_USER} $tool -r -- echo ran; :"
    );
    assert_hint(private(&scene, &script), CHROOT);
}

#[test]
fn a_root_that_was_switched_is_no_chroot() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("root");
    let script = format!(
        "mount --rbind / root; tool=$(command -v unshare-lite)
         unshare-lite --mount -- pivot --method pivot_root root -- {AS_USER} {UNMAPPED} $tool -r -- echo ran"
    );
    assert_hint(private(&scene, &script), "the caller is nobody in its own user namespace");
}
