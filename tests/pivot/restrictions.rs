//! Seccomp profiles and presets.

use super::{inside, inside_as_user, inside_of};
use crate::common::{Need, Scene, needs, stderr, stdout};

const STOCK: &str = "/usr/share/containers/seccomp.json";

#[test]
fn the_stock_profile_of_containers_common_loads_and_holds() {
    if !needs(&[Need::Root, Need::Program("perl"), Need::File(STOCK)]) {
        return;
    }
    let scene = Scene::new();
    // A call that it allows, one that it allows to who has the capability, one that it never allows.
    let script =
        "mkdir /m && echo made; chroot / /bin/true && echo changed; mount -t tmpfs x /m && echo mounted";
    let with = inside(&scene, &format!("--seccomp {STOCK}"), script);
    assert_eq!(with, "made\nchanged\nmounted");
    std::fs::remove_dir(scene.path("root/m")).unwrap();
    let without =
        inside(&scene, &format!("--seccomp {STOCK} --cap-drop sys_chroot"), "chroot / /bin/true || echo no");
    assert_eq!(without, "no");
    // kexec_load(2) fails with EPERM before the kernel looks at its arguments.
    let line = format!(
        "unshare --mount pivot --seccomp {STOCK} / -- perl -e 'syscall(246, 0, 99999, 0, 0); print 0+$!'"
    );
    if cfg!(target_arch = "x86_64") {
        assert_eq!(stdout(&scene.sh(&line).assert().success()), "1");
    }
}

#[test]
fn a_blocked_call_fails_as_the_profile_says_and_an_allowed_one_passes() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file(
        "profile.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 511, "op": "SCMP_CMP_EQ"}]},
            {"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#,
    );
    let script = "mkdir /x || touch /x && chmod 700 /x && echo touched; chmod 777 /x || echo denied; hostname x; echo $?";
    let line =
        format!("unshare --mount --uts pivot --proc --seccomp profile.json root -- /bin/sh -c '{script}'");
    scene.rootfs("root");
    let assert = scene.sh(&line).assert().success();
    let seen = stdout(&assert);
    assert!(stderr(&assert).contains("No space left on device"), "{}", stderr(&assert));
    // 159: killed by SIGSYS. (On an architecture where chmod's mode is another argument it is not denied.)
    assert_eq!(seen, "touched\ndenied\n159\n");
}

#[test]
fn a_profile_that_blocks_exec_is_126() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file(
        "none.json",
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["write", "exit", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    scene.sh("unshare --mount pivot --seccomp none.json root -- /bin/true").assert().code(126);
}

#[test]
fn a_profile_holds_without_privilege_too() {
    let scene = Scene::new();
    scene.file(
        "profile.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    for more in ["", "--no-new-privs", "--cap-drop all"] {
        let options = format!("--proc --seccomp profile.json {more}");
        assert_eq!(inside_as_user(&scene, "--mount", &options, "mkdir /tmp/x || echo no"), "no", "{more}");
        std::fs::remove_dir_all(scene.path("root")).unwrap();
    }
}

#[test]
fn what_is_no_profile_is_an_error() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    for (profile, why) in [
        ("", "EOF"),
        ("[]", "no defaultAction"),
        (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "agent"),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "x"}]}"#,
            "no such action",
        ),
    ] {
        scene.file("profile.json", profile);
        let assert =
            scene.sh("unshare --mount pivot --seccomp profile.json root -- /bin/true").assert().code(125);
        assert!(stderr(&assert).contains(why), "{profile}: {}", stderr(&assert));
    }
    scene.sh("unshare --mount pivot --seccomp missing root -- /bin/true").assert().code(125);
}

const STATUS: &str =
    "grep -E \"^(CapInh|CapEff|CapBnd|NoNew|Seccomp:)\" /proc/self/status | while read k v; do echo $v; done";

#[test]
fn the_preset_docker_is_what_docker_leaves() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let seen = inside_of(&scene, "--mount --pid --fork", "--preset docker", STATUS);
    // Docker's fourteen, as /proc/self/status in a container of Docker's shows them.
    assert_eq!(seen, "0000000000000000\n00000000a80425fb\n00000000a80425fb\n0\n2");
    let script = "touch /w && rm /w && echo writable; mount -t tmpfs x /tmp || echo no mount; unshare -m true 2>/dev/null || echo no unshare; cat /proc/timer_list";
    assert_eq!(inside(&scene, "--preset docker", script), "writable\nno mount\nno unshare");
    let more = inside(
        &scene,
        "--preset docker --cap-add sys_admin --cap-drop mknod,net_raw --seccomp unconfined",
        STATUS,
    );
    assert_eq!(more, "0000000000000000\n00000000a02405fb\n00000000a02405fb\n0\n0");
}

#[test]
fn the_preset_strict_leaves_nothing() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let none = "0000000000000000";
    assert_eq!(inside(&scene, "--preset strict", STATUS), format!("{none}\n{none}\n{none}\n1\n2"));
    assert_eq!(inside(&scene, "--preset strict --tmpfs /tmp", "touch /x || touch /tmp/x && echo ok"), "ok");
}

#[test]
fn presets_are_for_ordinary_users_too() {
    let scene = Scene::new();
    for (preset, no_new_privs) in [("docker", 0), ("strict", 1)] {
        let seen =
            inside_as_user(&scene, "--mount --pid --fork --net", &format!("--preset {preset}"), STATUS);
        assert!(seen.ends_with(&format!("\n{no_new_privs}\n2")), "{preset}: {seen}");
        std::fs::remove_dir_all(scene.path("root")).unwrap();
    }
}
