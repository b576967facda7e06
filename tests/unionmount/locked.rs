//! Layers that the kernel does not take whole, for mounts below them are locked: above all
//! the machine's own root, for an ordinary user.

use std::fs;
use std::path::Path;

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{private, rootless};

#[test]
fn an_ordinary_user_gets_the_machines_own_root() {
    let scene = Scene::new();
    scene.dir("merged");
    let run = rootless(
        &scene,
        "unionmount -v --lower / --ephemeral merged; ls -A merged; exec chroot merged sh -c 'id -u; ls /proc'",
    );
    let run = run.success();
    assert!(stderr(&run).contains("in pieces: the kernel does not take / as one layer"), "{}", stderr(&run));
    let shown = stdout(&run);
    let (names, inside) = shown.rsplit_once("0\n").unwrap();
    assert_eq!(inside, "", "what is mounted on the host is not in the layer");
    for name in ["bin", "etc", "proc", "tmp", "usr"] {
        assert!(names.lines().any(|line| line == name), "{name} is missing:\n{names}");
    }
    scene.assert_nothing_left();
}

#[test]
fn all_of_it_can_be_written_and_nothing_reaches_the_host() {
    let scene = Scene::new();
    scene.dir("merged");
    let run = rootless(
        &scene,
        "unionmount --lower / --ephemeral merged
         for place in . etc usr var tmp home; do echo $place > merged/$place/cs-new; cat merged/$place/cs-new; done
         rm merged/etc/hostname merged/bin; ls merged/etc/hostname merged/bin 2>/dev/null || echo gone",
    );
    assert_eq!(stdout(&run.success()), ".\netc\nusr\nvar\ntmp\nhome\ngone\n");
    for place in ["/cs-new", "/etc/cs-new", "/usr/cs-new", "/tmp/cs-new"] {
        assert!(!Path::new(place).exists(), "{place}");
    }
}

#[test]
fn a_kept_upper_is_one_tree_that_the_next_run_takes_up() {
    let scene = Scene::new();
    scene.dir("merged");
    let union = "unionmount --lower / -u up -w work merged";
    rootless(&scene, &format!("{union}; echo new > merged/etc/cs-new; echo top > merged/cs-top")).success();
    assert_eq!(fs::read_to_string(scene.path("up/etc/cs-new")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(scene.path("up/cs-top")).unwrap(), "top\n");
    let run = rootless(&scene, &format!("{union}; cat merged/etc/cs-new merged/cs-top"));
    assert_eq!(stdout(&run.success()), "new\ntop\n");
}

#[test]
fn when_it_fails_half_way_nothing_stays() {
    let scene = Scene::new();
    scene.dir("merged");
    // /etc in the upper is there, but the kernel cannot write to it: its overlay fails.
    let run = rootless(
        &scene,
        "mkdir up; mount -t tmpfs -o ro tmpfs up
         unionmount --lower / -u up -w work merged || echo $?
         grep -c /merged /proc/self/mountinfo || true; ls -A merged; ls -d work 2>/dev/null || true",
    );
    assert_eq!(stdout(&run.success()), "125\n0\n");
}

/// A layer with `locked/here`, a mount that an inner user namespace finds locked, and other places.
fn layer_with_a_mount(scene: &Scene) {
    scene.dir("layer/locked/here");
    scene.file("layer/locked/beside/file", "beside");
    scene.file("layer/locked/note", "note");
    scene.file("layer/locked/large", &"x".repeat(2 << 20));
    scene.file("layer/free/file", "free");
    std::os::unix::fs::symlink("note", scene.path("layer/locked/link")).unwrap();
    scene.dir("merged");
}

const INNER: &str = "unshare-lite --user --map-root-user --mount -- sh -ec";

#[test]
fn only_the_way_to_the_locked_mount_is_built_in_pieces() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    layer_with_a_mount(&scene);
    let run = private(
        &scene,
        &format!(
            "mount -t tmpfs tmpfs layer/locked/here; touch layer/locked/here/secret
             {INNER} 'unionmount -l layer --ephemeral merged
                 cat merged/locked/beside/file merged/locked/link merged/free/file
                 stat -c %s merged/locked/large
                 ls -A merged/locked/here; touch merged/locked/new merged/locked/beside/new merged/free/new
                 cut -d \" \" -f 5 /proc/self/mountinfo | grep -c /merged/'"
        ),
    );
    // Mounts inside: free, locked/beside and the large file.
    assert_eq!(stdout(&run.success()), "besidenotefree2097152\n3\n");
    assert!(!scene.path("layer/free/new").exists());
}

#[test]
fn other_layers_show_through_above_and_below() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    layer_with_a_mount(&scene);
    scene.file("below/locked/beside/below", "below");
    scene.file("below/locked/note", "hidden");
    scene.file("above/locked/beside/file", "above");
    scene.file("above/free/above", "above");
    let run = private(
        &scene,
        &format!(
            "mount -t tmpfs tmpfs layer/locked/here
             mknod above/locked/large c 0 0
             {INNER} 'unionmount -l below -l layer -l above --ephemeral merged
                 cat merged/locked/beside/below merged/locked/note merged/locked/beside/file merged/free/above
                 ls merged/locked merged/free'"
        ),
    );
    assert_eq!(
        stdout(&run.success()),
        "belownoteaboveabovemerged/free:\nabove\nfile\n\nmerged/locked:\nbeside\nhere\nlink\nnote\n"
    );
}

/// overlayfs calls such layers overlapping, and refuses them.
#[test]
fn a_layer_may_lie_inside_another() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("outer/a/file", "outer");
    scene.file("outer/a/b/inner/a/file", "inner");
    scene.file("outer/c/file", "beside");
    scene.dir("merged");
    let run = private(
        &scene,
        "unionmount -l outer -l outer/a/b/inner -u up merged
         cat merged/a/file merged/c/file; ls -A merged/a/b merged/a/b/inner
         echo new > merged/c/new; cat up/c/new",
    );
    assert_eq!(stdout(&run.success()), "innerbesidemerged/a/b:\ninner\n\nmerged/a/b/inner:\nnew\n");
    let run =
        private(&scene, "unionmount -l / -l outer --ephemeral merged; cat merged/c/file; ls -d merged/etc");
    assert_eq!(stdout(&run.success()), "besidemerged/etc\n");
}

#[test]
fn what_the_upper_deleted_stays_deleted() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    layer_with_a_mount(&scene);
    scene.dir("up/locked");
    let run = private(
        &scene,
        &format!(
            "mount -t tmpfs tmpfs layer/locked/here
             mknod up/free c 0 0; mknod up/locked/large c 0 0
             {INNER} 'unionmount -l layer -u up merged; ls merged merged/locked'"
        ),
    );
    assert_eq!(stdout(&run.success()), "merged:\nlocked\n\nmerged/locked:\nbeside\nhere\nlink\nnote\n");
}

#[test]
fn a_union_in_pieces_is_no_layer_by_its_top_alone() {
    let scene = Scene::new();
    let script = "mkdir -p one two; unionmount --lower / --ephemeral one; ls -d one/usr
        exec unionmount --lower one --ephemeral two -- echo ran";
    let run = rootless(&scene, script).code(125).stdout("one/usr\n");
    assert!(
        stderr(&run).contains("one: stack the layers: it is of a union built in pieces"),
        "{}",
        stderr(&run)
    );
    // Another one that is mounted somewhere in the layer does not matter.
    let script = "unionmount --lower / --ephemeral one; unionmount --lower / --ephemeral two; ls -d two/usr";
    rootless(&scene, script).success().stdout("two/usr\n");
}
