//! Attacks by a container on who enters it: its directories, its /proc, and what the caller brings along.
//! (The known ones by number in SECURITY.md.)

use std::fs;

use crate::common::{Need, Scene, needs, stdout};
use crate::{STAY, Target};

/// CVE-2024-21626: the target's working directory has been moved out of its root.
#[test]
fn a_working_directory_that_was_moved_out_of_the_root_is_not_entered() {
    if !needs(&[Need::Root]) {
        return;
    }
    for start in ["exec unshare-lite --mount -- pivot --proc root --", "exec chroot root"] {
        let scene = Scene::new();
        scene.rootfs("root");
        scene.dir("root/work/deep");
        scene.file("secret", "of the host");
        let target = Target::start(&scene, &format!("{start} sh -c 'cd /work/deep; echo; exec sleep 60'"));
        fs::rename(scene.path("root/work/deep"), scene.path("moved")).unwrap();
        for options in ["", "-m -r -w"] {
            let line = format!("nsenter-lite -t {} {options} -- sh -c 'cat ../secret; pwd'", target.pid);
            let run = scene.sh(&line).assert().success();
            assert_eq!(
                stdout(&run),
                "/
",
                "{start} {options}"
            );
        }
    }
}

/// CVE-2025-52881: what is meant for the kernel's /proc is not written to a decoy, and no decoy is believed.
#[test]
fn a_decoy_for_proc_gets_nothing_and_changes_nothing() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let decoys = ["oom_score_adj", "setgroups", "attr/exec", "uid_map", "loginuid", "status", "cgroup"];
    for name in decoys {
        for who in ["self", "1"] {
            scene.file(&format!("root/proc/{who}/{name}"), "decoy");
        }
    }
    let line = "echo 321 >/proc/self/oom_score_adj; exec unshare-lite --mount --pid --uts -- \
                setpriv --bounding-set=-all,+chown,+kill,+setuid,+setgid,+sys_chroot,+sys_admin chroot root";
    let target = Target::start(&scene, &format!("{line} {STAY}"));
    assert_eq!(fs::read_to_string(format!("/proc/{}/root/proc/self/status", target.pid)).unwrap(), "decoy");
    let inside = Target::start(&scene, &format!("exec nsenter-lite -t {} -S 7 -G 7 -- {STAY}", target.pid));
    for key in ["CapBnd", "NoNewPrivs"] {
        let of = |pid| common::procfs::status(pid, key).unwrap();
        assert_eq!(of(inside.pid), of(target.pid), "{key}");
    }
    assert_eq!(common::procfs::status(inside.pid, "Groups").unwrap(), "");
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", inside.pid)).unwrap();
    assert_eq!(score, "321\n");
    for name in decoys {
        for who in ["self", "1"] {
            let decoy = scene.path("root/proc").join(who).join(name);
            assert_eq!(fs::read_to_string(&decoy).unwrap(), "decoy", "{}", decoy.display());
        }
    }
}

/// The same where the kernel (before 5.11) can't mark descriptors by itself: an empty list hides none.
#[test]
fn a_decoy_for_the_list_of_descriptors_lets_none_through() {
    if !needs(&[Need::Root, Need::Program("strace"), Need::Program("bash")]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.dir("root/proc/self/fd");
    let target = Target::start(&scene, &format!("exec unshare-lite --mount -- pivot root -- {STAY}"));
    // A number that the tool does not look at one by one.
    let old = "strace -f -o trace -e trace=close_range -e inject=close_range:error=EINVAL";
    let inherit = "ulimit -n 4096; exec 1500<.";
    let enter =
        format!("nsenter-lite -t {} -- sh -c 'mount -t proc proc /proc; ls /proc/self/fd'", target.pid);
    let run = scene.sh(&format!("exec bash -c \"{inherit}; exec {old} {enter}\"")).assert().success();
    assert_eq!(
        stdout(&run),
        "0
1
2
3
",
        "3 is the listing's own"
    );
    assert!(fs::read_to_string(scene.path("trace")).unwrap().contains("INJECTED"));
}

/// CVE-2022-29162: inheritable capabilities of the caller's, which a program with file capabilities would get.
#[test]
fn nothing_is_inheritable_although_the_caller_had_it_so() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let caller = "setpriv --inh-caps +chown,+kill,+sys_admin";
    let look = "grep CapInh /proc/self/status";
    let callers = stdout(&scene.sh(&format!("{caller} {look}")).assert().success());
    assert_eq!(callers.trim().split('\t').nth(1), Some("0000000000200021"), "the attack is real");
    for kinds in ["--uts --pid", "--uts --user --map-root-user"] {
        let target = Target::start(&scene, &format!("exec unshare-lite {kinds} -- {STAY}"));
        for options in ["", "--privileged", "--uts", "-S 0 -G 0", "--preserve-credentials", "--no-fork"] {
            let line = format!("{caller} nsenter-lite -t {} {options} -- {look}", target.pid);
            let seen = stdout(&scene.sh(&line).assert().success());
            assert_eq!(seen, "CapInh:\t0000000000000000\n", "{kinds} {options}");
        }
    }
}
