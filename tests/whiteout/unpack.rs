//! unpack: archives of others, in all forms.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use tar::EntryType;

use crate::archive::Archive;
use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::place::{By, disk};
use crate::tree::described;

/// Unpacks an archive into `layer`.
pub fn unpack(scene: &Scene, archive: Vec<u8>) -> assert_cmd::assert::Assert {
    fs::write(scene.path("archive.tar"), archive).unwrap();
    scene.sh("whiteout unpack layer <archive.tar").assert()
}

#[test]
fn what_a_link_or_a_file_is_in_the_way_of_replaces_it() {
    let scene = Scene::new();
    scene.file("host/secret", "untouched");
    let archive = Archive::new()
        .symlink("a", "../host/secret")
        .file("a", "new")
        .symlink("d", "../host")
        .directory("d")
        .file("d/f", "inside")
        .hard_link("b", "a")
        .file("a", "newer")
        .directory("e")
        .file("e/x", "")
        .symlink("e", "nowhere");
    unpack(&scene, archive.end()).success();
    assert_eq!(fs::read_to_string(scene.path("host/secret")).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(scene.path("layer/a")).unwrap(), "newer");
    assert_eq!(fs::read_to_string(scene.path("layer/b")).unwrap(), "new");
    assert_eq!(fs::read_to_string(scene.path("layer/d/f")).unwrap(), "inside");
    assert_eq!(fs::read_link(scene.path("layer/e")).unwrap().to_str(), Some("nowhere"));
}

#[test]
fn bookkeeping_of_aufs_is_passed_over() {
    let scene = Scene::new();
    let archive = Archive::new()
        .directory(".wh..wh.plnk")
        .file(".wh..wh.plnk/12.3", "x")
        .file(".wh..wh.aufs", "")
        .hard_link("d/.wh.a", ".wh..wh.aufs");
    unpack(&scene, archive.end()).success();
    scene.sh("whiteout list layer; ls -A layer").assert().success().stdout("d/a\nd\n");
}

#[test]
fn long_paths_and_deep_trees_come_back() {
    let scene = Scene::new();
    let path = (0..30).map(|_| "n".repeat(250)).collect::<Vec<_>>().join("/");
    let archive = Archive::new().pax(&[("path", path.as_bytes())]).file("x", "deep");
    unpack(&scene, archive.end()).success();
    scene
        .sh("whiteout pack layer >1.tar; whiteout unpack again <1.tar; whiteout pack again | cmp - 1.tar")
        .assert()
        .success();
    let listed = stdout(&scene.sh("whiteout pack layer | tar -tf - | tail -1 | wc -c").assert().success());
    assert_eq!(listed.trim().parse::<usize>().unwrap(), path.len() + 1);
    scene.sh("rm -rf layer again").assert().success();
}

#[test]
fn marks_are_written_as_the_callers_overlay_reads_them() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    disk(&scene, "layers");
    let marked =
        Archive::new().file(".wh.file", "").directory("dir").file("dir/.wh..wh..opq", "").file("dir/new", "");
    fs::write(scene.path("archive.tar"), marked.end()).unwrap();
    for by in [By::Root, By::User] {
        let shown = by.sh_on_layers(
            &scene,
            &format!("layers/{by:?}"),
            "whiteout unpack upper <../../archive.tar; mount_it; ls merged merged/dir",
        );
        assert_eq!(
            shown, "merged:\nagain\ndir\nempty\ngone\nkept\nlink\npipe\n\nmerged/dir:\nnew\n",
            "{by:?}"
        );
    }
    scene
        .sh("whiteout unpack --format oci layers/oci <archive.tar; LC_ALL=C ls -A layers/oci layers/oci/dir")
        .assert()
        .success()
        .stdout("layers/oci:\n.wh.file\ndir\n\nlayers/oci/dir:\n.wh..wh..opq\nnew\n");
}

#[test]
fn marks_and_what_they_hide_may_come_in_any_order() {
    if !needs(&[Need::Root]) {
        return;
    }
    type Step = fn(Archive) -> Archive;
    let steps: [Step; 6] = [
        |archive| archive.file(".wh.d", ""),
        |archive| archive.directory("d"),
        |archive| archive.file("d/f", ""),
        |archive| archive.file(".wh.f", ""),
        |archive| archive.file("f", "new"),
        |archive| archive.file("e/.wh..wh..opq", ""),
    ];
    for turn in 0..steps.len() {
        for reverse in [false, true] {
            let mut order: Vec<Step> = [&steps[turn..], &steps[..turn]].concat();
            if reverse {
                order.reverse();
            }
            let archive = order.into_iter().fold(Archive::new(), |archive, step| step(archive));
            let scene = Scene::new();
            unpack(&scene, archive.end()).success();
            scene
                .sh("whiteout list layer; ls -A layer layer/d; cat layer/f")
                .assert()
                .success()
                .stdout("d/\ne/\nlayer:\nd\ne\nf\n\nlayer/d:\nf\nnew");
        }
    }
}

#[test]
fn directories_keep_the_times_of_their_entries() {
    let scene = Scene::new();
    // Their content comes late, and mixed.
    let archive = Archive::new()
        .directory("./")
        .directory("a")
        .directory("b")
        .directory("a/c")
        .file("b/1", "")
        .file("a/c/2", "")
        .file("b/3", "")
        .file("a/.wh.x", "")
        .hard_link("a/4", "b/1")
        .file("implied/5", "");
    unpack(&scene, archive.end()).success();
    for directory in ["", "a", "b", "a/c"] {
        assert_eq!(
            fs::metadata(scene.path("layer").join(directory)).unwrap().mtime(),
            1_000_000_000,
            "{directory}"
        );
    }
}

