//! At a terminal: what is typed at the tool is typed at COMMAND, and job control sees one job.

use crate::common::terminal::Terminal;
use crate::common::{Need, Scene, eventually, needs};
use crate::supervision::FORKS;

/// A shell script that says `ready`, and then counts the signals of one kind.
fn counting(signal: &str, says: &str) -> String {
    format!("trap \"n=\\$((n+1)); {says}\" {signal}; echo re\"\"ady; while :; do sleep 0.1; done")
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    if !needs(&[Need::Root]) {
        return;
    }
    for fork in FORKS {
        let scene = Scene::new();
        let script = counting("INT", "echo got \\$n; [ \\$n = 1 ] || exit 7");
        let mut terminal = Terminal::start(&scene, &format!("exec unshare-lite {fork} -- sh -c '{script}'"));
        terminal.shows("ready");
        for count in 1..=2 {
            std::thread::sleep(std::time::Duration::from_millis(200)); // for one too many
            terminal.enter("\x03");
            let before = terminal.shows(&format!("got {count}\r\n"));
            assert!(before.ends_with("^C"), "it is of this key: {before:?}");
        }
        assert_eq!(terminal.ends().code(), Some(7), "{fork}");
        scene.assert_nothing_left();
    }
}

#[test]
fn ctrl_c_ends_a_command_that_does_not_catch_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    // Not with --pid alone: the kernel keeps from PID 1 what it does not catch (pid_namespaces(7)).
    for fork in ["--uts --fork", "--pid --init"] {
        let scene = Scene::new();
        let mut terminal = Terminal::start(
            &scene,
            &format!("exec unshare-lite {fork} -- sh -c 'echo ready; exec sleep 100'"),
        );
        terminal.shows("ready");
        terminal.enter("\x03");
        assert_eq!(terminal.ends().code(), Some(128 + 2), "{fork}");
        scene.assert_nothing_left();
    }
}

#[test]
fn the_command_hears_of_the_windows_size() {
    if !needs(&[Need::Root]) {
        return;
    }
    for fork in FORKS {
        let scene = Scene::new();
        let script = counting("WINCH", "stty size; exit 0");
        let mut terminal = Terminal::start(&scene, &format!("exec unshare-lite {fork} -- sh -c '{script}'"));
        terminal.shows("ready");
        terminal.resize(31, 97);
        terminal.shows("31 97\r\n");
        assert_eq!(terminal.ends().code(), Some(0), "{fork}");
        scene.assert_nothing_left();
    }
}

#[test]
fn ctrl_z_stops_the_job_and_fg_continues_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    for fork in ["--uts --fork", "--pid --init"] {
        let scene = Scene::new();
        let mut terminal = Terminal::start(&scene, "exec bash --norc -i");
        for _ in 0..2 {
            let command = "sh -c 'echo re\"\"ady; read line; echo li\"\"ne $line; exit 9'";
            terminal.enter(&format!("unshare-lite {fork} -- {command}\n"));
            terminal.shows("\nready");
            terminal.enter("\x1a");
            terminal.shows("Stopped");
            terminal.enter("fg; echo over $?\n");
            terminal.shows("over $?\r\n");
            terminal.enter("typed\n");
            terminal.shows("\nline typed\r\n");
            terminal.shows("over 9\r\n");
        }
        terminal.enter("exit\n");
        terminal.ends();
        scene.assert_nothing_left();
    }
}

#[test]
fn a_shell_inside_has_job_control_of_its_own() {
    if !needs(&[Need::Root]) {
        return;
    }
    for fork in FORKS {
        let scene = Scene::new();
        let mut terminal =
            Terminal::start(&scene, &format!("unshare-lite {fork} -- bash --norc -i; echo over $?"));
        terminal.enter("sh -c 'echo re\"\"ady; exec sleep 100'\n");
        terminal.shows("\nready");
        terminal.enter("\x1a"); // only the shell's child is in front now, so only that is stopped
        terminal.shows("Stopped");
        terminal.enter("kill -9 %1; fg; exit 8\n");
        terminal.shows("over 8\r\n");
        terminal.ends();
        scene.assert_nothing_left();
    }
}

#[test]
fn when_the_terminal_hangs_up_the_command_hears_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    for fork in FORKS {
        for line in ["exec unshare-lite", "unshare-lite"] {
            let scene = Scene::new();
            let said = scene.path("said");
            let script = "trap \"echo hung up >said; exit\" HUP; echo re\"\"ady; while :; do sleep 0.1; done";
            let mut terminal = Terminal::start(&scene, &format!("{line} {fork} -- sh -c '{script}'; :"));
            terminal.shows("ready");
            terminal.hang_up().wait().unwrap();
            eventually("it hears", || said.exists());
            eventually("all of it ends", || scene.processes().is_empty());
        }
    }
}
