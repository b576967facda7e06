//! Nothing half done: an error is one clear line, status 125, and everything is as it was.

use predicates::prelude::*;
use predicates::str::contains;

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{private, two_layers};

/// Runs with these arguments in a scene of two layers; nothing may be left. Returns standard error.
fn fails(arguments: &str) -> String {
    let scene = two_layers();
    let names = |scene: &Scene| {
        let mut names: Vec<_> =
            std::fs::read_dir(scene.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(&scene);
    let script =
        format!("unionmount {arguments} || echo status $?; grep -c merged /proc/self/mountinfo || true");
    let run = private(&scene, &script).success();
    assert_eq!(stdout(&run), "status 125\n0\n", "{}", stderr(&run));
    assert_eq!(names(&scene), before);
    scene.assert_nothing_left();
    stderr(&run)
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    if !needs(&[Need::Root]) {
        return;
    }
    assert!(fails("").contains("required arguments were not provided: <MERGED>"));
    assert!(fails("merged").contains("no layer given"));
    assert!(fails("--bogus merged").contains("--bogus"));
    assert!(fails("-l bottom -u up --ephemeral merged").contains("cannot be used with"));
    assert!(fails("-l bottom -w work merged").contains("--upper"));
    assert!(fails("-l bottom --ephemeral=x merged").contains("x: read a size"));
    assert!(fails("-l bottom merged --").contains("no COMMAND after '--'"));
}

#[test]
fn a_missing_layer_or_mount_point_is_named() {
    if !needs(&[Need::Root]) {
        return;
    }
    assert!(fails("-l none -u up merged").contains("/none: open the layer: No such file"));
    assert!(
        fails("-l bottom/both -u up merged")
            .contains("bottom/both: mount the image: neither an erofs nor a squashfs")
    );
    assert!(fails("-l bottom -u up none").contains("/none: open the mount point: No such file"));
    assert!(fails("-l bottom -u up bottom/both").contains("both: open the mount point: Not a directory"));
    assert!(fails("-l bottom -u none/up merged").contains("none/up: make the directory: No such file"));
}

#[test]
fn what_was_made_is_removed_when_the_mount_fails() {
    if !needs(&[Need::Root]) {
        return;
    }
    // Only the kernel knows that there is no such option, and it comes to that last.
    let why = fails("-l bottom -u up -o no_such_option=1 merged");
    assert!(why.contains("merged: mount overlay"), "{why}");
    assert!(fails("-l / -l bottom -u up -o no_such_option=1 merged").contains("mount overlay"));
}

#[test]
fn the_kernels_own_words_are_in_the_error() {
    if !needs(&[Need::Root, Need::OverlayAppend]) {
        return;
    }
    let why = fails("-l bottom -u up -o no_such_option=1 merged");
    assert!(why.contains("Unknown parameter 'no_such_option'"), "{why}");
}

#[test]
fn so_is_what_overlayfs_says_in_the_kernels_log() {
    if !needs(&[Need::Root]) {
        return;
    }
    let why = fails("-l bottom -u up --userxattr --metacopy merged");
    assert!(why.contains("conflicting options"), "{why}");
}

#[test]
fn options_that_name_layers_are_not_passed_on() {
    if !needs(&[Need::Root]) {
        return;
    }
    assert!(fails("-l bottom -o upperdir=top merged").contains("it is set from the layers given"));
    assert!(fails("-l bottom -o a=1,upperdir=top merged").contains("one option at a time"));
}

/// What the kernel would refuse without a reason, or not refuse at all.
#[test]
fn layers_that_do_not_go_together_are_refused_by_name() {
    if !needs(&[Need::Root]) {
        return;
    }
    assert!(
        fails("-l bottom -l top -l bottom merged").contains("bottom: stack the layers: the same layer twice")
    );
    assert!(
        fails("-l bottom -u bottom merged").contains("bottom: take it as the upper: it is also a read-only")
    );
    assert!(fails("-l top/inner -u top merged").contains("it lies inside the upper"));
    assert!(fails("-l bottom -u up -w up merged").contains("the upper and it lie in each other"));
    assert!(fails("-l bottom -u up -w up/work merged").contains("the upper and it lie in each other"));
    assert!(fails("-l bottom -u up/upper -w up merged").contains("the upper and it lie in each other"));
    assert!(
        fails("-l bottom -u up -w top merged")
            .contains("top: take it as the work directory: it is not empty")
    );
    assert!(fails("-l bottom -u up -w /proc/up merged").contains("on another filesystem than the upper"));
}

#[test]
fn an_upper_on_a_filesystem_that_cannot_be_one_is_refused_with_a_way_out() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = private(
        &scene,
        "unionmount -l bottom --ephemeral merged
         unionmount -l top -u merged/up bottom || echo $?
         mount -t tmpfs -o ro tmpfs bottom
         unionmount -l top -u bottom/up merged || echo $?",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "125\n125\n");
    assert!(stderr(&run).contains("up: take it as the upper: it is on another overlay"), "{}", stderr(&run));
    assert!(stderr(&run).contains("hint: an upper can be on ext4"), "{}", stderr(&run));
    assert!(stderr(&run).contains("it is on a read-only filesystem"), "{}", stderr(&run));
}

#[test]
fn an_upper_that_another_union_uses_is_refused_whatever_the_mount_namespace() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    scene.dir("other");
    let run = private(
        &scene,
        "unionmount -l bottom -u up merged
         unionmount -l top -u up -w other.work other || echo $?
         unshare-lite --mount -- sh -c 'umount merged; unionmount -l top -u up2 -w up.work other' || echo $?
         umount merged; unionmount -l top -u up other; ls other",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "125\n125\nboth\ninner\n", "{}", stderr(&run));
    assert!(stderr(&run).contains("up: take it as the upper: another overlay uses it"), "{}", stderr(&run));
    assert!(stderr(&run).contains("up.work: take it as the work directory: another"), "{}", stderr(&run));
    assert!(stderr(&run).contains("/merged for process "), "{}", stderr(&run));
    assert!(!scene.path("other.work").exists() && !scene.path("up2").exists());
}

#[test]
fn a_command_that_cannot_be_run_takes_the_mount_back() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = private(
        &scene,
        "unionmount -l bottom -u up merged -- no-such-command || echo $?
         unionmount -l bottom -u up merged -- /etc/passwd || echo $?
         grep -c merged /proc/self/mountinfo || true",
    );
    assert_eq!(stdout(&run.success()), "127\n126\n0\n");
    assert!(!scene.path("up").exists() && !scene.path("up.work").exists());
}

#[test]
fn without_the_right_to_mount_the_hint_says_how_to_get_it() {
    let scene = two_layers();
    scene
        .user_sh("unionmount -l bottom --ephemeral merged")
        .assert()
        .code(125)
        .stderr(contains("Operation not permitted").and(contains("hint: mounting takes CAP_SYS_ADMIN")));
    scene.assert_nothing_left();
}
