//! User, groups and capabilities of COMMAND.

use crate::common::{Need, Scene, needs, stdout};
use crate::differences::{ENTERS_WHERE_SETGROUPS_IS_DENIED, is_lacking, range};
use crate::maps::with_subordinate_ids;
use crate::{run, run_as_user, target};

/// The capabilities of COMMAND: inheritable, permitted, effective, ambient.
fn capabilities(seen: &str) -> Vec<u64> {
    seen.lines().filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()).collect()
}

const LOOK: &str = "grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status";

#[test]
fn user_and_group_are_those_asked_for_and_no_other_group_stays() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for options in ["--setuid 1000 --setgid 1001", "-S 1000 -G 1001", "--fork -S 1000 -G 1001"] {
        let script = format!("setpriv --groups 4,24 $unshare --uts {options} -- sh -c 'id -u; id -g; id -G'");
        run(&scene, &script).success().stdout("1000\n1001\n1001\n");
    }
    // Without a new group, the groups stay.
    let script = "setpriv --groups 4,24 $unshare --uts -S 1000 -- id -G";
    run(&scene, script).success().stdout("0 4 24\n");
}

#[test]
fn user_and_group_of_an_entered_namespace_are_those_asked_for() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let script = target("--uts")
        + "for options in '--setuid 5 --setgid 6' '-S 5 -G 6'; do
               setpriv --groups 4,24 $nsenter -t $pid -u $options -- sh -c 'id -u; id -g; id -G'
           done
           setpriv --groups 4,24 $nsenter -t $pid -u -- sh -c 'id -u; id -G'; kill $pid";
    run(&scene, &script).success().stdout("5\n6\n6\n5\n6\n6\n0\n0 4 24\n");
}

#[test]
fn whoever_enters_a_user_namespace_is_its_root_unless_told_otherwise() {
    let scene = Scene::new();
    let me = stdout(&scene.user_sh("id -u").assert().success());
    let script = target("-c") + "$nsenter -t $pid -U --preserve-credentials -- id -u; kill $pid";
    run_as_user(&scene, &script).success().stdout(me);
    let script = target("-r") + "$nsenter -t $pid -U -- id -u; code=$?; kill $pid; exit $code";
    let (code, said) = ENTERS_WHERE_SETGROUPS_IS_DENIED.here();
    run_as_user(&scene, &script).code(code).stdout(said);
    if !needs(&[Need::Root, Need::Program("newuidmap")]) {
        return;
    }
    let (users, groups) = (range(0, 200_000, 10), range(0, 300_000, 10));
    let script = target(&format!("--map-users {users} --map-groups {groups}"))
        + "$nsenter -t $pid -U -- sh -c 'id -u; id -g; id -G'
           $nsenter -t $pid --user --setuid 3 --setgid 4 -- sh -c 'id -u; id -g; id -G'; kill $pid";
    with_subordinate_ids(&scene, false, &script).success().stdout("0\n0\n0\n3\n4\n4\n");
}

#[test]
fn capabilities_stay_with_a_command_that_is_not_root_only_when_asked() {
    let scene = Scene::new();
    let seen = |option: &str| {
        let script = format!("$unshare -c {option} -- {LOOK}");
        capabilities(&stdout(&run_as_user(&scene, &script).success()))
    };
    let unmapped_root = nix::unistd::geteuid().is_root();
    assert!(!unmapped_root || seen("")[1..] == [0, 0, 0], "{:x?}", seen(""));
    let kept = seen("--keep-caps");
    assert!(kept[0] != 0 && kept.iter().all(|set| *set == kept[0]), "{kept:x?}");
}

#[test]
fn capabilities_stay_with_a_command_that_enters_only_when_asked() {
    if !needs(&[Need::Root]) || is_lacking("--keep-caps") {
        return;
    }
    let scene = Scene::new();
    let enter = |option: &str| {
        let script = target("-c")
            + &format!("$nsenter -t $pid -U --preserve-credentials {option} -- {LOOK}; kill $pid");
        capabilities(&stdout(&run_as_user(&scene, &script).success()))
    };
    assert_eq!(enter("")[1..], [0, 0, 0]);
    let kept = enter("--keep-caps");
    assert!(kept[0] != 0 && kept.iter().all(|set| *set == kept[0]), "{kept:x?}");
}
