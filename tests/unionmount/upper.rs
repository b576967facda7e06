//! Where writes go, and what becomes of them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::common::{Need, needs, stdout};
use crate::{private, two_layers};

#[test]
fn a_write_stays_in_the_upper() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    private(&scene, "unionmount -l bottom -u up merged; echo changed > merged/only; echo new > merged/new")
        .success();
    assert_eq!(fs::read_to_string(scene.path("bottom/only")).unwrap(), "bottom only");
    assert_eq!(fs::read_to_string(scene.path("up/only")).unwrap(), "changed\n");
    assert_eq!(fs::read_to_string(scene.path("up/new")).unwrap(), "new\n");
    assert_eq!(fs::read_dir(scene.path("bottom")).unwrap().count(), 2);
}

#[test]
fn the_upper_of_an_earlier_run_is_taken_up_again() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    private(&scene, "unionmount -l bottom -u up merged; rm merged/only; echo new > merged/new").success();
    let run = private(&scene, "unionmount -l bottom -u up merged; ls merged");
    assert_eq!(stdout(&run.success()), "both\nnew\n");
}

#[test]
fn upper_and_work_are_made_side_by_side_and_stay() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    fs::set_permissions(scene.path("bottom"), fs::Permissions::from_mode(0o1750)).unwrap();
    private(&scene, "unionmount -l bottom -u up merged").success();
    // The root directory of the union is the upper's.
    assert_eq!(fs::metadata(scene.path("up")).unwrap().mode() & 0o7777, 0o1750);
    assert!(scene.path("up.work").is_dir());
    private(&scene, "unionmount -l bottom -u other -w elsewhere merged").success();
    assert!(scene.path("elsewhere").is_dir() && !scene.path("other.work").exists());
}

#[test]
fn an_ephemeral_layer_goes_with_the_mount_and_nobody_else_reaches_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = private(
        &scene,
        "before=$(grep -c . /proc/self/mountinfo)
         unionmount -l bottom --ephemeral merged
         echo new > merged/new; cat merged/new
         echo $(($(grep -c . /proc/self/mountinfo) - before))
         grep -c ' - tmpfs unionmount' /proc/self/mountinfo || true",
    );
    assert_eq!(stdout(&run.success()), "new\n1\n0\n");
    assert_eq!(fs::read_dir(scene.path("merged")).unwrap().count(), 0);
    scene.assert_nothing_left();
}

#[test]
fn an_ephemeral_layer_holds_no_more_than_its_size() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let fill = "head -c 3M /dev/zero > merged/big && echo fits || echo full";
    let run = private(&scene, &format!("unionmount -l bottom --ephemeral=2M merged; {fill} 2>&1"));
    assert!(stdout(&run.success()).ends_with("full\n"));
    let run = private(&scene, &format!("unionmount -l bottom --ephemeral=8M merged; {fill}"));
    assert_eq!(stdout(&run.success()), "fits\n");
}

/// overlayfs leaves its own work/ in the work directory, and what a killed run had begun.
#[test]
fn a_work_directory_left_dirty_is_taken_up_again() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    private(&scene, "unionmount -l bottom -u up merged; touch merged/new").success();
    scene.dir("up.work/work/#1");
    scene.file("up.work/work/#2", "half");
    let run = private(&scene, "unionmount -l bottom -u up merged; ls merged; ls -A up.work/work");
    assert_eq!(stdout(&run.success()), "both\nnew\nonly\n");
}

#[test]
fn a_killed_command_takes_the_union_along() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    scene
        .sh("unshare-lite --mount -- unionmount -l bottom -u up merged -- sh -c 'echo x > merged/new; kill -KILL $$'")
        .assert()
        .code(137);
    assert_eq!(fs::read_to_string(scene.path("up/new")).unwrap(), "x\n");
    scene.assert_nothing_left();
}

#[test]
fn a_directory_of_a_read_only_layer_is_not_renamed_but_copied() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = private(
        &scene,
        "unionmount -l bottom -l top -u up merged; mv merged/inner merged/outer; ls merged merged/outer
         mkdir merged/inner; ls -A merged/inner",
    );
    assert_eq!(stdout(&run.success()), "merged:\nboth\nonly\nouter\n\nmerged/outer:\nfile\n");
    assert_eq!(fs::read_to_string(scene.path("up/outer/file")).unwrap(), "inner");
}
