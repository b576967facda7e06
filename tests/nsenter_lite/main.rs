//! nsenter-lite(1), seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod entering;
mod escape;
mod listing;
mod restrictions;
mod single;
mod targets;
mod tty;
mod who;

use std::io::Read as _;
use std::process::{Child, Stdio};

use common::Scene;
use common::process::{children, last_below};
use common::scene::USER;

/// A process to enter, which goes with its scene.
struct Target {
    child: Child,
    /// The process inside, which `unshare-lite` may have forked.
    pid: i32,
}

impl Target {
    /// Runs a shell line in the scene; its last process, which must print a line and stay, is the target.
    fn start(scene: &Scene, line: &str) -> Self {
        Self::spawn(scene.std_sh(line))
    }

    /// The same for an ordinary user.
    fn start_as_user(scene: &Scene, line: &str) -> Self {
        Self::spawn(user_command(scene, line))
    }

    fn spawn(command: std::process::Command) -> Self {
        let mut target = Self::spawn_here(command);
        target.pid = last_below(target.pid);
        target
    }

    /// The same where the target makes children of its own: it is the child of what is spawned.
    fn spawn_here(mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).expect("the target says that it is there");
        let tool = child.id() as i32;
        let pid = children(tool).split_whitespace().next().map_or(tool, |inner| inner.parse().unwrap());
        Self { child, pid }
    }

    /// What its link in /proc shows.
    fn link(&self, name: &str) -> String {
        std::fs::read_link(format!("/proc/{}/{name}", self.pid)).unwrap().to_str().unwrap().to_owned()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shell line, to be run by an ordinary user.
fn user_command(scene: &Scene, line: &str) -> std::process::Command {
    if !nix::unistd::geteuid().is_root() {
        return scene.std_sh(line);
    }
    let become_user = format!("exec setpriv --reuid {USER} --regid {USER} --clear-groups sh -c \"$SCRIPT\"");
    let mut command = scene.std_sh(&become_user);
    command.env("SCRIPT", line);
    command
}

/// What a container's first process does: it says that it is there, and stays.
const STAY: &str = "sh -c 'echo; exec sleep 600'";
