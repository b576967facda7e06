//! Which namespaces are new, and how mounts pass between the old and the new.

use crate::common::namespace::{KINDS, own_namespace};
use crate::common::{Need, Scene, needs, stdout};
use crate::private;

/// The kinds in which COMMAND is elsewhere than the tests are.
fn new_kinds(scene: &Scene, options: &str) -> Vec<&'static str> {
    let look = "for f in /proc/self/ns/*; do echo ${f##*/}=$(readlink $f); done";
    let run = scene.sh(&format!("unshare-lite {options} -- sh -c '{look}'")).assert().success();
    let seen = stdout(&run);
    let is_new = |kind: &str| {
        let line = seen.lines().find_map(|line| line.strip_prefix(&format!("{kind}=")));
        line.is_some_and(|id| id != own_namespace(kind))
    };
    KINDS.iter().map(|(_, _, kind)| *kind).filter(|kind| is_new(kind)).collect()
}

#[test]
fn each_option_gives_a_namespace_of_its_kind_and_no_other() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for (long, short, kind) in KINDS {
        if kind != "time" {
            assert_eq!(new_kinds(&scene, long), [kind]);
            assert_eq!(new_kinds(&scene, short), [kind]);
        }
    }
    scene.assert_nothing_left();
}

#[test]
fn a_time_namespace_holds_the_command() {
    if !needs(&[Need::Root, Need::TimeNamespace]) {
        return;
    }
    assert_eq!(new_kinds(&Scene::new(), "--time"), ["time"]);
}

#[test]
fn all_is_all_but_user_and_time() {
    if !needs(&[Need::Root]) {
        return;
    }
    assert_eq!(new_kinds(&Scene::new(), "-a"), ["mnt", "pid", "uts", "ipc", "net", "cgroup"]);
}

#[test]
fn a_map_brings_the_user_namespace_that_it_is_for() {
    if !needs(&[Need::Root]) {
        return;
    }
    assert_eq!(new_kinds(&Scene::new(), "-r -u"), ["user", "uts"]);
}

#[test]
fn what_is_unshared_already_is_unshared_again() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let script = "unshare-lite -a -- sh -c 'readlink /proc/self/ns/net; unshare-lite -a -- readlink /proc/self/ns/net'";
    let seen = stdout(&scene.sh(script).assert().success());
    let ids: Vec<_> = seen.lines().collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{seen}");
}

#[test]
fn an_ordinary_user_gets_every_kind_beside_a_user_namespace() {
    if !needs(&[]) {
        return;
    }
    let scene = Scene::new();
    let look = "for f in user mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$f; done";
    let run = scene.user_sh(&format!("unshare-lite -r -a -- sh -c '{look}'")).assert().success();
    for (line, kind) in stdout(&run).lines().zip(["user", "mnt", "pid", "uts", "ipc", "net", "cgroup"]) {
        assert_ne!(line, own_namespace(kind));
    }
    scene.assert_nothing_left();
}

#[test]
fn mounts_pass_between_the_namespaces_as_told() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("m");
    let script = "
        mount -t tmpfs tmpfs m; mount --make-shared m
        for mode in private slave shared unchanged; do
            mkdir m/$mode
            unshare-lite -m --propagation $mode -- sh -c '
                while read -r _ _ _ _ at _ fields; do
                    case $at in */m) fields=${fields%% *}; echo ${fields%%[0-9]*};; esac
                done </proc/self/mountinfo
                mount -t tmpfs tmpfs m/$0' $mode
            mountpoint -q m/$mode && echo $mode passes || echo $mode stays
        done";
    let seen = stdout(&private(&scene, script).success());
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        [
            "-",
            "private stays",
            "master:",
            "slave stays",
            "shared:",
            "shared passes",
            "shared:",
            "unchanged passes"
        ]
    );
}

#[test]
fn the_default_is_private() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("m");
    let script = "mount -t tmpfs tmpfs m; mount --make-shared m; mkdir m/x
        unshare-lite -m -- mount -t tmpfs tmpfs m/x; ! mountpoint -q m/x";
    private(&scene, script).success();
}
