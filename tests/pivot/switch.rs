//! The switch: each method, and whom it must not touch.

use super::{inside, inside_as_user, inside_of};
use crate::common::{Need, Scene, needs, stderr, stdout};

#[test]
fn the_new_root_is_all_that_there_is() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    assert_eq!(inside(&scene, "", "echo /*; pwd"), "/bin /etc /root /tmp\n/");
    // One mount, with no parent that could be climbed to.
    assert_eq!(inside(&scene, "--proc", "wc -l < /proc/self/mountinfo; cd ../..; pwd"), "2\n/");
    scene.assert_nothing_left();
}

#[test]
fn every_method_switches_and_says_so() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    for method in ["pivot_root", "move", "chroot"] {
        let line = format!("unshare --mount pivot -v --method {method} root -- /bin/ls /");
        let assert = scene.sh(&line).assert().success();
        assert_eq!(stdout(&assert), "bin\netc\nroot\ntmp\n", "{method}");
        assert!(stderr(&assert).contains(&format!("the root is switched by {method}\n")), "{method}");
    }
    let assert = scene.sh("unshare --mount pivot -v root -- /bin/true").assert().success();
    assert!(stderr(&assert).contains("switched by pivot_root\n"));
    scene.assert_nothing_left();
}

#[test]
fn verbose_names_all_that_is_made_in_the_root() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("data/file", "");
    let options = "-V data:/v/data -V data/file:/f/file --tmpfs /tmp --dev --keep-old /old --workdir /w/d";
    let assert =
        scene.sh(&format!("unshare --mount pivot -v {options} root -- /bin/true")).assert().success();
    let told = stderr(&assert);
    let in_root = |line: &str| line.strip_prefix("pivot: make ")?.split("root/").nth(1).map(str::to_owned);
    let made: Vec<_> = told.lines().filter_map(in_root).filter(|path| !path.starts_with("dev/")).collect();
    assert_eq!(made, ["dev", "v", "v/data", "f", "f/file", "old", "w", "w/d"], "{told}");
    assert!(told.contains("root/dev/ptmx (a link to pts/ptmx)\n"), "{told}");
    // What is there already is not made.
    let assert =
        scene.sh(&format!("unshare --mount pivot -v {options} root -- /bin/true")).assert().success();
    assert!(!stderr(&assert).lines().filter_map(in_root).any(|path| !path.starts_with("dev/")));
    scene.assert_nothing_left();
}

#[test]
fn a_move_leaves_no_mount_of_the_old_root() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let mounts = inside(
        &scene,
        "--method move --proc",
        "while read i p d r m x; do echo $m; done < /proc/self/mountinfo",
    );
    assert_eq!(mounts, "/\n/proc");
}

#[test]
fn a_switched_root_can_be_switched_again() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene
        .sh("mkdir -p outer/tools outer/root && cp $(command -v pivot) outer/tools/ && cp -a root/. outer/root/")
        .assert()
        .success();
    let line = "unshare --mount --pid --fork pivot --proc outer -- /tools/pivot -v /root -- /bin/ls /";
    let assert = scene.sh(line).assert().success();
    assert_eq!(stdout(&assert), "bin\netc\nroot\ntmp\n");
    assert!(stderr(&assert).contains("switched by pivot_root\n"));
    scene.assert_nothing_left();
}

#[test]
fn the_machines_own_mount_namespace_is_refused() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    // Also as PID 1 of a PID namespace, with the machine's /proc.
    for prefix in ["", "unshare --pid --fork "] {
        let assert = scene.sh(&format!("{prefix}pivot --proc root -- /bin/true")).assert().code(125);
        let message = stderr(&assert);
        assert!(message.starts_with("pivot: mount namespace: switch the root: it is "), "{message}");
        assert!(message.contains("--force"), "{message}");
    }
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    scene.assert_nothing_left();
}

#[test]
fn as_pid_1_of_its_own_namespaces_it_may() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    assert_eq!(inside_of(&scene, "--mount --pid --fork", "", "echo $$"), "1");
    assert_eq!(inside_of(&scene, "--mount --pid --fork --mount-proc", "", "echo $$"), "1");
}

