//! The chain of README.

use crate::common::{Need, Scene, needs};
use crate::sweep::Line;

/// As good as what was asked for.
pub const EXCUSED: [(&str, &str); 2] = [
    ("/dev/mqueue ", "it is left out where the IPC namespace is another's, and EPERM says so"),
    (" - devtmpfs ", "where no device node can be made, the caller's, of the same number, is bound"),
];

#[test]
fn a_call_of_the_chain_fails() {
    if !needs(&[Need::Root, Need::Cgroup, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    let script = script(&scene);
    Line { excused: &EXCUSED, ..Line::new(&scene, script) }.sweep(16);
    scene.tool("cgset").args([scene.name(), "--delete"]).assert().success();
}

/// README's chain, whose COMMAND looks around.
pub fn script(scene: &Scene) -> String {
    format!(
        "exec $STRACE unshare-lite --mount --pid --uts --ipc --net --hostname demo -- \
         cgset {} memory.max=64M pids.max=32 -- \
         unionmount --lower / --ephemeral /mnt -- \
         pivot --mount-api /mnt -- sh -c \"$LOOK\"",
        scene.name()
    )
}
