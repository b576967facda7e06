//! --get, --stat, --list: what was set, what was used, who is there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::Value;

use crate::common::{Need, Scene, eventually, needs, stderr, stdout};
use crate::sleeper;

const ROOT: &[Need] = &[Need::Root, Need::Cgroup];

fn get(scene: &Scene, keys: &[&str]) -> String {
    stdout(&scene.tool("cgset").args([scene.name(), "--get"]).args(keys).assert().success())
}

fn json_of(scene: &Scene, args: &[&str]) -> Value {
    let run = scene.tool("cgset").arg(scene.name()).args(args).arg("--json").assert().success();
    assert_eq!(stdout(&run).lines().count(), 1);
    serde_json::from_str(&stdout(&run)).unwrap()
}

#[test]
fn what_was_set_is_shown_under_v2s_names() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let settings = [
        "memory.max=67108864",
        "pids.max=32",
        "cpu.max=150000 100000",
        "cpu.weight=300",
        "memory.low=1048576",
    ];
    scene.tool("cgset").arg(scene.name()).args(settings).assert().success();
    let keys: Vec<_> = settings.iter().map(|setting| setting.split('=').next().unwrap()).collect();
    let wanted: String = settings.iter().map(|setting| format!("{setting}\n")).collect();
    assert_eq!(get(&scene, &keys), wanted);
    let all = get(&scene, &[]);
    for setting in settings {
        assert!(all.lines().any(|line| line == setting), "{setting} is not in {all}");
    }
    // And can be set again as it is printed.
    let lines = all.lines().filter(|line| !line.starts_with("cgroup.type"));
    let all: Vec<_> = lines.filter(|line| !line.ends_with('=') && !line.starts_with("cpu.idle")).collect();
    scene.tool("cgset").arg(scene.name()).args(all).assert().success().stderr("");
}

#[test]
fn settings_in_json_are_numbers_where_they_are_numbers() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene
        .tool("cgset")
        .args([scene.name(), "memory.max=64M", "pids.max=max", "cpu.max=0.5"])
        .assert()
        .success();
    let settings = json_of(&scene, &["--get", "memory.max", "pids.max", "cpu.max"]);
    assert_eq!(
        settings,
        serde_json::json!({"memory.max": 67108864, "pids.max": "max", "cpu.max": "50000 100000"})
    );
}

#[test]
fn a_setting_that_is_not_there_is_an_error() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").arg(scene.name()).assert().success();
    let run = scene.tool("cgset").args([scene.name(), "--get", "pids.nothing"]).assert().code(125).stdout("");
    assert!(stderr(&run).contains("the group has no such file"), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--get", "../secret"]).assert().code(125).stdout("");
}

#[test]
fn statistics_have_the_same_keys_on_every_host() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene
        .tool("cgset")
        .args([scene.name(), "memory.max=64M", "pids.max=9", "cpu.max=1", "--", "true"])
        .assert()
        .success();
    let stat = json_of(&scene, &["--stat"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(keys(&stat), set(&["memory", "cpu", "pids", "io", "pressure"]));
    assert_eq!(keys(&stat["memory"]), set(&["current", "peak", "max", "swap", "oom_kills"]));
    assert_eq!(
        keys(&stat["cpu"]),
        set(&["usage_usec", "user_usec", "system_usec", "max", "periods", "throttled", "throttled_usec"])
    );
    assert_eq!(keys(&stat["pids"]), set(&["current", "peak", "max", "refused"]));
    assert_eq!(keys(&stat["pressure"]), set(&["cpu", "memory", "io"]));
    assert_eq!(stat["memory"]["max"], 67108864);
    assert_eq!(stat["memory"]["oom_kills"], 0);
    assert_eq!(stat["pids"]["current"], 0);
    assert_eq!(stat["pids"]["max"], 9);
    assert!(stat["memory"]["peak"].as_u64().unwrap() > 0);
    assert!(stat["cpu"]["usage_usec"].as_u64().unwrap() > 0);
}

#[test]
fn an_oom_kill_and_a_refused_fork_are_counted() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let eater = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null; exit 0";
    scene.tool("cgset").args([scene.name(), "memory.max=32M", "--", "sh", "-c", eater]).assert().success();
    let bomb = "(sleep 0.1 & sleep 0.1 & sleep 0.1 & sleep 0.1); exit 0";
    scene.tool("cgset").args([scene.name(), "pids.max=3", "--", "sh", "-c", bomb]).assert().success();
    let stat = json_of(&scene, &["--stat"]);
    assert_eq!(stat["memory"]["oom_kills"], 1, "{stat}");
    assert!(stat["pids"]["refused"].as_u64().unwrap() >= 1, "{stat}");
    let table = stdout(&scene.tool("cgset").args([scene.name(), "--stat"]).assert().success());
    assert!(table.contains("of 32M"), "{table}");
    assert!(table.contains("OOM kills 1"), "{table}");
    assert!(table.lines().all(|line| line.len() < 120), "{table}");
}

