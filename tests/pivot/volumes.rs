//! Volumes: what of the host is where in the root.

use std::fs;
use std::os::unix::fs::symlink;

use super::{inside, inside_as_user};
use crate::common::{Need, Scene, needs, stderr, stdout};

#[test]
fn a_directory_and_a_file_of_the_host_appear() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("data/file", "data");
    scene.file("one", "one");
    let seen = inside(
        &scene,
        "-V data:/d/deep -V one:/etc/one",
        "cat /d/deep/file /etc/one; echo new > /d/deep/new",
    );
    assert_eq!(seen, "dataone");
    assert_eq!(fs::read_to_string(scene.path("data/new")).unwrap(), "new\n");
    scene.assert_nothing_left();
}

#[test]
fn read_only_is_of_one_mount_and_rro_of_all() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.dir("data/sub");
    let seen = |option: &str| {
        let script = format!(
            "mount -t tmpfs sub data/sub && exec pivot -V data:/d:{option} root -- \
             /bin/sh -c \"touch /d/x && echo top; touch /d/sub/x && echo sub; true\""
        );
        let assert = scene.sh(&format!("unshare --mount sh -c '{script}'")).assert().success();
        String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
    };
    assert_eq!(seen("ro"), "sub\n");
    assert_eq!(seen("rro"), "");
    assert_eq!(seen("rro,bind"), "");
    assert_eq!(seen("rw"), "top\nsub\n");
}

#[test]
fn without_the_mounts_below_where_asked() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("data/sub/hidden", "");
    let script =
        "mount -t tmpfs sub data/sub && exec pivot -V data:/a -V data:/b:bind root -- /bin/ls /a/sub /b/sub";
    let assert = scene.sh(&format!("unshare --mount sh -c '{script}'")).assert().success();
    assert_eq!(String::from_utf8_lossy(&assert.get_output().stdout), "/a/sub:\n\n/b/sub:\nhidden\n");
}

#[test]
fn mount_options_hold() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("data");
    let seen = inside(&scene, "--proc -V data:/d:nosuid,nodev,noexec", "grep \" /d \" /proc/self/mounts");
    assert!(seen.contains(" rw,nosuid,nodev,noexec,"), "{seen}");
}

#[test]
fn volumes_are_mounted_in_the_order_given() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("outer/o", "");
    scene.file("inner/i", "");
    assert_eq!(inside(&scene, "-V outer:/v -V inner:/v/in", "ls /v /v/in"), "/v:\nin\no\n\n/v/in:\ni");
    fs::remove_dir(scene.path("outer/in")).unwrap();
    assert_eq!(inside(&scene, "-V inner:/v/in -V outer:/v", "ls /v"), "o");
}

#[test]
fn a_tmpfs_in_a_volume_keeps_what_is_written_to_it_from_the_host() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("data/cache/kept", "");
    scene.file("inner/i", "");
    let options = "--tmpfs /data/cache -V data:/data -V inner:/data/cache/in";
    let script = "echo leak > /data/cache/leak; ls /data/cache; ls /data/cache/in; echo x > /data/new";
    assert_eq!(inside(&scene, options, script), "in\nleak\ni");
    let on_host = |name: &str| fs::read_dir(scene.path(name)).unwrap().count();
    assert_eq!((on_host("data"), on_host("data/cache"), on_host("inner")), (2, 1, 1));
    scene.assert_nothing_left();
}

#[test]
fn a_tmpfs_that_would_be_covered_all_the_same_is_an_error() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.dir("data");
    symlink("/tmp", scene.path("root/link")).unwrap();
    for options in ["--tmpfs /d -V data:/d", "--tmpfs /link/x -V data:/tmp", "--tmpfs /d/x --tmpfs /d"] {
        let run = scene.sh(&format!("unshare --mount pivot {options} root -- /bin/true")).assert().code(125);
        assert!(
            stderr(&run).contains("what is mounted after it covers it\npivot: hint: "),
            "{}",
            stderr(&run)
        );
        assert!(!scene.path("root/d").exists() && !scene.path("root/tmp/x").exists(), "{options}");
    }
    scene.assert_nothing_left();
}

