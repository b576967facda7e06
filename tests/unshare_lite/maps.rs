//! Who is who in a new user namespace.

use crate::common::scene::USER;
use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::private;

/// The lines of a map, each as three numbers.
fn map(text: &str) -> Vec<Vec<u32>> {
    text.lines().map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect()).collect()
}

fn user_map(scene: &Scene, options: &str) -> Vec<Vec<u32>> {
    map(&stdout(
        &scene.user_sh(&format!("unshare-lite {options} -- cat /proc/self/uid_map")).assert().success(),
    ))
}

#[test]
fn root_inside_is_the_caller_outside() {
    let scene = Scene::new();
    let me = stdout(&scene.user_sh("id -u").assert().success()).trim().parse().unwrap();
    assert_eq!(user_map(&scene, "-r"), [[0, me, 1]]);
    let script =
        "unshare-lite -r -- sh -c 'id -u; id -g; cat /proc/self/setgroups; echo >mine'; stat -c %u mine";
    scene.user_sh(script).assert().success().stdout(format!("0\n0\ndeny\n{me}\n"));
}

#[test]
fn the_caller_may_stay_who_it_is() {
    let scene = Scene::new();
    let ids = stdout(&scene.user_sh("id -u; id -g").assert().success());
    scene.user_sh("unshare-lite -c -- sh -c 'id -u; id -g'").assert().success().stdout(ids);
}

#[test]
fn without_a_map_everybody_is_the_overflow_user() {
    let scene = Scene::new();
    let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap();
    scene.user_sh("unshare-lite --user -- id -u").assert().success().stdout(overflow);
}

#[test]
fn ranges_with_holes_and_more_than_five_of_them_arrive_as_given() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let ranges: Vec<_> = (0..9).map(|n| [n * 10, 1000 + n * 100, 3]).collect();
    let options: String =
        ranges.iter().map(|[i, o, n]| format!("--map-users {i}:{o}:{n} --map-groups {i}:{o}:{n} ")).collect();
    let run = scene
        .sh(&format!(
            "unshare-lite {options} -S 22 -G 0 -- sh -c 'id -u; cat /proc/self/uid_map /proc/self/gid_map'"
        ))
        .assert()
        .success();
    let seen = stdout(&run);
    let (id, maps) = seen.split_once('\n').unwrap();
    assert_eq!(id, "22");
    let expected: Vec<_> = ranges.iter().chain(&ranges).map(|range| range.to_vec()).collect();
    assert_eq!(map(maps), expected);
}

#[test]
fn a_map_holds_340_ranges() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let options =
        |count: u32| -> String { (0..count).map(|n| format!("--map-users {n}:{}:1 ", n * 2)).collect() };
    let run =
        scene.sh(&format!("unshare-lite {} -- cat /proc/self/uid_map", options(340))).assert().success();
    assert_eq!(stdout(&run).lines().count(), 340);
    scene.sh(&format!("unshare-lite {} -- echo ran", options(341))).assert().code(125).stdout("");
}

#[test]
fn user_namespaces_nest_three_deep_each_with_its_map() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let level = |inner: u32, outer: u32, count: u32| {
        format!(
            "unshare-lite --map-users {inner}:{outer}:{count} --map-groups {inner}:{outer}:{count} -S 0 -G 0 --"
        )
    };
    let (one, two, three) = (level(0, 100_000, 1000), level(0, 100, 100), level(0, 10, 5));
    // The innermost root is 100,000 + 100 + 10 outside: its process's owner says so.
    let inside = "id -u; exec sleep 600";
    let script = format!(
        "{one} {two} {three} sh -c '{inside}' >id & while [ ! -s id ]; do sleep 0.01; done
        cat id; stat -c %u /proc/$!; kill -9 $!"
    );
    let seen = stdout(&scene.sh(&script).assert());
    assert_eq!(seen, "0\n100110\n");
}

#[test]
fn an_outer_id_that_the_caller_does_not_have_is_refused() {
    let scene = Scene::new();
    let script = "unshare-lite -r -- unshare-lite --map-users 0:7:1 --map-groups 0:7:1 -- echo ran";
    let run = scene.user_sh(script).assert().code(125).stdout("");
    assert!(stderr(&run).contains("hint:"), "{}", stderr(&run));
}

