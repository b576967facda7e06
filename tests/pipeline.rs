//! The container as a pipeline: a record flows from stage to stage, and is the handle at the end.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::{Need, Scene, needs, stderr, stdout};
use serde_json::{Value, json};

/// The pipeline of README; its record ends up in `demo.json`.
fn build(scene: &Scene) -> String {
    let name = scene.name();
    format!(
        "unshare-lite --detach --mount --pid --uts --ipc --net --hostname demo | \
         cgset --from - {name} memory.max=64M pids.max=32 | \
         unionmount --from - --lower / --ephemeral /mnt | \
         pivot --from - --mount-api /mnt >demo.json"
    )
}

fn record(scene: &Scene) -> Value {
    serde_json::from_str(&std::fs::read_to_string(scene.path("demo.json")).unwrap()).unwrap()
}

fn ready() -> bool {
    needs(&[Need::Root, Need::Cgroup, Need::Program("jq")])
}

#[test]
fn it_builds_a_container_that_exec_enters_and_kill_removes() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    scene.sh(&build(&scene)).assert().success();
    let look = "cat /proc/sys/kernel/hostname; id -u; cat /proc/1/comm; test $$ -gt 1 && echo joined; \
                grep -c \" / overlay \" /proc/mounts; echo x >/cs-mark; ls /cs-mark";
    let expected = "demo\n0\nunshare-lite\njoined\n1\n/cs-mark\n".replace("/ overlay ", "");
    let look = look.replace("grep -c \" / overlay \" /proc/mounts", "grep -c \" / overlay\" /proc/mounts");
    scene.sh(&format!("nsenter-lite --from demo.json -- sh -c '{look}'")).assert().success().stdout(expected);
    assert!(!std::path::Path::new("/cs-mark").exists());
    // As often as you like, and what one wrote the next one sees.
    scene.sh("nsenter-lite --from demo.json -- cat /cs-mark").assert().success().stdout("x\n");
    scene.sh("cgset --from demo.json --kill --delete").assert().success();
    scene.assert_nothing_left();
    // Now the handle is of no container any more.
    let gone = scene.sh("nsenter-lite --from demo.json -- true").assert().code(125);
    assert!(stderr(&gone).lines().count() <= 2, "{}", stderr(&gone));
}

#[test]
fn the_record_has_the_keys_that_the_design_gives() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    scene.sh(&build(&scene)).assert().success();
    let record = record(&scene);
    let pid = record["pid"].as_i64().unwrap() as i32;
    assert_eq!(record["start_time"], json!(::common::procfs::stat(pid).unwrap().start_time));
    for kind in ["mnt", "pid", "uts", "ipc", "net"] {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
        assert_eq!(link, format!("{kind}:[{}]", record["namespaces"][kind]));
    }
    assert_eq!(record["namespaces"].as_object().unwrap().len(), 5, "only those created");
    assert_eq!(record["cgroup"]["path"], json!(scene.name()));
    assert_eq!(record["rootfs"]["merged"], "/mnt");
    assert_eq!(record["rootfs"]["lower"], json!(["/"]));
    assert_eq!(record["rootfs"]["ephemeral"], true);
    assert_eq!(record["root"]["path"], "/mnt");
    assert_eq!(record["root"]["method"], "pivot_root");
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroup.contains(&format!("/{}\n", scene.name())), "{cgroup}");
}

#[test]
fn exec_stays_within_the_limits() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    scene.sh(&build(&scene)).assert().success();
    let take = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null; echo $?";
    scene.sh(&format!("nsenter-lite --from demo.json -- sh -c '{take}'")).assert().success().stdout("137\n");
}

#[test]
fn the_first_process_can_start_inside_its_cgroup_and_root_filesystem() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let (name, merged) = (scene.name(), scene.dir("merged"));
    let merged = merged.display();
    scene
        .sh(&format!(
            "echo '{{}}' | cgset --from - {name} memory.max=64M | unionmount --from - --lower / --ephemeral {merged} | \
             unshare-lite --from - --detach --mount --pid --cgroup | pivot --from - --proc {merged} >demo.json"
        ))
        .assert()
        .success();
    let inside =
        scene.sh("nsenter-lite --from demo.json -- cat /proc/1/cgroup /proc/self/cgroup").assert().success();
    assert!(!stdout(&inside).contains(name), "the cgroup namespace begins at the group: {}", stdout(&inside));
    scene.sh("cgset --from demo.json --kill --delete").assert().success();
    assert_eq!(scene.processes(), [] as [i32; 0]);
    assert_eq!(scene.cgroups(), [] as [std::path::PathBuf; 0]);
}

#[test]
fn unknown_keys_pass_through_every_stage() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let pipeline = build(&scene).replacen('|', "| jq -c '. + {note: [1, {a: null}]}' |", 1);
    scene.sh(&pipeline).assert().success();
    assert_eq!(record(&scene)["note"], json!([1, { "a": null }]));
    assert_eq!(record(&scene)["rootfs"]["merged"], "/mnt");
}