#[test]
fn a_link_in_the_image_leads_nowhere_but_into_the_root() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    let host = scene.dir("host");
    scene.file("data/file", "data");
    symlink(&host, root.join("absolute")).unwrap();
    symlink("../host", root.join("relative")).unwrap();
    fs::create_dir_all(root.join("host")).unwrap();
    fs::create_dir_all(root.join(host.strip_prefix("/").unwrap())).unwrap();
    for target in ["/absolute/x", "/relative/x", "/../../host/x"] {
        let seen = inside(&scene, &format!("-V data:{target}"), &format!("cat {target}/file"));
        assert_eq!(seen, "data", "{target}");
    }
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
    // A link that dangles is no place for a mount.
    symlink("/no/such/place", root.join("dangling")).unwrap();
    scene.sh("unshare --mount pivot -V data:/dangling root -- /bin/true").assert().code(125);
    scene.assert_nothing_left();
}

#[test]
fn a_file_takes_the_place_of_a_file_and_leaves_it_as_it_was() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    scene.file("file", "the callers");
    scene.file("root/etc/motd", "the images");
    symlink("motd", root.join("etc/link")).unwrap();
    for target in ["/etc/motd", "/etc/link"] {
        let seen = inside(&scene, &format!("-V file:{target}"), "cat /etc/motd; readlink /etc/link");
        assert_eq!(seen, "the callersmotd", "{target}");
    }
    let seen = inside(&scene, "-V file:/etc/motd", "echo written >/etc/motd; cat /etc/link");
    assert_eq!(seen, "written");
    assert_eq!(fs::read_to_string(scene.path("file")).unwrap(), "written\n");
    assert_eq!(fs::read_to_string(scene.path("root/etc/motd")).unwrap(), "the images");
    scene.assert_nothing_left();
}

#[test]
fn what_cannot_be_mounted_is_an_error_that_leaves_nothing() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.dir("data");
    scene.file("file", "");
    symlink("/proc", scene.path("root/kernel")).unwrap();
    for (options, message) in [
        ("-V missing:/x", "open the volume: No such file or directory"),
        ("-V data:/new/x -V data:/etc/passwd/x", "Not a directory"),
        ("-V file:/new/x -V file:/etc", "a file cannot be mounted on a directory"),
        ("-V data:/etc/passwd", "Not a directory"),
        ("-V data:/proc", "take the place of /proc"),
        ("-V data:/", "cover the whole root"),
        ("-V data:/etc/..", "that is the root itself"),
        ("--proc -V data:/kernel/self/fdinfo", "that is a file of procfs"),
    ] {
        let assert =
            scene.sh(&format!("unshare --mount pivot {options} root -- /bin/true")).assert().code(125);
        let text = stderr(&assert);
        assert!(text.contains(message), "{options}: {text}");
        assert!(!scene.path("root/new").exists(), "{options}");
        assert!(!scene.path("root/proc").exists(), "{options}");
    }
    scene.assert_nothing_left();
}

#[test]
fn sources_of_any_kind_are_bound_and_not_opened() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.sh("mkfifo fifo && ln -s data link && mkdir data && touch data/x").assert().success();
    let _socket = std::os::unix::net::UnixListener::bind(scene.path("socket")).unwrap();
    let options = "-V fifo:/fifo -V socket:/socket -V /dev/null:/nul -V link:/link";
    let seen = inside(&scene, options, "stat -c %F /fifo /socket /nul; ls /link");
    assert_eq!(seen, "fifo\nsocket\ncharacter special file\nx");
}

