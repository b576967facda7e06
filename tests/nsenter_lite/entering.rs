//! By default: all in which the target differs.

use crate::common::namespace::own_namespace;
use crate::common::{Need, Scene, eventually, needs, stdout};
use crate::{STAY, Target};

const KINDS: [&str; 6] = ["mnt", "pid", "uts", "ipc", "net", "cgroup"];

#[test]
fn every_namespace_that_differs_is_entered_and_the_others_are_the_callers() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for kinds in [&KINDS[..], &["mnt", "net"], &["uts"], &["pid"], &[]] {
        let options: Vec<_> =
            kinds.iter().map(|kind| format!("--{}", kind.replace("mnt", "mount"))).collect();
        let options = if options.is_empty() { "--fork -S 0".to_owned() } else { options.join(" ") };
        let target = Target::start(&scene, &format!("exec unshare-lite {options} -- {STAY}"));
        let look = format!("for f in {}; do readlink /proc/self/ns/$f; done", KINDS.join(" "));
        let seen = stdout(
            &scene.sh(&format!("nsenter-lite -t {} -- sh -c '{look}'", target.pid)).assert().success(),
        );
        for (kind, id) in KINDS.iter().zip(seen.lines()) {
            let expected =
                if kinds.contains(kind) { target.link(&format!("ns/{kind}")) } else { own_namespace(kind) };
            assert_eq!(id, expected, "{kind} of {kinds:?}");
        }
    }
}

#[test]
fn the_processes_inside_see_each_other() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite --pid --mount-proc -- {STAY}"));
    let name = format!("/proc/{}/comm", target.pid);
    eventually("the target sleeps", || std::fs::read_to_string(&name).unwrap() == "sleep\n");
    let run = scene
        .sh(&format!("nsenter-lite -t {} -- sh -c 'echo $$; cat /proc/1/comm'", target.pid))
        .assert()
        .success();
    assert_eq!(stdout(&run), "2\nsleep\n");
}

#[test]
fn root_and_working_directory_are_the_targets() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    scene.dir("root/work");
    let line = format!(
        "exec unshare-lite --mount -- chroot {} sh -c 'cd /work; echo; exec sleep 600'",
        root.display()
    );
    let target = Target::start(&scene, &line);
    scene
        .sh(&format!("nsenter-lite -t {} -- sh -c 'pwd; ls /'", target.pid))
        .assert()
        .success()
        .stdout("/work\nbin\netc\nroot\ntmp\nwork\n");
}

#[test]
fn the_cgroup_is_the_targets() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec cgset --rm {} pids.max=20 -- {STAY}", scene.name()));
    let seen = stdout(
        &scene.sh(&format!("nsenter-lite -t {} -- cat /proc/self/cgroup", target.pid)).assert().success(),
    );
    assert_eq!(seen, std::fs::read_to_string(format!("/proc/{}/cgroup", target.pid)).unwrap());
    assert!(seen.contains(scene.name()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(target.pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    eventually("the cgroup goes", || scene.cgroups().is_empty());
}

#[test]
fn an_unprivileged_users_container_is_entered_by_its_owner_and_by_root() {
    let scene = Scene::new();
    let target = Target::start_as_user(&scene, &format!("exec unshare-lite -r -a --hostname mine -- {STAY}"));
    let enter =
        format!("nsenter-lite -t {} -- sh -c 'hostname; id -u; id -g; cat /proc/self/uid_map'", target.pid);
    for mut run in [scene.user_sh(&enter), scene.sh(&enter)] {
        let seen = stdout(&run.assert().success());
        assert!(seen.starts_with("mine\n0\n0\n"), "{seen}");
    }
}

#[test]
fn user_namespaces_three_deep_are_entered_at_once() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let level = "unshare-lite -r -m -u --";
    let target = Target::start(
        &scene,
        &format!("exec {level} {level} unshare-lite -r -u --hostname deep -p -- {STAY}"),
    );
    let run = scene
        .sh(&format!(
            "nsenter-lite -t {} -- sh -c 'hostname; id -u; echo $$; readlink /proc/self/ns/user'",
            target.pid
        ))
        .assert()
        .success();
    assert_eq!(stdout(&run), format!("deep\n0\n2\n{}\n", target.link("ns/user")));
}

#[test]
fn the_end_of_the_command_is_the_end_of_the_tool() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite --pid --mount-proc -- {STAY}"));
    for (command, code) in [
        ("sh -c 'exit 0'", 0),
        ("sh -c 'exit 200'", 200),
        ("sh -c 'kill -9 $$'", 137),
        ("sh -c 'kill -TERM $$'", 143),
        ("no-such-command", 127),
        ("/", 126),
    ] {
        scene.sh(&format!("nsenter-lite -t {} -- {command}", target.pid)).assert().code(code);
        let no_fork = scene.sh(&format!("nsenter-lite -t {} -F -- {command}", target.pid)).assert();
        if code < 128 {
            no_fork.code(code);
        }
    }
}

#[test]
fn without_a_fork_the_children_are_inside_and_the_command_is_not() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite --pid -- {STAY}"));
    let look = "readlink /proc/self/ns/pid; [ $(readlink /proc/$$/ns/pid) = $(readlink /proc/$PPID/ns/pid) ] && echo outside";
    let script = format!("nsenter-lite -t {} -F -- sh -c '{look}'", target.pid);
    scene.sh(&script).assert().success().stdout(format!("{}\noutside\n", target.link("ns/pid")));
}

#[test]
fn a_target_that_ends_takes_the_entered_command_along() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite --pid -- {STAY}"));
    let mut inside = Target::start(&scene, &format!("exec nsenter-lite -t {} -- {STAY}", target.pid));
    drop(target);
    assert_eq!(inside.child.wait().unwrap().code(), Some(137));
    eventually("nothing is left", || scene.processes().is_empty());
}

#[test]
fn nothing_survives_the_tools_death_by_sigkill() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite --pid -r -- {STAY}"));
    let mut inside = Target::start(&scene, &format!("exec nsenter-lite -t {} -- {STAY}", target.pid));
    assert_ne!(inside.pid, inside.child.id() as i32);
    inside.child.kill().unwrap();
    inside.child.wait().unwrap();
    eventually("the command ends", || common::procfs::stat(inside.pid).is_err());
}

#[test]
fn enter_and_exit_race_to_a_clear_end() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    // The target ends while we enter: COMMAND runs inside, or does not run at all.
    let script = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); rm -f ready
            unshare-lite --uts --hostname inside -- sh -c 'echo >ready; exec sleep 0.0$0' $((i % 4)) & t=$!
            while [ ! -s ready ]; do sleep 0.001; done
            nsenter-lite -t $t -u -- cat /proc/sys/kernel/hostname 2>>errors; wait $t
        done | sort -u";
    let seen = stdout(&scene.sh(script).assert().success());
    assert!(["", "inside\n"].contains(&seen.as_str()), "{seen}");
    let errors = std::fs::read_to_string(scene.path("errors")).unwrap();
    assert!(errors.lines().all(|line| line.starts_with("nsenter-lite: ")), "{errors}");
    scene.assert_nothing_left();
}
