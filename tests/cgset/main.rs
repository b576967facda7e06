//! cgset from outside: control files, /proc, exit status, and what is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

#[path = "../common/mod.rs"]
mod common;

mod control;
mod delegation;
mod device;
mod failure;
mod group;
mod host;
mod pipeline;
mod setting;
mod show;

use std::fs;
use std::path::PathBuf;
use std::process::Child;

use common::Scene;

/// The directory of the scene's group where `controller` is set.
pub fn directory(scene: &Scene, controller: &str) -> PathBuf {
    let mounts = ::common::mountinfo::of_self().unwrap();
    let of = |v2: bool| {
        let mount = mounts.iter().find(|mount| match v2 {
            true => mount.fs_type == "cgroup2",
            false => mount.fs_type == "cgroup" && mount.has_super_option(controller),
        });
        mount.map(|mount| mount.mount_point.join(scene.name()))
    };
    of(controller == "cgroup").or_else(|| of(true)).expect("a hierarchy with the controller")
}

/// Whether `controller` is on cgroup v1 here.
pub fn is_v1(controller: &str) -> bool {
    let mounts = ::common::mountinfo::of_self().unwrap();
    mounts.iter().any(|mount| mount.fs_type == "cgroup" && mount.has_super_option(controller))
}

/// What the group's control file for `controller` holds: `v1` or `v2` is its name on each.
pub fn control(scene: &Scene, controller: &str, v2: &str, v1: &str) -> String {
    let name = if is_v1(controller) { v1 } else { v2 };
    let file = directory(scene, controller).join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

/// A process of the scene that does nothing for a minute.
pub fn sleeper(scene: &Scene) -> Child {
    scene.std_sh("exec sleep 600").spawn().unwrap()
}

/// The paths in /proc/PID/cgroup, without those of named hierarchies.
pub fn cgroups_of(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let lines = text.lines().filter(|line| !line.contains("name="));
    lines.map(|line| line.splitn(3, ':').nth(2).unwrap().to_owned()).collect()
}
