//! Each tool alone, with all that it can be asked for.

use crate::chain::EXCUSED;
use crate::common::{Need, Scene, needs};
use crate::sweep::Line;

/// A script that makes the directory `place`, then runs `line` in a mount namespace of its own. Where that fails,
/// the directory and what is mounted in it must be as they were: else the difference is written to the file `left`.
/// What was made in a root that the process has switched to, as another user, stays.
pub fn in_place(prepare: &str, line: &str) -> String {
    format!(
        r#"rm -rf place left; mkdir place; {prepare}
        look() {{ find place -printf '%P %y %m %s %l\n' | sort; }}
        look >before
        unshare --mount --propagation private sh -c '
            {line}
            status=$?; exec 2>&-
            while read -r id parent device root point rest; do
                case $point in $PWD/place*) echo "$point $rest";; esac
            done </proc/self/mountinfo >mounts
            exit $status'
        status=$?
        [ $status -eq 0 ] || {{ cat mounts; look | diff before -; }} >left
        exit $status"#
    )
}

const PROFILE: &str =
    r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["swapon"],"action":"SCMP_ACT_ERRNO"}]}"#;

fn ready() -> bool {
    needs(&[Need::Root, Need::Cgroup, Need::Program("strace")])
}

#[test]
fn a_call_of_unshare_lite_fails() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let line = "$STRACE unshare-lite --user --map-users 0:0:4000 --map-groups 0:0:4000 --mount --pid=place/pid \
        --uts=place/uts --ipc --net --cgroup --hostname demo --domainname steps --lo --mount-proc --init \
        -S 5 -G 6 --keep-caps -- sh -c \"$LOOK\"";
    let script = in_place("", line);
    Line::new(&scene, script).sweep(12);
}

#[test]
fn a_call_of_cgset_fails() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let script = format!(
        "$STRACE cgset --rm {}/inner memory.max=64M pids.max=32 --device /dev/null --owner 65534 -- sh -c \"$LOOK\"",
        scene.name()
    );
    Line::new(&scene, script).sweep(8);
}

#[test]
fn a_call_of_unionmount_fails() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let prepare = "mkdir -p place/lower/etc place/init/etc place/merged place/low; echo x >place/init/etc/hosts; echo x >place/lower/etc/hosts";
    let line = "$STRACE unionmount --lower place/low --lower place/lower --init place/init --upper place/upper place/merged -- sh -c \"$LOOK\"";
    let script = in_place(prepare, line);
    Line::new(&scene, script).sweep(4);
}

#[test]
fn a_call_of_pivot_fails() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("profile", PROFILE);
    let line = "$STRACE pivot --mount-api --tmpfs /t/t -V /etc:/v/v:ro -V /etc/hostname:/f/f --mask /etc/group \
        --read-only-path /etc/passwd --workdir /w --read-only --user ann --cap-drop all --cap-add chown --no-new-privs \
        --seccomp profile --rlimit nofile=77 --umask 027 --oom-score-adj 500 place -- /bin/sh -c \"$LOOK\"";
    let script = in_place("cp -al root/. place", line);
    Line { excused: &EXCUSED, strace: "-f", ..Line::new(&scene, script) }.sweep(24);
}

#[test]
fn a_call_of_nsenter_lite_fails() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("profile", PROFILE);
    let container = format!(
        "unshare-lite --detach --mount --pid --uts --ipc --net --hostname demo | cgset --from - {} pids.max=32 | \
         pivot --from - --mount-api --user ann --cap-drop all --cap-add chown --no-new-privs --seccomp profile \
         --rlimit nofile=77 --umask 027 --oom-score-adj 500 --workdir /tmp --env A=b root >record",
        scene.name()
    );
    scene.sh(&container).assert().success();
    for (strace, record) in [("-f", "record"), ("", "- <record")] {
        let script = format!("exec $STRACE nsenter-lite --from {record} -- sh -c \"$LOOK\"");
        Line { strace, ..Line::new(&scene, script) }.sweep(6);
    }
    scene.sh("cgset --from record --kill --delete").assert().success();
}
