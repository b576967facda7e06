//! In a PID namespace where /proc is still the outer one's, as it is for every tool of the chain behind `--pid`.

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::private;

/// Keeps PID 1 from becoming the tool, whose PID is then 2 or more: another's in this /proc.
const INSIDE: &str = "unshare-lite --pid -- sh -ec";

#[test]
fn maps_are_written_for_this_process() {
    let scene = Scene::new();
    let line = "unshare-lite -r --pid -- sh -c ':; unshare-lite -r -- cat /proc/self/uid_map; :'";
    let seen = stdout(&scene.user_sh(line).assert().success());
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "0", "1"]);
}

#[test]
fn pins_are_of_this_process() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let line = format!(
        "mount --make-rprivate /; touch uts
         {INSIDE} 'unshare-lite --uts=uts --hostname pinned -- readlink /proc/self/ns/uts; :'
         nsenter-lite -t $$ --uts=uts -- sh -c 'readlink /proc/self/ns/uts; hostname'; umount uts"
    );
    let seen = stdout(&private(&scene, &line).success());
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!([lines[0], "pinned"], lines[1..], "{seen}");
}

#[test]
fn what_takes_a_pid_is_refused_since_it_would_be_another_process() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    for tool in [
        "unshare-lite --detach --uts",
        "nsenter-lite -t $$ -- echo ran",
        "cgset $CONTAINER_STEPS_TEST --pid $$",
        "cgset $CONTAINER_STEPS_TEST --threads --pid $$",
    ] {
        let run = scene.sh(&format!("{INSIDE} '{tool}; :'")).assert().code(125).stdout("");
        let said = stderr(&run);
        assert!(said.contains("/proc: look up a PID in: it is an outer PID namespace's"), "{tool}: {said}");
        assert!(said.contains("hint: ") && said.contains("--mount-proc"), "{tool}: {said}");
        scene.assert_all_ends();
    }
}