#[test]
fn a_bare_chroot_needs_no_mount_namespace() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let assert = scene.sh("pivot --method chroot root -- /bin/ls /").assert().success();
    assert_eq!(stdout(&assert), "bin\netc\nroot\ntmp\n");
    scene.sh("pivot --method chroot --proc root -- /bin/ls /").assert().code(125);
    scene.assert_nothing_left();
}

#[test]
fn shared_mounts_reach_the_host_no_more() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    // A shared mount, of which the unshared namespace is a peer.
    let script = "mkdir s && mount -t tmpfs s s && mount --make-shared s && mkdir s/root && cp -a root/. s/root/ && \
                  unshare --mount --propagation unchanged pivot --proc --tmpfs /x s/root -- /bin/ls / && \
                  grep -c \" $PWD/s/root\" /proc/self/mountinfo; umount s";
    let assert = scene.sh(&format!("unshare --mount sh -c '{script}'")).assert().success();
    assert_eq!(stdout(&assert), "bin\netc\nproc\nroot\ntmp\nx\n0\n");
    scene.assert_nothing_left();
}

#[test]
fn the_old_root_is_kept_where_asked() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let seen = format!("/old{}", scene.path("root/etc/passwd").display());
    assert_eq!(inside(&scene, "--keep-old /old", &format!("head -n 1 {seen}")), "root:x:0:0::/root:/bin/sh");
    let assert =
        scene.sh("unshare --mount pivot --method move --keep-old /o root -- /bin/true").assert().code(125);
    assert!(stderr(&assert).contains("--keep-old"));
}

#[test]
fn the_root_itself_can_be_the_new_root() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let assert = scene.sh("unshare --mount pivot --proc / -- /bin/sh -c 'echo $0'").assert().success();
    assert_eq!(stdout(&assert), "/bin/sh\n");
}

#[test]
fn a_mount_point_below_another_can_be_the_new_root() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let script = "mkdir t && mount -t tmpfs t t && mkdir t/r && mount -t tmpfs r t/r && cp -a root/. t/r/ && \
                  mount -o remount,ro t/r && exec pivot t/r -- /bin/sh -c \"touch /x; ls /\"";
    let assert = scene.sh(&format!("unshare --mount sh -c '{script}'")).assert().success();
    assert_eq!(stdout(&assert), "bin\netc\nroot\ntmp\n");
    assert!(stderr(&assert).contains("Read-only file system"));
}

#[test]
fn an_ordinary_user_can_in_a_user_namespace() {
    let scene = Scene::new();
    assert_eq!(inside_as_user(&scene, "--mount", "", "ls /; id -u"), "bin\netc\nroot\ntmp\n0");
    scene.assert_nothing_left();
}

#[test]
fn without_privilege_the_hint_says_what_to_do() {
    let scene = Scene::new();
    let root = scene.rootfs("root");
    let assert = scene.user_sh(&format!("pivot {} -- /bin/true", root.display())).assert().code(125);
    assert!(stderr(&assert).contains("hint: "), "{}", stderr(&assert));
    // A user namespace alone owns no mount namespace.
    let line = format!("unshare --user --map-root-user pivot {} -- /bin/true", root.display());
    let assert = scene.user_sh(&line).assert().code(125);
    assert!(stderr(&assert).contains("unshare-lite --mount"), "{}", stderr(&assert));
}

#[test]
fn a_root_on_an_overlay_and_inside_a_volume_of_its_own_is_switched() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let script = "mkdir t && mount -t tmpfs t t && mkdir t/u t/w t/m && \
                  mount -t overlay -o lowerdir=root,upperdir=t/u,workdir=t/w o t/m && \
                  exec pivot --proc -V t:/all t/m -- /bin/sh -c \"touch /new; ls / /all /all/m/etc\"";
    let assert = scene.sh(&format!("unshare --mount sh -c '{script}'")).assert().success();
    let seen = stdout(&assert).replace('\n', " ");
    let upper = seen.split("group passwd ").nth(1).unwrap_or_default();
    assert!(
        seen.starts_with("/: all bin etc new proc root tmp  /all: m u w  /all/m/etc: group passwd "),
        "{seen}"
    );
    assert_eq!(upper, "", "the old root and its mounts are gone");
}
