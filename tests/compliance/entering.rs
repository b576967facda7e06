//! Into what another process is in: namespaces, root, directory, environment, cgroup.

use crate::common::namespace::KINDS;
use crate::common::{Need, Scene, needs, stdout};
use crate::differences::{
    ENTERS_ALL_BY_DEFAULT, OWN_FAILURE, ROOT_LEAVES_THE_OLD_DIRECTORY, TUNNEL, VALUE_OF_A_LETTER,
    WITHOUT_TARGET, is_lacking,
};
use crate::{below, run, run_as_user, target};

/// What a target is in that has all these kinds.
const ALL: &str = "-muinCpf";

/// A shell function: the kinds in which COMMAND is where the target is, and not where we are.
const ENTERED: &str = r#"
    entered() {
        of() { for k in mnt pid uts ipc net cgroup; do echo /proc/$1/ns/$k; done; }
        readlink $(of $$) >own; readlink $(of $pid) >wanted; $nsenter "$@" -- readlink $(of self) >seen || echo failed
        paste -d' ' own seen wanted | while read -r own seen wanted; do
            if [ $own != $seen ]; then [ $seen = $wanted ] && echo ${seen%%:*} || echo elsewhere; fi
        done | xargs echo
    }
"#;

#[test]
fn each_option_enters_its_namespace_and_no_other() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let mut script = target(ALL) + ENTERED;
    let mut expected = String::new();
    for &(long, short, kind) in &KINDS[1..7] {
        let equals = VALUE_OF_A_LETTER.here();
        script += &format!(
            "entered -t $pid {long}; entered --target $pid {short}; entered -t $$ {long}=/proc/$pid/ns/{kind}
             entered -t $$ {short}{equals}/proc/$pid/ns/{kind}\n"
        );
        expected += &format!("{kind}\n").repeat(4);
    }
    script += "entered -t $pid -m -u -i -n -C -p; entered -t $pid -a; entered -t $pid --all
        entered -t $pid -m --net; kill $pid";
    expected += &("mnt pid uts ipc net cgroup\n".repeat(3) + "mnt net\n");
    run(&scene, &script).success().stdout(expected);
}

#[test]
fn without_options_all_is_entered_or_nothing() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let expected = if ENTERS_ALL_BY_DEFAULT.here() { "mnt pid uts ipc net cgroup\n" } else { "\n" };
    run(&scene, &(target(ALL) + ENTERED + "entered -t $pid; kill $pid")).success().stdout(expected);
}

#[test]
fn files_alone_name_what_is_entered() {
    if !needs(&[Need::Root]) {
        return;
    }
    let (code, said) = WITHOUT_TARGET.here();
    run(&Scene::new(), "$nsenter --net=/proc/$$/ns/net -- echo ran").code(code).stdout(said);
}

#[test]
fn the_user_namespace_is_entered_with_or_without_the_others() {
    let scene = Scene::new();
    let script = target("-r -u")
        + "outside=$(readlink /proc/$$/ns/uts) inside=$(readlink /proc/$pid/ns/uts) user=$(readlink /proc/$pid/ns/user)
           look() { while read -r id; do
               case $id in \"$outside\") echo outside;; \"$inside\") echo inside;; \"$user\") echo user;; *) echo lost;; esac
           done; }
           for options in \"-t $pid -U\" \"-t $pid --user\" \"-t $pid -U -u\" \"-t $$ --user=/proc/$pid/ns/user --uts=/proc/$pid/ns/uts\"; do
               $nsenter $options --preserve-credentials -- sh -c 'readlink /proc/self/ns/user /proc/self/ns/uts' | look
           done; kill $pid";
    run_as_user(&scene, &script)
        .success()
        .stdout("user\noutside\nuser\noutside\nuser\ninside\nuser\ninside\n");
}

#[test]
fn a_time_namespace_is_entered() {
    if !needs(&[Need::Root, Need::TimeNamespace]) {
        return;
    }
    let script = target("-f -T --boottime 5000000")
        + "for option in -T --time; do $nsenter -t $pid $option -- cut -d. -f1 /proc/uptime; done; kill $pid";
    let seen = stdout(&run(&Scene::new(), &script).success());
    assert_eq!(seen.lines().filter(|line| line.parse::<u64>().unwrap() >= 5_000_000).count(), 2, "{seen}");
}

