//! What goes wrong: one clear line, a hint, status 125, and nothing left.

use std::fs;

use crate::common::{Need, Scene, needs, stderr};
use crate::{control, directory};

const ROOT: &[Need] = &[Need::Root, Need::Cgroup];

fn fails(scene: &Scene, args: &[&str], message: &str) {
    let run = scene.tool("cgset").args(args).assert().code(125).stdout("");
    let text = stderr(&run);
    assert!(text.contains(message), "{args:?}: {text}");
    assert!(text.lines().all(|line| line.starts_with("cgset: ")), "{args:?}: {text}");
    assert_eq!(text.lines().filter(|line| !line.starts_with("cgset: hint: ")).count(), 1, "{args:?}: {text}");
}

#[test]
fn nonsense_is_a_usage_error() {
    let scene = Scene::new();
    fails(&scene, &[], "no GROUP given");
    fails(&scene, &["--no-such-flag"], "--no-such-flag");
    fails(&scene, &["demo", "--"], "no COMMAND after '--'");
    fails(&scene, &["demo", "memory.max"], "it holds no '='");
    fails(&scene, &["demo", "memory.max=lots"], "not a number of bytes");
    fails(&scene, &["demo", "cpu.max=-1"], "not a number of CPUs");
    fails(&scene, &["demo", "../x=1"], "not the name of a control file");
    fails(&scene, &["demo", "cgroup.procs=1"], "not a setting");
    fails(&scene, &["../demo"], "would lead out");
    fails(&scene, &["demo", "--pid", "0"], "0");
    fails(&scene, &["demo", "--rm"], "COMMAND");
    fails(&scene, &["demo", "--from", "/no/such/file"], "No such file");
    scene.assert_nothing_left();
}

#[test]
fn an_unknown_controller_is_named_beside_those_that_are_there() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    fails(&scene, &[scene.name(), "gpu.max=1"], "no controller gpu");
    fails(&scene, &[scene.name(), "pids.no_such_file=1"], "this kernel has no such setting");
    scene.assert_nothing_left();
}

#[test]
fn a_failing_value_takes_the_new_group_back() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    // pids.max of more than the kernel's largest PID.
    let group = format!("{}/a/b", scene.name());
    fails(&scene, &[&group, "memory.max=64M", "pids.max=99999999999", "--", "true"], "pids.max");
    scene.assert_nothing_left();
}

#[test]
fn a_failing_value_puts_the_old_ones_back() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene
        .tool("cgset")
        .args([scene.name(), "memory.max=64M", "cpu.max=0.5", "pids.max=7"])
        .assert()
        .success();
    let state = || {
        [
            control(&scene, "memory", "memory.max", "memory.limit_in_bytes"),
            control(&scene, "cpu", "cpu.max", "cpu.cfs_quota_us"),
            control(&scene, "cpu", "cpu.max", "cpu.cfs_period_us"),
            control(&scene, "pids", "pids.max", "pids.max"),
        ]
    };
    let before = state();
    let new = ["memory.max=128M", "cpu.max=30000 60000", "pids.max=9", "pids.max=99999999999"];
    fails(&scene, &[&[scene.name()][..], &new].concat(), "pids.max");
    assert_eq!(state(), before);
}

#[test]
fn a_command_that_cannot_run_leaves_nothing() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    for (command, status) in [("/no/such/command", 127), ("/etc/passwd", 126)] {
        for rm in [&[][..], &["--rm"]] {
            let run = scene.tool("cgset").args(rm).args([scene.name(), "pids.max=9", "--", command]).assert();
            run.code(status);
            scene.assert_nothing_left();
        }
    }
}

#[test]
fn a_command_that_cannot_run_leaves_an_old_group_as_it_was() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").args([scene.name(), "pids.max=9"]).assert().success();
    scene.tool("cgset").args([scene.name(), "pids.max=8", "--", "/no/such/command"]).assert().code(127);
    assert_eq!(control(&scene, "pids", "pids.max", "pids.max"), "9");
}

#[test]
fn an_ordinary_user_is_told_about_delegation() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let run =
        scene.user_sh("cgset $G pids.max=9 -- echo ran").env("G", scene.name()).assert().code(125).stdout("");
    assert!(stderr(&run).contains("Permission denied"), "{}", stderr(&run));
    assert!(stderr(&run).contains("hint: without root"), "{}", stderr(&run));
    scene.assert_nothing_left();
}

