//! What is refused, and how the error says why.

use crate::common::{Need, Scene, needs, stderr};
use crate::private;

fn refused(scene: &Scene, script: &str, expected: &str) {
    let run = scene.user_sh(script).assert().code(125).stdout("");
    let said = stderr(&run);
    assert!(said.contains(expected), "{script}: {said}");
    assert_eq!(said.lines().count(), 2, "an error and its hint: {said}");
}

#[test]
fn an_ordinary_user_without_a_user_namespace_is_told_to_add_one() {
    refused(&Scene::new(), "unshare-lite --net -- echo ran", "hint: an ordinary user needs a user namespace");
}

#[test]
fn a_limit_of_none_is_named_by_its_sysctl() {
    let scene = Scene::new();
    for (option, kind) in [("--net", "net"), ("--mount", "mnt"), ("--user", "user"), ("--pid", "pid")] {
        let script = format!(
            "unshare-lite -r -- sh -c 'echo 0 >/proc/sys/user/max_{kind}_namespaces; exec unshare-lite {option} -- echo ran'"
        );
        refused(
            &scene,
            &script,
            &format!("hint: no {kind} namespaces are allowed here: sysctl user.max_{kind}_namespaces"),
        );
    }
}

#[test]
fn a_limit_that_is_reached_is_told_from_one_of_none() {
    let script = "unshare-lite -r -- sh -c 'echo 1 >/proc/sys/user/max_net_namespaces
        exec unshare-lite --net -- unshare-lite --net -- echo ran'";
    refused(&Scene::new(), script, "hint: a limit is reached: one of sysctl user.max_*_namespaces");
}

#[test]
fn setgroups_that_is_denied_around_us_cannot_be_allowed() {
    let script = "unshare-lite -r -- unshare-lite -r --setgroups allow -- echo ran";
    refused(&Scene::new(), script, "hint: setgroups is denied in the caller's own user namespace");
}

#[test]
fn nesting_deeper_than_32_levels_is_named() {
    let scene = Scene::new();
    let levels = "unshare-lite -r -- ".repeat(40);
    refused(&scene, &format!("{levels} echo ran"), "32 levels of nesting");
}

#[test]
fn values_out_of_range_are_usage_errors() {
    let scene = Scene::new();
    for words in [
        "--map-users 0:1",
        "--map-users 0:0:0",
        "--map-users 0:0:4294967296",
        "--map-users 0:1000:2 --map-users 1:2000:2",
        "-S -1",
        "-S 4294967296",
        "--kill-child=NOPE --fork",
        "--kill-child=65 --fork",
        "--propagation none -m",
        "--setgroups maybe -r",
        "--monotonic x -T",
        "--init",
        "--hostname '' -u",
        "-r -c",
    ] {
        let run = scene.sh(&format!("unshare-lite {words} -- echo ran")).assert().code(125).stdout("");
        assert!((1..=2).contains(&stderr(&run).lines().count()), "{words}: {}", stderr(&run));
    }
}

#[test]
fn verbose_names_each_step() {
    let scene = Scene::new();
    let run =
        scene.user_sh("unshare-lite -v -r -u -p --mount-proc --hostname demo -- true").assert().success();
    let said = stderr(&run);
    for step in [
        "unshare user, mnt, pid, uts",
        "to /proc/",
        "fork",
        "make all mounts private",
        "set the host name to demo",
        "mount proc on /proc (nosuid,nodev,noexec)",
        "exec true",
    ] {
        assert!(
            said.lines().any(|line| line.starts_with("unshare-lite: ") && line.contains(step)),
            "{step}: {said}"
        );
    }
}

#[test]
fn verbose_is_a_line_for_a_step_whatever_a_name_holds() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let run = private(
        &scene,
        "mount -t tmpfs tmpfs . && cd . && unshare-lite -v --uts=\"$(printf 'a\\nb\\033c')\"",
    )
    .success();
    let said = stderr(&run);
    assert!(said.contains("bind the uts namespace to a\\nb\\u{1b}c\n"), "{said}");
    assert!(said.lines().all(|line| line.starts_with("unshare-lite: ")), "{said}");
}

#[test]
fn without_proc_the_kernel_is_asked() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("empty");
    private(&scene, "mount --bind empty /proc; unshare-lite --uts --hostname inside -- hostname")
        .success()
        .stdout("inside\n");
}
