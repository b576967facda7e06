//! Kernels that lack a system call: the tools do without it, or say which Linux has it.
//!
//! A filter by pivot's own `--seccomp` answers ENOSYS, as such a kernel does. (An older kernel in
//! earnest is the user-mode-linux machine of `tests/run`, where all tests run as well.)
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod common;

use assert_cmd::assert::Assert;
use common::{Need, Scene, needs, stderr};

/// README's chain.
const CHAIN: &str = "unshare-lite --mount --pid --uts --ipc --net --hostname demo -- \
    cgset $G memory.max=64M pids.max=32 -- unionmount --lower / --ephemeral /mnt -- \
    pivot --mount-api /mnt -- /bin/sh -c 'hostname; echo $$'";

/// README's pipeline, and a process that joins.
const PIPELINE: &str = "unshare-lite --detach --mount --pid --uts --hostname demo >1 && cgset --from 1 $G pids.max=32 >2 && \
    unionmount --from 2 --lower / --ephemeral /mnt >3 && pivot --from 3 --mount-api /mnt >4 && \
    nsenter-lite --from 4 -- sh -c 'hostname; cat /proc/1/comm'";

/// A layer packed and unpacked.
const LAYER: &str = "whiteout pack layer | whiteout unpack new && ls new";

/// A volume in a root, in a user namespace.
const VOLUME: &str = "unshare-lite --map-root-user --mount -- pivot -V layer:/tmp root -- /bin/ls /tmp";

/// What a script prints with all of its system calls.
const JOBS: [(&str, &str); 4] =
    [(CHAIN, "demo\n1\n"), (PIPELINE, "demo\nunshare-lite\n"), (LAYER, "file\n"), (VOLUME, "file\n")];

/// Runs a script on a kernel without these system calls.
fn without(calls: &[&str], script: &str) -> (Scene, Assert) {
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("layer/file", "");
    let names = serde_json::json!({ "names": calls, "action": "SCMP_ACT_ERRNO", "errnoRet": 38 });
    let profile = serde_json::json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [names] });
    scene.file("profile", &profile.to_string());
    let line = "exec unshare --mount pivot --seccomp profile --workdir $PWD / -- sh -c \"$SCRIPT\"";
    let assert = scene.sh(line).env("SCRIPT", script).env("G", scene.name()).assert();
    (scene, assert)
}

/// The processes of a pipeline that was cut short are the caller's to end, and a group is left to be used again.
fn clean_up(scene: &Scene) {
    scene.sh("for pid in $(jq .pid 1 2>&-); do kill -9 $pid; done").assert().success();
    let _ = scene.tool("cgset").args([scene.name(), "--kill", "--delete"]).output();
    scene.assert_all_ends();
}

/// Of JOBS, the `failing` end as a tool's failure, whose hint says this; the others work as ever.
fn without_it_is_said(calls: &[&str], said: &str, failing: &[&str]) {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    for (script, shown) in JOBS {
        let (scene, assert) = without(calls, script);
        if failing.contains(&script) {
            let assert = assert.code(125).stdout("");
            let (error, hint) = (stderr(&assert), format!("hint: it takes {said}"));
            assert!(
                error.contains("Function not implemented\n") && error.contains(&hint),
                "{script}: {error}"
            );
        } else {
            assert.success().stdout(shown).stderr("");
        }
        clean_up(&scene);
    }
}

/// Below the floor, or filtered by whoever runs the tools.
const FLOOR: &str = "a system call that Linux 5.10 has";

#[test]
fn all_works_with_all_of_them_and_without_what_has_a_fallback() {
    // The first is nobody's.
    for calls in [&["swapon"][..], &["clone3"], &["faccessat2", "statx"], &["epoll_pwait2", "memfd_create"]] {
        without_it_is_said(calls, "nothing", &[]);
    }
}

#[test]
fn before_5_12_there_is_no_mount_setattr() {
    let said = "mount_setattr(2), which Linux 5.12 brought";
    without_it_is_said(&["mount_setattr"], said, &[CHAIN, PIPELINE, VOLUME]);
}

/// What of pivot takes mount_setattr(2), and what does not. README and pivot(1) say the same.
#[test]
fn before_5_12_pivots_page_says_which_of_its_options_are_an_error() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let pivot = |options: &str| {
        let script = format!("unshare-lite --mount --pid -- pivot {options} root -- /bin/pwd");
        without(&["mount_setattr"], &script).1
    };
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/pivot.1")).unwrap();
    let notes = page.split("It takes Linux 5.10;").nth(1).unwrap();
    let paragraph = notes.split(".Pp").next().unwrap();
    for (name, value) in [
        ("volume", " layer:/tmp"),
        ("mount-api", ""),
        ("preset", " docker"),
        ("read-only-path", " /etc"),
        ("read-only", ""),
    ] {
        let run = pivot(&format!("--{name}{value}")).code(125).stdout("");
        assert!(stderr(&run).contains("mount_setattr(2), which Linux 5.12 brought"), "{}", stderr(&run));
        let named = paragraph.lines().any(|line| line.trim_end_matches(" ,") == format!(".Fl -{name}"));
        assert!(named, "{name} is not in: {paragraph}");
    }
    let others = "--proc --sys --dev --tmpfs /t --mask /etc/passwd -V layer:/tmp:shared --keep-old /old";
    pivot(others).success().stdout("/\n");
}

#[test]
fn before_5_9_there_is_no_close_range() {
    without_it_is_said(&["close_range"], FLOOR, &[PIPELINE, VOLUME]);
}

#[test]
fn before_5_6_there_is_no_openat2() {
    without_it_is_said(&["openat2"], FLOOR, &[CHAIN, PIPELINE, VOLUME]);
}

#[test]
fn before_5_3_there_are_no_pidfds() {
    without_it_is_said(&["pidfd_open"], FLOOR, &[CHAIN, PIPELINE]);
    without_it_is_said(&["pidfd_send_signal"], FLOOR, &[PIPELINE]);
}

#[test]
fn before_5_2_mounts_have_no_descriptors() {
    without_it_is_said(&["open_tree", "move_mount"], FLOOR, &[CHAIN, PIPELINE, VOLUME]);
    without_it_is_said(&["fsopen", "fsconfig", "fsmount"], FLOOR, &[CHAIN, PIPELINE]);
}
