//! The pipeline form: a record comes in, its container moves, the record goes on.

use std::fs;
use std::process::Child;

use crate::common::{Need, Scene, eventually, needs, stderr, stdout};
use crate::{cgroups_of, control, sleeper};

const ROOT: &[Need] = &[Need::Root, Need::Cgroup];

/// A record that names `child` as PID 1.
fn record_of(child: &Child) -> String {
    let start_time = ::common::procfs::stat(child.id() as i32).unwrap().start_time;
    format!(r#"{{"pid":{},"start_time":{start_time},"mine":[1]}}"#, child.id())
}

#[test]
fn the_records_container_moves_in_and_the_record_goes_on() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut child = sleeper(&scene);
    let run = scene
        .tool("cgset")
        .args(["--from", "-", scene.name(), "memory.max=64M", "pids.max=32"])
        .write_stdin(record_of(&child))
        .assert()
        .success()
        .stderr("");
    let record: serde_json::Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_eq!(stdout(&run).lines().count(), 1);
    assert_eq!(record["pid"], child.id());
    assert_eq!(record["mine"], serde_json::json!([1]));
    assert_eq!(record["cgroup"]["path"], scene.name());
    assert!(["v1", "v2", "hybrid"].contains(&record["cgroup"]["version"].as_str().unwrap()));
    assert!(cgroups_of(child.id()).iter().all(|path| *path == format!("/{}", scene.name())));
    assert_eq!(control(&scene, "pids", "pids.max", "pids.max"), "32");
    let handle = scene.file("demo.json", &stdout(&run));
    scene
        .tool("cgset")
        .arg("--from")
        .arg(handle)
        .args(["--kill", "--delete"])
        .assert()
        .success()
        .stdout("")
        .stderr("");
    child.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn all_processes_of_the_container_move() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script = "exec unshare --pid --fork --kill-child sh -c 'sleep 61 & setsid sleep 62 & exec sleep 63'";
    let mut unshare = scene.std_sh(script).spawn().unwrap();
    eventually("four processes run", || scene.processes().len() == 4);
    let of = |what: &str| {
        let ran = |pid: &i32| {
            fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().starts_with(what.as_bytes())
        };
        scene.processes().into_iter().find(ran)
    };
    eventually("they have become what they are", || {
        ["sleep\x0061", "sleep\x0062", "sleep\x0063"].into_iter().all(|s| of(s).is_some())
    });
    let init = of("sleep\x0063").unwrap();
    let start_time = ::common::procfs::stat(init).unwrap().start_time;
    scene
        .tool("cgset")
        .args(["--from", "-", scene.name()])
        .write_stdin(format!(r#"{{"pid":{init},"start_time":{start_time}}}"#))
        .assert()
        .success();
    for pid in scene.processes() {
        let inside = cgroups_of(pid as u32).iter().all(|path| *path == format!("/{}", scene.name()));
        assert_eq!(
            inside,
            pid != unshare.id() as i32,
            "only unshare itself, outside the PID namespace, stays"
        );
    }
    scene.tool("cgset").args([scene.name(), "--kill", "--delete"]).assert().success();
    unshare.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn a_record_without_a_pid_gets_a_group_for_later() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let run = scene
        .tool("cgset")
        .args(["--from", "-", scene.name(), "pids.max=9"])
        .write_stdin("{}")
        .assert()
        .success();
    assert!(stdout(&run).contains(&format!(r#""path":"{}""#, scene.name())), "{}", stdout(&run));
    assert_eq!(control(&scene, "pids", "pids.max", "pids.max"), "9");
    scene.tool("cgset").args(["--from", "-", "--delete"]).write_stdin(stdout(&run)).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn a_stage_that_fails_leaves_the_container_where_it_was_and_says_how_to_stop_it() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut child = sleeper(&scene);
    let before = cgroups_of(child.id());
    let run = scene
        .tool("cgset")
        .args(["--from", "-", scene.name(), "pids.max=99999999999"])
        .write_stdin(record_of(&child))
        .assert()
        .code(125)
        .stdout("");
    assert!(stderr(&run).contains(&format!("'kill -KILL {}'", child.id())), "{}", stderr(&run));
    // The move itself is taken back too, where the record cannot be handed on.
    let script = format!("cgset --from record.json {} pids.max=9 > /dev/full", scene.name());
    scene.file("record.json", &record_of(&child));
    let run = scene.sh(&script).assert().code(125);
    assert!(stderr(&run).contains("No space left on device"), "{}", stderr(&run));
    assert_eq!(cgroups_of(child.id()), before);
    assert!(scene.cgroups().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn a_record_whose_process_has_ended_moves_nobody() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut child = sleeper(&scene);
    let forged = record_of(&child).replace(r#""start_time":"#, r#""start_time":1"#);
    let run = scene.tool("cgset").args(["--from", "-", scene.name()]).write_stdin(forged).assert().code(125);
    assert!(stderr(&run).contains("another process"), "{}", stderr(&run));
    child.kill().unwrap();
    child.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn a_record_without_a_group_cannot_be_killed() {
    let scene = Scene::new();
    let run = scene.tool("cgset").args(["--from", "-", "--kill"]).write_stdin("{}").assert().code(125);
    assert!(stderr(&run).contains("it has no cgroup"), "{}", stderr(&run));
}

#[test]
fn an_old_record_does_not_kill_who_has_its_group_now() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let (mut old, mut new) = (sleeper(&scene), sleeper(&scene));
    let stage = |child: &Child| {
        stdout(
            &scene
                .tool("cgset")
                .args(["--from", "-", scene.name()])
                .write_stdin(record_of(child))
                .assert()
                .success(),
        )
    };
    let record = stage(&old);
    old.kill().unwrap();
    old.wait().unwrap();
    let newer = stage(&new);
    for act in ["--kill", "--freeze"] {
        let run =
            scene.tool("cgset").args(["--from", "-", act]).write_stdin(record.clone()).assert().code(125);
        assert!(stderr(&run).contains("hint: the container has ended"), "{}", stderr(&run));
    }
    // Nor does one whose container is elsewhere.
    let mut other = sleeper(&scene);
    let cgroup = format!(r#","cgroup":{{"path":"{}","version":"v2"}}}}"#, scene.name());
    let forged = record_of(&other).replace('}', &cgroup);
    let run = scene.tool("cgset").args(["--from", "-", "--kill"]).write_stdin(forged).assert().code(125);
    assert!(stderr(&run).contains("is not in this group"), "{}", stderr(&run));
    assert_eq!(new.try_wait().unwrap(), None);
    scene.tool("cgset").args(["--from", "-", "--kill", "--delete"]).write_stdin(newer).assert().success();
    new.wait().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn a_container_that_has_ended_leaves_a_group_that_its_record_removes() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut child = sleeper(&scene);
    let run = scene
        .tool("cgset")
        .args(["--from", "-", scene.name()])
        .write_stdin(record_of(&child))
        .assert()
        .success();
    child.kill().unwrap();
    child.wait().unwrap();
    scene
        .tool("cgset")
        .args(["--from", "-", "--kill", "--delete"])
        .write_stdin(stdout(&run))
        .assert()
        .success();
    scene.assert_nothing_left();
}

#[test]
fn a_record_of_the_machines_own_init_moves_nothing() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let start_time = ::common::procfs::stat(1).unwrap().start_time;
    let record = format!(r#"{{"pid":1,"start_time":{start_time}}}"#);
    let run = scene.tool("cgset").args(["--from", "-", scene.name()]).write_stdin(record).assert().code(125);
    assert!(stderr(&run).contains("it is an ancestor of cgset itself"), "{}", stderr(&run));
    scene.assert_nothing_left();
}

#[test]
fn a_container_whose_status_cannot_be_read_is_moved_all_the_same() {
    if !needs(&[Need::Root, Need::Cgroup, Need::Program("strace"), Need::Program("jq")]) {
        return;
    }
    let scene = Scene::new();
    let script = format!(
        "unshare-lite --detach --pid >record; pid=$(jq .pid record)
         strace -o trace -P /proc/$pid/status -e trace=openat -e inject=openat:error=EPERM \\
             cgset --from record {0} pids.max=9 >next
         grep -c INJECTED trace; grep -c {0} /proc/$pid/cgroup; cgset --from next --kill --delete",
        scene.name()
    );
    let seen = stdout(&scene.sh(&script).assert().success());
    let counts: Vec<u32> = seen.lines().map(|line| line.parse().unwrap()).collect();
    assert!(counts.iter().all(|count| *count > 0), "{seen}");
    scene.assert_all_ends();
}
