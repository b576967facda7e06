//! `--tty`: a terminal of the container's own, joined with the caller's.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::process::{children, last_below};
use crate::common::terminal::Terminal;
use crate::common::{Need, Scene, eventually, needs, stderr, stdout};

/// A shell inside, by a record.
const SHELL: &str = "nsenter-lite --from demo.json --tty -- /bin/sh";

/// A container with a /dev of its own; its record is `demo.json`.
fn container(scene: &Scene, pivot: &str) {
    scene.rootfs("root");
    let line = format!(
        "unshare-lite --detach --mount --pid --uts | pivot --from - --mount-api {pivot} root >demo.json"
    );
    scene.sh(&line).assert().success();
}

fn stop(scene: &Scene) {
    scene.sh("kill -9 $(jq .pid demo.json)").assert().success();
    scene.assert_all_ends();
}

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn the_terminal_is_the_containers_and_controls_a_session_of_its_own() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    let mut terminal = Terminal::start(&scene, &format!("exec {SHELL}"));
    terminal.enter("echo at $(busybox tty) by $(stat -c %u $(busybox tty)) $(busybox stty size)\n");
    terminal.shows("\r\nat /dev/pts/0 by 0 24 80\r\n");
    terminal.enter("[ $(busybox cut -d' ' -f6 /proc/$$/stat) = $$ ] && echo leads $((6*7)) >/dev/tty\n");
    terminal.shows("leads 42\r\n");
    terminal.enter("exit 7\n");
    assert_eq!(terminal.ends().code(), Some(7));
    stop(&scene);
}

#[test]
fn keys_are_the_inner_terminals_to_interpret() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    let mut terminal = Terminal::start(&scene, &format!("exec {SHELL}"));
    let counts = r#"trap "n=\$((n+1)); echo got \$n; [ \$n -lt 3 ] || exit" INT"#;
    let script = format!(r#"{counts}; trap "echo goes on" CONT; echo re""ady; while :; do sleep 0.1; done"#);
    terminal.enter(&format!("sh -c '{script}'\n"));
    terminal.shows("\nready");
    terminal.enter("\x03");
    terminal.shows("got 1\r\n");
    terminal.enter("\x03");
    terminal.shows("got 2\r\n");
    terminal.enter("\x1a");
    terminal.shows("Stopped");
    terminal.enter("fg\n");
    terminal.shows("\ngoes on\r\n");
    terminal.enter("\x03");
    terminal.shows("got 3\r\n");
    terminal.shows("$ ");
    terminal.enter("exit 0\n");
    assert_eq!(terminal.ends().code(), Some(0));
    stop(&scene);
}

#[test]
fn the_windows_size_is_followed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    let line = "trap \"busybox stty size\" WINCH; busybox stty size; while :; do sleep 0.1; done";
    let mut terminal =
        Terminal::start(&scene, &format!("exec nsenter-lite --from demo.json --tty -- /bin/sh -c '{line}'"));
    terminal.shows("24 80\r\n");
    terminal.resize(33, 101);
    terminal.shows("33 101\r\n");
    send(terminal.leader(), Signal::SIGTERM);
    assert_eq!(terminal.ends().code(), Some(128 + 15));
    stop(&scene);
}

#[test]
fn the_callers_terminal_is_raw_meanwhile_and_restored_after_any_end() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    let mut terminal = Terminal::start(&scene, "while read -r line; do eval \"$line\"; echo over $?; done");
    let before = terminal.modes();
    let session = |command: &str| format!("nsenter-lite --from demo.json --tty -- {command}\n");
    let ready = "sh -c 'echo re\"\"ady; exec sleep 100'";
    for (signal, whom, status) in [
        (Signal::SIGKILL, last_below as fn(i32) -> i32, 137),
        (Signal::SIGKILL, |leader| last_below_but_one(leader), 137),
        (Signal::SIGTERM, |leader| children(leader).trim().parse().unwrap(), 143),
        (Signal::SIGHUP, |leader| children(leader).trim().parse().unwrap(), 129),
    ] {
        terminal.enter(&session(ready));
        terminal.shows("\nready");
        eventually("it is raw", || !terminal.is_cooked());
        send(whom(terminal.leader()), signal);
        terminal.shows(&format!("over {status}\r\n"));
        assert!(terminal.modes() == before, "after {signal}");
    }
    for (command, shown, status) in [
        ("sh -c 'exit 42'", "", 42),
        ("/no/such", "nsenter-lite: /no/such: run the command: not found", 127),
        ("/etc", "nsenter-lite: /etc: run the command: Permission denied", 126),
    ] {
        terminal.enter(&session(command));
        let said = terminal.shows(&format!("over {status}\r\n"));
        assert!(said.contains(shown), "{said}");
        assert!(terminal.modes() == before, "after {command}");
    }
    terminal.enter("exit\n");
    terminal.ends();
    stop(&scene);
}

