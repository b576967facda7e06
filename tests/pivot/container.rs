//! `--from`: the root of a container that runs already.

use std::process::Child;

use crate::common::{Need, Scene, eventually, needs, stderr, stdout};

/// An idle PID 1 in namespaces of its own, and its record in the file `record`.
fn start(scene: &Scene, namespaces: &str) -> Child {
    scene.rootfs("root");
    let child =
        scene.std_sh(&format!("exec unshare {namespaces} --fork --kill-child sleep 1000")).spawn().unwrap();
    let script = format!(
        "until pid=$(pgrep -P {} -x sleep); do sleep 0.01; done; \
         printf '{{\"pid\":%d,\"start_time\":%d,\"x\":[1]}}' $pid $(cut -d' ' -f22 /proc/$pid/stat) > record",
        child.id()
    );
    scene.sh(&script).assert().success();
    child
}

fn stop(scene: &Scene, mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("all of it ends", || scene.processes().is_empty());
}

#[test]
fn the_containers_root_is_switched_from_outside() {
    if !needs(&[Need::Root, Need::Program("pgrep")]) {
        return;
    }
    let scene = Scene::new();
    let child = start(&scene, "--mount --pid --uts --ipc --net");
    scene.dir("data");
    let options =
        "--mount-api -V data:/data --user ann --cap-drop all --no-new-privs -w /work -e A=1 --umask 7";
    let assert = scene.sh(&format!("pivot --from - {options} root < record")).assert().success();
    let record: serde_json::Value = serde_json::from_str(&stdout(&assert)).unwrap();
    assert_eq!(record["x"], serde_json::json!([1]));
    assert_eq!(
        record["root"],
        serde_json::json!({
            "path": scene.path("root"),
            "method": "pivot_root",
            "user": { "uid": 1000, "gid": 1001, "groups": [1001, 10] },
            "capabilities": { "bounding": [], "ambient": [] },
            "no_new_privs": true,
            "umask": 7,
            "workdir": "/work",
            "environment": ["A=1", "HOME=/home/ann"],
            "clear_environment": false,
        })
    );
    let pid = record["pid"].as_i64().unwrap();
    // PID 1's own root is the new one, and the container's processes are all that its /proc shows.
    let mut seen = scene.sh(&format!(
        "nsenter -t {pid} -a /bin/sh -c 'ls -d /data /work /old; readlink /proc/1/exe; grep -l kthreadd /proc/[0-9]*/comm'"
    ));
    let assert = seen.assert();
    assert_eq!(stdout(&assert), "/data\n/work\n/usr/bin/sleep\n");
    scene
        .sh(&format!("ls /proc/{pid}/root/"))
        .assert()
        .success()
        .stdout("bin\ndata\ndev\netc\nproc\nroot\nsys\ntmp\nwork\n");
    stop(&scene, child);
    scene.assert_nothing_left();
}

#[test]
fn a_container_of_an_ordinary_user_is_switched_by_that_user() {
    let scene = Scene::new();
    if !needs(&[Need::Program("pgrep")]) {
        return;
    }
    let root = scene.rootfs("root");
    if nix::unistd::geteuid().is_root() {
        scene.sh("chown -R 65534:65534 root").assert().success();
    }
    let script = format!(
        "unshare --user --map-root-user --mount --pid --net --ipc --uts --cgroup --fork --kill-child sleep 1000 & up=$!; \
         until pid=$(pgrep -P $up -x sleep); do sleep 0.01; done; \
         printf '{{\"pid\":%d,\"start_time\":%d}}' $pid $(cut -d' ' -f22 /proc/$pid/stat) | \
         pivot --from - --mount-api {} && nsenter -t $pid -U --preserve-credentials -m -p -r -w /bin/sh -c 'id -u; ls /proc/1/root/; head -c 1 /dev/zero | wc -c'; \
         kill -9 $up; wait",
        root.display()
    );
    let assert = scene.user_sh(&script).assert();
    let text = stdout(&assert);
    let mut lines = text.lines();
    let record: serde_json::Value =
        serde_json::from_str(lines.next().unwrap_or_else(|| panic!("{}", stderr(&assert)))).unwrap();
    assert_eq!(record["root"]["method"], "pivot_root");
    assert_eq!(lines.collect::<Vec<_>>(), ["0", "bin", "dev", "etc", "proc", "root", "sys", "tmp", "1"]);
}

