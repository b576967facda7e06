//! Targets that cannot be entered: each has its own error.

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{STAY, Target};

fn refused(scene: &Scene, arguments: &str, input: &str, expected: &str) {
    let line = format!("nsenter-lite {arguments} -- echo ran");
    let run = scene.sh(&line).write_stdin(input).assert().code(125).stdout("");
    let said = stderr(&run);
    assert!(said.contains(expected), "{line} <{input}: {said}");
    assert!((1..=2).contains(&said.lines().count()), "an error and a hint at most: {said}");
}

#[test]
fn a_process_that_has_ended_is_told_from_a_zombie() {
    let scene = Scene::new();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    while common::procfs::stat(pid as i32).unwrap().state != b'Z' {
        std::thread::yield_now();
    }
    refused(&scene, &format!("-t {pid}"), "", "it is a zombie");
    child.wait().unwrap();
    refused(&scene, &format!("-t {pid}"), "", "No such process");
}

#[test]
fn a_kernel_thread_is_refused() {
    if !needs(&[Need::Root]) {
        return;
    }
    let kthreadd = common::procfs::stat(2).map(|stat| stat.state);
    assert!(kthreadd.is_ok(), "process 2 is kthreadd");
    refused(&Scene::new(), "-t 2", "", "it is a kernel thread");
}

#[test]
fn what_is_no_pid_is_refused() {
    let scene = Scene::new();
    for (pid, expected) in [
        ("0", "a PID is a positive number"),
        ("-1", "a PID is a positive number"),
        ("x", "invalid value"),
        ("4194305", "No such process"),
        ("99999999999", "invalid value"),
    ] {
        refused(&scene, &format!("-t {pid}"), "", expected);
    }
    refused(&scene, "", "", "required");
    refused(&scene, "-t 1 --from -", "", "cannot be used with");
}

#[test]
fn a_thread_is_no_target() {
    let scene = Scene::new();
    let (tell, told) = std::sync::mpsc::channel();
    let (_keep, wait) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        tell.send(nix::unistd::gettid().as_raw()).unwrap();
        let _ = wait.recv();
    });
    let thread = told.recv().unwrap();
    refused(&scene, &format!("-t {thread}"), "", "not that of a thread");
}

#[test]
fn a_recycled_pid_is_not_entered() {
    let scene = Scene::new();
    let me = common::process::Process::open(std::process::id() as i32).unwrap();
    let record = |start: u64| format!(r#"{{"pid":{},"start_time":{start}}}"#, me.pid());
    refused(&scene, "--from -", &record(me.start_time() + 1), "belongs to another process");
    scene
        .sh("nsenter-lite --from - -F -- echo ran")
        .write_stdin(record(me.start_time()))
        .assert()
        .success()
        .stdout("ran\n");
}

#[test]
fn a_forged_record_is_an_error_and_nothing_else() {
    let scene = Scene::new();
    for (record, expected) in [
        ("", "it is empty"),
        ("{}", "it has no pid"),
        ("[]", "not a JSON object"),
        ("{", "EOF"),
        (r#"{"pid":1}"#, "only together"),
        (r#"{"pid":-1,"start_time":1}"#, "its pid is not"),
        (r#"{"pid":"1","start_time":1}"#, "its pid is not"),
        (r#"{"pid":4294967297,"start_time":1}"#, "its pid is not"),
        (r#"{"pid":1,"start_time":"1"}"#, "its start_time is not"),
        (r#"{"pid":1,"start_time":99999999999999}"#, "belongs to another process"),
        (r#"{"pid":1,"start_time":1,"root":{"path":7,"method":"pivot_root"}}"#, "its root is not"),
    ] {
        refused(&scene, "--from -", record, expected);
    }
    refused(&scene, "--from -", &"[".repeat(200_000), "recursion limit");
    refused(&scene, "--from missing", "", "missing: open the container record: No such file");
    scene.sh("mkfifo fifo").assert().success();
    refused(&scene, "--from fifo", "", "it is empty");
    refused(&scene, "--from /dev/zero", "", "larger than 1 MiB");
}

#[test]
fn an_ordinary_user_cannot_enter_what_is_not_its_own() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite --net -- {STAY}"));
    for options in ["", "--net", "-r"] {
        let run = scene
            .user_sh(&format!("nsenter-lite -t {} {options} -- echo ran", target.pid))
            .assert()
            .code(125)
            .stdout("");
        assert!(stderr(&run).contains("hint: "), "{options}: {}", stderr(&run));
    }
    // A pinned namespace, which anybody may open, is still not anybody's to enter.
    let file = scene.path("net");
    scene.sh(&format!("echo >net; mount --bind /proc/{}/ns/net net", target.pid)).assert().success();
    let run = scene
        .user_sh(&format!("nsenter-lite -t $$ --net={} -- echo ran", file.display()))
        .assert()
        .code(125)
        .stdout("");
    assert!(stderr(&run).contains("CAP_SYS_ADMIN"), "{}", stderr(&run));
}

#[test]
fn another_users_user_namespace_is_not_entered() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let other =
        "exec setpriv --reuid 1000 --regid 1000 --clear-groups unshare-lite -r -u --hostname theirs --";
    let target = Target::start(&scene, &format!("{other} {STAY}"));
    // Anybody may open it where it is pinned; that gives no right to it.
    scene.sh(&format!("echo >user; mount --bind /proc/{}/ns/user user", target.pid)).assert().success();
    let to = format!("-t {}", target.pid);
    for options in [&to, &format!("{to} -U"), &format!("{to} -u"), "-t $$ --user=user"] {
        let run = scene.user_sh(&format!("nsenter-lite {options} -- echo ran")).assert().code(125).stdout("");
        assert!(stderr(&run).contains("hint: "), "{options}: {}", stderr(&run));
    }
    let its_owner = "setpriv --reuid 1000 --regid 1000 --clear-groups";
    for who in ["", its_owner] {
        let line = format!("{who} nsenter-lite -t {} -- sh -c 'hostname; id -u'", target.pid);
        scene.sh(&line).assert().success().stdout("theirs\n0\n");
    }
}

#[test]
fn verbose_names_each_step() {
    let scene = Scene::new();
    let target = Target::start_as_user(&scene, &format!("exec unshare-lite -r -m -p -u -- {STAY}"));
    let run = scene.user_sh(&format!("nsenter-lite -v -t {} -- true", target.pid)).assert().success();
    let said = stderr(&run);
    for step in
        ["enter user, mnt, pid, uts of process", "root directory", "become user 0", "fork", "exec true"]
    {
        assert!(
            said.lines().any(|line| line.starts_with("nsenter-lite: ") && line.contains(step)),
            "{step}: {said}"
        );
    }
    assert_eq!(stdout(&run), "");
}
