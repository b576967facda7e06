//! What --mount-api and its parts put into the root.

use std::fs;
use std::os::unix::fs::symlink;

use super::{inside, inside_as_user, inside_of};
use crate::common::{Need, Scene, needs, stderr};

/// Mount points with filesystem type and options, by the container's own table.
const TABLE: &str = "while read d m t o r; do echo $m $t $o; done < /proc/self/mounts";

fn options_of<'a>(table: &'a str, mount_point: &str, fs_type: &str) -> &'a str {
    let start = format!("{mount_point} {fs_type} ");
    let line = table.lines().rfind(|line| line.starts_with(&start));
    line.unwrap_or_else(|| panic!("no {start}in\n{table}")).strip_prefix(&start).unwrap()
}

#[test]
fn mount_api_mounts_what_docker_does() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let table = inside_of(&scene, "--mount --pid --fork --ipc", "--mount-api", TABLE);
    for (mount_point, fs_type, options) in [
        ("/proc", "proc", "rw,nosuid,nodev,noexec"),
        ("/sys", "sysfs", "ro,nosuid,nodev,noexec"),
        ("/dev", "tmpfs", "rw,nosuid"),
        ("/dev/pts", "devpts", "rw,nosuid,noexec"),
        ("/dev/shm", "tmpfs", "rw,nosuid,nodev,noexec"),
        ("/proc/sys", "proc", "ro,nosuid,nodev,noexec"),
    ] {
        let found = options_of(&table, mount_point, fs_type);
        assert!(found.starts_with(options), "{mount_point}: {found}");
    }
    assert!(options_of(&table, "/dev/pts", "devpts").contains("gid=5,mode=620,ptmxmode=666"));
    scene.assert_nothing_left();
}

#[test]
fn the_devices_are_there_and_work() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let script = "cd /dev; stat -c \"%n %t:%T %a\" null zero full random urandom tty; for l in fd stdin stdout stderr ptmx core; do readlink $l; done; \
                  echo x > null && cat null | wc -c; head -c 3 zero | wc -c; echo x > full || true; : > ptmx && echo pty";
    let seen = inside(&scene, "--proc --dev", script);
    let expected = "null 1:3 666\nzero 1:5 666\nfull 1:7 666\nrandom 1:8 666\nurandom 1:9 666\ntty 5:0 666\n\
                    /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n/proc/kcore\n0\n3\npty";
    assert_eq!(seen, expected);
}

#[test]
fn proc_is_that_of_the_pid_namespace() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    assert_eq!(
        inside_of(&scene, "--mount --pid --fork", "--proc", "echo $$; echo /proc/[0-9]*"),
        "1\n/proc/1"
    );
}

#[test]
fn sys_and_cgroup_cannot_be_written() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let script = "for f in $(find /sys/fs/cgroup -name cgroup.procs) /sys/kernel/uevent_helper; do echo 1 > $f && echo written; done 2>/dev/null; \
                  ls /sys/fs/cgroup | wc -l";
    let seen = inside_of(&scene, "--mount --cgroup", "--mount-api", script);
    assert!(seen.parse::<u32>().unwrap() > 0, "{seen}");
}

#[test]
fn of_the_cgroups_only_its_own_is_shown() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let hierarchy = if std::path::Path::new("/sys/fs/cgroup/pids").exists() {
        "/sys/fs/cgroup/pids"
    } else {
        "/sys/fs/cgroup"
    };
    let group = format!("{hierarchy}/{}", scene.name());
    let inside = hierarchy;
    let script = format!(
        "mkdir -p {group}/below && echo $$ > {group}/cgroup.procs && \
         unshare --mount pivot --mount-api root -- /bin/ls {inside}/below {inside}/cgroup.procs {inside}/{}",
        scene.name()
    );
    let assert = scene.sh(&script).assert().failure();
    let seen = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    // Its own files and the cgroup below it, but no directory of its own name.
    assert!(seen.contains("cgroup.procs") && seen.contains("below:"), "{seen}");
    assert!(
        stderr(&assert).contains(&format!("{inside}/{}: No such file", scene.name())),
        "{}",
        stderr(&assert)
    );
}

#[test]
fn dockers_masked_and_read_only_paths_are() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let script = "cat /proc/timer_list /proc/keys /proc/interrupts 2>/dev/null | wc -c; ls /sys/firmware | wc -l; \
                  echo b > /proc/sysrq-trigger; echo x > /proc/sys/kernel/hostname; true";
    let line = format!("unshare --mount --uts pivot --mount-api root -- /bin/sh -c '{script}'");
    scene.rootfs("root");
    let assert = scene.sh(&line).assert().success();
    assert_eq!(String::from_utf8_lossy(&assert.get_output().stdout), "0\n0\n");
    let message = stderr(&assert);
    assert!(message.contains("/proc/sys/kernel/hostname: Read-only file system"), "{message}");
}

