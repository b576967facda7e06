//! Who is who in a new user namespace.

use assert_cmd::assert::Assert;

use crate::common::scene::USER;
use crate::common::{Need, Scene, needs, stdout};
use crate::differences::{
    GRANTED_IDS_LOST, OWN_FAILURE, SETGROUPS_ALLOWED_TO_ROOT, SETGROUPS_DENIED_BESIDE_A_MAP,
    SETGROUPS_OF_ROOT, range,
};
use crate::{run, run_as_user, run_privately};

/// The words of a text, one space apart: as maps are compared.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Who runs the scripts that `run_as_user` runs.
fn user(scene: &Scene) -> (u32, u32) {
    let ids = stdout(&scene.user_sh("id -u; id -g").assert().success());
    let mut ids = ids.lines().map(|id| id.parse().unwrap());
    (ids.next().unwrap(), ids.next().unwrap())
}

const MAPS: &str = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups";

#[test]
fn the_root_user_is_the_caller() {
    let scene = Scene::new();
    let (uid, gid) = user(&scene);
    for option in ["--map-root-user", "-r", "--user -r"] {
        let seen =
            run_as_user(&scene, &format!("$unshare {option} -- sh -c 'id -u; id -g; {MAPS}'")).success();
        assert_eq!(words(&stdout(&seen)), format!("0 0 0 {uid} 1 0 {gid} 1 deny"));
    }
}

#[test]
fn the_current_user_is_itself() {
    let scene = Scene::new();
    let (uid, gid) = user(&scene);
    for option in ["--map-current-user", "-c"] {
        let seen =
            run_as_user(&scene, &format!("$unshare {option} -- sh -c 'id -u; id -g; {MAPS}'")).success();
        assert_eq!(words(&stdout(&seen)), format!("{uid} {gid} {uid} {uid} 1 {gid} {gid} 1 deny"));
    }
}

#[test]
fn without_a_map_the_maps_are_empty_and_everybody_is_the_overflow_user() {
    let scene = Scene::new();
    let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap();
    for option in ["--user", "-U"] {
        let seen = run_as_user(&scene, &format!("$unshare {option} -- sh -c 'id -u; {MAPS}'")).success();
        assert_eq!(stdout(&seen), format!("{overflow}allow\n"));
    }
}

#[test]
fn setgroups_is_as_asked() {
    let scene = Scene::new();
    for word in ["allow", "deny"] {
        let script = format!("$unshare --user --setgroups {word} -- cat /proc/self/setgroups");
        run_as_user(&scene, &script).success().stdout(format!("{word}\n"));
    }
    let (code, said) = SETGROUPS_DENIED_BESIDE_A_MAP.here();
    run_as_user(&scene, "$unshare -r --setgroups deny -- cat /proc/self/setgroups").code(code).stdout(said);
    run_as_user(&scene, "$unshare -r --setgroups allow -- echo ran").code(OWN_FAILURE.here()).stdout("");
    run_as_user(&scene, "$unshare -r --setgroups maybe -- echo ran").code(OWN_FAILURE.here()).stdout("");
}

#[test]
fn root_that_maps_itself_has_setgroups() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    run(&scene, "$unshare -r -- cat /proc/self/setgroups").success().stdout(SETGROUPS_OF_ROOT.here());
    let (code, said) = SETGROUPS_DENIED_BESIDE_A_MAP.here();
    run(&scene, "$unshare -r --setgroups deny -- cat /proc/self/setgroups").code(code).stdout(said);
    let (code, said) = SETGROUPS_ALLOWED_TO_ROOT.here();
    run(&scene, "$unshare -r --setgroups allow -- cat /proc/self/setgroups").code(code).stdout(said);
}

#[test]
fn what_root_makes_outside_is_nobodys_inside() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("mine", "");
    let script = "chown 7 mine; $unshare -r -- stat -c %u mine; $unshare -r -- chown 8 mine 2>/dev/null || echo refused";
    run(&scene, script).success().stdout("65534\nrefused\n");
}

#[test]
fn a_user_namespace_in_another_maps_what_that_one_has() {
    let scene = Scene::new();
    let script = "$unshare -r -- $unshare -c -- sh -c 'id -u; cat /proc/self/uid_map'";
    assert_eq!(words(&stdout(&run_as_user(&scene, script).success())), "0 0 0 1");
}

