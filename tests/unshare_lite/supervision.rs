//! A child in the tool's place: signals, stops, ends.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};

use common::sys::signalfd::Mask;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::a_thousand;
use crate::common::process::{children, last_below};
use crate::common::{Need, Scene, eventually, needs, stdout};

/// Each way in which a child stands for the tool.
pub(crate) const FORKS: [&str; 3] = ["--uts --fork", "--pid", "--pid --init"];

/// Starts a script inside, and waits until it says something.
fn start(scene: &Scene, options: &str, script: &str) -> (Child, String) {
    let line = format!("exec unshare-lite {options} -- sh -c '{script}'");
    let mut tool = scene.std_sh(&line).stdout(Stdio::piped()).spawn().unwrap();
    let said = next_line(&mut tool);
    (tool, said)
}

fn next_line(tool: &mut Child) -> String {
    let mut line = String::new();
    // Unbuffered, so that what follows is there for the next call.
    let mut byte = BufReader::with_capacity(1, tool.stdout.as_mut().unwrap());
    byte.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

fn state(pid: i32) -> char {
    common::procfs::stat(pid).map_or('-', |stat| stat.state.into())
}

#[test]
fn every_exit_is_told_in_every_fork_mode() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("plain", "echo ran\n");
    scene
        .sh("chmod +x plain; printf '#!/no/such\\n' >bad; chmod +x bad; mkdir d; echo >data")
        .assert()
        .success();
    for options in FORKS.into_iter().chain(["--uts"]) {
        for (command, code) in [
            ("sh -c 'exit 0'", 0),
            ("sh -c 'exit 255'", 255),
            ("sh -c 'sh -c \"kill -9 \\$\\$\"; exit $?'", 137),
            ("no-such-command", 127),
            ("./no-such-command", 127),
            ("./d", 126),
            ("./data", 126),
            ("./bad", 126),
            ("./plain", 126),
        ] {
            scene.sh(&format!("unshare-lite {options} -- {command}")).assert().code(code).stdout("");
        }
        scene.sh(&format!("unshare-lite {options} -- sh -c 'exec >&- 2>&- <&-; exit 3'")).assert().code(3);
    }
    for options in ["--uts --fork", "--pid --init"] {
        scene.sh(&format!("unshare-lite {options} -- sh -c 'kill -SEGV $$'")).assert().code(139);
    }
}

#[test]
fn each_signal_that_can_be_forwarded_reaches_the_command() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    // With all signals blocked from the start, what reaches COMMAND stays pending there and can be read.
    // (Not by a sigset_t, from which glibc keeps 32 and 33.)
    let mask = Mask::ALL.block_only().unwrap();
    let tools: Vec<_> =
        FORKS.iter().map(|options| start(&scene, options, "echo ready; exec sleep 600").0).collect();
    mask.block_only().unwrap();
    for mut tool in tools {
        let command = last_below(tool.id() as i32);
        let bits = |signals: &[i32]| signals.iter().fold(0_u64, |set, n| set | 1 << (n - 1));
        let special = [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGCONT].map(|signal| signal as i32);
        let signals: Vec<i32> = (1..=64).filter(|n| !special.contains(n)).collect();
        let arrive = |expected: u64| {
            eventually("all signals arrive", || {
                let pending = common::procfs::status(command, "ShdPnd").unwrap();
                u64::from_str_radix(&pending, 16).unwrap() == expected
            });
        };
        for signal in &signals {
            scene.sh(&format!("kill -{signal} {}", tool.id())).assert().success();
        }
        arrive(bits(&signals));
        // The kernel takes back what would stop a process when it is told to go on.
        scene.sh(&format!("kill -CONT {}", tool.id())).assert().success();
        let stops = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].map(|signal| signal as i32);
        arrive(bits(&signals) & !bits(&stops) | bits(&[Signal::SIGCONT as i32]));
        tool.kill().unwrap();
        tool.wait().unwrap();
    }
    eventually("all end", || scene.processes().is_empty());
}

