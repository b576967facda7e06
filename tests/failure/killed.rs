//! Killed at any instant: what ran goes along, and the next run of the same line finds nothing in its way.

use crate::chain::{self, EXCUSED};
use crate::common::{Need, Scene, needs};
use crate::sweep::Line;
use crate::whiteout::{self, LAYER, on_layer};

/// strace(1) itself sets no_new_privs, and is no part of the run that follows.
const OF_STRACE: [(&str, &str); 4] =
    [EXCUSED[0], EXCUSED[1], ("NoNewPrivs", "set by strace"), ("Seccomp_filters", "made by strace")];

/// The mount tells whether the work directory is this run's own, and the filesystem's identity is the upper's.
const OF_UPPER: [(&str, &str); 3] =
    [OF_STRACE[2], OF_STRACE[3], (" - overlay unionmount,", "with the upper of the killed run")];

fn ready() -> bool {
    needs(&[Need::Root, Need::Cgroup, Need::Program("strace")])
}

#[test]
fn the_chain_is_killed() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let script = chain::script(&scene);
    Line { excused: &OF_STRACE, ..Line::new(&scene, script) }.kill(24);
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
}

/// Its upper and work directory stay, as they do after a success; the next run takes them over.
#[test]
fn unionmount_is_killed_with_an_upper_on_disk() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    scene
        .sh("mkdir -p low lower/etc init/etc merged; echo x >init/etc/hosts; echo x >lower/etc/hosts")
        .assert()
        .success();
    let script = "exec unshare --mount sh -c '$STRACE unionmount --lower low --lower lower --init init --upper upper \
        merged -- sh -c \"$LOOK\"'";
    Line { excused: &OF_UPPER, ..Line::new(&scene, script.to_owned()) }.kill(6);
}

/// Mount points that it made in NEW_ROOT stay, as they do after a success.
#[test]
fn pivot_is_killed() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let script = "exec unshare --mount sh -c '$STRACE pivot --mount-api --tmpfs /t/t -V /etc:/v/v:ro -V /etc/hostname:/f/f \
        --workdir /w --read-only root -- sh -c \"$LOOK\"'";
    let script = script.to_owned();
    Line { excused: &OF_STRACE, ..Line::new(&scene, script) }.kill(24);
}

#[test]
fn cgset_is_killed() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let script = format!(
        "exec $STRACE cgset --rm {} memory.max=64M pids.max=32 --device /dev/null --owner 65534 -- sh -c \"$LOOK\"",
        scene.name()
    );
    Line { excused: &OF_STRACE, ..Line::new(&scene, script) }.kill(10);
    assert_eq!(scene.cgroups(), [] as [std::path::PathBuf; 0], "--rm takes over what a killed run left");
}

#[test]
fn whiteout_is_killed() {
    let Some(scene) = whiteout::scene() else { return };
    whiteout::archive(&scene);
    on_layer(&scene, ":", whiteout::UNPACK).kill(31);
    on_layer(&scene, whiteout::ROOT, whiteout::APPLY).kill(61);
    if whiteout::formats(&scene).contains(&"xattr") {
        on_layer(&scene, LAYER, "$STRACE whiteout convert --to xattr place").kill(31);
    }
}