#[test]
fn a_failing_stage_fails_those_after_it_and_says_that_the_container_runs() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let assert = scene
        .sh("unshare-lite --detach --mount --pid | tee first.json | unionmount --from - --lower /no/such/layer --ephemeral /mnt | pivot --from - /mnt >demo.json")
        .assert()
        .code(125);
    let said = stderr(&assert);
    let pid: Value =
        serde_json::from_str(&std::fs::read_to_string(scene.path("first.json")).unwrap()).unwrap();
    assert!(said.contains("unionmount: /no/such/layer: "), "{said}");
    assert!(said.contains(&pid["pid"].to_string()), "the hint names the process to end: {said}");
    assert!(said.contains("pivot: standard input: read the container record: it is empty"), "{said}");
    assert_eq!(std::fs::read(scene.path("demo.json")).unwrap(), b"");
}

#[test]
fn a_recycled_pid_is_not_taken_for_the_container() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let forged = json!({ "pid": std::process::id(), "start_time": 1 }).to_string();
    for stage in [
        "cgset --from - x",
        "unionmount --from - --lower / --ephemeral /mnt",
        "pivot --from - /mnt",
        "nsenter-lite --from - -- true",
    ] {
        let assert = scene.sh(stage).write_stdin(forged.clone()).assert().code(125).stdout("");
        assert!(
            stderr(&assert).contains("the PID now belongs to another process"),
            "{stage}: {}",
            stderr(&assert)
        );
    }
    scene.assert_nothing_left();
}

#[test]
fn what_is_no_record_is_refused_by_every_stage() {
    let scene = Scene::new();
    let stages = [
        "cgset --from - x",
        "unionmount --from - --lower / --ephemeral /mnt",
        "pivot --from - /mnt",
        "nsenter-lite --from - -- true",
        "unshare-lite --from - --detach",
    ];
    for stage in stages {
        for forged in [
            "",
            "[]",
            "{",
            "{\"pid\":\"1\"}",
            "{\"pid\":1}",
            "{\"cgroup\":{\"path\":\"../..\",\"version\":\"v2\"}}",
        ] {
            let assert = scene.sh(stage).write_stdin(forged).assert().code(125).stdout("");
            assert!(
                stderr(&assert).contains("standard input: read the container record: "),
                "{stage} < {forged}: {}",
                stderr(&assert)
            );
        }
    }
    scene.assert_nothing_left();
}

#[test]
fn exec_by_pid_enters_the_chains_container() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let name = scene.name();
    let script = format!(
        "unshare-lite --mount --pid --uts --ipc --net --hostname demo -- cgset {name} pids.max=32 -- \
         unionmount --lower / --ephemeral /mnt -- pivot --mount-api /mnt -- sh -c 'echo up >/ready; exec sleep 600' & \
         chain=$!; n=0; while [ $n -lt 500 ]; do \
           for pid in $(cat /proc/$chain/task/$chain/children 2>/dev/null); do \
             [ \"$(cat /proc/$pid/comm)\" = sleep ] && break 2; \
           done; n=$((n+1)); sleep 0.02; done; \
         nsenter-lite -t $pid -- sh -c 'cat /ready /proc/sys/kernel/hostname /proc/1/comm; pwd; grep -o {name} /proc/self/cgroup | head -n 1'; \
         kill -KILL $chain"
    );
    scene.sh(&script).assert().stdout(format!("up\ndemo\nsleep\n/\n{name}\n"));
}

#[test]
fn whiteout_reads_what_a_container_changed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("lower");
    scene.dir("merged");
    let inside = "rm /etc/group; echo new >/tmp/new; echo more >>/etc/passwd";
    scene
        .sh(&format!("unshare-lite --mount --pid -- unionmount --lower lower --upper upper --work work merged -- pivot merged -- sh -c '{inside}'"))
        .assert()
        .success();
    // Made in the private mount namespace or gone with it: the upper is what stays.
    scene.sh("whiteout list upper").assert().success().stdout("etc/group\n");
    scene
        .sh("whiteout diff --upper upper --lower lower")
        .assert()
        .success()
        .stdout("C /etc\nD /etc/group\nC /etc/passwd\nC /tmp\nA /tmp/new\n");
}

#[test]
fn a_record_is_waited_for_wherever_it_comes_from() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("merged");
    let stage = "unshare-lite --mount -- unionmount --lower / --ephemeral merged --from";
    for from in ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let line = format!("(sleep 0.5; echo '{{\"mine\":1}}') | {stage} {from}");
        let seen = stdout(&scene.sh(&line).assert().success());
        assert!(seen.starts_with("{\"mine\":1,\"rootfs\":"), "{from}: {seen}");
    }
}