/// The process that waits for COMMAND inside.
fn last_below_but_one(pid: i32) -> i32 {
    common::procfs::status(last_below(pid), "PPid").unwrap().parse().unwrap()
}

#[test]
fn a_stopped_command_gives_the_terminal_back_until_it_goes_on() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    let mut terminal = Terminal::start(&scene, "exec bash --norc -i");
    terminal.enter(
        "nsenter-lite --from demo.json --tty -- sh -c 'echo re\"\"ady; read line; echo li\"\"ne $line'\n",
    );
    terminal.shows("\nready");
    eventually("it is raw", || !terminal.is_cooked());
    send(last_below(terminal.leader()), Signal::SIGSTOP);
    terminal.shows("Stopped");
    terminal.resize(30, 90);
    terminal.enter("fg; echo over $?\n");
    terminal.shows("over $?\r\n");
    eventually("it is raw again", || !terminal.is_cooked());
    terminal.enter("typed\r");
    terminal.shows("\nline typed\r\n");
    terminal.shows("over 0\r\n");
    terminal.enter("exit\n");
    terminal.ends();
    stop(&scene);
}

#[test]
fn in_the_background_it_waits_to_be_brought_to_the_front() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    let mut terminal = Terminal::start(&scene, "exec bash --norc -i");
    terminal.enter("nsenter-lite --from demo.json --tty -- sh -c 'echo in\"\"side; exit 3' &\n");
    let tool = || children(terminal.leader()).split_whitespace().next().and_then(|pid| pid.parse().ok());
    let is_stopped = |pid: i32| common::procfs::stat(pid).is_ok_and(|stat| stat.state == b'T');
    eventually("it stops", || tool().is_some_and(is_stopped));
    terminal.enter("fg; echo over $?\n");
    terminal.shows("\ninside\r\n");
    terminal.shows("over 3\r\n");
    terminal.enter("exit\n");
    terminal.ends();
    stop(&scene);
}

#[test]
fn a_terminal_that_hangs_up_ends_what_ran_in_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    // As the leader of the session, and as the child of one.
    for line in [format!("exec {SHELL}"), format!("{SHELL}; :")] {
        let mut terminal = Terminal::start(&scene, &line);
        terminal.enter("echo $((6*7))\n");
        terminal.shows("\n42\r\n");
        let mut leader = terminal.hang_up();
        leader.wait().unwrap();
        eventually("only the container is left", || scene.processes().len() == 1);
    }
    stop(&scene);
}

#[test]
fn standard_streams_need_not_be_terminals() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    let shell = "nsenter-lite --from demo.json --tty -- ";
    let assert = scene.sh(&format!("echo 'busybox tty; exit 4' | {shell} sh")).assert().code(4);
    assert!(stdout(&assert).contains("\n/dev/pts/0\r\n"), "{}", stdout(&assert));
    // The end of the file is passed on, within a line too, and where there was no file.
    for input in ["lines\\n", "lines\\nno line"] {
        let assert = scene.sh(&format!("printf '{input}' | {shell} cat")).assert().success();
        let echoed_and_read =
            |text: &str| stdout(&assert).matches(text).count() == 2 * input.matches(text).count();
        assert!(echoed_and_read("lines") && echoed_and_read("no line"), "{}", stdout(&assert));
    }
    let assert = scene.sh(&format!("{shell} sh -c 'cat; busybox tty' <&-")).assert().success();
    assert!(stdout(&assert).ends_with("/dev/pts/0\r\n"), "{}", stdout(&assert));
    // All that was written before the end arrives, however slow the reader is.
    let many = format!("{shell} busybox seq 50000 | (sleep 0.3; cat)");
    let assert = scene.sh(&many).assert().success();
    let wanted: String = (1..=50000).map(|number| format!("{number}\r\n")).collect();
    assert!(stdout(&assert) == wanted, "{} bytes", stdout(&assert).len());
    // A reader that goes away is a terminal that hangs up.
    scene.sh(&format!("{shell} yes | head -n 1")).assert().success().stdout("y\r\n");
    stop(&scene);
}

#[test]
fn the_terminal_belongs_to_the_user_that_the_command_runs_as() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "--user ann");
    let look = "sh -c 'id -u; stat -c %u $(busybox tty); : >$(busybox tty) && echo opened'";
    let as_recorded = format!("nsenter-lite --from demo.json --tty -- {look}");
    scene.sh(&as_recorded).assert().success().stdout("1000\r\n1000\r\nopened\r\n");
    let by_number = format!("nsenter-lite --from demo.json --tty -S 12 -G 12 -- {look}");
    scene.sh(&by_number).assert().success().stdout("12\r\n12\r\nopened\r\n");
    stop(&scene);
}

