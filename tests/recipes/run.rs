//! `run`: what runs, as whom, with what, and how it ends.

use crate::common::{stderr, stdout};
use crate::{Store, can_run, can_run_here};

/// As Docker's reference has the table, with `args` for a command that shows its arguments.
const COMBINATIONS: [(&str, &str, &str, &str); 12] = [
    // ENTRYPOINT, CMD, ARGs, what runs
    ("", r#"["args", "c d"]"#, "", "args|c d"),
    ("", r#"["args", "c d"]"#, "args 'x y'", "args|x y"),
    ("", "args c d", "", "args|c|d"),
    ("", "args $HOME 'c d'", "", "args|/root|c d"),
    (r#"["args", "e"]"#, "", "", "args|e"),
    (r#"["args", "e"]"#, "", "x ''", "args|e|x|"),
    (r#"["args", "e"]"#, r#"["c", "$HOME"]"#, "", "args|e|c|$HOME"),
    (r#"["args", "e"]"#, r#"["c", "d"]"#, "x '*' \"it's\"", "args|e|x|*|it's"),
    (r#"["args", "e"]"#, "args c", "", "args|e|/bin/sh|-c|args c"),
    ("args e", "", "", "args|e"),
    ("args e", r#"["c"]"#, "", "args|e"),
    ("args e", "args c", "x", "args|e"),
];

#[test]
fn entrypoint_and_cmd_combine_as_docker_has_them() {
    if !can_run_here() {
        return;
    }
    let store = Store::empty();
    store.busybox("base");
    store.scene.file("base/args", "#!/bin/sh\nprintf args\nfor word; do printf '|%s' \"$word\"; done\n");
    store.dockerfile("base", "FROM scratch\nADD rootfs.tar /\nCOPY args /bin/\n");
    store.sh("chmod +x base/args; build -t base base").assert().success();
    for (entrypoint, cmd, args, expected) in COMBINATIONS {
        let mut dockerfile = String::from("FROM base\n");
        if !cmd.is_empty() {
            dockerfile += &format!("CMD {cmd}\n");
        }
        if !entrypoint.is_empty() {
            dockerfile += &format!("ENTRYPOINT {entrypoint}\n");
        }
        store.image("it", &dockerfile);
        let assert = store.sh(&format!("run --rm it {args}")).assert().success();
        assert_eq!(stdout(&assert), expected, "{dockerfile}run it {args}");
    }
    store.sh("run --rm --entrypoint args it x").assert().success().stdout("args|x");
    store.assert_nothing_left();
}

#[test]
fn an_entrypoint_forgets_the_cmd_of_the_image_below() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.image("below", "FROM base\nCMD [\"below\"]\n");
    store.image("above", "FROM below\nENTRYPOINT [\"/bin/busybox\", \"echo\", \"e\"]\n");
    store.sh("run --rm above").assert().success().stdout("e\n");
    store
        .sh("run --rm base")
        .assert()
        .code(125)
        .stderr("run: base:latest: has no command, and none is given\n");
    store.assert_nothing_left();
}

#[test]
fn the_exit_status_is_the_commands_own() {
    if !can_run() {
        return;
    }
    let store = Store::new();
    for (command, code) in [
        ("true", 0),
        ("sh -c 'exit 42'", 42),
        ("sh -c 'kill -9 $$'", 137),
        ("nonesuch", 127),
        ("/etc/passwd", 126),
    ] {
        store.sh(&format!("run --rm base {command}")).assert().code(code);
    }
    store.sh("run --rm -v /nonesuch:/x base true").assert().code(125);
    store.sh("run --rm -m 1 --pids none base true").assert().code(125);
    store.assert_nothing_left();
}

#[test]
fn the_callers_environment_stays_outside() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.image("it", "FROM base\nENV GREETING=\"hello $PATH\" SECOND='two words'\n");
    let assert = store.sh("run --rm --name box -e 'THIRD=a\nb' -e HOME=/ it env | sort").assert().success();
    // What an image from scratch has, not what the caller has.
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let expected =
        format!("GREETING=hello {path}\nHOME=/\nHOSTNAME=box\nPATH={path}\nSECOND=two words\nTHIRD=a\nb\n");
    assert_eq!(stdout(&assert), expected);
}

#[test]
fn user_workdir_and_volume_are_as_asked_for() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.image("it", "FROM base\nUSER ann\nWORKDIR /srv\nWORKDIR deep\n");
    store.scene.file("volume/file", "of the host");
    store.sh("run --rm it sh -c 'id -u; id -g; pwd'").assert().success().stdout("1000\n1001\n/srv/deep\n");
    store
        .sh("run --rm -u 5:6 -w /tmp it sh -c 'id -u; id -g; pwd'")
        .assert()
        .success()
        .stdout("5\n6\n/tmp\n");
    let there = store.scene.path("volume").display().to_string();
    store
        .sh(&format!("run --rm -v {there}:/v -u 0 it sh -c 'cat /v/file; echo inside >/v/new'"))
        .assert()
        .success()
        .stdout("of the host");
    assert_eq!(std::fs::read_to_string(store.scene.path("volume/new")).unwrap(), "inside\n");
    store.sh(&format!("run --rm --volume={there}:/v:ro -u 0 it touch /v/x")).assert().code(1);
    store.assert_nothing_left();
}

#[test]
fn a_container_is_limited_and_alone() {
    if !can_run() {
        return;
    }
    let store = Store::new();
    let name = store.scene.name();
    let inside = "ls -d /proc/[0-9]* | grep -c .; hostname; grep -c : /proc/net/dev; cat /etc/hostname; n=0; \
        while [ $n -lt 40 ]; do sleep 600 & n=$((n+1)); done 2>/dev/null; echo survived";
    let assert = store.sh(&format!("run --rm --name {name} -m 64m --pids 20 base sh -c '{inside}'")).assert();
    // PID 1, the shell, ls, grep; and the loopback interface, if the kernel has no tunnels of its own.
    let lines: Vec<_> = stdout(&assert).lines().map(str::to_owned).collect();
    assert_eq!((lines[1].as_str(), lines[3].as_str()), (name, name));
    assert!(lines[0].parse::<u32>().unwrap() <= 4, "{lines:?}");
    assert!(!stdout(&assert).contains("survived"), "{lines:?}");
    store.assert_nothing_left();
}

#[test]
fn names_that_are_no_names_are_refused() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    for name in ["../x", "a b", ".", "..", "a/b", "-x", "x\ny", &"x".repeat(64)] {
        let assert = store.sh("run --rm \"--name=$NAME\" base true").env("NAME", name).assert().code(125);
        assert!(stderr(&assert).contains("run: '"), "{}", stderr(&assert));
    }
    for image in ["../x", "a b", "a//b", "a:", ":a", "a/..", "x\ny", "-x", ""] {
        store.sh("tag base \"$NAME\"").env("NAME", image).assert().code(125);
        store.sh("run --rm -- \"$NAME\" true").env("NAME", image).assert().code(125);
    }
    store
        .sh("run --rm --name taken base true; run --name taken base true && run --name taken base true")
        .assert()
        .code(125)
        .stderr("run: taken: there is a container of this name\n");
    assert_eq!(std::fs::read_dir(store.path("containers")).unwrap().count(), 1);
}

#[test]
fn what_is_not_known_is_a_usage_error() {
    if !can_run_here() {
        return;
    }
    let store = Store::empty();
    for line in [
        "run",
        "run --bad x",
        "run --name",
        "run --net wide x",
        "exec x",
        "commit x",
        "build",
        "tag x",
        "push",
        "pull",
        "pull -x y",
        "remove",
        "containers x",
    ] {
        let assert = store.sh(line).assert().code(125).stdout("");
        assert!(stderr(&assert).contains("-h'"), "{line}: {}", stderr(&assert));
    }
    for recipe in [
        "run",
        "exec",
        "commit",
        "build",
        "tag",
        "push",
        "pull",
        "remove",
        "containers",
        "images",
        "recipes/copy",
    ] {
        let help = store
            .sh(&format!("{recipe} -h"))
            .env("CONTAINER_STEPS", "/nonesuch")
            .assert()
            .success()
            .stderr("");
        assert!(stdout(&help).contains("\nExample: "), "{recipe}");
    }
}
