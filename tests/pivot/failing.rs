//! What cannot be done is an error before COMMAND runs, and leaves nothing.

use std::fs;

use crate::common::{Need, Scene, needs, stderr};

#[test]
fn bad_usage_is_125_with_one_line_and_a_hint() {
    let scene = Scene::new();
    scene.dir("root");
    for options in [
        "",
        "root",
        "root --",
        "--bogus root -- true",
        "--method hope root -- true",
        "--umask 9 root -- true",
        "--oom-score-adj 1001 root -- true",
        "--rlimit files=1 root -- true",
        "--cap-drop fly root -- true",
        "--volume x root -- true",
        "--tmpfs x root -- true",
        "--env =1 root -- true",
        "--from - root -- true",
    ] {
        let assert = scene.sh(&format!("pivot {options}")).assert().code(125);
        let text = stderr(&assert);
        assert!(text.starts_with("pivot: ") && text.lines().count() <= 2, "{options}: {text}");
    }
}

#[test]
fn a_root_that_is_missing_or_no_directory_is_an_error() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("file", "");
    for (root, why) in [("missing", "No such file or directory"), ("file", "Not a directory")] {
        let assert = scene.sh(&format!("unshare --mount pivot {root} -- /bin/true")).assert().code(125);
        assert!(stderr(&assert).contains(why), "{}", stderr(&assert));
    }
}

#[test]
fn a_failure_takes_back_what_was_made() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let before = listing(&scene);
    let made =
        "--mount-api --tmpfs /t/t --keep-old /old -V /etc:/v/v -V /etc/hostname:/f/f -w /w --read-only";
    for (late, command, status) in [
        ("--user nobody-here", "/bin/true", 125),
        ("-V missing:/m", "/bin/true", 125),
        ("-V /etc:/etc/passwd", "/bin/true", 125),
        ("--oom-score-adj -1000 --rlimit nofile=10:99999999999", "/bin/true", 125),
        ("", "/bin/nothing", 127),
        ("", "nothing", 127),
    ] {
        let made = if late.contains("--oom") { made.replace("--keep-old /old", "") } else { made.to_owned() };
        // A shell that stays, so that the mount namespace outlives pivot and shows what it left.
        let script = format!(
            "pivot {made} {late} root -- {command}; s=$?; grep \" $PWD\" /proc/self/mountinfo; exit $s"
        );
        let assert = scene.sh(&format!("unshare --mount sh -c '{script}'")).assert().code(status);
        if !late.is_empty() && !late.contains("--oom") {
            assert_eq!(String::from_utf8_lossy(&assert.get_output().stdout), "", "{late}");
        }
        assert_eq!(listing(&scene), before, "{late} {command}");
    }
    scene.assert_nothing_left();
}

#[test]
fn command_that_is_not_runnable_is_126() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    for command in ["/etc", "/etc/passwd"] {
        scene.sh(&format!("unshare --mount pivot root -- {command}")).assert().code(126);
    }
    scene.assert_nothing_left();
}

fn listing(scene: &Scene) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(scene.path("root"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
