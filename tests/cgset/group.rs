//! Making a group, moving in, and what is left of it.

use std::fs;

use crate::common::{Need, Scene, eventually, needs, stderr, stdout};
use crate::{cgroups_of, directory, sleeper};

const ROOT: &[Need] = &[Need::Root, Need::Cgroup];

#[test]
fn without_a_command_the_group_is_only_made() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").arg(scene.name()).assert().success().stdout("").stderr("");
    assert!(!scene.cgroups().is_empty());
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success().stdout("").stderr("");
    scene.assert_nothing_left();
}

#[test]
fn the_command_runs_inside_the_group_in_every_hierarchy() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let run =
        scene.sh("cgset --rm $G/inner -- cat /proc/self/cgroup").env("G", scene.name()).assert().success();
    let wanted = format!("/{}/inner", scene.name());
    for line in stdout(&run).lines().filter(|line| !line.contains("name=")) {
        assert!(line.ends_with(&wanted), "{line}");
    }
    scene.assert_nothing_left();
}

#[test]
fn named_hierarchies_are_left_alone() {
    if !needs(&[Need::Root, Need::CgroupV1, Need::HierarchyV1("name=systemd")]) {
        return;
    }
    let scene = Scene::new();
    let mounts = ::common::mountinfo::of_self().unwrap();
    let named = mounts.iter().find(|mount| mount.has_super_option("name=systemd")).unwrap();
    scene.tool("cgset").arg(scene.name()).assert().success();
    assert!(!named.mount_point.join(scene.name()).exists());
}

#[test]
fn without_rm_the_group_stays_and_is_taken_over_by_the_next_run() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    for _ in 0..2 {
        scene.tool("cgset").args([scene.name(), "pids.max=30", "--", "true"]).assert().success().stderr("");
        assert!(!scene.cgroups().is_empty());
    }
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn rm_takes_the_group_along_and_passes_the_status_on() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    for (script, status) in [("exit 7", 7), ("kill -TERM $$", 143), ("true", 0)] {
        scene
            .tool("cgset")
            .args(["--rm", scene.name(), "--", "sh", "-c", script])
            .assert()
            .code(status)
            .stderr("");
        scene.assert_nothing_left();
    }
}

#[test]
fn rm_kills_what_the_command_leaves_behind() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script =
        "setsid sleep 600 >/dev/null 2>&1 & (trap '' TERM HUP INT; sleep 600 >/dev/null 2>&1) & exit 3";
    scene.tool("cgset").args(["--rm", scene.name(), "--", "sh", "-c", script]).assert().code(3);
    scene.assert_nothing_left();
}

#[test]
fn rm_removes_the_groups_that_the_command_made_inside() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene.sh("cgset --rm $G -- cgset $G/a/b -- true").env("G", scene.name()).assert().success().stderr("");
    scene.assert_nothing_left();
}

#[test]
fn after_a_killed_cgset_the_same_command_line_works() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let line = format!("exec cgset --rm {} pids.max=30 -- sleep 600", scene.name());
    let mut first = scene.std_sh(&line).spawn().unwrap();
    eventually("the command runs", || scene.processes().len() == 2);
    first.kill().unwrap();
    first.wait().unwrap();
    eventually("the command dies with cgset", || scene.processes().is_empty());
    assert!(!scene.cgroups().is_empty(), "only the directory stays");
    scene
        .tool("cgset")
        .args(["--rm", scene.name(), "pids.max=30", "--", "true"])
        .assert()
        .success()
        .stderr("");
    scene.assert_nothing_left();
}

#[test]
fn a_process_is_moved_by_pid() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let (mut one, mut two) = (sleeper(&scene), sleeper(&scene));
    let pids = [one.id().to_string(), two.id().to_string()];
    scene.tool("cgset").args([scene.name(), "--pid", &pids[0], "--pid", &pids[1]]).assert().success();
    for child in [&one, &two] {
        assert!(cgroups_of(child.id()).iter().all(|path| *path == format!("/{}", scene.name())));
    }
    scene.tool("cgset").args([scene.name(), "--kill", "--delete"]).assert().success().stdout("");
    one.wait().unwrap();
    two.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn a_process_that_is_not_there_is_an_error_before_anything_is_made() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut ended = scene.std_sh("exit 0").spawn().unwrap();
    let pid = ended.id().to_string();
    ended.wait().unwrap();
    let run = scene.tool("cgset").args([scene.name(), "--pid", &pid]).assert().code(125);
    assert!(stderr(&run).contains("No such process"), "{}", stderr(&run));
    scene.assert_nothing_left();
}