/// Runs a script where /etc/subuid and /etc/subgid grant ids to root and to the user.
pub(crate) fn with_subordinate_ids(scene: &Scene, as_user: bool, script: &str) -> Assert {
    scene.file("subuid", "root:200000:1000\nnobody:200000:1000\n");
    scene.file("subgid", "root:300000:1000\nnobody:300000:1000\n");
    scene.file("script", script);
    let who =
        if as_user { format!("setpriv --reuid {USER} --regid {USER} --clear-groups") } else { String::new() };
    let bind = "mount --bind subuid /etc/subuid; mount --bind subgid /etc/subgid";
    run_privately(scene, &format!("{bind}; exec {who} sh script"))
}

#[test]
fn ranges_of_users_and_groups_arrive_as_given() {
    if !needs(&[Need::Root, Need::Program("newuidmap")]) {
        return;
    }
    let scene = Scene::new();
    let (users, groups) = (range(0, 200_000, 10), range(5, 300_000, 20));
    for as_user in [false, true] {
        let script = format!(
            "$unshare --map-users {users} --map-groups={groups} -S 3 -G 6 -- sh -c 'id -u; id -g; {MAPS}'"
        );
        let seen = stdout(&with_subordinate_ids(&scene, as_user, &script).success());
        assert_eq!(words(&seen), "3 6 0 200000 10 5 300000 20 allow");
        let script = format!("$unshare --map-users {users} -- cat /proc/self/uid_map /proc/self/gid_map");
        let seen = stdout(&with_subordinate_ids(&scene, as_user, &script).success());
        assert_eq!(words(&seen), "0 200000 10", "no group is mapped");
    }
}

#[test]
fn ranges_stand_beside_the_root_user() {
    if !needs(&[Need::Root, Need::Program("newuidmap")]) {
        return;
    }
    let scene = Scene::new();
    let (users, groups) = (range(1, 200_000, 10), range(1, 300_000, 20));
    for (as_user, id) in [(false, 0), (true, USER)] {
        let script =
            format!("$unshare -r --map-users {users} --map-groups {groups} -- sh -c 'id -u; {MAPS}'");
        let seen = stdout(&with_subordinate_ids(&scene, as_user, &script).success());
        assert_eq!(words(&seen), format!("0 0 {id} 1 1 200000 10 0 {id} 1 1 300000 20 allow"));
    }
}

#[test]
fn map_auto_maps_what_is_granted_from_0_on() {
    if !needs(&[Need::Root, Need::Program("newuidmap")]) {
        return;
    }
    let scene = Scene::new();
    for as_user in [false, true] {
        let script = format!("$unshare --map-auto -S 0 -G 0 -- sh -c 'id -u; {MAPS}'");
        let seen = stdout(&with_subordinate_ids(&scene, as_user, &script).success());
        assert_eq!(words(&seen), "0 0 200000 1000 0 300000 1000 allow");
    }
}

#[test]
fn map_auto_goes_around_the_callers_own_id() {
    if !needs(&[Need::Root, Need::Program("newuidmap")]) {
        return;
    }
    let scene = Scene::new();
    let script = "$unshare -r --map-auto -- cat /proc/self/uid_map /proc/self/gid_map";
    let seen = stdout(&with_subordinate_ids(&scene, true, script).success());
    let count = 1000 - GRANTED_IDS_LOST.here();
    assert_eq!(words(&seen), format!("0 {USER} 1 1 200000 {count} 0 {USER} 1 1 300000 {count}"));
    let script = "$unshare -c --map-auto -- sh -c 'id -u; cat /proc/self/uid_map /proc/self/gid_map'";
    let seen = stdout(&with_subordinate_ids(&scene, true, script).success());
    assert_eq!(words(&seen), format!("{USER} {USER} {USER} 1 0 200000 1000 {USER} {USER} 1 0 300000 1000"));
}

#[test]
fn a_range_that_nobody_granted_is_refused() {
    if !needs(&[Need::Root, Need::Program("newuidmap")]) {
        return;
    }
    let scene = Scene::new();
    let script = format!("$unshare --map-users {} -- echo ran", range(0, 200_500, 1000));
    with_subordinate_ids(&scene, true, &script).code(OWN_FAILURE.here()).stdout("");
}