#[test]
fn a_failing_stage_says_how_to_stop_what_runs() {
    if !needs(&[Need::Root, Need::Program("pgrep")]) {
        return;
    }
    let scene = Scene::new();
    let child = start(&scene, "--mount --pid");
    for (options, why) in [
        ("-V /etc:/x -V missing:/y root", "open the volume"),
        ("missing", "No such file or directory"),
        ("--user nobody-here -w /w root", "find the user"),
    ] {
        // Who has the record in a file knows what runs.
        for (from, says) in [("- <record", true), ("record", false)] {
            let assert = scene.sh(&format!("pivot {options} --from {from}")).assert().code(125);
            let text = stderr(&assert);
            assert!(text.contains(why) && text.contains("PID 1 still runs: 'kill ") == says, "{text}");
            assert_eq!(stdout(&assert), "");
        }
    }
    assert!(!scene.path("root/x").exists() && !scene.path("root/w").exists());
    let mounts = "grep -c \" $PWD\" /proc/$(jq .pid record)/mountinfo; true";
    assert_eq!(stdout(&scene.sh(mounts).assert()), "0\n");
    stop(&scene, child);
    scene.assert_nothing_left();
}

#[test]
fn forged_and_old_records_are_refused() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let own = "$$ $(cut -d' ' -f22 /proc/$$/stat)";
    for (record, why) in [
        ("{}", "it has no pid"),
        ("", "it is empty"),
        ("{\"pid\":1,\"start_time\":0}", "mount namespace"),
        ("{\"pid\":1,\"start_time\":12345}", "another process"),
        ("{\"pid\":-1,\"start_time\":0}", "not a positive integer"),
    ] {
        // PID 1's true start time differs from machine to machine.
        let start = std::fs::read_to_string("/proc/1/stat").unwrap();
        let start = start.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().to_owned();
        let record = record.replace(":0}", &format!(":{start}}}"));
        let assert = scene.sh(&format!("printf '{record}' | pivot --from - root")).assert().code(125);
        assert!(stderr(&assert).contains(why), "{record}: {}", stderr(&assert));
    }
    // The caller's own shell, which shares the caller's mount namespace.
    let line = format!(
        "printf '{{\"pid\":%d,\"start_time\":%d}}' {own} | unshare --mount true; printf '{{\"pid\":%d,\"start_time\":%d}}' {own} | pivot --from - root"
    );
    let assert = scene.sh(&line).assert().code(125);
    assert!(stderr(&assert).contains("mount namespace"), "{}", stderr(&assert));
    scene.assert_nothing_left();
}

#[test]
fn what_a_preset_imposes_is_in_the_record() {
    if !needs(&[Need::Root, Need::Program("pgrep")]) {
        return;
    }
    let scene = Scene::new();
    let child = start(&scene, "--mount --pid");
    let assert = scene
        .sh("pivot --from - --preset docker --rlimit nofile=64:128 --oom-score-adj 7 --clear-env root < record")
        .assert()
        .success();
    let record: serde_json::Value = serde_json::from_str(&stdout(&assert)).unwrap();
    let root = record["root"].as_object().unwrap();
    let credentials = ::common::creds::Credentials::from_json(root).unwrap();
    assert_eq!(credentials.capabilities.unwrap().bounding.names().len(), 14);
    assert!(credentials.seccomp.unwrap().program.len() > 100 && !credentials.no_new_privs);
    let limits = ::common::limits::Limits::from_json(root).unwrap();
    assert_eq!((limits.rlimits.len(), limits.oom_score_adj), (1, Some(7)));
    assert_eq!(root["clear_environment"], true);
    stop(&scene, child);
    scene.assert_nothing_left();
}
