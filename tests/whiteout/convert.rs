//! convert: from each format to each other and back.

use std::path::Path;

use crate::common::{Need, Scene, needs, stderr};
use crate::place::{By, disk};
use crate::tree::described;

const FORMATS: [&str; 4] = ["overlay", "userxattr", "xattr", "oci"];

/// All that a layer is, its marks' attributes included.
fn whole(layer: &Path) -> String {
    let mut text = described(layer);
    for path in ["", "d", "d/e", "o"].map(|path| layer.join(path)) {
        for attribute in ["trusted.overlay.opaque", "user.overlay.opaque"] {
            text.push_str(&format!("{path:?} {attribute} {:?}\n", xattr::get(&path, attribute).unwrap()));
        }
    }
    text
}

/// A layer with marks of one format.
fn marked(scene: &Scene, format: &str) {
    scene
        .sh(&format!(
            "mkdir -p disk/{format}/d/e disk/{format}/o; cd disk/{format}; touch f d/g; echo x >o/new
            whiteout create -f {format} w d/w d/e/1 d/e/2 && whiteout opaque -f {format} o d/e
            find . -exec touch -h -d @1000 {{}} +; chown -h 3:4 d"
        ))
        .assert()
        .success();
}

#[test]
fn there_and_back_is_the_same_layer_for_every_pair_of_formats() {
    if !needs(&[Need::Root, Need::Program("jq")]) {
        return;
    }
    let scene = Scene::new();
    let disk = disk(&scene, "disk");
    for from in FORMATS {
        marked(&scene, from);
        let before = whole(&disk.join(from));
        for to in FORMATS {
            scene.sh(&format!("whiteout convert --to {to} disk/{from}")).assert().success();
            let listed =
                scene.sh(&format!("whiteout list --json disk/{from} | jq -r '.[].format' | sort -u"));
            let mut listed = listed;
            let formats = match to {
                // Both formats have the same devices, or the same opaque directories.
                "userxattr" => "overlay\nuserxattr\n".to_owned(),
                "xattr" => "userxattr\nxattr\n".to_owned(),
                other => format!("{other}\n"),
            };
            listed.assert().success().stdout(formats);
            scene
                .sh(&format!("whiteout list disk/{from}"))
                .assert()
                .success()
                .stdout("d/e/\nd/e/1\nd/e/2\nd/w\no/\nw\n");
            scene.sh(&format!("whiteout convert --to {from} disk/{from}")).assert().success();
            assert_eq!(whole(&disk.join(from)), before, "{from} to {to} and back");
        }
    }
}

#[test]
fn a_converted_layer_shows_the_same_on_an_overlay() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let shown = By::Root.sh_on_layers(
        &scene,
        "layers",
        "mount_it; cd merged; rm file dir/a; rm -r gone again; mkdir again; touch again/new; cd ..; find merged >1
            umount merged; whiteout convert --to oci upper; find upper -type c; LC_ALL=C ls -A upper/again
            whiteout convert --to overlay upper; rm -rf work; mkdir work; mount_it; find merged | diff - 1 && echo same",
    );
    assert_eq!(shown, ".wh..wh..opq\nnew\nsame\n");
}

#[test]
fn a_layer_converted_to_attributes_is_an_ordinary_users_lower_layer() {
    if !needs(&[Need::Root, Need::OverlayXattrWhiteouts]) {
        return;
    }
    let scene = Scene::new();
    let shown = By::User.sh_on_layers(
        &scene,
        "layers",
        "mkdir layer; touch layer/.wh.file; whiteout convert --to xattr layer
            overlay lowerdir=layer:lower,upperdir=upper,workdir=work merged; ls merged",
    );
    assert_eq!(shown, "again\ndir\nempty\ngone\nkept\nlink\npipe\n");
}

#[test]
fn a_mark_beside_what_it_hides_goes_where_it_is_not_needed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene
        .sh("mkdir -p layer/d; touch layer/.wh.d layer/.wh.f layer/f layer/.wh.gone; whiteout convert -t overlay layer")
        .assert()
        .success();
    scene.sh("whiteout list layer; LC_ALL=C ls -A layer").assert().success().stdout("d/\ngone\nd\nf\ngone\n");
}

#[test]
fn what_an_overlay_noted_for_itself_is_taken_off() {
    if !needs(&[Need::Root, Need::Program("getfattr")]) {
        return;
    }
    let scene = Scene::new();
    By::Root.sh_on_layers(
        &scene,
        "layers",
        "mount_it; echo x >>merged/dir/a; chmod 700 merged/kept; rm merged/file",
    );
    scene
        .sh("setfattr -n user.mine -v 1 layers/upper/dir/a; whiteout convert --to oci layers/upper
             cd layers/upper; getfattr -d -m - -R . | grep -v ^# | sort -u | grep .; LC_ALL=C ls -A")
        .assert()
        .success()
        .stdout("user.mine=\"1\"\n.wh.file\ndir\nkept\n");
}

#[test]
fn what_cannot_be_converted_is_named_and_nothing_is() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene
        .sh("mkdir -p named/z meta/z moved/z; whiteout create named/a named/z/.wh.x meta/a moved/a; touch meta/z/f
             setfattr -n trusted.overlay.metacopy -v '' meta/z/f; setfattr -n trusted.overlay.redirect -v y moved/z")
        .assert()
        .success();
    for (layer, why) in [
        ("named", "named/z/.wh.x: convert: names that begin with .wh. are marks themselves"),
        ("meta", "meta/z/f: read a layer: its data is in a lower layer"),
        ("moved", "moved/z: read a layer: the directory is a redirect"),
    ] {
        let failed = scene.sh(&format!("whiteout convert --to oci {layer}")).assert().code(125);
        assert!(stderr(&failed).contains(why), "{failed}");
        scene.sh(&format!("ls -A {layer}")).assert().success().stdout("a\nz\n");
    }
}

#[test]
fn a_conversion_that_fails_half_way_is_taken_back() {
    let scene = Scene::new();
    scene
        .user_sh("mkdir -p layer/z; cd layer; touch .wh.a .wh.b z/.wh.c z/.wh..wh..opq; touch -d @5 . z")
        .assert()
        .success();
    let before = described(&scene.path("layer"));
    let failed = scene.user_sh("whiteout convert --to overlay layer").assert().code(125);
    assert!(
        stderr(&failed).contains("layer/z: set trusted.overlay.opaque: Operation not permitted"),
        "{failed}"
    );
    assert_eq!(described(&scene.path("layer")), before);
}
