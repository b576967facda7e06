//! The exec contract, for each of the five chain tools alike: COMMAND gets what the tool got,
//! and its end is the tool's end.

#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Output, Stdio};

use common::{CHAIN_TOOLS, Need, Scene, needs};

/// Command lines that each end where COMMAND begins; COMMAND runs in this scene's small root
/// filesystem where the tool switches to one, and where it would fork, once with a fork and once without.
fn chains(scene: &Scene) -> Vec<String> {
    let root = scene.rootfs("root");
    let (root, merged) = (root.display(), scene.dir("merged"));
    let (merged, name) = (merged.display(), scene.name());
    vec![
        "unshare-lite --uts".into(),
        "unshare-lite --pid --mount-proc".into(),
        "unshare-lite --pid --mount-proc --init".into(),
        format!("cgset {name}"),
        format!("cgset --rm {name}"),
        format!("unshare-lite --mount -- unionmount --lower / {merged}"),
        format!("unshare-lite --mount -- pivot --proc {root}"),
        "nsenter-lite -t $PPID".into(),
    ]
}

fn run(scene: &Scene, chain: &str, command: &str) -> Output {
    scene.sh(&format!("{chain} {command}")).output().unwrap()
}

fn code(output: &Output) -> i32 {
    // Killed by a signal, where the tool has become COMMAND: the number a shell would give.
    output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap())
}

#[test]
fn all_256_exit_codes_pass_through() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    for chain in chains(&scene) {
        // In the slow machine a sample will do: the code is the same.
        let step = if common::needs::in_uml() { 15 } else { 1 };
        let script = format!(
            "n=0; while [ $n -lt 256 ]; do {chain} -- sh -c \"exit $n\"; c=$?; [ $c -eq $n ] || echo $n became $c; n=$((n+{step})); done"
        );
        let output = scene.sh(&script).output().unwrap();
        assert!(output.status.success(), "{chain}: it hangs, or did not get to the last code");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{chain}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{chain}");
    }
}

#[test]
fn a_signal_death_is_128_plus_the_signal() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    for chain in chains(&scene) {
        // A shell that dies; as PID 1 itself it could not be killed from inside, so it is a child's exit there.
        for (signal, expected) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
            let command = format!("-- sh -c 'sh -c \"kill -{signal} \\$\\$\"; exit $?'");
            assert_eq!(code(&run(&scene, &chain, &command)), expected, "{chain} {signal}");
        }
    }
    let killed = run(&scene, "unshare-lite --fork", "-- sh -c 'kill -KILL $$'");
    assert_eq!(killed.status.code(), Some(137), "a tool that waits exits; it does not die itself");
}

#[test]
fn a_missing_command_is_127_and_an_unrunnable_one_126() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let prepare = "mkdir -p D; printf x >data; printf '#!/no/such/interpreter\\n' >badint; printf 'echo hi\\n' >plain; chmod +x badint plain";
    scene.sh(&format!("cd root 2>/dev/null || mkdir root && cd root; {prepare}")).assert().success();
    for chain in chains(&scene) {
        let dir =
            if chain.contains("pivot") { String::new() } else { scene.path("root").display().to_string() };
        for (command, expected) in [
            ("no-such-command-anywhere".to_owned(), 127),
            (format!("{dir}/no/such/file"), 127),
            (format!("{dir}/D"), 126),
            (format!("{dir}/data"), 126),
            (format!("{dir}/badint"), 126),
            (format!("{dir}/plain"), 126),
        ] {
            let output = run(&scene, &chain, &format!("-- {command} arg"));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(code(&output), expected, "{chain} {command}: {said}");
            let first = said.lines().next().unwrap_or_default();
            assert!(first.contains(&command), "{chain}: {said}");
            assert!(said.lines().count() <= 2, "one line and a hint at most: {said}");
            assert_eq!(output.stdout, b"", "a file without #! must not be handed to a shell");
        }
    }
}

