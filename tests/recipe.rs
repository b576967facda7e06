//! The three-step container as one command line, promise by promise.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::{Need, Scene, eventually, needs, stdout};

/// The container of README, with this machine's own root directory as its image.
fn container(scene: &Scene) -> String {
    format!(
        "unshare-lite --mount --pid --uts --ipc --net --hostname demo -- \
         cgset {} memory.max=64M pids.max=32 -- {ROOT}",
        scene.name()
    )
}

/// The same for an ordinary user, who may set no limits unless a cgroup is delegated.
fn rootless() -> String {
    format!("unshare-lite --map-root-user --mount --pid --uts --ipc --net --hostname demo -- {ROOT}")
}

const ROOT: &str = "unionmount --lower / --ephemeral /mnt -- pivot --mount-api /mnt --";

/// Runs `script` in both containers, and gives what each printed.
fn inside(scene: &Scene, script: &str) -> [String; 2] {
    [
        scene.sh(&format!("{} sh -c '{script}'", container(scene))),
        scene.user_sh(&format!("{} sh -c '{script}'", rootless())),
    ]
    .map(|mut command| stdout(&command.assert().success().stderr("")))
}

fn ready() -> bool {
    needs(&[Need::Root, Need::Cgroup])
}

#[test]
fn it_has_its_own_host_name() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let before = std::fs::read("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(inside(&scene, "cat /proc/sys/kernel/hostname"), ["demo\n", "demo\n"]);
    assert_eq!(std::fs::read("/proc/sys/kernel/hostname").unwrap(), before, "the host's stays");
}

#[test]
fn the_command_is_pid_1_and_sees_no_process_of_the_host() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    for printed in inside(&scene, "echo $$; cd /proc; for p in [0-9]*; do echo $p; done") {
        assert_eq!(printed, "1\n1\n");
    }
}

#[test]
fn each_namespace_is_another_than_the_hosts() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let host =
        |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    let [root, user] =
        inside(&scene, "for n in mnt pid uts ipc net user; do readlink /proc/self/ns/$n; done");
    for (printed, kinds) in [
        (root, &["mnt", "pid", "uts", "ipc", "net"][..]),
        (user, &["mnt", "pid", "uts", "ipc", "net", "user"]),
    ] {
        for (id, kind) in printed.lines().zip(kinds) {
            assert!(id.starts_with(kind), "{printed}");
            assert_ne!(id, host(kind));
        }
    }
}

#[test]
fn its_root_is_the_union_and_the_hosts_is_out_of_reach() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let mounts = ::common::mountinfo::of_self().unwrap();
    let host_root = &::common::mountinfo::at(&mounts, std::path::Path::new("/")).unwrap().device;
    for printed in inside(&scene, "cat /proc/self/mountinfo") {
        std::fs::write(scene.path("table"), &printed).unwrap();
        let table = ::common::mountinfo::read(scene.path("table")).unwrap();
        assert_eq!(::common::mountinfo::at(&table, std::path::Path::new("/")).unwrap().fs_type, "overlay");
        // A big file of the image may be bound, read-only, where an ordinary user's union is built in pieces.
        for bind in table.iter().filter(|mount| &mount.device == host_root) {
            assert!(bind.has_option("ro") && bind.root.is_file(), "the host's root is mounted: {bind:?}");
        }
        for (place, fs_type) in
            [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "tmpfs"), ("/dev/pts", "devpts")]
        {
            let mount = ::common::mountinfo::at(&table, std::path::Path::new(place)).unwrap();
            assert_eq!(mount.fs_type, fs_type, "{place}: {printed}");
        }
    }
}

#[test]
fn the_image_is_the_machines_own_root_directory() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let host = std::fs::read_to_string("/etc/passwd").unwrap();
    assert_eq!(inside(&scene, "cat /etc/passwd"), [host.clone(), host]);
}

#[test]
fn a_write_does_not_reach_the_host() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let marks = ["/cs-mark", "/usr/cs-mark", "/etc/cs-mark"].map(|mark| format!("{mark}-{}", scene.name()));
    let script = marks.iter().map(|mark| format!("echo x >{mark}; cat {mark};")).collect::<String>();
    assert_eq!(inside(&scene, &script), ["x\nx\nx\n", "x\nx\nx\n"]);
    for mark in marks {
        assert!(!std::path::Path::new(&mark).exists(), "{mark}");
    }
}

#[test]
fn the_network_is_a_loopback_alone() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    for printed in inside(&scene, "cat /proc/net/dev") {
        let names: Vec<_> =
            printed.lines().skip(2).map(|line| line.split(':').next().unwrap().trim()).collect();
        // Others than lo are tunnels that the kernel makes in every namespace, down and without address.
        assert!(names.contains(&"lo") && !names.iter().any(|name| name.starts_with("eth")), "{printed}");
    }
}

#[test]
fn the_user_is_root_inside() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    assert_eq!(inside(&scene, "id -u; id -g"), ["0\n0\n", "0\n0\n"]);
}

#[test]
fn more_memory_than_the_limit_is_death() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let take = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null; echo $?";
    let command = format!("{} sh -c '{take}'", container(&scene));
    scene.sh(&command).assert().success().stdout("137\n");
    let some = "dd if=/dev/zero of=/dev/null bs=8M count=1 2>/dev/null; echo $?";
    scene.sh(&command.replace(take, some)).assert().success().stdout("0\n");
}

