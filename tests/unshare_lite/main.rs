//! unshare-lite(1), seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod detach;
mod hints;
mod inside;
mod maps;
mod namespaces;
mod pins;
mod refusals;
mod supervision;
mod terminal;

use std::time::{Duration, Instant};

use assert_cmd::assert::Assert;
use common::Scene;

/// Runs a script as root of a mount namespace of its own.
fn private(scene: &Scene, script: &str) -> Assert {
    // On one CPU: Linux 6.18 numbers namespaces by CPU, and only one of a higher number can be pinned.
    let line = "cpus=$(taskset -pc $$); exec taskset -c ${cpus##*[ ,-]} unshare --mount sh -ec \"$SCRIPT\"";
    scene.sh(line).env("SCRIPT", script).assert()
}

/// The number of the namespace that the tests are in, as readlink shows it.
fn own_namespace(kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    link.to_str().unwrap().to_owned()
}

/// Waits until something holds, for a few seconds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many orphans to make: a fork takes so long in user-mode-linux that it gets fewer.
fn a_thousand() -> u32 {
    if common::needs::in_uml() { 100 } else { 1000 }
}