#[test]
fn argument_bytes_arrive_as_they_were() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let words = "'' -- -v --help 'a b' 'new\nline' \"$(printf '\\377\\200')\" --from '*' \"\\$x\"";
    let print = "sh -c 'for a; do printf \"<%s>\" \"$a\"; done' sh";
    let expected = scene.sh(&format!("{print} {words}")).output().unwrap().stdout;
    assert!(expected.windows(2).any(|pair| pair == b"\xff\x80"), "the shell hands bytes on");
    for chain in chains(&scene) {
        let output = run(&scene, &chain, &format!("-- {print} {words}"));
        assert_eq!(output.stdout, expected, "{chain}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn no_descriptor_above_2_is_passed_unless_asked_for() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    // 9 is open on a host directory; the listing's own descriptor takes the lowest free number.
    let list = "-- sh -c 'for n in 3 4 5 6 7 8 9 10 11; do [ -e /proc/self/fd/$n ] && echo $n; done'";
    for chain in chains(&scene) {
        let plain = run(&scene, &format!("exec 5</ 9</; {chain}"), list);
        assert_eq!(String::from_utf8_lossy(&plain.stdout), "", "{chain}");
        let kept = chain.replace(" -- ", " --preserve-fds 3 -- ");
        let kept = run(&scene, &format!("exec 5</ 9</; {kept} --preserve-fds 3"), list);
        assert_eq!(
            String::from_utf8_lossy(&kept.stdout),
            "5\n",
            "{chain}: {}",
            String::from_utf8_lossy(&kept.stderr)
        );
    }
}

#[test]
fn closed_streams_stay_closed() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    for chain in chains(&scene) {
        let look = "-- sh -c '[ -e /proc/self/fd/0 ] && echo open || echo closed' <&-";
        let output = run(&scene, &chain, look);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "closed\n", "{chain}");
    }
}

#[test]
fn sigpipe_and_the_signal_mask_are_as_the_tool_got_them() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let look = "-- cat /proc/self/status | grep -E '^Sig(Blk|Ign)'";
    for chain in chains(&scene) {
        for setting in ["trap '' PIPE HUP CHLD", ":"] {
            let expected = run(&scene, &format!("{setting}; exec env"), &look[3..]).stdout;
            let output = run(&scene, &format!("{setting}; {chain}"), look);
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&expected),
                "{chain} after {setting}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    for chain in chains(&scene) {
        let script = format!("{chain} -- sh -c 'exec yes 2>&-' | head -n 1");
        scene.sh(&script).assert().success().stdout("y\n");
    }
}

#[test]
fn the_environment_and_standard_input_pass_through() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    for chain in chains(&scene) {
        let mut command = scene.sh(&format!("{chain} -- sh -c 'cat; echo \"$CHECK\"'"));
        command.env("CHECK", "two  words").write_stdin("from outside\n");
        command.assert().success().stdout("from outside\ntwo  words\n");
    }
}

#[test]
fn a_separator_without_a_command_is_a_usage_error() {
    let scene = Scene::new();
    for tool in CHAIN_TOOLS {
        let output = scene.tool(tool).args(["--"]).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{tool}");
    }
}

#[test]
fn no_arguments_and_unknown_flags_are_usage_errors_of_one_line() {
    let scene = Scene::new();
    for tool in CHAIN_TOOLS.into_iter().chain(["whiteout"]) {
        for arguments in [&[][..], &["--no-such-flag"], &["--no-such-flag", "--", "true"]] {
            let output = scene.tool(tool).args(arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(125), "{tool} {arguments:?}: {said}");
            assert!(said.lines().all(|line| line.starts_with(&format!("{tool}: "))), "{said}");
            assert!((1..=2).contains(&said.lines().count()), "one line and a hint: {said}");
            assert!(output.stdout.is_empty(), "{tool}");
        }
    }
}

#[test]
fn help_and_version_go_to_standard_output_and_succeed() {
    let scene = Scene::new();
    for tool in CHAIN_TOOLS.into_iter().chain(["whiteout"]) {
        for flag in ["--help", "--version"] {
            let output = scene.tool(tool).arg(flag).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{tool} {flag}");
            assert!(String::from_utf8_lossy(&output.stdout).contains(tool), "{tool} {flag}");
        }
        for nowhere in [">/dev/full", ">&-"] {
            let line = format!("{tool} --help {nowhere}");
            let output = scene.std_sh(&line).stderr(Stdio::piped()).output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(125),
                "{line}: a result that cannot be written is an error"
            );
        }
    }
}