#[test]
fn a_command_in_a_pid_namespace_is_its_child_unless_told_not_to_fork() {
    if !needs(&[Need::Root]) {
        return;
    }
    // The target is PID 1 there; who enters is a child in its namespace, from outside: its parent is 0.
    let script = target("-f -p --mount-proc")
        + "$nsenter -t $pid -p -m -- sh -c 'echo $PPID'
           $nsenter -t $pid -p -F -- sh -c 'readlink /proc/$$/ns/pid; sh -c \"readlink /proc/self/ns/pid_for_children\"' >seen
           readlink /proc/$$/ns/pid /proc/$pid/ns/pid | cmp - seen && echo between; kill $pid";
    run(&Scene::new(), &script).success().stdout("0\nbetween\n");
}

/// The start of a script: a process `$pid` whose root is `root`, and its directory `tmp` there.
const CHROOTED: &str = "mkfifo root/ready
    chroot root sh -c 'cd tmp; echo >/ready; exec sleep 600' </dev/null >/dev/null 2>&1 & pid=$!
    read -r _ <root/ready; rm root/ready
    ";

#[test]
fn the_root_is_the_targets_or_a_directory() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.sh("mkdir -p other/bin; cp /bin/busybox other/bin/ls").assert().success();
    let script = CHROOTED.to_owned()
        + "for options in -r --root '-r -w' '-r --wd'; do $nsenter -t $pid $options -- ls /; done
        $nsenter -t $pid --root=other -- ls /; kill $pid";
    run(&scene, &script).success().stdout("bin\netc\nroot\ntmp\n".repeat(4) + "bin\n");
}

#[test]
fn the_working_directory_is_the_targets_or_a_directory() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.dir("root/tmp/deep");
    let enter = |line: &str| {
        run(&scene, &format!("{CHROOTED}$nsenter -t $pid {line}; code=$?; kill $pid; exit $code"))
    };
    enter("-r -w -- pwd").success().stdout("/tmp\n");
    enter("-r --wd=root/tmp/deep -- pwd").success().stdout("/tmp/deep\n");
    enter("-r --wdns=/tmp/deep -- pwd").success().stdout("/tmp/deep\n");
    enter("-w -- pwd").success().stdout(format!("{}\n", scene.path("root/tmp").display()));
    enter("--wd=root/etc -- pwd").success().stdout(format!("{}\n", scene.path("root/etc").display()));
    enter("-r --wdns=/no/such -- echo ran").code(OWN_FAILURE.here()).stdout("");
    enter(&format!("-r --wd={} -- true", scene.path("").display())).code(TUNNEL.here());
    let here = stdout(&enter("-r -- sh -c 'ls'").success());
    assert_eq!(here == "bin\netc\nroot\ntmp\n", ROOT_LEAVES_THE_OLD_DIRECTORY.here(), "{here}");
}

#[test]
fn the_environment_is_the_callers_unless_told_otherwise() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let script = format!("WHOSE=target; export WHOSE; {}WHOSE=caller; ", target("--uts"));
    let enter = |options: &str| {
        run(&scene, &format!("{script} $nsenter -t $pid -u {options} -- sh -c 'echo $WHOSE'; kill $pid"))
    };
    enter("").success().stdout("caller\n");
    if !is_lacking("--env") {
        enter("-e").success().stdout("target\n");
        enter("--env").success().stdout("target\n");
    }
}

#[test]
fn the_cgroup_is_joined_when_asked() {
    if !needs(&[Need::Root, Need::Cgroup]) || is_lacking("--join-cgroup") {
        return;
    }
    let scene = Scene::new();
    let script = format!(
        "{}         for option in -c --join-cgroup; do $nsenter -t $pid -u $option -- cat /proc/self/cgroup | grep -o -m1 {1}; done
         $nsenter -t $pid -u -- cat /proc/self/cgroup | grep -o {1}; kill $pid; wait",
        below(&format!("cgset --rm {} pids.max=20 --", scene.name())),
        scene.name()
    );
    run(&scene, &script).success().stdout(format!("{0}\n{0}\n", scene.name()));
}

#[test]
fn the_parent_of_a_user_namespace_is_entered_in_its_place() {
    if !needs(&[Need::Root]) || is_lacking("--user-parent") {
        return;
    }
    let scene = Scene::new();
    let script = target("-r -- $unshare -r")
        + "$nsenter -t $pid -U --user-parent -- cat /proc/self/uid_map; kill $pid";
    let seen = stdout(&run(&scene, &script).success());
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "0", "1"]);
}
