//! An exec is never more powerful than the container that it enters, unless it is said to be.

use std::fs;

use crate::common::{Need, Scene, eventually, needs, stderr, stdout};
use crate::{STAY, Target, user_command};

/// Lines of /proc/self/status of a process that was entered.
fn status(scene: &Scene, options: &str, keys: &str) -> Vec<String> {
    let look = format!("nsenter-lite {options} -- grep -wE '{keys}' /proc/self/status");
    let seen = stdout(&scene.sh(&look).assert().success());
    seen.lines().map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
}

#[test]
fn capabilities_and_no_new_privs_are_at_most_the_targets() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let drop = "setpriv --bounding-set=-all,+chown,+kill --no-new-privs";
    let target = Target::start(&scene, &format!("exec unshare-lite --uts --pid -- {drop} {STAY}"));
    let bounding = common::procfs::status(target.pid, "CapBnd").unwrap();
    let to = format!("-t {}", target.pid);
    let keys = "CapPrm|CapEff|CapBnd|NoNewPrivs";
    assert_eq!(status(&scene, &to, keys), [&*bounding, &*bounding, &*bounding, "1"]);
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let ours = ours.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim().to_owned();
    assert_eq!(status(&scene, &format!("{to} --privileged"), "CapBnd|NoNewPrivs"), [&*ours, "0"]);
    // Asked for singly, a namespace is all that is entered, as with nsenter(1).
    assert_eq!(status(&scene, &format!("{to} --uts"), "CapBnd|NoNewPrivs"), [&*ours, "0"]);
}

#[test]
fn capabilities_are_kept_only_when_asked_for() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let drop = "setpriv --bounding-set=-all,+chown,+kill";
    let target = Target::start(&scene, &format!("exec unshare-lite --uts -- {drop} {STAY}"));
    let to = format!("-t {} -S 1000 -G 1000", target.pid);
    assert_eq!(status(&scene, &to, "CapPrm|CapAmb"), ["0000000000000000"; 2]);
    let kept = common::procfs::status(target.pid, "CapBnd").unwrap();
    assert_eq!(status(&scene, &format!("{to} --keep-caps"), "CapPrm|CapEff|CapAmb"), [&*kept; 3]);
}

#[test]
fn the_oom_score_is_not_lower_than_the_targets() {
    let scene = Scene::new();
    let target = Target::start_as_user(
        &scene,
        &format!("echo 321 >/proc/self/oom_score_adj; exec unshare-lite -r -p -- {STAY}"),
    );
    let look =
        |options: &str| format!("nsenter-lite -t {} {options} -- cat /proc/self/oom_score_adj", target.pid);
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    scene.user_sh(&look("")).assert().success().stdout("321\n");
    scene.user_sh(&look("--privileged")).assert().success().stdout(own);
}

#[test]
fn what_the_record_says_of_the_container_is_imposed_on_who_joins() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    let line = format!(
        "unshare-lite --detach --mount --pid | pivot --from - --mount-api --user 1000:1001 --workdir /tmp \
         --env COLOUR=red --cap-drop all --cap-add chown --no-new-privs --umask 027 --rlimit nofile=77 {} >record",
        root.display()
    );
    scene.sh(&line).assert().success();
    let look =
        "id -u; id -g; pwd; echo $COLOUR; umask; ulimit -n; grep -E 'NoNewPrivs|CapBnd' /proc/self/status";
    let run = scene
        .sh(&format!("nsenter-lite --from record -- sh -c \"{}\"", look.replace('$', "\\$")))
        .assert()
        .success();
    assert_eq!(stdout(&run), "1000\n1001\n/tmp\nred\n0027\n77\nCapBnd:\t0000000000000001\nNoNewPrivs:\t1\n");
    let mut run = scene
        .sh("nsenter-lite --from record --privileged -- sh -c 'id -u; grep NoNewPrivs /proc/self/status'");
    run.assert().success().stdout("0\nNoNewPrivs:\t0\n");
    // The caller may be somebody else, but not more powerful.
    let mut run =
        scene.sh("nsenter-lite --from record -S 0 -G 0 -- sh -c 'id -u; grep CapBnd /proc/self/status'");
    run.assert().success().stdout("0\nCapBnd:\t0000000000000001\n");
    scene.sh("kill -9 $(jq .pid record)").assert().success();
}

#[test]
fn a_record_with_a_malformed_restriction_runs_nothing() {
    let scene = Scene::new();
    let target = Target::start_as_user(&scene, &format!("exec unshare-lite -r -- {STAY}"));
    let start = common::process::Process::open(target.pid).unwrap().start_time();
    for (key, value) in
        [("no_new_privs", "1"), ("capabilities", "[]"), ("user", "\"ann\""), ("workdir", "{}")]
    {
        let record = format!(
            r#"{{"pid":{},"start_time":{start},"root":{{"path":"/","method":"pivot_root","{key}":{value}}}}}"#,
            target.pid
        );
        let run = scene
            .user_sh("nsenter-lite --from - -- echo ran")
            .write_stdin(record)
            .assert()
            .code(125)
            .stdout("");
        assert!(stderr(&run).contains(&format!("its {key} is not")), "{}", stderr(&run));
    }
}

