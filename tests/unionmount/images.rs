//! Layers in one file.

use std::fs;
use std::path::Path;

use crate::common::{Need, Scene, eventually, needs, stderr, stdout};
use crate::{private, rootless, two_layers};

fn image(scene: &Scene, maker: &str) {
    scene.sh(maker).assert().success();
}

/// The loop devices that show a file of this scene.
fn loop_devices_of(scene: &Scene) -> usize {
    let files = fs::read_dir("/sys/block")
        .unwrap()
        .filter_map(|device| fs::read_to_string(device.unwrap().path().join("loop/backing_file")).ok());
    files.filter(|file| Path::new(file.trim()).starts_with(scene.path(""))).count()
}

#[test]
fn a_squashfs_image_is_a_layer_and_its_loop_device_goes_with_the_mount() {
    if !needs(&[Need::Root, Need::Program("mksquashfs"), Need::LoopDevices]) {
        return;
    }
    let scene = two_layers();
    image(&scene, "mksquashfs top top.image -quiet -no-progress -all-root");
    let run = private(
        &scene,
        "unionmount -l bottom -l top.image --ephemeral merged; cat merged/both merged/only merged/inner/file
         echo x > merged/inner/file; cat merged/inner/file",
    );
    assert_eq!(stdout(&run.success()), "topbottom onlyinnerx\n");
    eventually("its loop device goes", || loop_devices_of(&scene) == 0);
    scene.assert_nothing_left();
}

#[test]
fn an_erofs_image_is_a_layer() {
    if !needs(&[Need::Root, Need::Program("mkfs.erofs"), Need::LoopDevices]) {
        return;
    }
    let scene = two_layers();
    image(&scene, "mkfs.erofs bottom.image bottom");
    let run = private(&scene, "unionmount -v -l bottom.image -l top merged; cat merged/both merged/only");
    let run = run.success();
    assert_eq!(stdout(&run), "topbottom only");
    assert!(stderr(&run).contains("mount erofs image"), "{}", stderr(&run));
}

#[test]
fn an_erofs_image_takes_no_loop_device_where_the_kernel_mounts_a_file() {
    if !needs(&[Need::Root, Need::ErofsOfFile, Need::Program("mkfs.erofs")]) {
        return;
    }
    let scene = two_layers();
    image(&scene, "mkfs.erofs bottom.image bottom");
    let run = private(
        &scene,
        "if [ -e /dev/loop-control ]; then mount --bind /dev/null /dev/loop-control; fi
         unionmount -v -l bottom.image -l top --ephemeral merged; cat merged/only",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "bottom only");
    assert!(!stderr(&run).contains("/dev/loop"), "{}", stderr(&run));
}

#[test]
fn a_loop_device_is_held_by_the_union_and_released_by_its_unmount() {
    if !needs(&[Need::Root, Need::Program("mksquashfs"), Need::LoopDevices]) {
        return;
    }
    let scene = two_layers();
    image(&scene, "mksquashfs top top.image -quiet -no-progress");
    // The kernel releases it by and by.
    let run = private(
        &scene,
        "held() { cat /sys/block/loop*/loop/backing_file 2>/dev/null | grep -c \"^$PWD/top.image\" || true; }
         unionmount -l bottom -l top.image --ephemeral merged; held; cat merged/both; echo
         unionmount --unmount merged
         for try in $(seq 300); do test $(held) = 0 && break; sleep 0.02; done; held; ls -A merged",
    );
    assert_eq!(stdout(&run.success()), "1\ntop\n0\n");
    scene.assert_nothing_left();
}

#[test]
fn an_image_that_is_none_is_refused() {
    if !needs(&[Need::Root, Need::LoopDevices]) {
        return;
    }
    let scene = two_layers();
    scene.file("broken.image", &format!("hsqs{}", "x".repeat(8192)));
    let run = private(&scene, "unionmount -l bottom -l broken.image merged || echo $?").success();
    assert_eq!(stdout(&run), "125\n");
    assert!(stderr(&run).contains("broken.image: mount the squashfs image"), "{}", stderr(&run));
    assert!(stderr(&run).contains("hint: the image is damaged"), "{}", stderr(&run));
    assert_eq!(loop_devices_of(&scene), 0);
}

#[test]
fn an_ordinary_user_is_told_that_the_kernel_mounts_no_image() {
    if !needs(&[Need::Program("mksquashfs")]) {
        return;
    }
    let scene = two_layers();
    image(&scene, "mksquashfs top top.image -quiet -no-progress; chmod 644 top.image");
    let run = rootless(&scene, "unionmount -l bottom -l top.image merged || echo $?").success();
    assert_eq!(stdout(&run), "125\n");
    assert!(stderr(&run).contains("unpack it into a directory"), "{}", stderr(&run));
}
