//! Which namespaces are new, how mounts pass between the old and the new, and namespaces pinned to files.

use std::os::unix::fs::MetadataExt as _;

use crate::common::namespace::{KINDS, own_namespace};
use crate::common::{Need, Scene, needs, stdout};
use crate::differences::{PID_ALONE_IS_PID_1, PINS_A_USER_NAMESPACE};
use crate::{run, run_as_user, run_privately};

/// The kinds in which COMMAND is elsewhere than the tests are.
fn new_kinds(scene: &Scene, options: &str) -> Vec<&'static str> {
    let look = "for f in user mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$f; done";
    let seen = stdout(&run(scene, &format!("$unshare {options} -- sh -c '{look}'")).success());
    let kinds = KINDS[..7].iter().map(|(_, _, kind)| *kind);
    kinds.zip(seen.lines()).filter(|(kind, id)| *id != own_namespace(kind)).map(|(kind, _)| kind).collect()
}

#[test]
fn each_option_gives_a_namespace_of_its_kind_and_no_other() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for &(long, short, kind) in &KINDS[..7] {
        let fork = if kind == "pid" { "--fork" } else { "" };
        assert_eq!(new_kinds(&scene, &format!("{fork} {long}")), [kind]);
        assert_eq!(new_kinds(&scene, &format!("{fork} {short}")), [kind]);
    }
    assert_eq!(new_kinds(&scene, "-muinCpf"), ["mnt", "pid", "uts", "ipc", "net", "cgroup"]);
    assert_eq!(new_kinds(&scene, "-r -u"), ["user", "uts"]);
    scene.assert_nothing_left();
}

#[test]
fn an_ordinary_user_gets_every_kind_beside_a_user_namespace() {
    let scene = Scene::new();
    let look = "for f in user mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$f; done";
    let seen = stdout(&run_as_user(&scene, &format!("$unshare -r -muinCpf -- sh -c '{look}'")).success());
    for ((_, _, kind), id) in KINDS[..7].iter().zip(seen.lines()) {
        assert_ne!(id, own_namespace(kind));
    }
    assert_eq!(seen.lines().count(), 7);
}

#[test]
fn a_forked_child_is_pid_1_of_a_pid_namespace() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    run(&scene, "$unshare --fork --pid -- sh -c 'echo $$'").success().stdout("1\n");
    let alone = stdout(&run(&scene, "$unshare --pid -- sh -c 'echo $$'").success());
    assert_eq!(alone == "1\n", PID_ALONE_IS_PID_1.here(), "{alone}");
}

#[test]
fn mounts_pass_between_the_namespaces_as_told() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("m");
    // The optional field of mountinfo is there or not, and a mount made inside is seen outside or not.
    let script = "
        mount -t tmpfs tmpfs m; mount --make-shared m; mkfifo ready made
        for mode in '' '--propagation private' '--propagation slave' '--propagation shared' '--propagation unchanged'; do
            mkdir -p m/x
            $unshare -m $mode -- sh -c '
                while read -r _ _ _ _ at _ fields; do
                    case $at in */m) fields=${fields%% *}; echo ${fields%%[0-9]*};; esac
                done </proc/self/mountinfo
                mount -t tmpfs tmpfs m/x'
            mountpoint -q m/x && { echo passes; umount m/x; } || echo stays
            $unshare -m $mode -- sh -c 'echo >ready; read -r _ <made; mountpoint -q m/x && echo enters || echo is not here' &
            read -r _ <ready; mount -t tmpfs tmpfs m/x; echo >made; wait $!; umount m/x
        done";
    let seen = stdout(&run_privately(&scene, script).success());
    let none = ["-", "stays", "is not here"];
    let both = ["shared:", "passes", "enters"];
    let expected = [none, none, ["master:", "stays", "enters"], both, both].concat();
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_pinned_namespace_outlives_the_command_and_is_entered_again() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let kinds = ["uts", "ipc", "net", "cgroup"];
    for kind in kinds {
        scene.file(kind, "");
        let script = format!(
            "$unshare --{kind}={kind} -- readlink /proc/self/ns/{kind}
             $nsenter -t $$ --{kind}={kind} -- readlink /proc/self/ns/{kind}"
        );
        let inode = std::fs::metadata(scene.path(kind));
        let seen = stdout(&run(&scene, &script).success());
        assert_ne!(inode.unwrap().ino(), std::fs::metadata(scene.path(kind)).unwrap().ino());
        let id = format!("{kind}:[{}]\n", std::fs::metadata(scene.path(kind)).unwrap().ino());
        assert_eq!(seen, id.repeat(2));
    }
    assert_eq!(scene.mounts().len(), kinds.len());
}

#[test]
fn a_user_namespace_is_pinned_from_outside() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("user", "");
    let (code, said) = PINS_A_USER_NAMESPACE.here();
    run(&scene, "$unshare --user=user -- echo ran").code(code).stdout(said);
    assert_eq!(scene.mounts().len(), usize::from(code == 0));
}

#[test]
fn a_mount_namespace_is_pinned_where_its_file_is_private() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("p");
    scene.dir("m");
    let script = "
        mount --bind p p; mount --make-private p; echo >p/mnt
        $unshare --mount=p/mnt -- sh -c 'mount -t tmpfs tmpfs m; echo seen >m/file'
        test ! -e m/file
        $nsenter -t $$ --mount=p/mnt -- cat $PWD/m/file";
    run_privately(&scene, script).success().stdout("seen\n");
}

#[test]
fn a_pid_namespace_is_entered_by_its_file_while_its_pid_1_lives() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("pid", "");
    let script = "
        $unshare --fork --pid=pid -- sh -c 'readlink /proc/self/ns/pid >inside; echo >ready; read -r _ <go' &
        read -r _ <ready
        $nsenter -t $$ --pid=pid -- readlink /proc/self/ns/pid | cmp - inside && echo same
        echo >go; wait $!
        $nsenter -t $$ --pid=pid -- echo ran 2>/dev/null || echo gone";
    run(&scene, &format!("mkfifo go ready; {script}")).success().stdout("same\ngone\n");
}
