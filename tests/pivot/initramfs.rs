//! Where pivot_root(2) cannot work: a machine that runs from its initramfs, booted for real,
//! and kernels that lack one call or the other.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::common::needs::in_uml;
use crate::common::{Need, Scene, needs, path_of, stderr, stdout};

/// What the machine's process 1 does. Each case begins with a line of its name.
const INIT: &str = r#"#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
echo "case refused"
pivot /root -- /bin/ls /; echo "status $?"
echo "case forced pivot_root"
unshare -m pivot --method pivot_root /root -- /bin/ls /; echo "status $?"
echo "case auto"
unshare -m pivot -v --proc /root -- /bin/sh -c 'echo /*; cut -d" " -f5 /proc/self/mountinfo; cd ../..; pwd'; echo "status $?"
echo "case api"
unshare -m -p -f pivot --mount-api /root -- /bin/sh -c 'echo /* $$; echo x > /dev/null && echo ok'; echo "status $?"
echo "case chroot"
unshare -m pivot -v --method chroot /root -- /bin/ls /; echo "status $?"
echo "case user"
unshare -U -r -m pivot -v /root -- /bin/ls /; echo "status $?"
echo "case host"
echo /root/*
echo "case switch_root"
exec pivot --force -v --proc /root -- /bin/sh -c 'echo /* $$; echo case" "end; poweroff -f'
"#;

/// An initramfs of busybox, the tool, and a root to switch to.
fn initramfs(scene: &Scene) {
    for directory in ["bin", "dev", "proc", "sys", "root/bin"] {
        scene.dir(&format!("image/{directory}"));
    }
    fs::copy("/bin/busybox", scene.path("image/bin/busybox")).unwrap();
    fs::copy("/bin/busybox", scene.path("image/root/bin/busybox")).unwrap();
    fs::copy(path_of("pivot"), scene.path("image/bin/pivot")).unwrap();
    for command in ["sh", "mount", "unshare", "ls", "cut", "poweroff"] {
        symlink("busybox", scene.path("image/bin").join(command)).unwrap();
        symlink("busybox", scene.path("image/root/bin").join(command)).unwrap();
    }
    let init = scene.file("image/init", INIT);
    fs::set_permissions(init, fs::Permissions::from_mode(0o755)).unwrap();
    scene
        .sh("cd image && mknod dev/console c 5 1 && mknod dev/null c 1 3 && \
             find . | busybox cpio -o -H newc > ../initramfs 2>/dev/null")
        .assert()
        .success();
}

#[test]
fn from_an_initramfs_the_root_is_moved() {
    if in_uml() || !needs(&[Need::Root, Need::Program("linux.uml"), Need::Program("busybox")]) {
        return;
    }
    let scene = Scene::new();
    initramfs(&scene);
    let boot = "TMPDIR=$PWD exec timeout 50 linux.uml mem=256M quiet loglevel=3 initrd=$PWD/initramfs panic=1 \
                con=null con0=null,fd:1 uml_dir=$PWD/ </dev/null 2>&1";
    let output = stdout(&scene.sh(boot).assert()).replace('\r', "");
    let case = |name: &str| {
        let rest =
            output.split_once(&format!("case {name}\n")).unwrap_or_else(|| panic!("no {name}: {output}")).1;
        rest.split("case ").next().unwrap().to_owned()
    };
    assert!(case("refused").contains("it is that of PID 1") && case("refused").contains("status 125"));
    let forced = case("forced pivot_root");
    assert!(
        forced.contains("Invalid argument") && forced.contains("initramfs") && forced.contains("status 125")
    );
    let auto = case("auto");
    assert!(auto.contains("switched by move"), "{auto}");
    // Of the old root no mount is left, and there is no way up.
    assert!(auto.ends_with("/bin /proc\n/\n/proc\n/\nstatus 0\n"), "{auto}");
    assert!(case("api").contains("/bin /dev /proc /sys 1\nok\nstatus 0\n"), "{}", case("api"));
    assert!(case("chroot").contains("switched by chroot") && case("chroot").contains("status 0\n"));
    let user = case("user");
    assert!(user.contains("switched by move") && user.contains("status 0\n"), "{user}");
    assert_eq!(case("host"), "/root/bin /root/dev /root/proc /root/sys\n");
    let switched = case("switch_root");
    assert!(switched.contains("switched by move") && switched.contains("/sys 1\n"), "{switched}");
    assert!(output.contains("case end"), "{output}");
}

/// A filter that makes one kernel look like another: these calls fail with these errnos.
fn kernel_without(scene: &Scene, calls: &str) -> String {
    let profile = format!("{{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{calls}]}}");
    let file = scene.file("kernel.json", &profile);
    format!("unshare --mount --pid --fork pivot --proc --seccomp {} / -- ", file.display())
}

const NO_PIVOT_ROOT: &str = r#"{"names": ["pivot_root"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}"#;
/// mount(2) with MS_MOVE is an invalid argument.
const NO_MOVE: &str = r#"{"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
    "args": [{"index": 3, "value": 8192, "valueTwo": 8192, "op": "SCMP_CMP_MASKED_EQ"}]}"#;

#[test]
fn auto_takes_the_first_method_that_the_kernel_supports() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root").display().to_string();
    for (missing, method) in [
        (NO_MOVE.to_owned(), "pivot_root"),
        (NO_PIVOT_ROOT.to_owned(), "move"),
        (format!("{NO_PIVOT_ROOT}, {NO_MOVE}"), "chroot"),
    ] {
        let line = format!("{} pivot -v {root} -- /bin/ls /", kernel_without(&scene, &missing));
        let assert = scene.sh(&line).assert().success();
        assert_eq!(stdout(&assert), "bin\netc\nroot\ntmp\n", "{method}");
        assert!(
            stderr(&assert).contains(&format!("switched by {method}\n")),
            "{method}: {}",
            stderr(&assert)
        );
    }
    // A method that was asked for is not replaced by another.
    let line =
        format!("{} pivot --method pivot_root {root} -- /bin/ls /", kernel_without(&scene, NO_PIVOT_ROOT));
    let assert = scene.sh(&line).assert().code(125);
    assert!(stderr(&assert).contains("pivot_root: Function not implemented"), "{}", stderr(&assert));
    scene.assert_nothing_left();
}

#[test]
fn a_kernel_without_a_needed_call_is_an_error_that_names_the_version() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root").display().to_string();
    for (call, options, version) in [
        ("mount_setattr", "-V /etc:/x/y:ro", "Linux 5.12"),
        ("mount_setattr", "-w /x --read-only-path /etc", "Linux 5.12"),
        ("mount_setattr", "--read-only -w /x", "Linux 5.12"),
        ("fsopen", "--tmpfs /x", "Linux 5.2"),
    ] {
        let missing = format!(r#"{{"names": ["{call}"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}}"#);
        let line = format!("{} pivot {options} {root} -- /bin/true", kernel_without(&scene, &missing));
        let assert = scene.sh(&line).assert().code(125);
        assert!(stderr(&assert).contains(version), "{call} {options}: {}", stderr(&assert));
        assert!(!scene.path("root/x").exists(), "{call} {options}");
    }
    scene.assert_nothing_left();
}
