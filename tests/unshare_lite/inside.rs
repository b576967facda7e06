//! How the new namespaces are furnished.

use crate::common::{Need, Scene, needs, stderr, stdout};

#[test]
fn host_and_domain_name_are_set_inside_alone() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let names = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname";
    let before = stdout(&scene.sh(names).assert().success());
    scene
        .sh(&format!("unshare-lite --uts --hostname demo --domainname example.org -- {names}"))
        .assert()
        .success()
        .stdout("demo\nexample.org\n");
    assert_eq!(stdout(&scene.sh(names).assert().success()), before);
}

#[test]
fn a_name_that_would_be_the_machines_own_is_refused() {
    let scene = Scene::new();
    for option in ["--hostname x", "--domainname x", "--lo"] {
        let run = scene.sh(&format!("unshare-lite -r {option} -- echo ran")).assert().code(125).stdout("");
        assert!(stderr(&run).contains("needs --"), "{}", stderr(&run));
    }
}

#[test]
fn a_name_may_have_64_bytes_and_no_more() {
    let scene = Scene::new();
    let longest = "n".repeat(64);
    scene
        .user_sh(&format!("unshare-lite -r -u --hostname {longest} -- cat /proc/sys/kernel/hostname"))
        .assert()
        .success()
        .stdout(format!("{longest}\n"));
    scene
        .user_sh(&format!("unshare-lite -r -u --hostname {longest}n -- echo ran"))
        .assert()
        .code(125)
        .stdout("");
}

#[test]
fn loopback_comes_up_when_asked_for() {
    if !needs(&[Need::Program("ip")]) {
        return;
    }
    let scene = Scene::new();
    let is_up = "-- sh -c 'ip -o link show lo | grep -c LOOPBACK,UP'";
    scene.user_sh(&format!("unshare-lite -r -n --lo {is_up}")).assert().success().stdout("1\n");
    scene.user_sh(&format!("unshare-lite -r -n {is_up}")).assert().code(1).stdout("0\n");
}

#[test]
fn a_fresh_proc_shows_the_new_pid_namespace() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let look = "-- sh -c 'echo $$; cd /proc; echo [0-9]*; grep -w /proc /proc/self/mountinfo | tail -n 1 | cut -d\" \" -f6'";
    let on_proc = || {
        let mounts = common::mountinfo::of_self().unwrap();
        mounts.iter().filter(|mount| mount.mount_point == std::path::Path::new("/proc")).count()
    };
    let before = on_proc();
    for options in ["--pid --mount-proc", "--pid --mount --mount-proc=/proc"] {
        let seen = stdout(&scene.sh(&format!("unshare-lite {options} {look}")).assert().success());
        let lines: Vec<_> = seen.lines().collect();
        assert_eq!(lines[..2], ["1", "1"], "{seen}");
        assert!(lines[2].starts_with("rw,nosuid,nodev,noexec"), "{seen}");
    }
    assert_eq!(on_proc(), before);
}

#[test]
fn proc_goes_where_it_is_told() {
    let scene = Scene::new();
    scene.dir("p");
    scene.user_sh("unshare-lite -r -p --mount-proc=p -- cat p/1/comm").assert().success().stdout("cat\n");
    assert_eq!(scene.mounts(), [] as [std::path::PathBuf; 0]);
    let run =
        scene.user_sh("unshare-lite -r -p --mount-proc=nowhere -- echo ran").assert().code(125).stdout("");
    assert!(stderr(&run).contains("nowhere: mount proc: No such file"), "{}", stderr(&run));
}

#[test]
fn clocks_are_set_off_by_what_was_asked() {
    if !needs(&[Need::TimeNamespace]) {
        return;
    }
    let scene = Scene::new();
    let uptime = |options: &str| -> f64 {
        let run = scene.user_sh(&format!("{options} cut -d ' ' -f 1 /proc/uptime")).assert().success();
        stdout(&run).trim().parse().unwrap()
    };
    for offset in ["86400.5", "-2.25", "+0.75", "0"] {
        let before = uptime("");
        let inside = uptime(&format!("unshare-lite -r -T --boottime {offset} --"));
        let can_be = inside - uptime("") - 0.02..inside - before + 0.02; // in hundredths, rounded down
        assert!(can_be.contains(&offset.parse().unwrap()), "asked for {offset}, got {can_be:?}");
    }
    let both = "unshare-lite -r -T --monotonic -1.5 --boottime 3 -- cat /proc/self/timens_offsets";
    let seen = stdout(&scene.user_sh(both).assert().success());
    let words: Vec<_> = seen.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "-2", "500000000", "boottime", "3", "0"]);
}

#[test]
fn a_clock_that_would_overflow_or_be_negative_is_refused() {
    if !needs(&[Need::TimeNamespace]) {
        return;
    }
    let scene = Scene::new();
    for offset in ["99999999999", "-99999999", "9223372036854775807", "-9223372036854775807"] {
        let script = format!("unshare-lite -r -T --monotonic {offset} -- echo ran");
        let run = scene.user_sh(&script).assert().code(125).stdout("");
        assert!(stderr(&run).contains("hint: the clock would be negative, or beyond"), "{}", stderr(&run));
    }
}

#[test]
fn user_and_group_are_those_asked_for_and_no_other_group_stays() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for ending in ["", "--fork", "--pid", "--pid --init"] {
        scene
            .sh(&format!("setpriv --groups 4,24 unshare-lite --uts {ending} -S 1000 -G 1001 -- sh -c 'id -u; id -g; id -G'"))
            .assert()
            .success()
            .stdout("1000\n1001\n1001\n");
    }
}

#[test]
fn capabilities_are_kept_only_when_asked_for() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let caps = |options: &str| -> Vec<u64> {
        let look = "grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status";
        let seen = stdout(&scene.user_sh(&format!("unshare-lite {options} -- {look}")).assert().success());
        seen.split_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok()).collect()
    };
    assert_eq!(caps("-c"), [0, 0, 0]);
    let kept = caps("-c --keep-caps");
    assert!(kept[0] != 0 && kept.iter().all(|set| *set == kept[0]), "{kept:x?}");
}

#[test]
fn an_id_that_is_not_mapped_cannot_be_taken() {
    let scene = Scene::new();
    for (option, map) in [("-S 5", "--map-users"), ("-G 5", "--map-groups")] {
        let run =
            scene.user_sh(&format!("unshare-lite -r {option} -- echo ran")).assert().code(125).stdout("");
        assert!(stderr(&run).contains(&format!("see {map}")), "{}", stderr(&run));
    }
}
