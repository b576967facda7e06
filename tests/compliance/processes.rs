//! The child in the tool's place, and what becomes of its end.

use std::os::unix::process::ExitStatusExt as _;

use crate::common::{Need, Scene, needs, stdout};
use crate::differences::{
    CHILD_DIED_OF_SIGTERM, CHILD_DIES_WITH_THE_TOOL, OWN_FAILURE, WITHOUT_COMMAND, WITHOUT_SEPARATOR,
};
use crate::{Peer, peer, run, run_as_user, target};

/// Each way in which either tool comes to COMMAND.
const WAYS: [&str; 4] =
    ["$unshare --uts --", "$unshare --uts --fork --", "$unshare --fork --pid --", "$nsenter -t $$ -u --"];

#[test]
fn the_commands_exit_status_is_the_tools() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for way in WAYS {
        let script = format!("for code in 0 1 125 126 127 255; do {way} sh -c \"exit $code\"; echo $?; done");
        run(&scene, &script).stdout("0\n1\n125\n126\n127\n255\n");
    }
}

#[test]
fn a_command_that_cannot_be_run_is_126_and_one_that_is_missing_127() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("plain", "");
    for way in WAYS {
        let script =
            format!("for command in /no/such no-such-command ./plain /; do {way} $command; echo $?; done");
        run(&scene, &script).stdout("127\n127\n126\n126\n");
    }
}

#[test]
fn a_failure_of_the_tool_is_told_and_the_command_not_run() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for line in [
        "$unshare --no-such-option -- echo ran",
        "$unshare --propagation none -m -- echo ran",
        "$unshare --uts=/no/such/file -- echo ran",
        "$unshare --kill-child=NOPE -- echo ran",
        "$nsenter -t 4194304 -u -- echo ran",
        "$nsenter -t nobody -u -- echo ran",
        "$nsenter -t $$ --net=/no/such/file -- echo ran",
        "$nsenter -t $$ -u --wd=/no/such/directory -- echo ran",
        "$nsenter -t $$ --net=/dev/null -- echo ran",
    ] {
        let failed = run(&scene, line).code(OWN_FAILURE.here()).stdout("");
        assert!(!failed.get_output().stderr.is_empty(), "{line}");
    }
    run_as_user(&scene, "$unshare --uts -- echo ran").code(OWN_FAILURE.here()).stdout("");
    run_as_user(&scene, "$nsenter -t 1 -m -- echo ran").code(OWN_FAILURE.here()).stdout("");
}

#[test]
fn a_shell_sees_the_signal_that_a_child_died_of() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for (signal, status) in [("TERM", "143\n"), ("HUP", "129\n"), ("USR1", "138\n")] {
        for way in ["$unshare --uts --fork --", "$unshare --uts --", "$nsenter -t $$ -p --"] {
            run(&scene, &format!("{way} sh -c 'kill -{signal} $$'; echo $?")).stdout(status);
        }
    }
}

#[test]
fn whoever_waits_for_the_tool_sees_how_its_child_died() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let seen = run(&scene, "exec $unshare --uts --fork -- sh -c 'kill -TERM $$'");
    let status = seen.get_output().status;
    assert_eq!((status.code(), status.signal()), CHILD_DIED_OF_SIGTERM.here());
}

#[test]
fn without_fork_the_tool_becomes_the_command_and_with_it_stays_its_parent() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for line in [
        "$unshare --uts --",
        "$nsenter -t $$ -u --",
        "$nsenter -t $$ -p -F --",
        "$nsenter -t $$ -p --no-fork --",
    ] {
        run(&scene, &format!("(sh -c 'echo $PPID' >me; exec {line} sh -c 'echo $$') >seen; cmp seen me"))
            .success();
    }
    for options in ["--fork", "-f", "--kill-child", "--kill-child=TERM"] {
        let script = format!("$unshare --uts {options} -- sh -c 'cat /proc/$PPID/comm'");
        let parent = stdout(&run(&scene, &script).success());
        assert!(parent.starts_with("unshare"), "{options}: {parent}");
    }
}

#[test]
fn the_child_gets_the_signal_of_kill_child_when_the_tool_is_killed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for options in ["--fork --kill-child=USR1", "--kill-child=SIGUSR1", "--kill-child=USR1 --pid"] {
        let script = format!(
            "mkfifo got ready
             $unshare --uts {options} -- sh -c 'trap \"echo got >got; exit\" USR1; echo >ready; while :; do sleep 0.02; done' &
             read -r _ <ready; kill -9 $!; timeout 20 cat got; rm got ready"
        );
        run(&scene, &script).success().stdout("got\n");
    }
    // Without a name it is SIGKILL, which nobody catches: the line that the child holds is closed.
    let script = "mkfifo line ready
        $unshare --uts --kill-child -- sh -c 'exec >line; echo >ready; trap \"\" TERM HUP INT; sleep 600 </dev/null >/dev/null 2>&1 & wait' &
        tool=$!; { read -r _ <ready; kill -9 $tool; timeout 20 cat && echo closed; } <line";
    run(&scene, script).success().stdout("closed\n");
}

#[test]
fn without_kill_child_a_child_lives_on_or_does_not() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (look, end) = if CHILD_DIES_WITH_THE_TOOL.here() {
        ("while [ -e /proc/$pid/exe ]; do sleep 0.01; done; echo died", "died\n")
    } else {
        ("[ -e /proc/$pid/exe ] && echo lives; kill $pid", "lives\n")
    };
    let script = target("--uts --fork") + "kill -9 $!; wait $!; " + look;
    run(&scene, &script).success().stdout(end);
}

#[test]
fn a_line_without_a_command_or_without_its_separator() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("shell", "#!/bin/sh\necho the shell\n");
    for line in ["$unshare --uts", "$nsenter -t $$ -u"] {
        let (code, said) = WITHOUT_COMMAND.here();
        run(&scene, &format!("chmod +x shell; SHELL=$PWD/shell {line}")).code(code).stdout(said);
        let (code, said) = WITHOUT_SEPARATOR.here();
        run(&scene, &format!("{line} echo ran")).code(code).stdout(said);
    }
}

#[test]
fn version_and_help_are_there_for_the_asking() {
    let scene = Scene::new();
    for tool in ["$unshare", "$nsenter"] {
        for option in ["--version", "--help", "-h"] {
            assert!(!stdout(&run(&scene, &format!("{tool} {option}")).success()).is_empty());
        }
    }
    // The run is about whom it says it is about.
    let name = stdout(&run(&scene, "$unshare --version").success());
    assert_eq!(name.contains("util-linux"), peer() == Peer::Theirs, "{name}");
}