#[test]
fn a_command_that_handles_sigterm_decides_the_end() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for options in FORKS {
        let script = "trap \"exit 7\" TERM; echo ready; while :; do sleep 0.01; done";
        let (mut tool, _) = start(&scene, options, script);
        send(&tool, Signal::SIGTERM);
        assert_eq!(tool.wait().unwrap().code(), Some(7), "{options}");
    }
}

#[test]
fn as_pid_1_a_command_without_a_handler_ignores_sigterm_but_not_under_init() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (mut tool, _) = start(&scene, "--pid", "echo ready; exec sleep 600");
    send(&tool, Signal::SIGTERM);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(tool.try_wait().unwrap().is_none(), "PID 1 is protected from what it does not handle");
    send(&tool, Signal::SIGKILL);
    assert_eq!(tool.wait().unwrap().signal(), Some(9));

    let (mut tool, _) = start(&scene, "--pid --init", "echo ready; exec sleep 600");
    send(&tool, Signal::SIGTERM);
    assert_eq!(tool.wait().unwrap().code(), Some(143));
    eventually("all end", || scene.processes().is_empty());
}

#[test]
fn nothing_survives_the_tools_death_by_sigkill() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for options in
        FORKS.into_iter().chain(["--pid --fork -r -m --mount-proc", "--pid --init -S 1000 -G 1000"])
    {
        let background = if options.contains("--pid") { "sleep 600 & " } else { "" };
        let (mut tool, _) = start(&scene, options, &format!("{background}echo ready; exec sleep 600"));
        send(&tool, Signal::SIGKILL);
        tool.wait().unwrap();
        eventually(options, || scene.processes().is_empty());
    }
}

/// Runs a tool that is to become `true`, with a system call of its child delayed, and kills it when the child is there.
fn kill_early(scene: &Scene, (call, when): (&str, &str), tool: &str, is_there: impl Fn(i32) -> bool) {
    let delay = format!("-e trace={call},execve,write -e inject={call}:{when}=4000000");
    let line = format!("exec strace -f -o trace {delay} {tool} -- true");
    let mut tracer = scene.std_sh(&line).spawn().unwrap();
    let below = |pid: i32| children(pid).split_whitespace().next().and_then(|pid| pid.parse().ok());
    let mut pids = None;
    eventually("the child waits", || {
        pids = below(tracer.id() as i32).and_then(|tool| Some((tool, below(tool)?)));
        pids.is_some_and(|(_, child)| is_there(child))
    });
    kill(Pid::from_raw(pids.unwrap().0), Signal::SIGKILL).unwrap();
    tracer.wait().unwrap();
    eventually(tool, || scene.processes().is_empty());
    let trace = fs::read_to_string(scene.path("trace")).unwrap();
    assert!(trace.contains("(DELAYED)") && !trace.contains("/true\","), "{tool}: {trace}");
}

