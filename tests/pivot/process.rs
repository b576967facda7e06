//! COMMAND itself: who it is, where, and with what.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::{inside, inside_as_user};
use crate::common::{Need, Scene, needs, stderr};

#[test]
fn the_user_is_of_the_roots_own_passwd() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let script = "id -u; id -g; id -G; echo $HOME";
    assert_eq!(inside(&scene, "--user ann", script), "1000\n1001\n1001 10\n/home/ann");
    assert_eq!(inside(&scene, "--user 1000", script), "1000\n1001\n1001 10\n/home/ann");
    assert_eq!(inside(&scene, "--user ann:wheel", script), "1000\n10\n10\n/home/ann");
    assert_eq!(inside(&scene, "--user 7:8", script), "7\n8\n8\n/");
    assert_eq!(inside(&scene, "--user 7", script), "7\n0\n0\n/");
    assert_eq!(
        inside(&scene, "--user ann --groups wheel,77 -e HOME=/h", script),
        "1000\n1001\n1001 10 77\n/h"
    );
    assert_eq!(inside(&scene, "--groups 5", "id -G"), "0 5");
}

#[test]
fn a_user_that_the_root_does_not_know_is_an_error() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    for user in ["nobody-here", "ann:nogroup-here", "4294967295", "-1", "''"] {
        let line = format!("unshare --mount pivot --user={user} root -- /bin/true");
        let assert = scene.sh(&line).assert().code(125);
        assert!(stderr(&assert).contains("does not have it"), "{user}: {}", stderr(&assert));
    }
}

#[test]
fn a_hostile_passwd_is_refused_but_numbers_need_none() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    let passwd = root.join("etc/passwd");
    fs::remove_file(&passwd).unwrap();
    scene.sh("mkfifo root/etc/passwd").assert().success();
    let line = "unshare --mount pivot --user ann root -- /bin/true";
    assert!(stderr(&scene.sh(line).assert().code(125)).contains("not a regular file"));
    assert_eq!(inside(&scene, "--user 7:8", "echo ok"), "ok");
    fs::remove_file(&passwd).unwrap();
    fs::File::create(&passwd).unwrap().set_len(1 << 30).unwrap();
    assert!(stderr(&scene.sh(line).assert().code(125)).contains("larger than 8 MiB"));
    fs::remove_file(&passwd).unwrap();
    // Out of the root, where ann is no user: the host's file must not be read.
    symlink("/../../../etc/passwd", &passwd).unwrap();
    scene.sh("unshare --mount pivot --user daemon root -- /bin/true").assert().code(125);
}

#[test]
fn users_are_looked_up_where_etc_leads_inside_the_root() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    fs::rename(root.join("etc"), root.join("conf")).unwrap();
    for target in ["conf", "/conf", "/../../../conf", "../../conf"] {
        symlink(target, root.join("etc")).unwrap();
        assert_eq!(inside(&scene, "--user ann:wheel", "id -u; id -g"), "1000\n10", "{target}");
        // The host has this one.
        let assert = scene.sh("unshare --mount pivot --user daemon root -- /bin/true").assert().code(125);
        assert!(stderr(&assert).contains("does not have it"), "{target}: {}", stderr(&assert));
        fs::remove_file(root.join("etc")).unwrap();
    }
    symlink("../../../../../../../../etc", root.join("etc")).unwrap();
    for user in ["ann", "daemon"] {
        let line = format!("unshare --mount pivot --user {user} root -- /bin/true");
        scene.sh(&line).assert().code(125);
    }
    assert_eq!(inside(&scene, "--user 7:8", "id -u"), "7");
}

const STATUS: &str = "grep -E \"^(Cap|NoNew)\" /proc/self/status | while read k v; do echo $v; done";

#[test]
fn capabilities_are_dropped_in_all_five_sets() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    // In the order of /proc: inheritable, permitted, effective, bounding, ambient, no_new_privs.
    let sets = |options: &str| inside(&scene, &format!("--proc {options}"), STATUS).replace('\n', " ");
    let none = "0000000000000000";
    assert_eq!(sets("--cap-drop all --no-new-privs"), format!("{none} {none} {none} {none} {none} 1"));
    let two = "0000000000000021";
    assert_eq!(sets("--cap-drop all --cap-add chown,CAP_KILL"), format!("{none} {two} {two} {two} {none} 0"));
    // Who is not root has what is ambient, and only what was asked for by name.
    assert_eq!(sets("--user 7 --cap-drop all"), format!("{none} {none} {none} {none} {none} 0"));
    assert_eq!(sets("--user 7 --cap-drop all --cap-add kill"), {
        let kill = "0000000000000020";
        format!("{kill} {kill} {kill} {kill} {kill} 0")
    });
    let user = sets("--user 7");
    assert!(
        user.starts_with(&format!("{none} {none} {none} ")) && user.ends_with(&format!(" {none} 0")),
        "{user}"
    );
}