#[test]
fn an_ordinary_user_cannot_allow_setgroups() {
    let scene = Scene::new();
    if nix::unistd::geteuid().is_root() {
        scene
            .sh("unshare-lite -r --setgroups allow -- cat /proc/self/setgroups")
            .assert()
            .success()
            .stdout("allow\n");
        scene
            .sh("unshare-lite -r --setgroups deny -- cat /proc/self/setgroups")
            .assert()
            .success()
            .stdout("deny\n");
    }
    let run = scene.user_sh("unshare-lite -r --setgroups allow -- echo ran").assert().code(125).stdout("");
    assert!(stderr(&run).contains("--map-auto"), "{}", stderr(&run));
}

/// Files that take the place of /etc/subuid and /etc/subgid, for a script of an ordinary user.
fn with_subordinate_ids(
    scene: &Scene,
    subuid: &str,
    subgid: &str,
    script: &str,
) -> assert_cmd::assert::Assert {
    scene.file("subuid", subuid);
    scene.file("subgid", subgid);
    scene.file("script", script);
    private(
        scene,
        "mount --bind subuid /etc/subuid; mount --bind subgid /etc/subgid
         exec setpriv --reuid 65534 --regid 65534 --clear-groups sh script",
    )
}

#[test]
fn subordinate_ids_are_mapped_around_the_callers_own() {
    if !needs(&[Need::Root, Need::Program("newuidmap")]) {
        return;
    }
    let scene = Scene::new();
    let script = "unshare-lite -r --map-auto -- sh -c 'cat /proc/self/uid_map /proc/self/gid_map; chown 5:6 .; stat -c %u:%g .'; stat -c %u:%g .";
    scene.dir("");
    nix::unistd::chown(&scene.path(""), Some(USER.into()), Some(USER.into())).unwrap();
    let run = with_subordinate_ids(&scene, "nobody:200000:1000\n", "65534:300000:2000\n", script).success();
    let seen = stdout(&run);
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(
        map(&lines[..4].join("\n")),
        [[0, USER, 1], [1, 200_000, 1000], [0, USER, 1], [1, 300_000, 2000]]
    );
    assert_eq!(lines[4..], ["5:6", "200004:300005"]);
    let script = "unshare-lite -c --map-auto -- sh -c 'cat /proc/self/uid_map; id -u'";
    let run = with_subordinate_ids(&scene, "nobody:200000:65536\n", "nobody:300000:9\n", script).success();
    let seen = stdout(&run);
    let (maps, id) = seen.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(id, USER.to_string());
    assert_eq!(map(maps), [[USER, USER, 1], [0, 200_000, USER], [USER + 1, 200_000 + USER, 65536 - USER]]);
}

#[test]
fn a_missing_grant_is_named_with_the_line_that_would_give_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for (subuid, subgid, file) in
        [("ann:1:2\n", "nobody:1:2\n", "/etc/subuid"), ("nobody:1:2\n", "", "/etc/subgid")]
    {
        let run =
            with_subordinate_ids(&scene, subuid, subgid, "unshare-lite --map-auto -- echo ran").code(125);
        let said = stderr(&run);
        assert!(said.contains(file) && said.contains("nobody:100000:65536"), "{said}");
        assert_eq!(stdout(&run), "");
    }
}

#[test]
fn a_range_that_was_not_granted_is_refused() {
    if !needs(&[Need::Root, Need::Program("newuidmap")]) {
        return;
    }
    let scene = Scene::new();
    let script = "unshare-lite --map-users 0:200000:9999 --map-groups 0:200000:10 -- echo ran";
    let run = with_subordinate_ids(&scene, "nobody:200000:10\n", "nobody:200000:10\n", script).code(125);
    assert!(stderr(&run).contains("/etc/subuid must grant"), "{}", stderr(&run));
    assert_eq!(stdout(&run), "");
}

#[test]
fn a_missing_newuidmap_is_named_with_its_package() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let script = "tool=$(command -v unshare-lite); PATH=/nowhere $tool --map-auto -- /bin/echo ran";
    let run = with_subordinate_ids(&scene, "nobody:2:5\n", "nobody:2:5\n", script).code(125);
    assert!(stderr(&run).contains("package uidmap"), "{}", stderr(&run));
    assert_eq!(stdout(&run), "");
}
