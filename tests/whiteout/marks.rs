//! create, opaque, remove, list.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::place::{By, LAYERS, disk};

fn is_device_0_0(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|stat| stat.file_type().is_char_device() && stat.rdev() == 0)
}

fn attribute(path: &Path, name: &str) -> Option<String> {
    xattr::get(path, name).unwrap().map(|value| String::from_utf8(value).unwrap())
}

/// Marks that hide `file`, `gone` and what is in `dir`, written in `format`, then seen through an overlay.
fn seen_with_marks_of(scene: &Scene, by: By, format: &str) -> String {
    let script = format!(
        "{LAYERS} mkdir upper/dir
        whiteout create {format} upper/file upper/gone; whiteout opaque {format} upper/dir
        mount_it; ls merged; ls merged/dir; umount merged
        whiteout remove upper/file upper/gone upper/dir
        mount_it; ls merged; ls merged/dir"
    );
    by.sh(scene, "layers", &script)
}

const HIDDEN_AND_SHOWN: &str = "again\ndir\nempty\nkept\nlink\npipe\n\
                                again\ndir\nempty\nfile\ngone\nkept\nlink\npipe\na\nsub\n";

#[test]
fn an_overlay_hides_what_root_marked_and_shows_what_it_removed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("layers");
    assert_eq!(seen_with_marks_of(&scene, By::Root, ""), HIDDEN_AND_SHOWN);
    assert_eq!(fs::read_dir(scene.path("layers/upper/dir")).unwrap().count(), 0);
    scene.assert_nothing_left();
}

#[test]
fn a_users_overlay_hides_what_the_user_marked() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    disk(&scene, "layers");
    assert_eq!(seen_with_marks_of(&scene, By::User, ""), HIDDEN_AND_SHOWN);
    assert_eq!(attribute(&scene.path("layers/upper/dir"), "user.overlay.opaque"), None);
}

#[test]
fn the_default_format_is_what_an_overlay_of_the_caller_writes() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    disk(&scene, "layers");
    for (by, opaque) in [(By::Root, "trusted.overlay.opaque"), (By::User, "user.overlay.opaque")] {
        let name = format!("{by:?}");
        scene.dir(&format!("layers/{name}"));
        // Overlay itself marks a directory that was removed and made again as opaque.
        by.sh_on_layers(
            &scene,
            &format!("layers/{name}"),
            "mkdir ours; whiteout create ours/file; mkdir ours/again; whiteout opaque ours/again
                mount_it; rm merged/file; rm -r merged/again; mkdir merged/again",
        );
        for layer in ["ours", "upper"] {
            let layer = scene.path("layers").join(&name).join(layer);
            assert!(is_device_0_0(&layer.join("file")), "{by:?} {layer:?}");
            assert_eq!(fs::symlink_metadata(layer.join("file")).unwrap().mode() & 0o777, 0);
            assert_eq!(attribute(&layer.join("again"), opaque).as_deref(), Some("y"), "{by:?} {layer:?}");
        }
    }
}

#[test]
fn attribute_whiteouts_hide_names_when_their_layer_is_a_lower_one() {
    if !needs(&[Need::Root, Need::OverlayXattrWhiteouts]) {
        return;
    }
    let scene = Scene::new();
    let shown = By::User.sh_on_layers(
        &scene,
        "layers",
        "mkdir middle middle/dir
            whiteout create --format xattr middle/file middle/dir/a; whiteout opaque -f xattr middle/gone 2>&- || :
            overlay lowerdir=middle:lower,upperdir=upper,workdir=work merged; ls merged merged/dir",
    );
    assert_eq!(shown, "merged:\nagain\ndir\nempty\ngone\nkept\nlink\npipe\n\nmerged/dir:\nsub\n");
}

#[test]
fn an_attribute_whiteout_marks_its_directory_until_the_last_is_removed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let layer = disk(&scene, "layer");
    scene.user_sh("whiteout create --format xattr layer/a layer/b").assert().success();
    assert_eq!(fs::metadata(layer.join("a")).unwrap().len(), 0);
    assert_eq!(attribute(&layer.join("a"), "user.overlay.whiteout").as_deref(), Some("y"));
    assert_eq!(attribute(&layer, "user.overlay.opaque").as_deref(), Some("x"));
    scene.user_sh("whiteout remove layer/a").assert().success();
    assert_eq!(attribute(&layer, "user.overlay.opaque").as_deref(), Some("x"));
    scene.user_sh("whiteout remove layer/b").assert().success();
    assert_eq!(attribute(&layer, "user.overlay.opaque"), None);
    assert_eq!(fs::read_dir(&layer).unwrap().count(), 0);
}

