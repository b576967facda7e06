//! A stage of a pipeline.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::two_layers;

/// A process in namespaces of its own, as `unshare-lite --detach` makes one, and its record.
fn container(scene: &Scene, unshare: &str) -> (Child, String) {
    let separator = if unshare.contains(" -- ") { "" } else { "--" };
    let script = format!("exec unshare-lite {unshare} {separator} sh -c 'echo; exec sleep 600'");
    let mut child = scene.std_sh(&script).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    let process = ::common::process::Process::open(child.id() as i32).unwrap();
    let record = json!({"pid": process.pid(), "start_time": process.start_time(), "mine": [1, 2]});
    (child, record.to_string())
}

#[test]
fn a_record_without_a_container_is_handed_on_with_the_union_that_was_mounted_here() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = scene
        .sh("exec unshare-lite --mount -- sh -c 'unionmount --from - -l bottom -l top -u up merged; cat merged/both >&2'")
        .write_stdin(r#"{"x":1}"#)
        .assert()
        .success();
    assert_eq!(stderr(&run), "top");
    let record: Value = serde_json::from_str(&stdout(&run)).unwrap();
    let path = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    let rootfs = json!({
        "merged": path("merged"), "lower": [path("bottom"), path("top")],
        "upper": path("up"), "work": path("up.work"), "ephemeral": false,
    });
    assert_eq!(record, json!({"x": 1, "rootfs": rootfs}));
}

#[test]
fn the_union_is_mounted_in_the_container_and_not_here() {
    if !needs(&[Need::Root]) {
        return;
    }
    for unshare in ["--mount", "--user --map-root-user --mount"] {
        let scene = two_layers();
        let (mut container, record) = container(&scene, unshare);
        let run = scene
            .sh("unionmount --from - -l bottom -l top --ephemeral merged")
            .write_stdin(record)
            .assert()
            .success();
        let record: Value = serde_json::from_str(&stdout(&run)).unwrap();
        assert_eq!(record["mine"], json!([1, 2]));
        assert_eq!(record["rootfs"]["ephemeral"], json!(true));
        assert_eq!(record["rootfs"].get("upper"), None);
        let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", container.id())).unwrap();
        assert!(table.contains("/merged rw,"), "{table}");
        assert_eq!(scene.mounts().len(), 0);
        container.kill().unwrap();
        container.wait().unwrap();
        scene.assert_nothing_left();
    }
}

/// The tool is not in the container's PID namespace: in its /proc there is no /proc/self.
#[test]
fn the_container_may_have_a_proc_without_this_process() {
    if !needs(&[Need::Root]) {
        return;
    }
    for namespaces in ["--mount", "--user --map-root-user --mount"] {
        for layers in ["-l bottom -l top", "-l bottom", "-l /"] {
            let scene = two_layers();
            let hidden = "-- sh -c 'mount -t tmpfs tmpfs /proc; exec \"$@\"' sh";
            let (mut container, record) = container(&scene, &format!("{namespaces} {hidden}"));
            let run = scene
                .sh(&format!("unionmount --from - {layers} --ephemeral merged"))
                .write_stdin(record)
                .assert();
            run.success();
            let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", container.id())).unwrap();
            assert!(table.contains("/merged rw,"), "{namespaces} {layers}: {table}");
            container.kill().unwrap();
            container.wait().unwrap();
        }
    }
}

#[test]
fn a_stage_that_fails_says_that_the_container_still_runs() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let (mut container, record) = container(&scene, "--mount");
    let run = scene.sh("unionmount --from - -l none merged").write_stdin(record.clone()).assert().code(125);
    assert_eq!(stdout(&run), "");
    let stop = format!("PID 1 still runs: 'kill -KILL {}' stops it", container.id());
    assert!(stderr(&run).contains(&stop), "{}", stderr(&run));
    container.kill().unwrap();
    container.wait().unwrap();
    let run = scene.sh("unionmount --from - -l bottom merged").write_stdin(record).assert().code(125);
    assert!(!stderr(&run).contains("still runs"));
}

#[test]
fn a_record_that_nobody_reads_leaves_no_mount() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let (mut container, record) = container(&scene, "--mount");
    scene.sh("unionmount --from - -l bottom merged > /dev/full").write_stdin(record).assert().code(125);
    let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", container.id())).unwrap();
    assert!(!table.contains("/merged"), "{table}");
    container.kill().unwrap();
    container.wait().unwrap();
}

#[test]
fn a_record_and_a_command_exclude_each_other() {
    let scene = two_layers();
    let run = scene.sh("echo '{}' | unionmount --from - -l bottom merged -- true").assert().code(125);
    assert!(stderr(&run).contains("cannot be used with"), "{}", stderr(&run));
}
