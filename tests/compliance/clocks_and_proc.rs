//! The clocks of a time namespace, and a procfs for a PID namespace.

use crate::common::{Need, Scene, needs, stdout};
use crate::differences::OWN_FAILURE;
use crate::{run, run_as_user};

#[test]
fn clocks_are_set_off_by_seconds() {
    if !needs(&[Need::TimeNamespace]) {
        return;
    }
    let scene = Scene::new();
    for (monotonic, boottime) in [("100", "2000000"), ("-1", "0"), ("0", "7")] {
        let script = format!(
            "$unshare -r --fork --time --monotonic {monotonic} --boottime {boottime} -- cat /proc/self/timens_offsets"
        );
        let seen = stdout(&run_as_user(&scene, &script).success());
        let words: Vec<_> = seen.split_whitespace().collect();
        assert_eq!(words, ["monotonic", monotonic, "0", "boottime", boottime, "0"]);
    }
    let uptime = "$unshare -r -f -T --boottime=5000000 -- cut -d. -f1 /proc/uptime";
    let seen: u64 = stdout(&run_as_user(&scene, uptime).success()).trim().parse().unwrap();
    assert!(seen >= 5_000_000);
}

#[test]
fn a_time_namespace_holds_the_child() {
    if !needs(&[Need::Root, Need::TimeNamespace]) {
        return;
    }
    let seen = stdout(&run(&Scene::new(), "$unshare --fork --time -- readlink /proc/self/ns/time").success());
    assert_ne!(seen.trim(), crate::common::namespace::own_namespace("time"));
}

#[test]
fn an_offset_without_its_namespace_is_refused() {
    let scene = Scene::new();
    for option in ["--monotonic 1", "--boottime 1"] {
        run_as_user(&scene, &format!("$unshare -r {option} -- echo ran")).code(OWN_FAILURE.here()).stdout("");
    }
}

#[test]
fn a_fresh_proc_shows_the_new_pid_namespace_and_is_inert() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let look =
        "echo $$; cd /proc; echo [0-9]*; grep \" /proc \" self/mountinfo | tail -n 1 | cut -d\" \" -f6";
    let on_proc = || {
        let mounts = common::mountinfo::of_self().unwrap();
        mounts.iter().filter(|mount| mount.mount_point == std::path::Path::new("/proc")).count()
    };
    let before = on_proc();
    for options in ["--mount-proc", "--mount-proc=/proc", "--mount --mount-proc"] {
        let seen = stdout(&run(&scene, &format!("$unshare -f -p {options} -- sh -c '{look}'")).success());
        let lines: Vec<_> = seen.lines().collect();
        assert_eq!(lines[..2], ["1", "1"], "{seen}");
        assert_eq!(lines[2], "rw,nosuid,nodev,noexec,relatime", "{seen}");
    }
    assert_eq!(on_proc(), before, "it means --mount");
}

#[test]
fn proc_is_mounted_where_it_is_told() {
    let scene = Scene::new();
    scene.dir("p");
    let script = "$unshare -r -f -p --mount-proc=$PWD/p -- cat p/1/comm";
    run_as_user(&scene, script).success().stdout("cat\n");
    let script = "$unshare -r -f -p --mount-proc=$PWD/nowhere -- echo ran";
    run_as_user(&scene, script).code(OWN_FAILURE.here()).stdout("");
}
