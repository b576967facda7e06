//! The machines that the tests run in: that each is what `tests/run` says it is, and
//! that the tests' own support does what the tests rely on.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use ::common::mountinfo;
use common::needs::kernel;
use common::{Need, Scene, needs, stdout};

#[test]
fn in_uml_cgroup_v2_is_alone_and_has_its_controllers_enabled() {
    if !needs(&[Need::Uml]) {
        return;
    }
    let mounts = mountinfo::of_self().unwrap();
    let hierarchies: Vec<_> = mounts.iter().filter(|mount| mount.fs_type.starts_with("cgroup")).collect();
    assert_eq!(hierarchies.len(), 1, "{hierarchies:?}");
    assert_eq!(hierarchies[0].fs_type, "cgroup2");
    for file in ["cgroup.controllers", "cgroup.subtree_control"] {
        let content = fs::read_to_string(hierarchies[0].mount_point.join(file)).unwrap();
        for controller in ["cpu", "memory", "pids", "io"] {
            assert!(content.split_whitespace().any(|word| word == controller), "{file}: {content}");
        }
    }
}

#[test]
fn in_uml_the_kernel_is_older_than_lowerdir_plus() {
    if !needs(&[Need::Uml]) {
        return;
    }
    assert!(kernel() < (6, 5), "Linux {:?} tests no fallback: Debian 12's user-mode-linux does", kernel());
}

#[test]
fn in_uml_the_root_is_the_hosts_and_tmp_and_run_are_not() {
    if !needs(&[Need::Uml]) {
        return;
    }
    let mounts = mountinfo::of_self().unwrap();
    let fs_type = |path: &str| mountinfo::at(&mounts, Path::new(path)).map(|mount| mount.fs_type.as_str());
    assert_eq!(fs_type("/"), Some("hostfs"));
    assert_eq!(fs_type("/tmp"), Some("tmpfs"));
    assert_eq!(fs_type("/run"), Some("tmpfs"));
}

#[test]
fn in_uml_the_modules_are_there() {
    if !needs(&[Need::Uml]) {
        return;
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap();
    for fs_type in ["overlay", "fuse", "squashfs", "erofs"] {
        assert!(known.split_whitespace().any(|word| word == fs_type), "no {fs_type} in {known}");
    }
    assert!(fs::metadata("/dev/loop-control").unwrap().file_type().is_char_device());
}

#[test]
fn overlay_mounts_and_a_write_stays_in_the_upper() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("lower/file", "below");
    for directory in ["upper", "work", "merged"] {
        scene.dir(directory);
    }
    let overlay = "lowerdir=lower,upperdir=upper,workdir=work";
    let script = format!("mount -t overlay -o {overlay} overlay merged && echo above >merged/file");
    scene.sh(&format!("unshare --mount sh -c '{script}'")).assert().success();
    assert_eq!(fs::read_to_string(scene.path("lower/file")).unwrap(), "below");
    assert_eq!(fs::read_to_string(scene.path("upper/file")).unwrap(), "above\n");
    scene.assert_nothing_left();
}

#[test]
fn an_ordinary_user_may_make_namespaces() {
    let scene = Scene::new();
    let assert = scene.user_sh("unshare --map-root-user --mount --pid --fork id -u").assert().success();
    assert_eq!(stdout(&assert), "0\n");
}

#[test]
fn an_ordinary_user_reaches_the_tools_and_the_scene() {
    let scene = Scene::new();
    scene.user_sh("test -x \"$(command -v pivot)\" && echo mine >file").assert().success();
    let owner = fs::metadata(scene.path("file")).unwrap().uid();
    assert!(owner != 0 || nix::unistd::geteuid().is_root());
    assert!(!nix::unistd::geteuid().is_root() || owner == common::scene::USER);
}

#[test]
fn dev_has_what_programs_expect() {
    for (node, number) in [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("urandom", (1, 9))] {
        let device = fs::metadata(Path::new("/dev").join(node)).unwrap().rdev();
        assert_eq!((nix::sys::stat::major(device), nix::sys::stat::minor(device)), number, "{node}");
    }
    for directory in ["/tmp", "/dev/shm"] {
        assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o7777, 0o1777, "{directory}");
    }
    nix::pty::openpty(None, None).unwrap();
}

#[test]
fn tests_start_in_the_package_directory_with_no_input() {
    assert_eq!(std::env::current_dir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let scene = Scene::new();
    let assert = scene.sh("cat").assert().success();
    assert_eq!(stdout(&assert), "");
}

#[test]
fn a_scene_that_goes_takes_along_what_was_left() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let directory = scene.dir("mounted");
    scene.sh("mount -t tmpfs tmpfs mounted && (sleep 1000 >/dev/null 2>&1 &)").assert().success();
    let mounts = mountinfo::of_self().unwrap();
    let hierarchy = mounts.iter().find(|mount| mount.fs_type.starts_with("cgroup")).unwrap();
    let cgroup = hierarchy.mount_point.join(scene.name());
    fs::create_dir(&cgroup).unwrap();
    let left = scene.processes();
    assert_eq!(left.len(), 1);
    assert_eq!(scene.mounts(), [directory.as_path()]);
    assert_eq!(scene.cgroups(), [cgroup.as_path()]);
    drop(scene);
    assert!(!cgroup.exists() && !directory.exists());
    common::eventually("the process ends", || has_ended(left[0]));
}

#[test]
#[should_panic(expected = "processes left")]
fn a_scene_says_that_a_process_is_left() {
    let scene = Scene::new();
    scene.sh("sleep 1000 >/dev/null 2>&1 &").assert().success();
    scene.assert_nothing_left();
}

/// Whether the process is gone, or waits for somebody to reap it.
fn has_ended(pid: i32) -> bool {
    ::common::procfs::stat(pid).map_or(true, |stat| stat.state == b'Z')
}