#[test]
fn paths_are_masked_and_made_read_only_as_asked() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("root/secret/key", "k");
    scene.file("root/kept", "k");
    let options =
        "--mask /secret --mask /etc/passwd --mask /missing --read-only-path /etc --read-only-path /kept";
    let script =
        "ls /secret; cat /etc/passwd; cat /kept; echo; touch /etc/x /kept || touch /tmp/x && echo ok";
    assert_eq!(inside(&scene, options, script), "k\nok");
    assert!(!scene.path("root/missing").exists());
}

#[test]
fn what_is_not_there_is_neither_masked_nor_made_read_only_and_only_verbose_tells() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let options = "--mask /missing --mask /etc/passwd/x --read-only-path /absent";
    scene.sh(&format!("unshare --mount pivot {options} root -- /bin/true")).assert().success().stderr("");
    let run = scene.sh(&format!("unshare --mount pivot -v {options} root -- /bin/true")).assert().success();
    for path in ["missing", "etc/passwd/x", "absent"] {
        let told = format!("root/{path}: not there, so it is left out\n");
        assert!(stderr(&run).contains(&told), "{}", stderr(&run));
        assert!(!scene.path("root").join(path).exists());
    }
}

#[test]
fn a_read_only_root_has_writable_mounts() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let seen = inside(
        &scene,
        "--read-only --tmpfs /tmp:size=1M",
        "touch /x || touch /tmp/x && echo /tmp/*; stat -f -c %b /tmp",
    );
    assert_eq!(seen, "/tmp/x\n256");
    // The directory itself is as it was.
    fs::write(scene.path("root/still-writable"), "").unwrap();
}

#[test]
fn a_tmpfs_is_as_its_options_say() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let seen = inside(&scene, "--proc --tmpfs /a --tmpfs /b:mode=0700,uid=7,exec,ro", TABLE);
    assert!(options_of(&seen, "/a", "tmpfs").starts_with("rw,nosuid,nodev,noexec"), "{seen}");
    assert!(
        options_of(&seen, "/b", "tmpfs").starts_with("ro,nosuid,nodev,relatime,mode=700,uid=7"),
        "{seen}"
    );
}

#[test]
fn a_tmpfs_holds_no_more_inodes_than_told() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    // Its root directory is one of them.
    let script =
        "stat -f -c %c /t; for n in 1 2 3 4 5; do touch /t/$n 2>/tmp/why || cat /tmp/why; done; ls /t";
    let seen = inside(&scene, "--tmpfs /t:nr_inodes=5", script);
    assert_eq!(seen, "5\ntouch: /t/5: No space left on device\n1\n2\n3\n4");
}

#[test]
fn an_image_with_a_link_for_proc_sys_or_dev_is_refused() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    for name in ["proc", "sys", "dev"] {
        symlink("/tmp", scene.path("root").join(name)).unwrap();
        let assert =
            scene.sh(&format!("unshare --mount pivot --{name} root -- /bin/true")).assert().code(125);
        assert!(stderr(&assert).contains("it is a symbolic link"), "{}", stderr(&assert));
        fs::remove_file(scene.path("root").join(name)).unwrap();
    }
    scene.assert_nothing_left();
}

#[test]
fn an_ordinary_user_gets_them_with_and_without_namespaces_of_ones_own() {
    let scene = Scene::new();
    for namespaces in ["--mount", "--mount --pid --fork --net --ipc --cgroup"] {
        let script = "echo x > /dev/null && head -c 2 /dev/zero | wc -c; echo 1 > /sys/kernel/uevent_seqnum || ls -d /proc/self /sys/class/net/lo";
        let seen = inside_as_user(&scene, namespaces, "--mount-api", script);
        assert_eq!(seen, "2\n/proc/self\n/sys/class/net/lo", "{namespaces}");
        fs::remove_dir_all(scene.path("root")).unwrap();
    }
    scene.assert_nothing_left();
}

/// The host's /proc and /sys are no second best for a container with namespaces of its own.
#[test]
fn where_a_new_proc_or_sys_is_refused_the_hosts_is_not_bound() {
    if !needs(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    for options in ["--proc", "--sys"] {
        let line = format!(
            "unshare-lite --mount --pid --net -- strace -qq -o /dev/null -e inject=fsopen:error=EPERM:when=1 \
             pivot {options} root -- /bin/sh -c 'echo ran'"
        );
        let run = scene.sh(&line).assert().code(125).stdout("");
        assert!(stderr(&run).contains("Operation not permitted"), "{}", stderr(&run));
    }
    scene.assert_nothing_left();
}
