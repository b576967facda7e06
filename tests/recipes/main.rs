//! The scripts in `recipes/`: whole stories, on real images, looked at from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

#[path = "../common/mod.rs"]
mod common;

mod build;
mod hostile;
mod images;
mod life;
mod run;
mod user;

use std::path::PathBuf;

use common::{Need, Scene, needs};

/// What every story needs.
fn can_run() -> bool {
    needs(&[Need::Root, Need::Cgroup, Need::Program("jq"), Need::Program("skopeo")])
}

/// The machine where each process costs 25 ms has a few of the stories, this one all.
fn can_run_here() -> bool {
    !common::needs::in_uml() && can_run()
}

/// A store of a test's own, with a small image `base`, whose only layer is a busybox.
struct Store {
    scene: Scene,
}

impl Store {
    fn empty() -> Self {
        let scene = Scene::new();
        // Where any user can reach them, whatever the mode of the checkout.
        let recipes = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes");
        scene.sh(&format!("cp -R '{recipes}' recipes && chmod -R a+rX recipes")).assert().success();
        Self { scene }
    }

    fn new() -> Self {
        let store = Self::empty();
        store.busybox("base");
        store.dockerfile("base", "FROM scratch\nADD rootfs.tar /\n");
        store.sh("build -t base base").assert().success();
        store
    }

    /// A build context in which `rootfs.tar` is a small root filesystem.
    fn busybox(&self, context: &str) {
        self.scene.rootfs("rootfs");
        self.scene.dir(context);
        self.scene.sh(&format!("tar -C rootfs -cf {context}/rootfs.tar .")).assert().success();
    }

    fn dockerfile(&self, context: &str, text: &str) {
        self.scene.file(&format!("{context}/Dockerfile"), text);
    }

    /// An image `name`, of this Dockerfile alone.
    fn image(&self, name: &str, dockerfile: &str) {
        self.dockerfile(name, dockerfile);
        self.sh(&format!("build -t {name} {name}")).assert().success();
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.scene.path(&format!("store/{relative}"))
    }

    /// A shell line that may begin its commands with the recipes' names.
    fn sh(&self, line: &str) -> assert_cmd::Command {
        let mut command = self.scene.sh(&format!("{}{line}", self.names()));
        command.env("CONTAINER_STEPS", self.path("")).env("SECRET", "of the caller");
        command
    }

    /// The same by an ordinary user, with a store of its own.
    fn user_sh(&self, line: &str) -> assert_cmd::Command {
        let mut command = self.scene.user_sh(&format!("{}{line}", self.names()));
        command.env("XDG_DATA_HOME", self.scene.path("data")).env_remove("CONTAINER_STEPS");
        command
    }

    /// As aliases, since functions and PATH give way to the shell's own `exec`.
    fn names(&self) -> String {
        let recipes = self.scene.path("recipes");
        let names =
            ["run", "exec", "commit", "build", "tag", "push", "pull", "remove", "containers", "images"];
        names.map(|name| format!("alias {name}={}/{name}\n", recipes.display())).concat()
    }

    /// The cgroup directories of containers that bear the scene's name.
    fn cgroups(&self) -> String {
        let mut list = self
            .scene
            .sh(&format!("ls -d /sys/fs/cgroup/{0}.* /sys/fs/cgroup/*/{0}.* 2>&-", self.scene.name()));
        String::from_utf8(list.output().unwrap().stdout).unwrap()
    }

    /// Fails if a process, a mount, a cgroup, a container or half of something is still there.
    fn assert_nothing_left(&self) {
        self.scene.assert_all_ends(); // what waits for a container in the background ends a moment after it
        assert_eq!(self.cgroups(), "", "cgroups left");
        self.scene.sh("ls -A store/containers; ls -A store | grep work").assert().stdout("");
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.sh("cd store/containers && remove -f *").output();
        let _ = self.user_sh("cd data/container-steps/containers && remove -f *").output();
    }
}
