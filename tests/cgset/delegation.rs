//! A group that was given away, and threaded groups.

use std::os::unix::fs::MetadataExt as _;

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::directory;

const V2: &[Need] = &[Need::Root, Need::CgroupV2];

/// A command line for an ordinary user, run by root in the scene's group.
const AS_USER: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

#[test]
fn the_owner_gets_the_directory_and_what_moves_processes_but_no_limit() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").args([scene.name(), "memory.max=64M", "--owner", "65534:65533"]).assert().success();
    let directory = directory(&scene, "memory");
    let owner = |file: &str| {
        let metadata = directory.join(file).metadata().unwrap();
        (metadata.uid(), metadata.gid())
    };
    assert_eq!(owner(""), (65534, 65533));
    assert_eq!(owner("cgroup.procs"), (65534, 65533));
    let limit = if crate::is_v1("memory") { "memory.limit_in_bytes" } else { "memory.max" };
    assert_eq!(owner(limit), (0, 0));
    scene.tool("cgset").args([scene.name(), "--owner", "nobody"]).assert().code(125);
}

#[test]
fn an_ordinary_user_limits_groups_below_a_delegated_one() {
    if !needs(V2) {
        return;
    }
    let scene = Scene::new();
    scene
        .tool("cgset")
        .args([scene.name(), "memory.max=max", "pids.max=max", "--owner", "65534:65534"])
        .assert()
        .success();
    // cgset alone in its group moves to ./inner before it limits that.
    let script = format!(
        "cgset $G -- {AS_USER} cgset ./inner memory.max=64M pids.max=7 -- sh -c 'cat /proc/self/cgroup; id -u'"
    );
    let run = scene.sh(&script).env("G", scene.name()).assert().success();
    assert_eq!(stdout(&run), format!("0::/{}/inner\n65534\n", scene.name()));
    let read = |file: &str| std::fs::read_to_string(directory(&scene, "pids").join(file)).unwrap();
    assert_eq!(read("inner/pids.max"), "7\n");
    assert_eq!(read("inner/memory.max"), "67108864\n");
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn a_users_failed_run_is_taken_back_too() {
    if !needs(V2) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").args([scene.name(), "pids.max=max", "--owner", "65534:65534"]).assert().success();
    let script = format!("cgset $G -- {AS_USER} sh -c 'cgset ./inner -- /no/such; cat /proc/self/cgroup'");
    let run = scene.sh(&script).env("G", scene.name()).assert().success();
    assert_eq!(stdout(&run), format!("0::/{}\n", scene.name()));
    assert!(!directory(&scene, "pids").join("inner").exists());
    let script = format!("cgset $G -- {AS_USER} cgset ./inner pids.max=7 -- /no/such");
    scene.sh(&script).env("G", scene.name()).assert().code(127);
    assert!(!directory(&scene, "pids").join("inner").exists());
    let enabled = std::fs::read_to_string(directory(&scene, "pids").join("cgroup.subtree_control")).unwrap();
    assert_eq!(enabled.trim(), "");
}

#[test]
fn a_controller_that_was_not_delegated_is_named() {
    if !needs(V2) {
        return;
    }
    let scene = Scene::new();
    // One level further down, where the tests' machine enables nothing by itself.
    let group = format!("{}/given", scene.name());
    scene.tool("cgset").args([&group, "--owner", "65534:65534"]).assert().success();
    let script = format!("cgset {group}/x memory.max=64M");
    let run = scene.user_sh(&script).assert().code(125);
    assert!(stderr(&run).contains("hint: the controller was not delegated"), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn a_user_cannot_leave_the_delegated_subtree() {
    if !needs(V2) {
        return;
    }
    let scene = Scene::new();
    for name in ["mine", "theirs"] {
        let group = format!("{}/{name}", scene.name());
        scene.tool("cgset").args([&group, "--owner", "65534:65534"]).assert().success();
    }
    let script = format!("cgset $G/mine -- {AS_USER} cgset $G/theirs -- true");
    let run = scene.sh(&script).env("G", scene.name()).assert().code(125);
    assert!(stderr(&run).contains("hint: moving takes write access"), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn threads_move_into_a_threaded_group() {
    if !needs(V2) {
        return;
    }
    let scene = Scene::new();
    let script = "cgset $G -- cgset --threads ./t cgroup.type=threaded -- cat /proc/thread-self/cgroup";
    let run = scene.sh(script).env("G", scene.name()).assert().success();
    assert_eq!(stdout(&run), format!("0::/{}/t\n", scene.name()));
    let run = scene.sh("cgset --threads $G/t -- true").env("G", scene.name()).assert().code(125);
    assert!(stderr(&run).contains("hint: threads move only within"), "{}", stderr(&run));
    let run = scene.sh("cgset $G/t/u").env("G", scene.name()).assert().code(125);
    assert!(stderr(&run).contains("set cgroup.type=threaded"), "{}", stderr(&run));
    let run = scene.sh("cgset $G/t/u memory.max=64M").env("G", scene.name()).assert().code(125);
    assert!(stderr(&run).contains("a threaded group can only have"), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn one_thread_moves_on_v1() {
    if !needs(&[Need::Root, Need::CgroupV1]) {
        return;
    }
    let scene = Scene::new();
    let (tell_tid, tid) = std::sync::mpsc::channel();
    let (end, until_end) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let link = std::fs::read_link("/proc/thread-self").unwrap();
        tell_tid.send(link.file_name().unwrap().to_str().unwrap().to_owned()).unwrap();
        until_end.recv().unwrap_err();
    });
    let tid = tid.recv().unwrap();
    // v2's part of a hybrid host takes threads in threaded groups only: v1's hierarchies alone.
    let script = "unshare --mount --propagation private sh -c 'for m in $(grep cgroup2 /proc/self/mounts | cut -d\" \" -f2);
        do umount $m; done; cgset --threads $G --pid $T'";
    scene.sh(script).env("G", scene.name()).env("T", &tid).assert().success();
    let cgroups = |task: &str| std::fs::read_to_string(format!("/proc/self/task/{task}/cgroup")).unwrap();
    assert!(cgroups(&tid).contains(&format!("pids:/{}\n", scene.name())), "{}", cgroups(&tid));
    assert!(!cgroups(&std::process::id().to_string()).contains(scene.name()), "the other threads stay");
    drop(end);
    thread.join().unwrap();
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
    scene.assert_nothing_left();
}
