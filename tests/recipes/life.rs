//! A container's life: in the background, entered, committed, removed.

use std::time::{Duration, Instant};

use crate::common::terminal::Terminal;
use crate::common::{patience, stderr, stdout};
use crate::{Store, can_run, can_run_here};

impl Store {
    /// Waits until this line prints that.
    fn wait_for(&self, line: &str, expected: &str) {
        let deadline = Instant::now() + patience();
        loop {
            let output = self.sh(line).output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            if printed == expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{line}: {printed:?}, {}",
                String::from_utf8_lossy(&output.stderr)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn run_exec_commit_and_run_again() {
    if !can_run() {
        return;
    }
    let store = Store::new();
    let name = store.scene.name();
    store
        .sh(&format!("run -d --name {name} base sh -c 'echo up; exec sleep 600'"))
        .assert()
        .success()
        .stdout(format!("{name}\n"));
    store.wait_for(&format!("cat store/containers/{name}/log"), "up\n");
    let change = "echo made >/made; rm /etc/group; echo changed >>/etc/hosts; hostname; exit 5";
    store.sh(&format!("exec {name} sh -c '{change}'")).assert().code(5).stdout(format!("{name}\n"));
    store
        .sh(&format!("commit -c 'CMD [\"cat\", \"/made\"]' {name} changed && remove -f {name}"))
        .assert()
        .success();
    store.sh("run --rm changed").assert().success().stdout("made\n");
    store
        .sh("run --rm changed sh -c 'ls /etc; cat /etc/hosts | grep changed'")
        .assert()
        .code(1)
        .stdout("hostname\nhosts\npasswd\nresolv.conf\n");
    store.assert_nothing_left();
}

#[test]
fn an_exec_is_held_to_what_the_container_is_held_to() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    let name = store.scene.name();
    store
        .sh(&format!("run -d --preset strict --name {name} -u ann -e A=b base sleep 600"))
        .assert()
        .success();
    let look = "grep -E \"^(Seccomp|NoNewPrivs):\" /proc/self/status; id -u; echo \"$A$SECRET\"; pwd";
    let assert = store.sh(&format!("exec -w /tmp {name} sh -c '{look}'")).assert().success();
    let expected = "NoNewPrivs:\t1\nSeccomp:\t2\n1000\nb\n/tmp\n";
    assert_eq!(stdout(&assert), expected);
    store
        .sh(&format!("exec -u 7:8 -e 'X=a b' {name} sh -c 'id -u; id -g; echo \"$X\"'"))
        .assert()
        .success()
        .stdout("7\n8\na b\n");
    // As the container's user it has that one's group, and root is at home.
    let who = "id -u; id -g; echo $HOME";
    for (user, expected) in
        [("1000", "1000\n1001\n/home/ann\n"), ("0", "0\n0\n/root\n"), ("7", "7\n0\n/home/ann\n")]
    {
        store.sh(&format!("exec -u {user} {name} sh -c '{who}'")).assert().success().stdout(expected);
    }
    for user in ["ann", "1:2:3", "1:", ":1", "-1"] {
        let assert = store.sh(&format!("exec -u {user} {name} id")).assert().code(125).stdout("");
        assert!(stderr(&assert).contains("not UID[:GID], in numbers"), "{user}: {}", stderr(&assert));
    }
    store.sh(&format!("exec -i {name} cat <&-")).assert().success().stdout("");
    let assert = store.sh(&format!("exec -e SECRET {name} env")).assert().code(125).stdout("");
    assert!(stderr(&assert).starts_with("exec: -e SECRET: not NAME=VALUE\n"), "{}", stderr(&assert));
    store.sh("exec nonesuch true").assert().code(125).stderr("exec: nonesuch: no such container\n");
}

#[test]
fn a_container_ends_with_its_command_and_leaves_its_status() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    let name = store.scene.name();
    store
        .sh(&format!("run -d --name {name} base sh -c 'sleep 600 & read line </tmp/x; exit 9'"))
        .assert()
        .success();
    store.wait_for("containers | cut -f 4", "exited (9)\n");
    store.sh(&format!("exec {name} true")).assert().code(125).stderr(format!("exec: {name}: does not run\n"));
    assert_eq!(store.cgroups(), "");
    store.scene.assert_all_ends();
    store.sh(&format!("commit {name} ended && remove {name} && run --rm ended true")).assert().success();
    store.assert_nothing_left();
}

#[test]
fn a_running_container_is_removed_by_force_only() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    let name = store.scene.name();
    store.sh(&format!("run -d --rm --name {name} base sleep 600")).assert().success();
    store.wait_for("containers | cut -f 1,2,4", &format!("{name}\tbase:latest\trunning\n"));
    let assert = store.sh(&format!("remove {name}")).assert().code(125);
    assert_eq!(stderr(&assert), format!("remove: {name}: runs; -f ends it\n"));
    store.sh(&format!("remove -f {name}; containers")).assert().success().stdout("");
    store.assert_nothing_left();
}

#[test]
fn a_signal_to_run_reaches_the_command() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    let inside = "trap \"echo got it; exit 3\" TERM; echo up; while :; do sleep 0.05; done";
    let line = format!(
        "run --rm base sh -c '{inside}' >out & until grep -q up out; do sleep 0.05; done; kill $!; wait $!"
    );
    store.sh(&line).assert().code(3);
    store.scene.sh("cat out").assert().stdout("up\ngot it\n");
    store.assert_nothing_left();
}

#[test]
fn a_terminal_of_the_containers_own() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    let line = format!("CONTAINER_STEPS={} recipes/run --rm -it base sh", store.path("").display());
    let mut terminal = Terminal::start(&store.scene, &line);
    terminal.enter("readlink /proc/self/fd/0; echo $TERM; echo $((40 + 2))\n");
    terminal.shows("/dev/pts/0");
    terminal.shows("dumb");
    terminal.shows("42");
    // The shell edits its line in raw mode: a key is a signal once a command runs.
    terminal.enter("sh -c 'echo rea\"\"dy; exec sleep 600'\n");
    terminal.shows("ready");
    terminal.enter("\u{3}");
    terminal.shows("# ");
    terminal.enter("exit 6\n");
    assert_eq!(terminal.ends().code(), Some(6));
    store.assert_nothing_left();
}

#[test]
fn what_a_killed_recipe_left_is_cleared_away_once_nothing_uses_it() {
    if !can_run() {
        return;
    }
    let store = Store::new();
    store.dockerfile("slow", "FROM base\nRUN echo up; sleep 600\n");
    let line = "build slow 2>log & build=$!
        until grep -qx up log; do sleep 0.05; done
        left=$(echo store/.work.*) step=$(cat /proc/$build/task/$build/children)
        look() { images >/dev/null; [ -d \"$left\" ] && echo there || echo gone; }
        look
        kill -KILL $build; wait; look
        kill -KILL $step; while [ \"$(look)\" = there ]; do sleep 0.05; done; look";
    store.sh(line).assert().success().stdout("there\nthere\ngone\n");
    store.assert_nothing_left();
}
