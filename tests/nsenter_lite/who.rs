//! Who COMMAND is inside, and with which environment.

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{STAY, Target};

#[test]
fn the_environment_is_the_callers_unless_the_targets_is_asked_for() {
    let scene = Scene::new();
    let target = Target::start_as_user(
        &scene,
        &format!("WHOSE=targets PATH=/bin:/usr/bin:$PATH; export WHOSE; exec unshare-lite -r -u -- {STAY}"),
    );
    let look = "-- sh -c 'echo $WHOSE'";
    for (option, expected) in [("", "callers\n"), ("-e", "targets\n"), ("--env", "targets\n")] {
        scene
            .user_sh(&format!("nsenter-lite -t {} {option} {look}", target.pid))
            .env("WHOSE", "callers")
            .assert()
            .success()
            .stdout(expected);
    }
}

#[test]
fn a_command_is_looked_for_in_the_targets_path_when_that_is_taken() {
    let scene = Scene::new();
    scene.file("only/here", "#!/bin/sh\necho found\n");
    scene.sh("chmod +x only/here").assert().success();
    let line = format!("PATH=$PWD/only:$PATH exec unshare-lite -r -u -- {STAY}");
    let target = Target::start_as_user(&scene, &line);
    scene.user_sh(&format!("nsenter-lite -t {} -e -- here", target.pid)).assert().success().stdout("found\n");
    scene.user_sh(&format!("nsenter-lite -t {} -- here", target.pid)).assert().code(127);
}

#[test]
fn user_and_group_are_those_asked_for_and_no_other_group_stays() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite -p -u -- {STAY}"));
    let enter = |options: &str| {
        format!(
            "setpriv --groups 4,24 nsenter-lite -t {} {options} -- sh -c 'id -u; id -g; id -G'",
            target.pid
        )
    };
    scene.sh(&enter("-S 1000 -G 1001")).assert().success().stdout("1000\n1001\n1001\n");
    scene.sh(&enter("--setuid 1000")).assert().success().stdout("1000\n0\n0 4 24\n");
}

#[test]
fn credentials_are_preserved_when_asked_for() {
    let scene = Scene::new();
    let target = Target::start_as_user(&scene, &format!("exec unshare-lite -c -- {STAY}"));
    let me = stdout(&scene.user_sh("id -u").assert().success());
    // Root is not mapped there: by default we stay who we are, too.
    for option in ["", "--preserve-credentials"] {
        scene
            .user_sh(&format!("nsenter-lite -t {} {option} -- id -u", target.pid))
            .assert()
            .success()
            .stdout(me.clone());
    }
    let run = scene
        .user_sh(&format!("nsenter-lite -t {} -S 77 -- echo ran", target.pid))
        .assert()
        .code(125)
        .stdout("");
    assert!(stderr(&run).contains("does not map this id"), "{}", stderr(&run));
}