#[test]
fn an_ordinary_users_container_has_terminals_too() {
    let scene = Scene::new();
    scene.rootfs("root");
    let build = "unshare-lite --detach -r --mount --pid | pivot --from - --mount-api root >demo.json";
    scene.user_sh(build).assert().success();
    let look = "sh -c 'stat -c %u $(busybox tty); : >$(busybox tty) && echo opened'";
    let shell = format!("nsenter-lite --from demo.json --tty -- {look}");
    scene.user_sh(&shell).assert().success().stdout("0\r\nopened\r\n");
    scene.sh(&shell).assert().success().stdout("0\r\nopened\r\n"); // by root, if that runs the tests
    stop(&scene);
}

#[test]
fn what_is_not_devpts_is_not_taken_for_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    let refused = |script: &str, object: &str, why: &str| {
        scene.sh(&format!("nsenter-lite --from demo.json -- sh -c '{script}'")).assert().success();
        let assert = scene.sh("nsenter-lite --from demo.json --tty -- sh -c 'echo ran'").assert().code(125);
        assert_eq!(stdout(&assert), "");
        let said = stderr(&assert);
        assert!(
            said.starts_with(&format!("nsenter-lite: {object}: open a pseudo-terminal: {why}\n")),
            "{said}"
        );
        assert!(said.contains("hint: the container has no devpts there"), "{said}");
    };
    refused("busybox umount /dev/pts", "/dev/pts", "it is not on devpts");
    refused("busybox mkfifo /dev/pts/ptmx", "/dev/pts", "it is not on devpts");
    refused(
        "rm /dev/pts/ptmx; busybox ln -s /proc/1/root/dev /dev/pts/ptmx",
        "/dev/pts",
        "it is not on devpts",
    );
    refused("rm -r /dev/pts; busybox ln -s /tmp /dev/pts", "/dev/pts", "it is not on devpts");
    refused("rm /dev/pts", "/dev/pts", "No such file or directory");
    stop(&scene);
}

#[test]
fn a_node_mounted_on_ptmx_is_not_taken_for_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    for decoy in ["/dev/null", "/tmp/file"] {
        let script = format!(": >/tmp/file; busybox mount --bind {decoy} /dev/pts/ptmx");
        scene.sh(&format!("nsenter-lite --from demo.json -- sh -c '{script}'")).assert().success();
        let assert = scene.sh("nsenter-lite --from demo.json --tty -- sh -c 'echo ran'").assert().code(125);
        assert!(
            stderr(&assert).contains("open a pseudo-terminal: it is not on devpts"),
            "{}",
            stderr(&assert)
        );
    }
    stop(&scene);
}

#[test]
fn the_relay_is_out_of_the_containers_cgroup() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    container(&scene, "");
    let name = scene.name();
    scene.sh(&format!("cgset --from demo.json {name} pids.max=20 >limited.json")).assert().success();
    let mut terminal =
        Terminal::start(&scene, "nsenter-lite --from limited.json --tty -- /bin/sh; echo over $?");
    terminal.enter("echo $((6*7))\n");
    terminal.shows("\n42\r\n");
    assert!(!terminal.is_cooked());
    scene.sh("cgset --from limited.json --kill --delete").assert().success();
    terminal.shows("over 137\r\n");
    assert!(terminal.is_cooked());
    terminal.ends();
    scene.assert_nothing_left();
}

#[test]
fn keys_pushed_into_the_terminal_stay_inside() {
    if !needs(&[Need::Root, Need::Program("perl")]) {
        return;
    }
    let scene = Scene::new();
    let line = "unshare-lite --detach --mount --pid | pivot --from - --mount-api / >demo.json";
    scene.sh(line).assert().success();
    // TIOCSTI (CVE-2017-5226); from Linux 6.2 it takes a sysctl.
    let push = r#"ioctl(STDIN, 0x5412, $_) for split //, "echo pushed\n"; exit 3"#;
    let mut terminal = Terminal::start(&scene, "read -r line; eval \"$line\"; read -r line; echo then $line");
    terminal.enter(&format!("nsenter-lite --from demo.json --tty -- perl -e '{push}'; echo over $?\n"));
    terminal.shows("over 3\r\n");
    terminal.enter("mine\n");
    terminal.shows("then mine\r\n");
    terminal.ends();
    stop(&scene);
}

#[test]
fn a_terminal_takes_a_fork() {
    let scene = Scene::new();
    let assert = scene.sh("nsenter-lite -t $$ --tty --no-fork -- true").assert().code(125);
    assert!(stderr(&assert).contains("cannot be used with"), "{}", stderr(&assert));
}
