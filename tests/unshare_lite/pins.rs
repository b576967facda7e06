//! Namespaces that are pinned to files, and what becomes of the files.

use std::os::unix::fs::MetadataExt as _;

use crate::common::{Need, Scene, eventually, needs, stderr, stdout};
use crate::private;

#[test]
fn a_pinned_namespace_outlives_the_command_and_is_entered_again() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for (option, kind) in
        [("user", "user"), ("uts", "uts"), ("ipc", "ipc"), ("net", "net"), ("cgroup", "cgroup")]
    {
        let script = format!(
            "unshare-lite --{option}={option} -- readlink /proc/self/ns/{kind}
             nsenter-lite -t $$ --{option}={option} -- readlink /proc/self/ns/{kind}"
        );
        let seen = stdout(&scene.sh(&script).assert().success());
        let ids: Vec<_> = seen.lines().collect();
        assert_eq!(ids[0], ids[1]);
        assert_eq!(ids[0], format!("{kind}:[{}]", std::fs::metadata(scene.path(option)).unwrap().ino()));
    }
    assert_eq!(scene.mounts().len(), 5);
    eventually("the helpers end", || scene.processes().is_empty());
}

#[test]
fn without_a_command_the_file_holds_the_namespace() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene
        .sh("unshare-lite --uts=u --hostname pinned && nsenter-lite -t $$ --uts=u -- hostname")
        .assert()
        .success()
        .stdout("pinned\n");
    scene.sh("umount u").assert().success();
    scene.assert_nothing_left();
}

#[test]
fn a_time_namespace_is_pinned_with_its_offsets() {
    if !needs(&[Need::Root, Need::TimeNamespace]) {
        return;
    }
    let scene = Scene::new();
    let script = "unshare-lite --time=t --boottime 1000000 -- true; nsenter-lite -t $$ --time=t -- cut -d. -f1 /proc/uptime";
    let uptime: u64 = stdout(&scene.sh(script).assert().success()).trim().parse().unwrap();
    assert!(uptime >= 1_000_000);
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
        mount --bind p p; mount --make-private p
        unshare-lite --mount=p/mnt -- sh -c 'mount -t tmpfs tmpfs m; echo seen >m/file'
        test ! -e m/file
        nsenter-lite -t $$ --mount=p/mnt -- cat $PWD/m/file";
    private(&scene, script).success().stdout("seen\n");
}

#[test]
fn a_mount_namespace_cannot_be_pinned_on_a_shared_mount_and_the_error_says_so() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("p");
    let script =
        "mount --bind p p; mount --make-shared p; unshare-lite --mount=p/mnt -- echo ran || echo $?; ls p";
    let run = private(&scene, script).success();
    let (said, seen) = (stderr(&run), stdout(&run));
    // Where the kernel allows it there is nothing to explain.
    assert!(seen == "ran\nmnt\n" || (seen == "125\n" && said.contains("must be private")), "{seen}{said}");
}

#[test]
fn a_pid_namespace_is_pinned_by_its_first_process() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let script = "unshare-lite --pid=pid -- sh -c 'echo; exec sleep 600' >ready & while [ ! -s ready ]; do sleep 0.01; done
        nsenter-lite -t $$ --pid=pid -- sh -c 'echo $$'; kill -9 $!";
    let seen = stdout(&scene.sh(script).assert());
    assert_eq!(seen, "2\n");
    eventually("all end", || scene.processes().is_empty());
}

#[test]
fn a_failure_takes_all_pins_back_and_leaves_a_file_that_was_there() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("old", "content");
    scene.dir("directory");
    for (line, code) in [
        ("--uts=new --ipc=old -r -S 77 -- echo ran", 125),
        ("--uts=new --ipc=old --pid=new2 -- no-such-command", 127),
        ("--uts=new --ipc=old --pid=new2 --init -- no-such-command", 127),
        ("--uts=new --ipc=old --net=directory -- echo ran", 125),
        ("--uts=new --ipc=old --net=no/such/place -- echo ran", 125),
        ("--uts=new --ipc=old --net=new2 --mount-proc=/no/such -- echo ran", 125),
        ("--uts=new --ipc=old --mount-proc=/no/such", 125),
        ("--uts=new --ipc=old --detach --pid=new2 --mount-proc=/no/such", 125),
    ] {
        let run = scene.sh(&format!("unshare-lite {line}")).assert().code(code).stdout("");
        let said = stderr(&run);
        assert!((1..=2).contains(&said.lines().count()), "{line}: {said}");
        assert!(!scene.path("new").exists() && !scene.path("new2").exists(), "{line}");
        assert_eq!(std::fs::read_to_string(scene.path("old")).unwrap(), "content", "{line}");
        eventually("nothing is left", || scene.processes().is_empty());
        scene.assert_nothing_left();
    }
}

#[test]
fn an_ordinary_user_is_told_what_pinning_takes() {
    let scene = Scene::new();
    let run = scene.user_sh("unshare-lite -r --net=file -- echo ran").assert().code(125).stdout("");
    assert!(stderr(&run).contains("CAP_SYS_ADMIN"), "{}", stderr(&run));
    assert!(!scene.path("file").exists());
}

#[test]
fn in_a_user_namespace_of_its_own_an_ordinary_user_can_pin_too() {
    let scene = Scene::new();
    let script = "unshare-lite -r -m -- sh -c 'unshare-lite --net=net -- readlink /proc/self/ns/net; nsenter-lite -t $$ --net=net -- readlink /proc/self/ns/net'";
    let seen = stdout(&scene.user_sh(script).assert().success());
    let ids: Vec<_> = seen.lines().collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{seen}");
}
