//! pivot, seen from inside the new root and from the host.

#![allow(clippy::unwrap_used, clippy::panic)] // the helpers are of tests too

#[path = "../common/mod.rs"]
mod common;

mod container;
mod escape;
mod failing;
mod filesystems;
mod initramfs;
mod process;
mod restrictions;
mod switch;
mod volumes;

use common::{Scene, stdout};

/// What a shell script prints that is COMMAND of pivot, in a small root and a mount namespace of its own.
fn inside(scene: &Scene, options: &str, script: &str) -> String {
    inside_of(scene, "--mount", options, script)
}

/// The same with other namespaces.
fn inside_of(scene: &Scene, namespaces: &str, options: &str, script: &str) -> String {
    if !scene.path("root").exists() {
        scene.rootfs("root");
    }
    let line = format!("unshare {namespaces} pivot {options} root -- /bin/sh -c '{script}'");
    stdout(&scene.sh(&line).assert().success()).trim_end().to_owned()
}

/// The same as an ordinary user, in a user namespace.
fn inside_as_user(scene: &Scene, namespaces: &str, options: &str, script: &str) -> String {
    let root = scene.rootfs("root");
    // What the image holds is the user's, as after an ordinary user's unpacking.
    if nix::unistd::geteuid().is_root() {
        scene.sh("chown -R 65534:65534 root").assert().success();
    }
    let line = format!(
        "unshare --user --map-root-user {namespaces} pivot {options} {} -- /bin/sh -c '{script}'",
        root.display()
    );
    stdout(&scene.user_sh(&line).assert().success()).trim_end().to_owned()
}
