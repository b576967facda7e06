//! Freezing and thawing, and what the processes notice of it.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::common::{Need, Scene, eventually, needs, stderr, stdout};
use crate::sleeper;

const ROOT: &[Need] = &[Need::Root, Need::Cgroup];

/// A process in the scene's group that counts in the file `count`.
fn counter(scene: &Scene) -> std::process::Child {
    let script = "exec cgset $G -- sh -c 'i=0; while :; do i=$((i+1)); echo $i >>count; done'";
    let child = scene.std_sh(script).env("G", scene.name()).spawn().unwrap();
    eventually("it counts", || count(scene) > 0);
    child
}

fn count(scene: &Scene) -> u64 {
    fs::metadata(scene.path("count")).map_or(0, |metadata| metadata.len())
}

fn act(scene: &Scene, option: &str) {
    scene.tool("cgset").args([scene.name(), option]).assert().success().stdout("").stderr("");
}

#[test]
fn a_frozen_process_makes_no_progress_until_it_is_thawed() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut child = counter(&scene);
    for _ in 0..3 {
        act(&scene, "--freeze");
        let before = count(&scene);
        sleep(Duration::from_millis(200));
        assert_eq!(count(&scene), before);
        act(&scene, "--freeze"); // again changes nothing
        act(&scene, "--thaw");
        eventually("it counts on", || count(&scene) > before);
    }
    act(&scene, "--thaw");
    act(&scene, "--kill");
    child.wait().unwrap();
    act(&scene, "--kill"); // an empty group
    act(&scene, "--delete");
    scene.assert_nothing_left();
}

#[test]
fn freezing_is_a_setting_too() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut child = counter(&scene);
    scene.tool("cgset").args([scene.name(), "cgroup.freeze=1"]).assert().success();
    let before = count(&scene);
    sleep(Duration::from_millis(100));
    assert_eq!(count(&scene), before);
    let run = scene.tool("cgset").args([scene.name(), "--get", "cgroup.freeze"]).assert().success();
    assert_eq!(stdout(&run), "cgroup.freeze=1\n");
    act(&scene, "--kill");
    child.wait().unwrap();
    act(&scene, "--delete");
    scene.assert_nothing_left();
}

#[test]
fn what_v1s_freezer_holds_is_killed_and_thawed_too() {
    if !needs(&[Need::Root, Need::CgroupV1]) {
        return;
    }
    let scene = Scene::new();
    let mut child = counter(&scene);
    scene.tool("cgset").args([scene.name(), "freezer.state=FROZEN"]).assert().success();
    act(&scene, "--thaw");
    let before = count(&scene);
    eventually("it counts on", || count(&scene) > before);
    scene.tool("cgset").args([scene.name(), "freezer.state=FROZEN"]).assert().success();
    act(&scene, "--kill");
    child.wait().unwrap();
    act(&scene, "--delete");
    scene.assert_nothing_left();
}

#[test]
fn cgset_does_not_freeze_itself() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let run = scene.sh("cgset $G -- cgset $G --freeze").env("G", scene.name()).assert().code(125);
    assert!(stderr(&run).contains("cgset itself is in it"), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn acting_is_done_by_itself() {
    let scene = Scene::new();
    for args in [
        &["demo", "--kill", "pids.max=3"][..],
        &["demo", "--freeze", "--", "true"],
        &["demo", "--freeze", "--thaw"],
        &["demo", "--kill", "--stat"],
        &["demo", "--delete", "--rm"],
        &["demo", "--recursive"],
        &["demo", "--json"],
        &["demo", "--get", "--list"],
        &["demo", "--thaw", "--owner", "0"],
        &["demo", "--kill", "--device-default", "deny"],
    ] {
        scene.tool("cgset").args(args).assert().code(125).stdout("");
    }
}

#[test]
fn a_pid_that_ends_while_others_move_is_no_error() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").arg(scene.name()).assert().success();
    for _ in 0..20 {
        let mut brief: Vec<_> = (0..4).map(|_| scene.std_sh("sleep 0.01").spawn().unwrap()).collect();
        let mut stays = sleeper(&scene);
        let pids =
            brief.iter().chain([&stays]).flat_map(|child| ["--pid".to_owned(), child.id().to_string()]);
        let run = scene.tool("cgset").arg(scene.name()).args(pids).assert();
        // Either a process had ended before cgset looked at it, or cgset succeeds.
        let text = stderr(&run);
        assert!(
            run.get_output().status.success() || text.contains("zombie") || text.contains("No such process"),
            "{text}"
        );
        for child in &mut brief {
            child.wait().unwrap();
        }
        stays.kill().unwrap();
        stays.wait().unwrap();
    }
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn a_container_that_forks_all_the_time_is_moved_whole() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script = "while :; do (:) & (:) & sleep 0.001; wait; done";
    let mut child = scene.std_sh(script).spawn().unwrap();
    let start_time = ::common::procfs::stat(child.id() as i32).unwrap().start_time;
    let record = format!(r#"{{"pid":{},"start_time":{start_time}}}"#, child.id());
    scene.tool("cgset").args(["--from", "-", scene.name()]).write_stdin(record).assert().success();
    let is_outside = |pid: &i32| {
        // One that ends while we look has no cgroups any more.
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        text.lines().any(|line| !line.contains("name=") && !line.ends_with(scene.name()))
    };
    for _ in 0..20 {
        let mut outside: Vec<_> = scene.processes().into_iter().filter(is_outside).collect();
        // v1 shows one that is about to end at the top: whoever really is there stays there.
        eventually("nobody is outside", || {
            outside.retain(is_outside);
            outside.is_empty()
        });
        sleep(Duration::from_millis(20));
    }
    scene.tool("cgset").args([scene.name(), "--kill", "--delete"]).assert().success();
    child.wait().unwrap();
    scene.assert_nothing_left();
}
