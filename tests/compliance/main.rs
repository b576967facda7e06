//! An option that both have means the same: util-linux's tools and ours, held to the same cases.
//!
//! Each case runs one command line, with the same arguments, on the tools of one peer.
//! `CONTAINER_STEPS_PEER=theirs` chooses util-linux; by default the cases are about ours, and
//! one of them runs all the others once more on theirs. What differs on purpose is in
//! `differences.rs`, and nowhere else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod clocks_and_proc;
mod differences;
mod entering;
mod identity;
mod maps;
mod namespaces;
mod options;
mod processes;
mod roots;

use std::process::Command;

use assert_cmd::assert::Assert;
use common::needs::in_uml;
use common::{Need, Scene, needs};

/// Chooses the peer: `ours` (the default) or `theirs`.
const VARIABLE: &str = "CONTAINER_STEPS_PEER";

/// Whose tools this run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Ours,
    Theirs,
}

fn peer() -> Peer {
    match std::env::var(VARIABLE).as_deref() {
        Ok("theirs") => Peer::Theirs,
        Ok("ours") | Err(_) => Peer::Ours,
        Ok(other) => panic!("{VARIABLE}={other}: neither ours nor theirs"),
    }
}

/// Gives a script `$unshare` and `$nsenter`.
fn equip(mut script: assert_cmd::Command) -> assert_cmd::Command {
    let (unshare, nsenter) = match peer() {
        Peer::Ours => ("unshare-lite", "nsenter-lite"),
        Peer::Theirs => ("unshare", "nsenter"),
    };
    script.env("unshare", unshare).env("nsenter", nsenter);
    script
}

/// Runs a script on the peer.
fn run(scene: &Scene, script: &str) -> Assert {
    equip(scene.sh(script)).assert()
}

/// The same by an ordinary user.
fn run_as_user(scene: &Scene, script: &str) -> Assert {
    equip(scene.user_sh(script)).assert()
}

/// The same by root of a mount namespace of its own.
fn run_privately(scene: &Scene, script: &str) -> Assert {
    equip(scene.private_sh(script)).assert()
}

/// The start of a script: a process `$pid` in what `$unshare OPTIONS` makes, to be entered. It goes with the scene.
fn target(options: &str) -> String {
    below(&format!("$unshare {options} --"))
}

/// The same in what another tool makes, which may be its parent.
fn below(tool: &str) -> String {
    format!(
        "mkfifo ready; {tool} sh -c 'echo >ready; exec sleep 600' </dev/null >/dev/null 2>&1 & pid=$!
         read -r _ <ready; rm ready
         child=$(cat /proc/$pid/task/$pid/children); pid=${{child:-$pid}}; pid=${{pid%% *}}
         "
    )
}

#[test]
fn util_linux_is_held_to_the_same_cases() {
    const ME: &str = "util_linux_is_held_to_the_same_cases";
    // In user-mode-linux it would be the same util-linux once more, for a minute.
    let is_asked = peer() == Peer::Ours && !in_uml();
    if !is_asked || !needs(&[Need::Program("unshare"), Need::Program("nsenter")]) {
        return;
    }
    let these = std::env::current_exe().unwrap();
    let list = Command::new(&these).arg("--list").output().unwrap();
    let cases =
        String::from_utf8(list.stdout).unwrap().lines().filter(|line| line.ends_with(": test")).count();
    let run = Command::new(&these).args(["--skip", ME]).env(VARIABLE, "theirs").output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains(&format!(" {} passed", cases - 1)), "not all {cases} cases but this: {said}");
}
