//! unpack --apply: a layer carried out on a root filesystem.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::archive::Archive;
use crate::common::{Need, Scene, needs, stderr};
use crate::place::By;
use crate::tree::described;

/// A root filesystem `root`, on which the archive is applied.
fn apply(scene: &Scene, archive: Vec<u8>) -> assert_cmd::assert::Assert {
    scene
        .sh("mkdir -p root/etc root/dir/sub; echo old >root/etc/file; echo old >root/dir/a; echo old >root/dir/sub/b; ln -sfn etc root/link")
        .assert()
        .success();
    fs::write(scene.path("archive.tar"), archive).unwrap();
    scene.sh("whiteout unpack --apply root <archive.tar").assert()
}

#[test]
fn applying_gives_what_an_overlay_shows() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    By::Root.sh_on_layers(
        &scene,
        "layers",
        "mount_it; cd merged; rm file; rm -r gone; rm -r again; mkdir again; echo n >again/new; rm -r dir; echo f >dir
            rm link; mkdir link; echo x >link/inside; chmod 700 kept; chown 5 kept/d; ln kept/d kept/e; mkfifo kept/p; rm pipe; cd ..
            cp -a lower root; whiteout pack upper | whiteout unpack --apply root; mkdir shown; cp -a merged/. shown",
    );
    assert_eq!(described(&scene.path("layers/root")), described(&scene.path("layers/shown")));
}

#[test]
fn marks_are_about_what_was_there_before_in_any_order() {
    type Step = fn(Archive) -> Archive;
    let steps: [Step; 5] = [
        |archive| archive.file("dir/.wh..wh..opq", ""),
        |archive| archive.file("dir/sub/new", "new"),
        |archive| archive.file(".wh.etc", ""),
        |archive| archive.file("etc/other", "new"),
        |archive| archive.file(".wh.nothing", ""),
    ];
    for turn in 0..steps.len() {
        let order = [&steps[turn..], &steps[..turn]].concat();
        let archive = order.into_iter().fold(Archive::new(), |archive, step| step(archive));
        let scene = Scene::new();
        apply(&scene, archive.end()).success();
        scene
            .sh("find root | LC_ALL=C sort")
            .assert()
            .success()
            .stdout("root\nroot/dir\nroot/dir/sub\nroot/dir/sub/new\nroot/etc\nroot/etc/other\nroot/link\n");
    }
}

#[test]
fn a_directory_that_no_entry_describes_stays_as_it_is() {
    let scene = Scene::new();
    scene.sh("mkdir -p root/etc; chmod 711 root/etc; touch -d @7 root/etc").assert().success();
    fs::write(scene.path("archive.tar"), Archive::new().file("etc/new", "").end()).unwrap();
    scene.sh("whiteout unpack --apply root <archive.tar").assert().success();
    let stat = fs::metadata(scene.path("root/etc")).unwrap();
    assert_eq!((stat.mode() & 0o777, stat.mtime()), (0o711, 7));
    fs::write(scene.path("archive.tar"), Archive::new().directory("etc").end()).unwrap();
    scene.sh("whiteout unpack --apply root <archive.tar; ls root/etc").assert().success().stdout("new\n");
    let stat = fs::metadata(scene.path("root/etc")).unwrap();
    assert_eq!((stat.mode() & 0o777, stat.mtime()), (0o755, 1_000_000_000));
}

#[test]
fn links_of_the_root_filesystem_lead_nowhere() {
    let scene = Scene::new();
    scene
        .sh("mkdir -p host root; echo untouched >host/secret; ln -s ../host root/out; ln -s etc root/in")
        .assert()
        .success();
    let attacks = [
        Archive::new().file("out/new", ""),
        Archive::new().file("out/.wh.secret", ""),
        Archive::new().file("out/.wh..wh..opq", ""),
    ];
    for attack in attacks {
        // The link is replaced by a directory, as on an overlay.
        let before = described(&scene.path("host"));
        apply(&scene, attack.end()).success();
        assert_eq!(described(&scene.path("host")), before);
        assert!(fs::symlink_metadata(scene.path("root/out")).unwrap().is_dir());
        scene.sh("rm -r root/out; ln -s ../host root/out").assert().success();
    }
    let failed = apply(&scene, Archive::new().hard_link("x", "out/secret").end()).code(125);
    assert!(stderr(&failed).contains("a hard link to what is not there"), "{failed}");
}

#[test]
fn a_hard_link_to_a_lower_layers_file_is_made() {
    let scene = Scene::new();
    apply(&scene, Archive::new().hard_link("etc/again", "etc/file").end()).success();
    assert_eq!(fs::metadata(scene.path("root/etc/file")).unwrap().nlink(), 2);
}

#[test]
fn an_archive_with_an_error_at_its_end_changes_nothing() {
    let scene = Scene::new();
    apply(&scene, Archive::new().end()).success();
    let before = described(&scene.path("root"));
    for bad in [
        Archive::new().file(".wh.etc", "").file("dir/a", "new").open(),
        Archive::new().file(".wh.etc", "").file("dir/a", "new").file("../x", "").end(),
    ] {
        fs::write(scene.path("archive.tar"), bad).unwrap();
        scene.sh("touch -r root then; whiteout unpack --apply root <archive.tar; code=$?; touch -r then root; exit $code")
            .assert().code(125);
        assert_eq!(described(&scene.path("root")), before);
    }
}

#[test]
fn what_is_mounted_in_the_root_filesystem_is_never_touched() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.sh("mkdir -p root/etc root/home/ann root/a host; echo kept >host/file; echo kept >host/other; echo x >root/etc/conf").assert().success();
    let attacks = [
        Archive::new().file(".wh.home", ""),
        Archive::new().file("home/.wh.ann", ""),
        Archive::new().file("home/.wh..wh..opq", ""),
        Archive::new().file("home", "a file in its place"),
        Archive::new().file("home/ann/new", ""),
        Archive::new().file("home/ann/.wh.file", ""),
        Archive::new().file(".wh.etc", ""),
        Archive::new().file("etc/conf", "new"),
    ];
    for attack in attacks {
        // Something to be deleted before what stands in the way is met: it must not be.
        fs::write(scene.path("archive.tar"), attack.file(".wh.a", "").end()).unwrap();
        let failed = scene
            .sh("unshare -m sh -c 'mount --bind host root/home/ann && mount --bind host/other root/etc/conf &&
                 whiteout unpack --apply root <archive.tar'")
            .assert()
            .code(125);
        assert!(stderr(&failed).contains("something is mounted there"), "{failed}");
        scene
            .sh("cat host/file host/other; ls -A root host")
            .assert()
            .success()
            .stdout("kept\nkept\nhost:\nfile\nother\n\nroot:\na\netc\nhome\n");
    }
}