#[test]
fn a_directory_with_something_in_it_is_no_place_for_a_layer() {
    let scene = Scene::new();
    scene.file("layer/mine", "");
    let failed = unpack(&scene, Archive::new().file("x", "").end()).code(125);
    assert!(
        stderr(&failed).starts_with("whiteout: layer: unpack the layer: Directory not empty\n"),
        "{failed}"
    );
    scene.sh("ls -A layer").assert().success().stdout("mine\n");
    // An empty one keeps its mode.
    scene.sh("rm layer/mine; chmod 2711 layer; whiteout unpack layer <archive.tar").assert().success();
    assert_eq!(fs::metadata(scene.path("layer")).unwrap().mode() & 0o7777, 0o2711);
}

#[test]
fn what_a_killed_run_left_the_next_one_removes() {
    let scene = Scene::new();
    scene
        .sh("mkfifo archive; whiteout unpack layer <archive & exec 3>archive; head -c 512 /dev/zero >/dev/null
             until [ -d .layer.unpack ]; do sleep 0.05; done
             whiteout unpack layer </dev/null 2>locked; kill -9 $!; wait $! 2>/dev/null; ls -d .layer.unpack")
        .assert()
        .success()
        .stdout(".layer.unpack\n");
    let locked = fs::read_to_string(scene.path("locked")).unwrap();
    assert_eq!(locked, "whiteout: .layer.unpack: lock: another whiteout is at work here\n");
    unpack(&scene, Archive::new().file("x", "").end()).success();
    assert!(!scene.path(".layer.unpack").exists());
}

#[test]
fn a_signal_ends_it_with_nothing_left() {
    let scene = Scene::new();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        // A shell ignores SIGINT in what it starts with '&'.
        let line = "mkfifo archive; env --default-signal=INT whiteout unpack layer <archive & exec 3>archive
             until [ -d .layer.unpack ]; do sleep 0.05; done
             kill -SIGNAL $!; wait $!; echo $?; rm archive; ls -A";
        scene.sh(&line.replace("SIGNAL", signal)).assert().success().stdout(format!("{code}\n"));
    }
}

#[test]
fn an_ordinary_user_says_what_to_do_without() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let device = Archive::new().file("f", "").header("null", EntryType::Char, 0, |header| {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    });
    fs::write(scene.path("archive.tar"), device.end()).unwrap();
    let failed = scene.user_sh("whiteout unpack layer <archive.tar").assert().code(125);
    assert!(stderr(&failed).contains("layer/f: set its owner: Operation not permitted\n"), "{failed}");
    assert!(stderr(&failed).contains("--no-same-owner"));
    let failed = scene.user_sh("whiteout unpack --no-same-owner layer <archive.tar").assert().code(125);
    assert!(stderr(&failed).contains("layer/null: make the device: Operation not permitted\n"), "{failed}");
    let run = scene
        .user_sh("whiteout unpack --no-same-owner --skip-devices layer <archive.tar; ls -A layer")
        .assert();
    assert_eq!(stderr(&run), "whiteout: warning: layer/null: a device, left out\n");
    run.success().stdout("f\n");
    scene
        .user_sh("rm -r layer; unshare -Ur whiteout unpack --skip-devices layer <archive.tar")
        .assert()
        .success();
}

#[test]
fn a_directory_without_write_permission_is_filled_all_the_same() {
    let scene = Scene::new();
    let closed = || {
        Archive::new().header("d", EntryType::Directory, 0, |header| header.set_mode(0o555)).file("d/f", "")
    };
    fs::write(scene.path("whole.tar"), closed().end()).unwrap();
    fs::write(scene.path("broken.tar"), closed().open()).unwrap();
    scene
        .user_sh("whiteout unpack --no-same-owner broken <broken.tar; ls -A; whiteout unpack --no-same-owner layer <whole.tar
                  stat -c %a layer/d; chmod 755 layer/d")
        .assert()
        .success()
        .stdout("broken.tar\nwhole.tar\n555\n");
}

#[test]
fn archives_of_gnu_tar_in_all_its_formats_come_out_the_same() {
    if !needs(&[Need::Root, Need::Program("setfacl"), Need::Program("setfattr")]) {
        return;
    }
    let scene = crate::pack::everything();
    let expected = described(&scene.path("disk/all"));
    for version in ["0.0", "0.1", "1.0"] {
        scene
            .sh(&format!(
                "cd disk; tar -C all -c -S --sparse-version={version} --format=pax --xattrs --xattrs-include='*' \
                 --pax-option=delete=atime,delete=ctime . | whiteout unpack {version}"
            ))
            .assert()
            .success();
        assert_eq!(described(&scene.path("disk").join(version)), expected, "{version}");
    }
    // Of the older formats, what they can hold.
    scene
        .sh("cd disk; mkdir old; cp all/big all/dir/file old; cp old/file old/sparse; truncate -s 2M old/sparse
             for format in '-S gnu' '-S oldgnu' '-b1 ustar' '-b1 v7'; do
               tar -C old -c ${format% *} --format=${format#* } . | whiteout unpack ${format#* } || exit
               diff -r old ${format#* } || exit; done")
        .assert()
        .success();
}