#[test]
fn more_processes_than_the_limit_cannot_be_made() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    // A shell that cannot fork ends; so a second one, outside of the loop, counts.
    let script = "(n=0; while [ $n -lt 64 ]; do sleep 600 & n=$((n+1)); done) 2>/dev/null; for p in /proc/[0-9]*; do echo $p; done";
    let printed = stdout(&scene.sh(&format!("{} sh -c '{script}'", container(&scene))).assert());
    let count = printed.lines().count();
    assert!((20..=32).contains(&count), "{count} processes under pids.max=32");
}

#[test]
fn its_end_is_the_commands_end_and_only_the_cgroup_directory_stays() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    scene.sh(&format!("{} sh -c 'sleep 600 & exit 7'", container(&scene))).assert().code(7);
    assert_eq!(scene.processes(), [] as [i32; 0]);
    assert_eq!(scene.mounts(), [] as [std::path::PathBuf; 0]);
    assert!(!scene.cgroups().is_empty(), "the group stays until it is removed");
    scene.sh(&format!("cgset --kill --delete {}", scene.name())).assert().success();
    scene.user_sh(&format!("{} sh -c 'sleep 600 & exit 7'", rootless())).assert().code(7);
    scene.assert_nothing_left();
}

#[test]
fn rm_takes_the_cgroup_along() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let name = scene.name();
    scene
        .sh(&format!(
            "cgset --rm {name} memory.max=64M -- unshare-lite --mount --pid -- {ROOT} sh -c 'exit 9'"
        ))
        .assert()
        .code(9);
    scene.assert_nothing_left();
}

#[test]
fn killed_at_any_instant_nothing_stays_but_the_cgroup_directory() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    for tenths in [0, 1, 2, 5, 10, 20, 40] {
        let mut chain = scene.std_sh(&format!("exec {} sleep 600", container(&scene))).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(tenths * 10));
        chain.kill().unwrap();
        chain.wait().unwrap();
        eventually(&format!("killed after {tenths}0 ms, all ends"), || scene.processes().is_empty());
        assert_eq!(scene.mounts(), [] as [std::path::PathBuf; 0]);
    }
    // What stayed does not stand in the way of the next.
    scene.sh(&format!("{} true", container(&scene))).assert().success();
}

#[test]
fn the_cgroup_goes_with_the_command_where_that_is_asked_for() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let chain = container(&scene).replace("cgset ", "cgset --rm ");
    for (command, code) in [("sh -c 'exit 7'", 7), ("no-such-command", 127), ("sh -c 'kill -9 $$'", 137)] {
        scene.sh(&format!("{chain} {command}")).assert().code(code);
        scene.assert_nothing_left();
    }
}

#[test]
fn where_pivot_root_is_not_wanted_chroot_does_it() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let chain = container(&scene).replace("pivot ", "pivot --method chroot ");
    let script = "cat /proc/sys/kernel/hostname; test -e /proc/self/exe; echo x >/cs-chroot; ls /cs-chroot";
    scene.sh(&format!("{chain} sh -c '{script}'")).assert().success().stdout("demo\n/cs-chroot\n");
    assert!(!std::path::Path::new("/cs-chroot").exists());
}

#[test]
fn an_ordinary_user_gets_limits_in_a_delegated_subtree() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    let (name, user) = (scene.name(), common::scene::USER);
    let delegate = format!(
        "set -e; cgset {name} memory.max=max pids.max=max; cd /sys/fs/cgroup/{name}; mkdir shell; \
         echo '+memory +pids' >cgroup.subtree_control; chown {user} . cgroup.procs cgroup.subtree_control shell shell/cgroup.procs; \
         echo $$ >shell/cgroup.procs; cd /; exec setpriv --reuid {user} --regid {user} --clear-groups sh -c \"$0\""
    );
    let take = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null; echo $?";
    let chain = format!("cgset {name}/inner memory.max=64M pids.max=32 -- {} sh -c '{take}'", rootless());
    let mut command = scene.sh(&delegate.replace("$0", &chain.replace('$', "\\$")));
    command.assert().success().stdout("137\n");
}

#[test]
fn verbose_tells_the_steps_in_order() {
    if !ready() {
        return;
    }
    let scene = Scene::new();
    let chain = container(&scene)
        .replace("-lite ", "-lite -v ")
        .replace("cgset ", "cgset -v ")
        .replace("unionmount ", "unionmount -v ")
        .replace("pivot ", "pivot -v ");
    let assert = scene.sh(&format!("{chain} true")).assert().success();
    let told = common::stderr(&assert);
    let steps = [
        "unshare-lite: unshare mnt, pid, uts, ipc, net",
        "cgset: make the cgroup",
        "unionmount: mount overlay on /mnt",
        "pivot: mount proc on",
        "pivot: exec true",
    ];
    let places: Vec<_> =
        steps.iter().map(|step| told.find(step).unwrap_or_else(|| panic!("{step} in {told}"))).collect();
    assert!(places.is_sorted(), "{told}");
}