#[test]
fn oci_marks_are_files_with_names() {
    let scene = Scene::new();
    scene.dir("layer/dir");
    scene
        .sh("whiteout create --format oci layer/a && whiteout opaque --format oci layer/dir")
        .assert()
        .success();
    assert_eq!(fs::metadata(scene.path("layer/.wh.a")).unwrap().len(), 0);
    assert_eq!(fs::metadata(scene.path("layer/dir/.wh..wh..opq")).unwrap().len(), 0);
    scene.sh("whiteout remove layer/a layer/dir").assert().success();
    assert_eq!(fs::read_dir(scene.path("layer/dir")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(scene.path("layer")).unwrap().count(), 1);
}

#[test]
fn list_finds_the_marks_of_every_format_sorted() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let layer = disk(&scene, "layer");
    fs::create_dir_all(layer.join("d/e")).unwrap();
    scene
        .sh("cd layer; whiteout create -f oci d/z && whiteout create -f xattr y && whiteout create -f overlay x
             whiteout opaque -f userxattr d/e && whiteout opaque -f oci d")
        .assert()
        .success();
    assert_eq!(stdout(&scene.sh("whiteout list layer").assert().success()), "d/\nd/e/\nd/z\nx\ny\n");
    let json: serde_json::Value = serde_json::from_slice(
        &scene.sh("whiteout list --json layer").assert().success().get_output().stdout,
    )
    .unwrap();
    let formats: Vec<&str> =
        json.as_array().unwrap().iter().map(|mark| mark["format"].as_str().unwrap()).collect();
    assert_eq!(formats, ["oci", "userxattr", "oci", "overlay", "xattr"]);
}

#[test]
fn list_shows_what_a_real_overlay_recorded() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for by in [By::Root, By::User] {
        let shown = by.sh_on_layers(
            &scene,
            &format!("layers/{by:?}"),
            "mount_it; rm -r merged/file merged/gone merged/dir/sub merged/again; mkdir merged/again
                umount merged; whiteout list upper",
        );
        assert_eq!(shown, "again/\ndir/sub\nfile\ngone\n", "{by:?}");
    }
}

#[test]
fn names_of_any_bytes_are_hidden_and_printed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("layer");
    scene.sh("whiteout create \"$(printf 'layer/a\\nb\\377')\" 'layer/c d'").assert().success();
    assert_eq!(stdout(&scene.sh("whiteout list layer").assert().success()), "a\\nb\\xff\nc d\n");
    let raw = scene.sh("whiteout list -0 layer").assert().success().get_output().stdout.clone();
    assert_eq!(raw, b"a\nb\xff\0c d\0");
    let json = stdout(&scene.sh("whiteout list --json layer").assert().success());
    assert!(json.contains(r#""path":[97,10,98,255]"#), "{json}");
}

#[test]
fn a_create_that_fails_leaves_none_of_its_whiteouts() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let layer = disk(&scene, "layer");
    fs::write(layer.join("b"), "").unwrap();
    for format in ["overlay", "userxattr", "xattr"] {
        let failed =
            scene.sh(&format!("whiteout create -f {format} layer/a layer/b layer/c")).assert().code(125);
        assert!(stderr(&failed).starts_with("whiteout: layer/b: make a whiteout: File exists\n"), "{failed}");
        assert_eq!(fs::read_dir(&layer).unwrap().count(), 1, "{format}");
        assert_eq!(attribute(&layer, "user.overlay.opaque"), None);
    }
}

#[test]
fn a_remove_that_fails_removes_nothing() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let layer = scene.dir("layer");
    scene.sh("whiteout create layer/a && touch layer/b").assert().success();
    let failed = scene.sh("whiteout remove layer/a layer/b").assert().code(125);
    assert!(
        stderr(&failed)
            .starts_with("whiteout: layer/b: remove the mark: neither a whiteout nor an opaque directory\n"),
        "{failed}"
    );
    assert!(is_device_0_0(&layer.join("a")));
}

#[test]
fn a_link_in_a_layer_is_never_followed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.sh("mkdir layer other && whiteout create other/x && ln -s ../other layer/link").assert().success();
    assert_eq!(stdout(&scene.sh("whiteout list layer").assert().success()), "");
    scene.sh("whiteout remove layer/link").assert().code(125);
    assert!(is_device_0_0(&scene.path("other/x")));
}

#[test]
fn verbose_names_each_step() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("layer/dir");
    let run = scene.sh("whiteout -v create layer/a && whiteout opaque -v layer/dir").assert().success();
    assert_eq!(
        stderr(&run),
        "whiteout: make a whiteout (overlay) at layer/a\nwhiteout: make layer/dir opaque (overlay)\n"
    );
}

#[test]
fn marks_of_fuse_overlayfs_are_understood() {
    if !needs(&[Need::Root, Need::Fuse, Need::Program("fuse-overlayfs")]) {
        return;
    }
    let scene = Scene::new();
    let shown = By::Root.sh_on_layers(
        &scene,
        "layers",
        "fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work merged; cd merged
            rm file; rm -r gone again; mkdir again; mv dir/a dir/b; cd ..; umount merged; whiteout list upper
            whiteout pack upper >tar; grep -c fuseoverlayfs tar || tar -tf tar; whiteout diff -u upper -l lower
            whiteout remove upper/again; whiteout list upper",
    );
    assert_eq!(
        shown,
        "again/\ndir/a\nfile\ngone\n0\n./\n.wh.file\n.wh.gone\nagain/\nagain/.wh..wh..opq\ndir/\ndir/.wh.a\ndir/b\n\
         C /again\nD /again/old\nD /again/same\nC /dir\nD /dir/a\nA /dir/b\nD /file\nD /gone\ndir/a\nfile\ngone\n"
    );
}
