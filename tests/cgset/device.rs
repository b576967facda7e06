//! Device rules: v1's devices files, or a BPF program on v2.

use crate::common::{Need, Scene, needs, stderr, stdout};

const ROOT: &[Need] = &[Need::Root, Need::Cgroup];

/// What a shell in the scene's group can open: `null`, `zero`, `full`.
fn usable(scene: &Scene) -> String {
    let script = "for d in null zero full; do (: </dev/$d) 2>&- && printf '%s ' $d; done; :";
    let run = scene.tool("cgset").args([scene.name(), "--", "sh", "-c", script]).assert().success();
    stdout(&run).trim().to_owned()
}

#[test]
fn what_no_rule_allows_is_refused() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script = "cat /dev/null && echo read; head -c 1 /dev/zero; mknod node c 1 3";
    let rules = ["--device", "c 1:3 rw", "--device-default", "deny"];
    let run = scene
        .tool("cgset")
        .args(["--rm", scene.name()])
        .args(rules)
        .args(["--", "sh", "-c", script])
        .assert();
    let run = run.stdout("read\n");
    assert_eq!(stderr(&run).matches("Operation not permitted").count(), 2, "{}", stderr(&run));
    scene.assert_nothing_left();
}

#[test]
fn new_rules_take_the_place_of_old_ones() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let set =
        |args: &[&str]| drop(scene.tool("cgset").arg(scene.name()).args(args).assert().success().stderr(""));
    assert_eq!(usable(&scene), "null zero full");
    set(&["--device", "/dev/null"]);
    assert_eq!(usable(&scene), "null");
    set(&["--device", "c 1:5 r", "--device", "c 1:7"]);
    assert_eq!(usable(&scene), "zero full");
    set(&["--device", "c 1:3 r", "--device", "c 1:3 w", "--device", "c 1:3 r"]);
    assert_eq!(usable(&scene), "null");
    set(&["--device", "c 1:* r"]);
    assert_eq!(usable(&scene), "null zero full");
    set(&["--device-default", "deny"]);
    assert_eq!(usable(&scene), "");
    set(&["--device-default", "allow"]);
    assert_eq!(usable(&scene), "null zero full");
}

#[test]
fn a_failing_run_leaves_the_old_rules_in_force() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let none = |args: &[&str]| drop(scene.tool("cgset").arg(scene.name()).args(args).assert().code(127));
    none(&["--device", "/dev/null", "--", "/no/such"]);
    scene.assert_nothing_left();
    scene.tool("cgset").arg(scene.name()).assert().success();
    none(&["--device", "/dev/null", "--", "/no/such"]);
    assert_eq!(usable(&scene), "null zero full");
    scene.tool("cgset").args([scene.name(), "--device", "/dev/zero"]).assert().success();
    none(&["--device", "/dev/null", "--", "/no/such"]);
    assert_eq!(usable(&scene), "zero");
}

#[test]
fn nonsense_is_refused_before_anything_is_made() {
    let scene = Scene::new();
    for rule in ["", "c", "c 1:3 rwx", "x 1:3 r", "/dev", "/no/such", "c 1:3000000 r"] {
        scene.tool("cgset").args([scene.name(), "--device", rule]).assert().code(125);
    }
    scene
        .tool("cgset")
        .args([scene.name(), "--device", "c 1:3 r", "--device-default", "allow"])
        .assert()
        .code(125);
    scene.tool("cgset").args([scene.name(), "--device-default", "perhaps"]).assert().code(125);
    scene.assert_nothing_left();
}

#[test]
fn on_v2_an_ordinary_user_is_told_what_rules_take() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").args([scene.name(), "--owner", "65534:65534"]).assert().success();
    let script = format!("cgset {}/x --device /dev/null", scene.name());
    let run = scene.user_sh(&script).assert().code(125);
    assert!(stderr(&run).contains("hint: device rules on cgroup v2 are a BPF program"), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
    scene.assert_nothing_left();
}