#[test]
fn a_tool_that_dies_before_its_child_asks_for_the_signal_takes_it_along_too() {
    if !needs(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    for tool in ["unshare-lite --uts --fork", "unshare-lite --pid", "cgset --rm $CONTAINER_STEPS_TEST"] {
        let _ = fs::remove_file(scene.path("trace"));
        // The child has not asked yet, and the parent has already told it to begin.
        let is_told =
            |_| fs::read_to_string(scene.path("trace")).is_ok_and(|trace| trace.contains("\"!\", 1"));
        kill_early(&scene, ("prctl", "delay_enter"), tool, is_told);
    }
}

#[test]
fn a_tool_that_dies_while_its_child_changes_its_user_takes_it_along_too() {
    if !needs(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    for (call, tool) in [
        ("setuid", "unshare-lite --uts --fork -S 1000 -G 1000"),
        ("setresuid", "unshare-lite --mount --fork -- pivot --user 1000:1000 root"),
    ] {
        let has_changed = |pid| common::procfs::status(pid, "Uid").is_ok_and(|ids| ids.starts_with("1000"));
        kill_early(&scene, (call, "delay_exit"), tool, has_changed);
    }
}

#[test]
fn the_signal_at_the_tools_death_can_be_chosen() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for (number, options) in FORKS.into_iter().enumerate() {
        let script =
            format!("trap \"echo told >told{number}; exit\" USR1; echo ready; while :; do sleep 0.01; done");
        let (mut tool, _) = start(&scene, &format!("--kill-child=USR1 {options}"), &script);
        send(&tool, Signal::SIGKILL);
        tool.wait().unwrap();
        eventually(options, || scene.path(&format!("told{number}")).exists() && scene.processes().is_empty());
    }
}

#[test]
fn a_signal_that_comes_with_the_commands_end_does_not_end_the_tool_instead() {
    if !needs(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    // The tool looks after its child when that has long ended, and the signal is there too.
    let slowly = "strace -o trace -e trace=wait4 -e inject=wait4:delay_enter=2000000:when=1";
    let command = "sh -c 'kill -INT $PPID; exit 7'";
    scene.sh(&format!("exec {slowly} unshare-lite --uts --fork -- {command}")).assert().code(7);
    assert!(fs::read_to_string(scene.path("trace")).unwrap().contains("(DELAYED)"));
}

#[test]
fn a_stopped_command_stops_the_tool_and_both_go_on_together() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for options in FORKS {
        let (mut tool, _) = start(&scene, options, "echo ready; exec sleep 600");
        let (outer, command) = (tool.id() as i32, last_below(tool.id() as i32));
        kill(Pid::from_raw(command), Signal::SIGSTOP).unwrap();
        eventually("the tool stops", || state(outer) == 'T' && state(command) == 'T');
        send(&tool, Signal::SIGCONT);
        eventually("both go on", || state(outer) == 'S' && state(command) == 'S');
        send(&tool, Signal::SIGKILL);
        tool.wait().unwrap();
    }
}

#[test]
fn an_init_reaps_a_thousand_orphans() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    // Each inner subshell ends at once and leaves its sleep to PID 1.
    let script = format!(
        "i=0; while [ $i -lt {} ]; do (sleep 0.2 &); i=$((i+1)); done
        while set -- /proc/[0-9]*; [ $# -gt 2 ]; do sleep 0.05; done; cat /proc/1/comm",
        a_thousand()
    );
    let run =
        scene.sh(&format!("unshare-lite --pid --init --mount-proc -- sh -c '{script}'")).assert().success();
    assert_eq!(stdout(&run), "unshare-lite\n");
    scene.assert_nothing_left();
}

#[test]
fn what_is_left_in_a_pid_namespace_ends_with_its_command() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for options in ["--pid", "--pid --init"] {
        let script =
            "(setsid sleep 600 >/dev/null 2>&1 &); (trap : TERM; sleep 600 >/dev/null 2>&1 &); exit 4";
        scene.sh(&format!("unshare-lite {options} -- sh -c '{script}'")).assert().code(4);
        scene.assert_nothing_left();
    }
}

#[test]
fn the_command_finds_no_child_that_it_never_made() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene
        .sh("unshare-lite -r --uts=u -- sh -c 'read -r children </proc/$$/task/$$/children; echo \"<$children>\"'")
        .assert()
        .success()
        .stdout("<>\n");
}

#[test]
fn an_ordinary_users_container_ends_with_the_tool_too() {
    let scene = Scene::new();
    let script = "unshare-lite -r -p --mount-proc -- sh -c 'echo ready; sleep 600' >said & while [ ! -s said ]; do sleep 0.01; done; kill -9 $!";
    scene.user_sh(script).assert().success();
    eventually("all end", || scene.processes().is_empty());
}