#[test]
fn an_ordinary_user_binds_too() {
    let scene = Scene::new();
    let data = scene.dir("data");
    scene.file("data/file", "data");
    let options = format!("-V {}:/d:ro", data.display());
    assert_eq!(inside_as_user(&scene, "--mount", &options, "cat /d/file; touch /d/x || true"), "data");
    scene.assert_nothing_left();
}

#[test]
fn an_idmapped_volume_shows_other_owners_and_writes_as_the_true_ones() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("data/file", "");
    let options = "-V data:/d:idmap=0-1000-1,idmap=5-0-1 --user 1000:1000";
    let script = "stat -c %u:%g /d/file; touch /d/new && stat -c %u:%g /d/new";
    scene.rootfs("root");
    scene.sh("chmod 755 data").assert().success();
    // What root owns on disk is user 1000's inside, and the other way round. Not every filesystem can.
    // In a new PID namespace, /proc is another's at that time.
    for namespaces in ["--mount", "--mount --pid --fork"] {
        let line = format!("unshare {namespaces} pivot {options} root -- /bin/sh -c '{script}'");
        let output = scene.sh(&line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("does not support idmapped mounts") {
            assert_eq!(output.status.code(), Some(125));
        } else {
            assert_eq!(String::from_utf8_lossy(&output.stdout), "1000:1000\n1000:1000\n", "{said}");
            let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(scene.path("data/new")).unwrap());
            assert_eq!(owner, 0);
        }
        scene.assert_nothing_left();
    }
}

#[test]
fn dockers_names_of_the_propagation_set_it_on_all_mounts_of_the_volume() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.dir("data");
    // The first of mountinfo's optional fields: shared:N, master:N, or the dash after none.
    let print =
        "while read i p d r place o field rest; do case $place in /d*) echo $place ${field%:*};; esac; done";
    let seen = |option: &str| {
        let script = format!(
            "mount -t tmpfs data data && mkdir data/sub && mount -t tmpfs sub data/sub && \
             mount --make-rshared data && unshare --mount --propagation unchanged \
             pivot --proc -V data:/d:{option} root -- /bin/sh -c '{print} < /proc/self/mountinfo'
             : the masters live as long as this shell"
        );
        fs::write(scene.path("script"), script).unwrap();
        stdout(&scene.sh("unshare --mount sh script").assert().success()).replace('\n', " ")
    };
    for (kind, field) in [("private", "-"), ("slave", "master"), ("shared", "shared")] {
        let expected = format!("/d {field} /d/sub {field} ");
        assert_eq!(seen(kind), expected, "{kind}");
        assert_eq!(seen(&format!("r{kind}")), expected, "r{kind}");
    }
    scene.assert_nothing_left();
}

#[test]
fn later_mounts_spread_as_the_volume_says() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.dir("data/sub");
    // A shared mount; while COMMAND waits, the outer side mounts in it, then COMMAND does.
    let seen = |option: &str| {
        scene.sh("rm -f go done && mkfifo go done").assert().success();
        let inner = format!(
            "unshare --mount --propagation unchanged pivot -V $PWD/data:/d:{option} -V $PWD:/w root -- \
             /bin/sh -c \"echo > /w/done; cat /w/go; ls /d/sub; mount -t tmpfs inner /d/in; echo > /w/done\""
        );
        let script = format!(
            "mount -t tmpfs outer data && mkdir data/sub data/in && mount --make-shared data && \
             ({inner} > seen) & cat done; mount -t tmpfs late data/sub && touch data/sub/late; echo > go; cat done; \
             cat seen; grep -c \" inner \" /proc/self/mountinfo; wait"
        );
        fs::write(scene.path("script"), script).unwrap();
        let assert = scene.sh("unshare --mount sh script").assert();
        String::from_utf8_lossy(&assert.get_output().stdout).replace('\n', " ").trim().to_owned()
    };
    assert_eq!(seen("private"), "0");
    assert_eq!(seen("slave"), "late 0");
    assert_eq!(seen("shared"), "late 1");
    scene.assert_nothing_left();
}
