//! The holder of a container that is built stage by stage.

use std::fs;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2, write};
use serde_json::{Value, json};

use crate::a_thousand;
use crate::common::namespace::own_namespace;
use crate::common::process::children;
use crate::common::{Need, Scene, eventually, needs, stderr, stdout};

const ALL: &str = "--detach --mount --pid --uts --ipc --net --hostname demo";

/// Starts a holder; its record and its PID.
fn detach(scene: &Scene, options: &str) -> (Value, i32) {
    let run = scene.sh(&format!("unshare-lite {options}")).assert().success();
    let text = stdout(&run);
    assert_eq!(text.lines().count(), 1, "{text}");
    let record: Value = serde_json::from_str(&text).unwrap();
    let pid = record["pid"].as_i64().unwrap() as i32;
    (record, pid)
}

fn end(scene: &Scene, pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
    eventually("the holder ends", || scene.processes().is_empty());
}

#[test]
fn the_record_names_the_process_and_what_was_made_for_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (record, pid) = detach(&scene, ALL);
    let process = common::process::Process::open(pid).unwrap();
    assert_eq!(record["start_time"], json!(process.start_time()));
    let namespaces = record["namespaces"].as_object().unwrap();
    assert_eq!(namespaces.keys().collect::<Vec<_>>(), ["mnt", "pid", "uts", "ipc", "net"]);
    for (kind, id) in namespaces {
        let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(link.to_str().unwrap(), format!("{kind}:[{id}]"));
        assert_ne!(link.to_str().unwrap(), own_namespace(kind));
    }
    scene.sh(&format!("nsenter-lite -t {pid} -- hostname")).assert().success().stdout("demo\n");
    end(&scene, pid, Signal::SIGTERM);
    scene.assert_nothing_left();
}

#[test]
fn the_holder_keeps_nothing_of_the_callers() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let run = scene.sh(&format!("exec 7</ 8>file; unshare-lite {ALL}")).assert().success();
    let record: Value = serde_json::from_str(&stdout(&run)).unwrap();
    let pid = record["pid"].as_i64().unwrap() as i32;
    let links = |what: &str| fs::read_link(format!("/proc/{pid}/{what}")).unwrap();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut open: Vec<_> = open.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    assert!(["fd/0", "fd/1", "fd/2"].into_iter().all(|fd| links(fd) == links("fd/0")));
    assert_eq!(links("fd/0").to_str().unwrap(), "/dev/null");
    assert_eq!(links("cwd").to_str().unwrap(), "/");
    assert_eq!(nix::unistd::getsid(Some(Pid::from_raw(pid))).unwrap().as_raw(), pid);
    end(&scene, pid, Signal::SIGINT);
}

/// Measured by VmRSS of /proc/PID/status: the process's pages that are in memory, shared with others or not.
#[test]
fn the_holder_is_small() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (_, pid) = detach(&scene, ALL);
    let resident = || -> u32 {
        let line = common::procfs::status(pid, "VmRSS").unwrap();
        line.strip_suffix(" kB").unwrap().trim().parse().unwrap()
    };
    // The promise is an optimized build's. Without optimization the code is spread widely.
    let limit = if cfg!(debug_assertions) { 1280 } else { 512 };
    eventually("it is small", || resident() < limit);
    // And it does not grow with its work.
    let orphans = "i=0; while [ $i -lt 50 ]; do (sleep 0.01 &); i=$((i+1)); done";
    scene.sh(&format!("nsenter-lite -t {pid} -- sh -c '{orphans}'")).assert().success();
    eventually("all orphans end", || scene.processes() == [pid]);
    eventually("it is small again", || resident() < limit);
    end(&scene, pid, Signal::SIGTERM);
}

#[test]
fn the_holder_reaps_orphans() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (_, pid) = detach(&scene, ALL);
    let orphans = format!("i=0; while [ $i -lt {} ]; do (sleep 0.1 &); i=$((i+1)); done", a_thousand());
    scene.sh(&format!("nsenter-lite -t {pid} -- sh -c '{orphans}'")).assert().success();
    let children = format!("/proc/{pid}/task/{pid}/children");
    eventually("no zombie is left", || fs::read_to_string(&children).unwrap().is_empty());
    end(&scene, pid, Signal::SIGTERM);
}

#[test]
fn what_runs_inside_ends_with_the_holder() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (_, pid) = detach(&scene, ALL);
    scene.sh(&format!("nsenter-lite -t {pid} -- sh -c 'sleep 600 >/dev/null 2>&1 &'")).assert().success();
    assert_eq!(scene.processes().len(), 2);
    end(&scene, pid, Signal::SIGKILL);
}

#[test]
fn a_holder_without_a_pid_namespace_ends_alone() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (record, pid) = detach(&scene, "--detach --net");
    assert_eq!(record["namespaces"].as_object().unwrap().len(), 1);
    end(&scene, pid, Signal::SIGTERM);
}

#[test]
fn what_an_earlier_stage_wrote_is_handed_on() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let theirs = r#""z":[12345678901234567890123,1.10,1e+400,{"b":null,"a":1}],"mine":"""#;
    let run = scene
        .sh("unshare-lite --from - --detach --uts")
        .write_stdin(format!("{{{theirs}}}"))
        .assert()
        .success();
    assert!(stdout(&run).starts_with(&format!("{{{theirs},")), "{}", stdout(&run));
    let record: Value = serde_json::from_str(&stdout(&run)).unwrap();
    end(&scene, record["pid"].as_i64().unwrap() as i32, Signal::SIGTERM);
}

