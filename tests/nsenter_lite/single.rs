//! Namespaces, root and directory one by one, by process and by file.

use crate::common::namespace::{KINDS, own_namespace};
use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{STAY, Target};

/// The kinds of the target that a process entered with these options is in.
fn entered(scene: &Scene, target: &Target, options: &str) -> Vec<&'static str> {
    let look = "for f in mnt pid uts ipc net cgroup user; do readlink /proc/self/ns/$f; done";
    let run = scene.sh(&format!("nsenter-lite {options} -- sh -c '{look}'")).assert().success();
    let seen = stdout(&run);
    let mut kinds = Vec::new();
    for (kind, id) in ["mnt", "pid", "uts", "ipc", "net", "cgroup", "user"].into_iter().zip(seen.lines()) {
        if id == target.link(&format!("ns/{kind}")) && id != own_namespace(kind) {
            kinds.push(kind);
        } else {
            assert_eq!(id, own_namespace(kind), "{options}");
        }
    }
    kinds
}

#[test]
fn each_option_enters_its_namespace_and_no_other() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite --all -- {STAY}"));
    let pid = target.pid;
    for &(long, short, kind) in &KINDS[1..7] {
        assert_eq!(entered(&scene, &target, &format!("-t {pid} {long}")), [kind]);
        assert_eq!(entered(&scene, &target, &format!("-t {pid} {short}")), [kind]);
        assert_eq!(entered(&scene, &target, &format!("-t $$ {long}=/proc/{pid}/ns/{kind}")), [kind]);
    }
    assert_eq!(entered(&scene, &target, &format!("-t {pid} -mn")), ["mnt", "net"]);
}

#[test]
fn the_user_namespace_is_entered_alone() {
    let scene = Scene::new();
    let target = Target::start_as_user(&scene, &format!("exec unshare-lite -r -u -- {STAY}"));
    for option in ["-U", "--user"] {
        let script =
            format!("nsenter-lite -t {} {option} -- sh -c 'id -u; readlink /proc/self/ns/uts'", target.pid);
        scene.user_sh(&script).assert().success().stdout(format!("0\n{}\n", own_namespace("uts")));
    }
    let script = format!(
        "nsenter-lite -t $$ --user=/proc/{0}/ns/user --uts=/proc/{0}/ns/uts -- readlink /proc/self/ns/uts",
        target.pid
    );
    for mut run in [scene.user_sh(&script), scene.sh(&script)] {
        run.assert().success().stdout(format!("{}\n", target.link("ns/uts")));
    }
}

#[test]
fn a_time_namespace_is_entered() {
    if !needs(&[Need::Root, Need::TimeNamespace]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite -T --boottime 5000000 -- {STAY}"));
    for options in ["", "-T", "--time"] {
        let script = format!("nsenter-lite -t {} {options} -- cut -d. -f1 /proc/uptime", target.pid);
        let uptime: u64 = stdout(&scene.sh(&script).assert().success()).trim().parse().unwrap();
        assert!(uptime >= 5_000_000, "{options}: {uptime}");
    }
}

#[test]
fn a_file_that_is_no_namespace_of_the_kind_is_refused() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("plain", "x");
    scene.sh("mkfifo fifo").assert().success();
    for (option, expected) in [
        ("--net=plain", "not a namespace of this kind"),
        ("--net=/proc/self/ns/uts", "not a namespace of this kind"),
        ("--net=fifo", "not a namespace of this kind"),
        ("--net=missing", "missing: open the namespace: No such file"),
    ] {
        let run = scene.sh(&format!("nsenter-lite -t $$ {option} -- echo ran")).assert().code(125).stdout("");
        assert!(stderr(&run).contains(expected), "{}", stderr(&run));
    }
}

#[test]
fn the_root_is_taken_without_a_namespace() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    scene.dir("other/bin");
    scene.sh("cp /bin/busybox other/bin/ls").assert().success();
    let target = Target::start(&scene, &format!("exec chroot {} {STAY}", root.display()));
    let ls = |options: &str| {
        stdout(&scene.sh(&format!("nsenter-lite -t {} {options} -- ls /", target.pid)).assert().success())
    };
    assert_eq!(ls("-r"), "bin\netc\nroot\ntmp\n");
    assert_eq!(ls("--root"), "bin\netc\nroot\ntmp\n");
    assert_eq!(ls("--root=other"), "bin\n");
    scene.sh(&format!("nsenter-lite -t {} -r -- pwd", target.pid)).assert().success().stdout("/\n");
}

#[test]
fn the_working_directory_is_where_it_was_asked_for() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    scene.dir("root/work/deep");
    scene.dir("host");
    let line =
        format!("exec unshare-lite -m -- chroot {} sh -c 'cd work; echo; exec sleep 600'", root.display());
    let target = Target::start(&scene, &line);
    let enter =
        |options: &str| scene.sh(&format!("nsenter-lite -t {} {options} -- pwd", target.pid)).assert();
    enter("-r -w").success().stdout("/work\n");
    enter("-r -W /work/deep").success().stdout("/work/deep\n");
    enter("-r --wd=root/work/deep").success().stdout("/work/deep\n");
    enter("-r").success().stdout("/\n");
    enter("").success().stdout("/work\n");
    // A host directory is out of the new root's reach (CVE-2024-21626).
    let run = enter("-r --wd=host").code(125).stdout("");
    assert!(stderr(&run).contains("outside the root"), "{}", stderr(&run));
    enter("-r -W /host").code(125).stdout("");
}

#[test]
fn no_directory_of_the_host_comes_along() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    let target =
        Target::start(&scene, &format!("exec unshare-lite --mount -- chroot {} {STAY}", root.display()));
    for options in ["", "-r", "-m -r", "-r --wd=/proc/self/fd/9", "-r -W /proc/self/fd/9"] {
        let script = format!(
            "exec 9</; cd /etc; nsenter-lite -t {} {options} -- sh -c 'pwd; ls -d ../../../*'",
            target.pid
        );
        let run = scene.sh(&script).assert();
        let seen = stdout(&run);
        assert!(
            ["", "/\n../../../bin\n../../../etc\n../../../root\n../../../tmp\n"].contains(&seen.as_str()),
            "{options}: {seen}"
        );
    }
}

#[test]
fn the_cgroup_can_be_joined_alone() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(
        &scene,
        &format!(
            "exec cgset --rm {} pids.max=20 -- unshare-lite -u --hostname inside -- {STAY}",
            scene.name()
        ),
    );
    for option in ["-c", "--join-cgroup"] {
        let script =
            format!("nsenter-lite -t {} {option} -- sh -c 'cat /proc/self/cgroup; hostname'", target.pid);
        let seen = stdout(&scene.sh(&script).assert().success());
        assert!(seen.contains(scene.name()) && !seen.contains("inside"), "{seen}");
    }
}
