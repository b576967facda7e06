//! Hosts that are not as usual: other mounts, other namespaces, none at all.

use crate::common::{Need, Scene, needs, stderr, stdout};

const ROOT: &[Need] = &[Need::Root, Need::Cgroup];

/// A shell script in a mount namespace of its own, with `$G` the scene's name.
fn in_private_mounts(scene: &Scene, script: &str) -> assert_cmd::assert::Assert {
    scene
        .sh(&format!("unshare --mount --propagation private sh -ec '{script}'"))
        .env("G", scene.name())
        .assert()
}

#[test]
fn pid_1_of_a_new_pid_namespace_joins_although_proc_is_the_hosts() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script =
        "unshare --mount --pid --fork cgset --rm $G pids.max=20 -- sh -c 'cat /proc/self/cgroup; echo $$'";
    let run = scene.sh(script).env("G", scene.name()).assert().success();
    assert!(stdout(&run).contains(&format!(":/{}\n", scene.name())), "{}", stdout(&run));
    scene.assert_nothing_left();
}

#[test]
fn as_pid_1_it_reaps_what_the_command_orphans() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    // Zombies that nobody reaps would count against pids.max.
    let script = "i=0; while [ $i -lt 40 ]; do (sleep 0 &) || exit 1; i=$((i+1))
        while read -r n <$CURRENT && [ $n -gt 9 ]; do sleep 0.01; done; done; echo all";
    scene.file("orphans", script);
    let line = "unshare --pid --fork cgset --rm $G pids.max=20 -- sh orphans";
    let current = crate::directory(&scene, "pids").join("pids.current");
    scene.sh(line).env("G", scene.name()).env("CURRENT", current).assert().success().stdout("all\n");
    scene.assert_nothing_left();
}

#[test]
fn hierarchies_are_found_at_odd_places() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene.dir("odd place/all");
    let script = "mount --rbind /sys/fs/cgroup \"odd place/all\"
        umount --recursive --lazy /sys/fs/cgroup
        cgset --rm $G pids.max=20 -- cat /proc/self/cgroup";
    let run = in_private_mounts(&scene, script).success();
    assert!(stdout(&run).contains(&format!(":/{}\n", scene.name())), "{}", stdout(&run));
    scene.assert_nothing_left();
}

#[test]
fn a_hierarchy_that_another_mount_hides_is_not_used() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script = "mount -t tmpfs decoy /sys/fs/cgroup; cgset $G pids.max=20; ls -A /sys/fs/cgroup";
    let run = in_private_mounts(&scene, script).code(125).stdout("");
    assert!(stderr(&run).contains("find the cgroup hierarchies"), "{}", stderr(&run));
    assert!(scene.cgroups().is_empty());
}

#[test]
fn without_any_hierarchy_the_error_says_how_to_mount_one() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let run =
        in_private_mounts(&scene, "umount --recursive --lazy /sys/fs/cgroup; cgset $G -- true").code(125);
    assert!(stderr(&run).contains("hint: mount -t cgroup2"), "{}", stderr(&run));
}

#[test]
fn read_only_hierarchies_are_an_error_that_says_so() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script = "grep -o \"/sys/fs/cgroup[^ ]*\" /proc/self/mounts | sort -r |
        while read m; do mount -o remount,bind,ro $m; done; cgset $G pids.max=20 -- true";
    let run = in_private_mounts(&scene, script).code(125);
    assert!(stderr(&run).contains("Read-only file system"), "{}", stderr(&run));
    assert!(stderr(&run).contains("hint: the cgroup filesystem is mounted read-only"), "{}", stderr(&run));
    scene.assert_nothing_left();
}

#[test]
fn in_a_cgroup_namespace_with_its_own_mounts_the_top_is_the_namespaces() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    let script = "cgset $G/outer -- unshare --cgroup --mount --propagation private sh -ec '
        umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup
        cgset inner -- cat /proc/self/cgroup; test -d /sys/fs/cgroup/inner'";
    let run = scene.sh(script).env("G", scene.name()).assert().success();
    assert_eq!(stdout(&run), "0::/inner\n");
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn in_a_cgroup_namespace_with_the_hosts_mounts_its_own_group_is_still_found() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script = "cgset $G/outer -- unshare --cgroup sh -ec '
        cgset ./inner -- grep -v name= /proc/self/cgroup
        cgset ./failing -- /no/such || test $? = 127
        cgset $G/outer --kill || test $? = 125'";
    let run = scene.sh(script).env("G", scene.name()).assert().success();
    assert!(stdout(&run).lines().all(|line| line.ends_with(":/inner")), "{}", stdout(&run));
    assert!(stderr(&run).contains("cgset itself is in it"), "{}", stderr(&run));
    let list = scene.tool("cgset").args([scene.name(), "--list"]).assert().success();
    assert_eq!(stdout(&list), format!("{0}\n{0}/outer\n{0}/outer/inner\n", scene.name()));
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn with_cgroup_v1_alone_everything_is_done_there() {
    if !needs(&[Need::Root, Need::CgroupV1]) {
        return;
    }
    let scene = Scene::new();
    let script = r#"for m in $(grep " cgroup2 " /proc/self/mounts | cut -d" " -f2); do umount $m; done
        echo {} | cgset --from - $G memory.max=64M pids.max=30 cpu.max=1
        cgset $G -- sh -c "i=0; while :; do echo >>count; done" & spinner=$!
        until test -s count; do sleep 0.01; done
        cgset $G --freeze; a=$(wc -c <count); sleep 0.2; b=$(wc -c <count); test $a = $b
        cgset $G --get cgroup.freeze pids.max
        cgset $G --thaw; until test $(wc -c <count) -gt $b; do sleep 0.01; done
        cgset $G --stat >/dev/null
        cgset $G --freeze; cgset $G --kill --delete; wait $spinner || echo $?
        cgset --rm $G/a/b -- sh -c "sleep 600 >&- 2>&- & exit 5" || echo $?"#;
    scene.file("script", script);
    let line = "unshare --mount --propagation private sh -e script";
    let run = scene.sh(line).env("G", scene.name()).assert().success();
    let record = format!(r#"{{"cgroup":{{"path":"{}","version":"v1"}}}}"#, scene.name());
    assert_eq!(stdout(&run), format!("{record}\ncgroup.freeze=1\npids.max=30\n137\n5\n"));
    scene.assert_nothing_left();
}

#[test]
fn a_controller_that_v1_holds_without_a_mount_is_explained() {
    if !needs(&[Need::Root, Need::CgroupV1]) {
        return;
    }
    let scene = Scene::new();
    let script =
        "umount $(grep \" cgroup .*,memory\" /proc/self/mounts | cut -d\" \" -f2); cgset $G memory.max=64M";
    let run = in_private_mounts(&scene, script).code(125).stdout("");
    assert!(stderr(&run).contains("no controller memory"), "{}", stderr(&run));
    assert!(stderr(&run).contains("bound to a cgroup v1 hierarchy that is not mounted"), "{}", stderr(&run));
    scene.assert_nothing_left();
}