#[test]
fn it_starts_inside_the_records_cgroup_with_that_as_its_namespaces_root() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let line = format!(
        "echo '{{}}' | cgset --from - {} pids.max=10 | unshare-lite --from - --detach --pid --cgroup",
        scene.name()
    );
    let run = scene.sh(&line).assert().success();
    let record: Value = serde_json::from_str(&stdout(&run)).unwrap();
    let pid = record["pid"].as_i64().unwrap() as i32;
    let outside = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(outside.contains(scene.name()), "{outside}");
    let inside =
        stdout(&scene.sh(&format!("nsenter-lite -t {pid} -- cat /proc/self/cgroup")).assert().success());
    assert!(!inside.contains(scene.name()), "{inside}");
    end(&scene, pid, Signal::SIGTERM);
}

#[test]
fn on_cgroup_v2_it_is_born_in_the_records_cgroup() {
    if !needs(&[Need::Root, Need::CgroupV2, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    let line = format!(
        "echo '{{}}' | cgset --from - {} pids.max=10 | \
         strace -qq -o trace -e trace=clone3 unshare-lite --from - --detach --pid | jq .pid",
        scene.name()
    );
    let pid: i32 = stdout(&scene.sh(&line).assert().success()).trim().parse().unwrap();
    let trace = fs::read_to_string(scene.path("trace")).unwrap();
    assert!(trace.contains("CLONE_INTO_CGROUP"), "{trace}");
    end(&scene, pid, Signal::SIGTERM);
}

#[test]
fn when_it_fails_no_holder_is_left() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for line in [
        "unshare-lite --detach --pid --mount-proc=/no/such/place",
        "unshare-lite --detach --pid -r -S 7",
        "unshare-lite --detach --pid >/dev/full",
        "unshare-lite --detach --pid >&-",
        "unshare-lite --detach --pid --from /no/such/file",
        "unshare-lite --detach --pid -- true",
    ] {
        let run = scene.sh(line).assert().code(125).stdout("");
        assert!((1..=2).contains(&stderr(&run).lines().count()), "{}", stderr(&run));
        eventually("no holder", || scene.processes().is_empty());
    }
}

#[test]
fn a_cgroup_too_small_for_the_holder_is_named() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let line = format!(
        "echo '{{}}' | cgset --from - {} memory.max=4K | unshare-lite --from - --detach --pid",
        scene.name()
    );
    let run = scene.sh(&line).assert().code(125).stdout("");
    let expected =
        "unshare-lite: holder: start: it died\nunshare-lite: hint: its cgroup's limits may be too small";
    assert!(stderr(&run).starts_with(expected), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn a_reader_that_has_gone_leaves_no_holder() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    drop(reader);
    let status = scene.std_sh("exec unshare-lite --detach --pid").stdout(writer).status().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGPIPE as i32));
    scene.assert_all_ends();
}

#[test]
fn a_tool_that_is_killed_before_its_record_is_out_leaves_no_holder() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // A pipe that is full: the tool waits in the last thing that it does but one.
        let (_reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        while write(&writer, &[0; 4096]).is_ok() {}
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        let mut tool = scene.std_sh("exec unshare-lite --detach --pid").stdout(writer).spawn().unwrap();
        eventually("the holder is there", || !children(tool.id() as i32).is_empty());
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(scene.processes().len(), 2, "both wait");
        kill(Pid::from_raw(tool.id() as i32), signal).unwrap();
        tool.wait().unwrap();
        scene.assert_all_ends();
    }
}

#[test]
fn an_ordinary_user_can_have_one() {
    let scene = Scene::new();
    let script = "unshare-lite --detach -r -m -p -u -n --hostname mine >record && nsenter-lite --from record -- sh -c 'hostname; id -u'";
    scene.user_sh(script).assert().success().stdout("mine\n0\n");
    let record: Value = serde_json::from_str(&fs::read_to_string(scene.path("record")).unwrap()).unwrap();
    end(&scene, record["pid"].as_i64().unwrap() as i32, Signal::SIGTERM);
}

/// CVE-2019-5736: what runs inside can reach the program of PID 1 by its link in /proc.
#[test]
fn the_program_of_pid_1_cannot_be_written_to() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.sh("cp $(command -v unshare-lite) mine").assert().success();
    let before = fs::read(scene.path("mine")).unwrap();
    // Without a PID namespace its end is not ours, and a file that nobody runs can be written to.
    let script = "pid=$(./mine --detach --uts | jq .pid); exec 9</proc/$pid/exe; kill $pid
        while [ -e /proc/$pid ]; do sleep 0.01; done; ! echo broken >/proc/self/fd/9";
    scene.sh(script).assert().success();
    assert!(fs::read(scene.path("mine")).unwrap() == before, "the binary has changed");
    scene.assert_nothing_left();
}

/// The same for the PID 1 that --init keeps, and the parent that waits for it.
#[test]
fn neither_can_that_of_an_init_or_of_its_parent() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    // A copy, so that an attack that succeeds harms nobody but this test.
    scene.sh("cp $(command -v unshare-lite) mine").assert().success();
    let before = fs::read(scene.path("mine")).unwrap();
    let mut command = scene.std_sh("exec ./mine --pid --init -- sh -c 'echo; exec sleep 600'");
    let mut tool = command.stdout(Stdio::piped()).spawn().unwrap();
    tool.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let parent = tool.id();
    let init = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    // As the attack does it: hold it, wait for its end, open for writing.
    let held = [parent.to_string(), init.trim().to_owned()]
        .map(|pid| fs::File::open(format!("/proc/{pid}/exe")).unwrap());
    tool.kill().unwrap();
    tool.wait().unwrap();
    eventually("all end", || scene.processes().is_empty());
    for file in held {
        let again = format!("/proc/self/fd/{}", file.as_raw_fd());
        let error = fs::OpenOptions::new().write(true).open(again).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
    assert!(fs::read(scene.path("mine")).unwrap() == before, "the binary has changed");
}