#[test]
fn dot_slash_is_relative_to_the_callers_own_group() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script = "cgset $G/outer -- cgset --rm ./inner -- cat /proc/self/cgroup";
    let run = scene.sh(script).env("G", scene.name()).assert().success();
    let wanted = format!("/{}/outer/inner", scene.name());
    assert!(stdout(&run).lines().filter(|l| !l.contains("name=")).all(|line| line.ends_with(&wanted)));
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn any_name_that_the_kernel_allows_is_a_group() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let long = "x".repeat(255);
    for name in [&b"a b"[..], b"...", b"\xff\xfe", "\u{e9}'\"$".as_bytes(), b"-dash", long.as_bytes()] {
        let group = [scene.name().as_bytes(), b"/", name].concat();
        scene
            .tool("cgset")
            .arg("--rm")
            .arg(OsStr::from_bytes(&group))
            .args(["--", "true"])
            .assert()
            .success();
    }
    scene.assert_nothing_left();
}

#[test]
fn a_group_with_processes_or_children_is_not_removed_by_half() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut child = sleeper(&scene);
    let inner = format!("{}/inner", scene.name());
    scene.tool("cgset").args([&inner, "--pid", &child.id().to_string()]).assert().success();
    let before = scene.cgroups();
    let run = scene.tool("cgset").args([scene.name(), "--delete"]).assert().code(125);
    assert!(stderr(&run).contains("it has child groups"), "{}", stderr(&run));
    let run = scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().code(125);
    assert!(stderr(&run).contains("hint: --kill --delete"), "{}", stderr(&run));
    assert_eq!(scene.cgroups(), before);
    scene.tool("cgset").args([scene.name(), "--kill", "--delete", "--recursive"]).assert().success();
    child.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn kill_empties_a_tree_of_500_processes() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    // Forks alone: where the machine is slow, 500 programs take minutes to start.
    let script = "mkfifo silence; for g in a b c d e; do cgset $G/$g/deep -- sh -c \
                  'exec 3<>silence; for i in $(seq 100); do read x <&3 & done; wait' & done; wait";
    let mut tree = scene.std_sh(script).env("G", scene.name()).spawn().unwrap();
    let count = |group: &str| {
        let procs = directory(&scene, "cgroup").join(group).join("deep/cgroup.procs");
        fs::read_to_string(procs).map_or(0, |list| list.lines().count())
    };
    eventually("505 processes run", || {
        ["a", "b", "c", "d", "e"].into_iter().map(count).sum::<usize>() == 505
    });
    scene.tool("cgset").args([scene.name(), "--kill"]).assert().success().stdout("").stderr("");
    tree.wait().unwrap();
    assert_eq!(scene.processes(), [] as [i32; 0]);
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn cgset_does_not_kill_itself_or_the_machine() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    for script in ["cgset $G -- cgset $G --kill", "cgset $G/a -- cgset $G --kill", "cgset / --kill"] {
        let run = scene.sh(script).env("G", scene.name()).assert().code(125);
        assert!(stderr(&run).contains(": kill: "), "{}", stderr(&run));
    }
}

#[test]
fn a_cpuset_begins_with_its_parents_cpus() {
    if !needs(&[Need::Root, Need::HierarchyV1("cpuset")]) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").arg(format!("{}/a/b", scene.name())).assert().success();
    let inner = directory(&scene, "cpuset").join("a/b");
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let top = inner.ancestors().nth(3).unwrap().join(file);
        assert_eq!(fs::read_to_string(inner.join(file)).unwrap(), fs::read_to_string(top).unwrap());
    }
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}