#[test]
fn nothing_is_inheritable_that_the_caller_had() {
    if !needs(&[Need::Root, Need::Program("capsh")]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let line = "unshare --mount capsh --inh=cap_chown -- -c 'pivot --proc root -- /bin/busybox grep CapInh /proc/self/status'";
    let assert = scene.sh(line).assert().success();
    assert_eq!(String::from_utf8_lossy(&assert.get_output().stdout), "CapInh:\t0000000000000000\n");
}

#[test]
fn the_environment_is_as_asked() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("vars", "# comment\nA=from file\nB=2\n");
    scene.rootfs("root");
    let line =
        "KEPT=k GONE=g unshare --mount pivot --clear-env --env-file vars -e A=1 -e KEPT root -- /bin/env";
    let assert = scene.sh(line).assert().success();
    assert_eq!(String::from_utf8_lossy(&assert.get_output().stdout), "B=2\nA=1\nKEPT=k\n");
    assert_eq!(inside(&scene, "-e NEW=1", "echo $NEW $CONTAINER_STEPS_TEST"), format!("1 {}", scene.name()));
}

#[test]
fn command_is_found_in_the_new_roots_path() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.sh("mkdir root/own && ln -s /bin/busybox root/own/echo").assert().success();
    let line = "unshare --mount pivot -e PATH=/own root -- echo found";
    let assert = scene.sh(line).assert().success();
    assert_eq!(String::from_utf8_lossy(&assert.get_output().stdout), "found\n");
    scene.sh("unshare --mount pivot -e PATH=/own root -- env").assert().code(127);
    scene.sh("unshare --mount pivot --clear-env root -- env").assert().success();
}

#[test]
fn the_working_directory_is_made_and_entered() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    assert_eq!(inside(&scene, "--workdir /new/dir", "pwd"), "/new/dir");
    assert_eq!(inside(&scene, "--workdir etc", "pwd"), "/etc");
    assert_eq!(inside(&scene, "-w /d -V /etc:/d", "pwd"), "/d");
    assert_eq!(inside(&scene, "-w /../../etc", "pwd"), "/etc");
    // Closed to the user, as with Docker, or closed to all but the user.
    fs::set_permissions(scene.path("root/new"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(inside(&scene, "--user 7 --workdir /new/dir", "readlink /proc/self/cwd; echo ok"), "ok");
    scene.sh("unshare --mount pivot -w /etc/passwd root -- /bin/true").assert().code(125);
}

#[test]
fn limits_umask_and_oom_score_are_set() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let options = "--proc --rlimit nofile=100:200 --rlimit core=0 --umask 027 --oom-score-adj 321";
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; umask; cat /proc/self/oom_score_adj";
    assert_eq!(inside(&scene, options, script), "100\n200\n0\n0027\n321");
    // Modes of what pivot makes do not depend on the caller's umask, which COMMAND gets.
    scene
        .sh("umask 077; unshare --mount pivot -w /w root -- /bin/sh -c umask")
        .assert()
        .success()
        .stdout("0077\n");
    assert_eq!(fs::metadata(scene.path("root/w")).unwrap().permissions().mode() & 0o777, 0o755);
    let limit = "--rlimit nofile=99999999:99999999999";
    scene.sh(&format!("unshare --mount pivot {limit} root -- /bin/true")).assert().code(125);
}

#[test]
fn it_dies_with_its_parent_still_although_the_user_changed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let line = "exec unshare --mount --pid --fork --kill-child pivot --user ann --cap-drop all root -- /bin/sleep 1000";
    let mut parent = scene.std_sh(line).spawn().unwrap();
    while scene.processes().len() < 2
        || !scene.processes().iter().any(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"/bin/sleep\0"))
        })
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    scene.assert_all_ends();
}

#[test]
fn no_descriptor_of_the_callers_gets_in() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let line = "unshare --mount pivot --proc root -- /bin/ls /proc/self/fd 5</ 7</etc";
    let assert = scene.sh(line).assert().success();
    // 3 is ls's own.
    assert_eq!(String::from_utf8_lossy(&assert.get_output().stdout), "0\n1\n2\n3\n");
}

#[test]
fn an_ordinary_user_may_be_root_there_and_nobody_else() {
    let scene = Scene::new();
    assert_eq!(
        inside_as_user(&scene, "--mount", "--user root --cap-drop all --proc", STATUS).lines().nth(1),
        Some("0000000000000000")
    );
    let line = "unshare --user --map-root-user --mount pivot --user ann -V root:/mnt root -- /bin/true";
    let assert = scene.user_sh(line).assert().code(125);
    assert!(stderr(&assert).contains("hint: "), "{}", stderr(&assert));
    assert!(!scene.path("root/mnt").exists());
}

#[test]
fn a_working_directory_that_only_the_user_may_enter_is_entered_as_that_user() {
    if !needs(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.sh("mkdir -m 700 root/home && chown 1000 root/home").assert().success();
    let caller = "setpriv --bounding-set -dac_override,-dac_read_search";
    let line = format!("unshare --mount {caller} pivot --user 1000 --workdir /home root -- /bin/pwd");
    scene.sh(&line).assert().success().stdout("/home\n");
    let line = format!("unshare --mount {caller} pivot --user 7 --workdir /home root -- /bin/pwd");
    let assert = scene.sh(&line).assert().code(125);
    assert!(
        stderr(&assert).contains("enter the working directory: Permission denied"),
        "{}",
        stderr(&assert)
    );
}