#[test]
fn a_group_with_a_control_files_name_is_refused() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let group = format!("{}/cgroup.procs", scene.name());
    fails(&scene, &[&group], "File exists");
    scene.assert_nothing_left();
}

#[test]
fn a_group_that_is_not_there_cannot_be_killed_or_removed() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    for act in ["--kill", "--delete"] {
        fails(&scene, &[scene.name(), act], "no such cgroup");
    }
}

#[test]
fn v2s_rule_against_processes_beside_children_is_explained() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    for value in ["memory.max=64M", "pids.max=5"] {
        let script = format!("cgset $G -- sh -c 'cgset ./inner {value} -- true; exit $?'");
        let run = scene.sh(&script).env("G", scene.name()).assert().code(125);
        let text = stderr(&run);
        assert!(text.contains("hint: cgroup v2 has no processes beside child groups"), "{text}");
        assert!(!directory(&scene, "pids").join("inner").exists());
    }
    // And the other way round: into a group whose children have controllers.
    scene.tool("cgset").args([&format!("{}/inner", scene.name()), "memory.max=64M"]).assert().success();
    let run = scene.sh("cgset $G -- true").env("G", scene.name()).assert().code(125);
    assert!(stderr(&run).contains("join one of the children"), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn controllers_that_were_enabled_for_a_failed_run_are_disabled_again() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").arg(format!("{}/a", scene.name())).assert().success();
    let subtree_control = directory(&scene, "pids").join("cgroup.subtree_control");
    assert_eq!(fs::read_to_string(&subtree_control).unwrap().trim(), "");
    fails(&scene, &[&format!("{}/b", scene.name()), "pids.max=99999999999"], "pids.max");
    assert_eq!(fs::read_to_string(&subtree_control).unwrap().trim(), "");
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn a_limit_below_what_is_in_use_is_told_on_v1() {
    if !needs(&[Need::Root, Need::HierarchyV1("memory")]) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").args([scene.name(), "memory.max=64M", "memory.swap.max=0"]).assert().success();
    // dd holds what it cannot hand on.
    let script = "exec cgset $G -- sh -c 'dd if=/dev/zero bs=32M count=1 | sleep 600'";
    let mut child = scene.std_sh(script).env("G", scene.name()).spawn().unwrap();
    let used = || control(&scene, "memory", "", "memory.usage_in_bytes").parse::<u64>().unwrap();
    crate::common::eventually("the memory is held", || used() > 32 << 20);
    let run = scene.tool("cgset").args([scene.name(), "memory.max=1M"]).assert().code(125);
    assert!(stderr(&run).contains("hint: more is in use"), "{}", stderr(&run));
    assert_eq!(control(&scene, "memory", "", "memory.limit_in_bytes"), (64 << 20).to_string());
    scene.tool("cgset").args([scene.name(), "--kill", "--delete"]).assert().success();
    child.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn a_limit_below_what_is_in_use_kills_on_v2() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").args([scene.name(), "memory.max=64M"]).assert().success();
    let script = "exec cgset $G -- sh -c 'dd if=/dev/zero bs=32M count=1 | sleep 600'";
    let mut child = scene.std_sh(script).env("G", scene.name()).spawn().unwrap();
    let used = || control(&scene, "memory", "memory.current", "").parse::<u64>().unwrap();
    crate::common::eventually("the memory is held", || used() > 32 << 20);
    scene.tool("cgset").args([scene.name(), "memory.max=1M"]).assert().success().stderr("");
    assert_eq!(control(&scene, "memory", "memory.max", ""), (1 << 20).to_string());
    let events = control(&scene, "memory", "memory.events", "");
    assert!(events.lines().any(|line| line.starts_with("oom_kill ") && line != "oom_kill 0"), "{events}");
    scene.tool("cgset").args([scene.name(), "--kill", "--delete"]).assert().success();
    child.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn a_controller_that_a_sibling_uses_meanwhile_stays_enabled() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").arg(format!("{}/a", scene.name())).assert().success();
    // As soon as the failing run says that it sets pids.max, the sibling gets its own: in time
    // before the failure, or after it. Either way it must last.
    let script = "mkfifo gate; cgset -v $G/b pids.max=7 -- /no/such 2>gate &
        while read line; do case $line in *'pids.max'*) cgset $G/a pids.max=9;; esac; done <gate; wait";
    scene.sh(script).env("G", scene.name()).assert().success();
    let limit = std::fs::read_to_string(directory(&scene, "pids").join("a/pids.max")).unwrap_or_default();
    assert_eq!(limit, "9\n", "the sibling's limit is in force");
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn a_controller_that_is_disabled_meanwhile_is_enabled_again() {
    if !needs(&[Need::Root, Need::CgroupV2, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").args([&format!("{}/a", scene.name()), "pids.max=7"]).assert().success();
    let group = directory(&scene, "pids");
    // Disabled when it has seen that all is enabled, and is about to set the limit.
    let script = format!(
        "strace -qq -o trace -P {0}/a/pids.max -e trace=openat -e inject=openat:delay_enter=2000000:when=1 \
             cgset $G/a pids.max=9 &
         until grep -q pids.max trace 2>/dev/null; do sleep 0.01; done; echo -pids >{0}/cgroup.subtree_control; wait $!",
        group.display()
    );
    scene.sh(&script).env("G", scene.name()).assert().success().stderr("");
    assert_eq!(std::fs::read_to_string(group.join("a/pids.max")).unwrap(), "9\n");
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn what_is_mounted_over_a_group_is_not_taken_for_it() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene.tool("cgset").arg(scene.name()).assert().success();
    let group = directory(&scene, "pids");
    let script = format!(
        "mount -t tmpfs decoy {0}; echo max >{0}/pids.max; cgset $G pids.max=7 -- echo ran",
        group.display()
    );
    let script = format!("unshare --mount --propagation private sh -c '{script}'");
    let run = scene.sh(&script).env("G", scene.name()).assert().code(125).stdout("");
    assert!(stderr(&run).contains("hint: something else is mounted"), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn a_zombie_cannot_be_moved() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let mut child = scene.std_sh("exit 0").spawn().unwrap();
    let pid = child.id() as i32;
    crate::common::eventually("it ends", || ::common::procfs::stat(pid).unwrap().state == b'Z');
    fails(&scene, &[scene.name(), "--pid", &pid.to_string()], "it is a zombie");
    child.wait().unwrap();
    scene.assert_nothing_left();
}

#[test]
fn a_group_may_be_deep_but_not_deeper_than_its_top_allows() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let deep = [scene.name(), &"d/".repeat(100)].join("/");
    scene.tool("cgset").args(["--rm", &deep, "--", "true"]).assert().success();
    scene.assert_nothing_left();
    scene.tool("cgset").args([scene.name(), "cgroup.max.depth=1"]).assert().success();
    fails(
        &scene,
        &[&format!("{}/a/b", scene.name())],
        "cgroup.max.depth or cgroup.max.descendants is reached",
    );
    assert!(!directory(&scene, "cgroup").join("a").exists());
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn whichever_step_fails_everything_is_taken_back() {
    if !needs(&[Need::Root, Need::Cgroup, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    let outer = scene.tool("cgset").args([scene.name(), "pids.max=7"]).assert().success();
    drop(outer);
    let state = || {
        let groups = scene.tool("cgset").args([scene.name(), "--list"]).assert().success();
        let settings = scene.tool("cgset").args([scene.name(), "--get"]).assert().success();
        (groups.get_output().stdout.clone(), settings.get_output().stdout.clone())
    };
    let before = state();
    for call in ["mkdir", "write"] {
        let mut failures = 0;
        for when in 1.. {
            let inject = format!("--inject={call}:error=EIO:when={when}");
            let script = "exec strace -qq -o /dev/null $I cgset $G/a/b memory.max=64M pids.max=5 --device /dev/null -- true";
            let run = scene.sh(script).env("G", scene.name()).env("I", &inject).assert();
            match run.get_output().status.code() {
                Some(125) => failures += 1,
                Some(0) => break,
                other => panic!("{inject}: {other:?}: {}", stderr(&run)),
            }
            assert_eq!(state(), before, "{inject}");
        }
        assert!(failures > 1, "{call}");
        scene
            .tool("cgset")
            .args([&format!("{}/a", scene.name()), "--delete", "--recursive"])
            .assert()
            .success();
    }
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
    scene.assert_nothing_left();
}
