//! unshare-lite(1), seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod detach;
mod hints;
mod inside;
mod maps;
mod namespaces;
mod outer_proc;
mod pins;
mod refusals;
mod supervision;
mod terminal;

use assert_cmd::assert::Assert;
use common::Scene;

/// Runs a script as root of a mount namespace of its own.
fn private(scene: &Scene, script: &str) -> Assert {
    scene.private_sh(script).assert()
}

/// How many orphans to make: a fork takes so long in user-mode-linux that it gets fewer.
fn a_thousand() -> u32 {
    if common::needs::in_uml() { 100 } else { 1000 }
}
