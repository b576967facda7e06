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
    assert!(fails("-l bottom/both -u up merged").contains("bottom/both: open the layer: Not a directory"));
    assert!(fails("-l bottom -u up none").contains("/none: open the mount point: No such file"));
    assert!(fails("-l bottom -u up bottom/both").contains("both: open the mount point: Not a directory"));
    assert!(fails("-l bottom -u none/up merged").contains("none/up: make the directory: No such file"));
}

#[test]
fn what_was_made_is_removed_when_the_mount_fails() {
    if !needs(&[Need::Root]) {
        return;
    }
    // The work directory inside the upper: the kernel refuses it after we have made both.
    let why = fails("-l bottom -u up -w up/work merged");
    assert!(why.contains("mount overlay") || why.contains("inside"), "{why}");
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