#[test]
fn the_callers_own_group_can_be_looked_at() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let run = scene
        .sh("cgset --rm $G pids.max=9 -- cgset . --get pids.max")
        .env("G", scene.name())
        .assert()
        .success();
    assert_eq!(stdout(&run), "pids.max=9\n");
    scene.tool("cgset").args([".", "--stat"]).assert().success();
    scene.tool("cgset").args(["/", "--stat", "--json"]).assert().success();
}

#[test]
fn the_list_shows_groups_and_processes() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut child = sleeper(&scene);
    let pid = child.id();
    eventually("it sleeps", || std::fs::read(format!("/proc/{pid}/cmdline")).unwrap().starts_with(b"sleep"));
    let odd = [scene.name().as_bytes(), b"/odd\xff"].concat();
    scene.tool("cgset").arg(OsStr::from_bytes(&odd)).assert().success();
    scene.tool("cgset").args([&format!("{}/a", scene.name()), "--pid", &pid.to_string()]).assert().success();
    let list = stdout(&scene.tool("cgset").args([scene.name(), "--list"]).assert().success());
    let name = scene.name();
    assert_eq!(list, format!("{name}\n{name}/a\n  {pid:>7} sleep 600\n{name}/odd\\xff\n"));
    let list = json_of(&scene, &["--list"]);
    assert_eq!(
        list[1],
        serde_json::json!({"path": format!("{name}/a"), "processes": [{"pid": pid, "command": "sleep 600"}]})
    );
    assert_eq!(list[2]["path"], serde_json::json!(odd));
    scene.tool("cgset").args([name, "--kill", "--delete", "--recursive"]).assert().success();
    child.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn a_record_names_the_group_to_look_at() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let record = stdout(
        &scene
            .tool("cgset")
            .args(["--from", "-", scene.name(), "pids.max=9"])
            .write_stdin("{}")
            .assert()
            .success(),
    );
    let run = scene
        .tool("cgset")
        .args(["--from", "-", "--get", "pids.max"])
        .write_stdin(record.clone())
        .assert()
        .success();
    assert_eq!(stdout(&run), "pids.max=9\n");
    let run =
        scene.tool("cgset").args(["--from", "-", "--list"]).write_stdin(record.clone()).assert().success();
    assert_eq!(stdout(&run), format!("{}\n", scene.name()));
    scene.tool("cgset").args(["--from", "-", "--stat", "--json"]).write_stdin(record).assert().success();
}

#[test]
fn a_group_that_is_not_there_cannot_be_looked_at() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    for option in ["--get", "--stat", "--list"] {
        let run = scene.tool("cgset").args([scene.name(), option]).assert().code(125).stdout("");
        assert!(stderr(&run).contains("no such cgroup"), "{}", stderr(&run));
    }
}
