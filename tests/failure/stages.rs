//! The stages of README's pipeline: where one fails, the container is as it was and no record goes on, and where
//! the first fails there is no container.

use crate::chain::EXCUSED;
use crate::common::{Need, Scene, needs};
use crate::sweep::Line;
use crate::tools::in_place;

fn scene() -> Option<Scene> {
    needs(&[Need::Root, Need::Cgroup, Need::Program("strace"), Need::Program("jq")]).then(Scene::new)
}

/// strace(1) ends when the holder does: it is ended once somebody has looked around beside it.
#[test]
fn a_call_of_the_first_stage_fails() {
    let Some(scene) = scene() else { return };
    let line = format!(
        "echo {{}} | cgset --from - {group} pids.max=32 >group
        {{
            timeout 50 $STRACE unshare-lite --from group --detach --user --map-users 0:0:4000 --map-groups 0:0:4000 \
                --mount --pid=place/pid --uts=place/uts --ipc --net --cgroup --hostname demo --lo
            echo $? >status
        }} | {{
            head -n 1 >record
            [ ! -s record ] || {{ nsenter-lite --from record -- sh -c \"$LOOK\"; kill -KILL $(jq .pid record); }}
        }}
        cgset --delete {group}
        (exit $(cat status))",
        group = scene.name()
    );
    Line::alone(&scene, in_place("", &line)).sweep(8);
}

/// A script that has `stage` work on a new container and the directory `place`, which `prepare` fills, and tells
/// what the container is like then. Where it fails, both must be as they were: else the difference is written to
/// the file `left`.
fn in_container(prepare: &str, stage: &str, end: &str) -> String {
    format!(
        r#"rm -rf place left; mkdir place; {prepare}
        unshare-lite --detach --mount --pid --uts --ipc --net --hostname demo >record || exit 1
        pid=$(jq .pid record)
        look() {{
            cat /proc/$pid/mountinfo /proc/$pid/cgroup
            ls -l /proc/$pid/ns /proc/$pid/root /proc/$pid/cwd | sed "s/.*[0-9][0-9]:[0-9][0-9] //"
            find place -printf '%P %y %m %s %l\n' | sort
        }}
        look >before
        {stage} >next
        status=$?
        if [ $status -eq 0 ]; then
            nsenter-lite --from next -- sh -c "$LOOK"
        else
            cat next; look | diff before - >left
        fi
        {end} || status=1
        while [ -e /proc/$pid/exe ]; do sleep 0.01; done
        exit $status"#
    )
}

const KILL: &str = "kill -KILL $pid";

#[test]
fn a_call_of_cgset_fails_on_a_container() {
    let Some(scene) = scene() else { return };
    let name = scene.name();
    let stage =
        format!("$STRACE cgset --from - {name} memory.max=64M pids.max=32 --device /dev/null <record");
    let end = format!(
        "if [ -s next ]; then cgset --from next --kill --delete || {{ {KILL}; false; }}; else {KILL}; fi"
    );
    Line::alone(&scene, in_container("", &stage, &end)).sweep(10);
}

#[test]
fn a_call_of_cgset_fails_that_ends_a_container() {
    let Some(scene) = scene() else { return };
    let container = format!(
        "unshare-lite --detach --pid | cgset --from - {0} pids.max=32 >record; $STRACE cgset --from record --kill --delete
        status=$?; [ $status -eq 0 ] || cgset --from record --kill --delete || cgset --delete {0}; exit $status",
        scene.name()
    );
    Line::alone(&scene, container).sweep(10);
}

#[test]
fn a_call_of_unionmount_fails_on_a_container() {
    let Some(scene) = scene() else { return };
    let prepare = "mkdir -p place/lower/etc place/init/etc place/merged place/low; echo x >place/init/etc/hosts; echo x >place/lower/etc/hosts";
    let stage = "$STRACE unionmount --from - --lower place/low --lower place/lower --init place/init --upper place/upper place/merged <record";
    Line::alone(&scene, in_container(prepare, stage, KILL)).sweep(10);
}

#[test]
fn a_call_of_pivot_fails_on_a_container() {
    let Some(scene) = scene() else { return };
    scene.rootfs("root");
    let stage = "$STRACE pivot --from record --mount-api --tmpfs /t/t -V /etc:/v/v:ro -V /etc/hostname:/f/f --mask /etc/group \
        --workdir /w --read-only --user ann --cap-drop all --no-new-privs --umask 027 place";
    let script = in_container("cp -al root/. place", stage, KILL);
    Line { excused: &EXCUSED, ..Line::alone(&scene, script) }.sweep(40);
}