/// CVE-2019-5736: COMMAND is the entering tool's own file; a process inside opens it while it runs,
/// and writes to it once it does not.
#[test]
fn the_tools_own_binary_cannot_be_written_to_from_inside() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.sh("cp $(command -v nsenter-lite) mine").assert().success();
    let before = fs::read(scene.path("mine")).unwrap();
    // All other programs of this container are in a directory named bin.
    let attack = "echo; while [ ! -e opened ]; do for exe in /proc/[0-9]*/exe; do
            case $(readlink $exe) in ''|*bin/*) ;; *) exec 9<$exe; readlink $exe >opened; break;; esac; done; done
        while :; do { echo broken >/proc/self/fd/9; } 2>/dev/null && echo >hit; echo >tried; sleep 0.01; done";
    let mut command = scene.std_sh("exec unshare-lite --pid --mount-proc -- sh -c \"$ATTACK\"");
    command.env("ATTACK", attack);
    let target = Target::spawn_here(command);
    // The magic link as COMMAND: the tool starts itself, inside, and waits for a record.
    let line = format!(
        "while [ ! -e opened ]; do sleep 0.01; done | ./mine -t {} -- /proc/self/exe --from -",
        target.pid
    );
    scene.sh(&line).assert().code(125);
    fs::remove_file(scene.path("tried")).unwrap_or_default();
    eventually("an attack on a file that nobody runs", || scene.path("tried").exists());
    drop(target);
    assert!(!scene.path("hit").exists(), "{}", fs::read_to_string(scene.path("opened")).unwrap());
    assert!(fs::read(scene.path("mine")).unwrap() == before, "the binary has changed");
}

/// CVE-2016-9962: what the entering process has open is nobody's to look at, until it is COMMAND.
#[test]
fn the_entering_process_cannot_be_looked_into() {
    if !needs(&[Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    // Root of the container, and the same user outside.
    let spy = "echo; look() { ls $1/fd/ >/dev/null 2>&1 && echo seen || echo refused; }
        while [ ! -s result ]; do for pid in /proc/[0-9]*; do
        [ \"$(cat $pid/comm)\" = nsenter-lite ] && look $pid >result; done; done; exec sleep 600";
    let line = format!("exec unshare-lite -r -p --mount-proc -- sh -c '{spy}'");
    let target = Target::spawn_here(user_command(&scene, &line));
    // Where it closes what COMMAND must not have, it is inside and has next to nothing left to do.
    let slowly = "strace -f -o /dev/null -e trace=close_range -e inject=close_range:delay_enter=5000000";
    scene.user_sh(&format!("{slowly} nsenter-lite -t {} -- true", target.pid)).assert().success();
    assert_eq!(fs::read_to_string(scene.path("result")).unwrap(), "refused\n");
}

#[test]
fn where_a_pidfd_cannot_be_entered_namespaces_are_one_by_one() {
    if !needs(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    for options in ["-a", "-r -a"] {
        let target =
            Target::start(&scene, &format!("exec unshare-lite {options} --hostname inside -- {STAY}"));
        let look = "hostname; for f in user mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$f; done";
        let line = format!(
            "strace -f -o trace -e trace=setns -e inject=setns:error=EINVAL:when=1 nsenter-lite -t {} -- sh -c '{look}'",
            target.pid
        );
        let seen = stdout(&scene.sh(&line).assert().success());
        let ids = ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup"]
            .map(|kind| target.link(&format!("ns/{kind}")));
        assert_eq!(seen, format!("inside\n{}\n", ids.join("\n")));
        assert!(fs::read_to_string(scene.path("trace")).unwrap().contains("INJECTED"));
    }
}

#[test]
fn the_parent_of_the_user_namespace_is_entered_in_its_place() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let line = format!(
        "exec unshare-lite -r -u --hostname outer -- sh -c 'readlink /proc/self/ns/user >parent; exec unshare-lite -r -n -- {}'",
        STAY.replace('\'', "\"")
    );
    let target = Target::start(&scene, &line);
    let script = format!(
        "nsenter-lite -t {} -U --user-parent -u -- sh -c 'readlink /proc/self/ns/user; hostname'",
        target.pid
    );
    let parent = fs::read_to_string(scene.path("parent")).unwrap();
    scene.sh(&script).assert().success().stdout(format!("{parent}outer\n"));
}

#[test]
fn the_containers_seccomp_filter_is_also_that_of_who_joins() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    scene.file(
        "profile",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#,
    );
    let line = format!(
        "unshare-lite --detach --mount --pid | pivot --from - --mount-api --seccomp profile {} >record",
        root.display()
    );
    scene.sh(&line).assert().success();
    let make = "mkdir /tmp/new; echo $?";
    let run =
        scene.sh(&format!("nsenter-lite --from record -- sh -c '{make}'")).assert().success().stdout("1\n");
    assert!(stderr(&run).contains("not supported"), "{}", stderr(&run));
    scene.sh(&format!("nsenter-lite --from record --privileged -- sh -c '{make}'")).assert().stdout("0\n");
    for (options, mode) in [("", "2"), ("--privileged", "0")] {
        let joined = Target::start(&scene, &format!("exec nsenter-lite --from record {options} -- {STAY}"));
        assert_eq!(common::procfs::status(joined.pid, "Seccomp").unwrap(), mode, "{options}");
    }
    scene.sh("kill -9 $(jq .pid record)").assert().success();
}

/// CVE-2024-21626: a descriptor of the host's, by its name in a /proc that is the host's too.
#[test]
fn a_working_directory_through_proc_leads_nowhere() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let target =
        Target::start(&scene, &format!("exec unshare-lite --mount -- pivot --proc root -- {STAY} 2>&1"));
    for directory in ["/proc/self/fd/9", "/proc/self/fd/9/.."] {
        let line =
            format!("nsenter-lite -t {} -m -r -W {directory} --preserve-fds 9 -- ls 9</etc", target.pid);
        let assert = scene.sh(&line).assert().code(125).stdout("");
        let said =
            format!("nsenter-lite: {directory}: change the working directory: No such file or directory\n");
        assert!(stderr(&assert).starts_with(&said), "{}", stderr(&assert));
    }
}
