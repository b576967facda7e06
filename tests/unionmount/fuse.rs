//! fuse-overlayfs(1) in overlayfs's place.

use std::fs;

use crate::common::{Need, needs, stderr, stdout};
use crate::{private, two_layers};

const NEEDS: [Need; 3] = [Need::Root, Need::Fuse, Need::Program("fuse-overlayfs")];

#[test]
fn the_union_is_the_same_and_its_server_ends_with_the_mount_namespace() {
    if !needs(&NEEDS) {
        return;
    }
    let scene = two_layers();
    let run = private(
        &scene,
        "unionmount --fuse always -l bottom -l top -u up merged; cat merged/both merged/only
         echo new > merged/new; rm merged/only; ls merged; grep -c ' - fuse.fuse-overlayfs' /proc/self/mountinfo",
    );
    assert_eq!(stdout(&run.success()), "topbottom onlyboth\ninner\nnew\n1\n");
    assert_eq!(fs::read_to_string(scene.path("up/new")).unwrap(), "new\n");
    scene.assert_all_ends(); // the server ends with the mount
}

#[test]
fn its_server_ends_with_unmount_too_and_is_no_child_of_command() {
    if !needs(&NEEDS) {
        return;
    }
    let scene = two_layers();
    let run = private(
        &scene,
        "unionmount --fuse always -l bottom --ephemeral merged -- sh -c '
             echo new > merged/new; cat merged/new; read children < /proc/$$/task/$$/children; echo \"[$children]\"'
         unionmount --unmount merged",
    );
    assert_eq!(stdout(&run.success()), "new\n[]\n");
    scene.assert_all_ends(); // the server ends with the mount
    assert_eq!(fs::read_dir(scene.path("merged")).unwrap().count(), 0);
}

#[test]
fn with_auto_it_serves_where_the_kernel_refuses() {
    if !needs(&NEEDS) {
        return;
    }
    let scene = two_layers();
    scene.dir("outer");
    let run = private(
        &scene,
        "unionmount --fuse auto -l bottom --ephemeral merged; grep -c 'overlay unionmount' /proc/self/mountinfo
         unionmount -v --fuse auto -l top -u merged/up outer; echo new > outer/new; cat merged/up/new",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "1\nnew\n");
    assert!(stderr(&run).contains("the kernel refuses overlayfs"), "{}", stderr(&run));
    scene.assert_all_ends(); // the server ends with the mount
}

#[test]
fn an_ordinary_user_who_may_use_fuse_gets_it_too() {
    if !needs(&NEEDS) {
        return;
    }
    let scene = two_layers();
    scene.dir("dev");
    let run = private(
        &scene,
        "mount -t tmpfs tmpfs dev; mknod -m 666 dev/fuse c 10 229; mount --bind dev/fuse /dev/fuse
         exec setpriv --reuid 65534 --regid 65534 --clear-groups \\
             unshare-lite --user --map-root-user --mount -- sh -ec '
                 unionmount --fuse always -l bottom -l top --ephemeral merged
                 cat merged/both; echo x > merged/new; cat merged/new'",
    );
    assert_eq!(stdout(&run.success()), "topx\n");
    scene.assert_all_ends(); // the server ends with the mount
}

#[test]
fn what_it_cannot_do_is_an_error_and_not_left_out() {
    if !needs(&NEEDS) {
        return;
    }
    let scene = two_layers();
    let run =
        private(&scene, "unionmount --fuse always --metacopy -l bottom -u up merged || echo $?").success();
    assert_eq!(stdout(&run), "125\n");
    assert!(stderr(&run).contains("only --volatile of overlayfs's options"), "{}", stderr(&run));
    assert!(!scene.path("up").exists());
    scene.assert_all_ends(); // the server ends with the mount
}
