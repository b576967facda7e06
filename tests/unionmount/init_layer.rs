//! The init layer: what belongs to one run of a container and to no image.

use std::fs;

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{private, rootless};

/// An image with an /etc/hosts of its own, and an init layer with another.
fn image_and_init_layer() -> Scene {
    let scene = Scene::new();
    scene.file("image/etc/hosts", "image");
    scene.file("image/etc/passwd", "passwd");
    scene.file("init/etc/hosts", "init\n");
    scene.file("init/etc/resolv.conf", "resolv\n");
    scene.dir("merged");
    scene
}

#[test]
fn a_write_to_its_file_lands_in_it_and_never_in_the_upper() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = image_and_init_layer();
    let run = private(
        &scene,
        "unionmount -l image --init init -u up merged
         cat merged/etc/hosts merged/etc/resolv.conf merged/etc/passwd
         echo more >> merged/etc/hosts; echo new > merged/etc/resolv.conf; chmod 600 merged/etc/hosts",
    );
    assert_eq!(stdout(&run.success()), "init\nresolv\npasswd");
    assert_eq!(fs::read_to_string(scene.path("init/etc/hosts")).unwrap(), "init\nmore\n");
    assert_eq!(fs::read_to_string(scene.path("init/etc/resolv.conf")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(scene.path("image/etc/hosts")).unwrap(), "image");
    // What a commit would pack: nothing.
    assert_eq!(fs::read_dir(scene.path("up")).unwrap().count(), 0);
}

#[test]
fn other_writes_go_to_the_upper() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = image_and_init_layer();
    private(
        &scene,
        "unionmount -l image --init init -u up merged; echo x > merged/etc/passwd; echo > merged/etc/new",
    )
    .success();
    let names: Vec<_> =
        fs::read_dir(scene.path("up/etc")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(!scene.path("init/etc/new").exists());
}

#[test]
fn its_files_cannot_be_replaced_or_removed_from_inside() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = image_and_init_layer();
    let run = private(
        &scene,
        "unionmount -l image --init init -u up merged
         rm -f merged/etc/hosts || echo kept; echo x > merged/etc/x; mv merged/etc/x merged/etc/hosts || echo kept",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "kept\nkept\n");
    assert!(stderr(&run).contains("busy"), "{}", stderr(&run));
    assert_eq!(fs::read_to_string(scene.path("init/etc/hosts")).unwrap(), "init\n");
}

#[test]
fn an_image_cannot_lead_it_elsewhere_by_a_link() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = image_and_init_layer();
    scene.file("host/hosts", "host");
    std::os::unix::fs::symlink(scene.path("host"), scene.path("image/linked")).unwrap();
    scene.file("init/linked/hosts", "init");
    // A layer's link is covered by the init layer's directory; an upper's is not, and is refused.
    let run = private(
        &scene,
        "unionmount -l image --init init --ephemeral merged; cat merged/linked/hosts; echo x > merged/linked/hosts",
    );
    assert_eq!(stdout(&run.success()), "init");
    scene.dir("up");
    std::os::unix::fs::symlink(scene.path("host"), scene.path("up/linked")).unwrap();
    let run = private(
        &scene,
        "unionmount -l image --init init -u up merged || echo $?; grep -c /merged /proc/self/mountinfo || true",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "125\n0\n");
    assert!(stderr(&run).contains("merged/linked/hosts: attach inside the union"), "{}", stderr(&run));
    assert!(stderr(&run).contains("hint: the upper has a link or a deletion there"), "{}", stderr(&run));
    assert_eq!(fs::read_to_string(scene.path("host/hosts")).unwrap(), "host");
}

#[test]
fn it_also_lies_over_the_machines_own_root_of_an_ordinary_user() {
    let scene = image_and_init_layer();
    let run = rootless(
        &scene,
        "mkdir up mine; cp -r init/etc mine
         unionmount -l / --init mine -u up merged; cat merged/etc/hosts; echo x >> merged/etc/hosts
         cat mine/etc/hosts; ls up/etc; ls merged/etc/passwd",
    );
    assert_eq!(stdout(&run.success()), "init\ninit\nx\nmerged/etc/passwd\n");
}
