//! unionmount(1), seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod copy_up;
mod errors;
mod fuse;
mod hints;
mod images;
mod init_layer;
mod layers;
mod locked;
mod options;
mod record;
mod show;
mod upper;

use assert_cmd::assert::Assert;
use common::Scene;

/// Runs a script as root of a mount namespace of its own.
fn private(scene: &Scene, script: &str) -> Assert {
    scene.sh("exec unshare-lite --mount -- sh -ec \"$SCRIPT\"").env("SCRIPT", script).assert()
}

/// Runs a script as an ordinary user who is root of a user and mount namespace of its own.
fn rootless(scene: &Scene, script: &str) -> Assert {
    let command = "exec unshare-lite --user --map-root-user --mount -- sh -ec \"$SCRIPT\"";
    scene.user_sh(command).env("SCRIPT", script).assert()
}

/// Two layers with a file of the same name, and a place for the union.
fn two_layers() -> Scene {
    let scene = Scene::new();
    scene.file("bottom/both", "bottom");
    scene.file("bottom/only", "bottom only");
    scene.file("top/both", "top");
    scene.file("top/inner/file", "inner");
    scene.dir("merged");
    scene
}
