//! pack: what it writes, what GNU tar makes of it, and what it refuses.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::place::{By, disk};
use crate::tree::described;

/// A tree with something of everything.
pub const EVERYTHING: &str = r#"
mkdir -p all/dir/empty all/sticky; echo content >all/dir/file; ln all/dir/file all/dir/again; ln -s file all/dir/link
ln -s "$(printf 'x%.0s' $(seq 300))" all/long-link; mkfifo all/pipe; touch "$(printf 'all/new\nline')" "$(printf 'all/\377')"
mkdir -p "all/$(printf 'd%.0s' $(seq 200))/$(printf 'e%.0s' $(seq 200))"
echo deep >"all/$(printf 'd%.0s' $(seq 200))/$(printf 'e%.0s' $(seq 200))/$(printf 'f%.0s' $(seq 200))"
touch "all/$(printf 'n%.0s' $(seq 99))" "all/$(printf 'n%.0s' $(seq 100))" "all/$(printf 'n%.0s' $(seq 101))" "all/$(printf 'n%.0s' $(seq 255))"
truncate -s 12M all/sparse; printf x | dd of=all/sparse bs=1 seek=6291500 conv=notrunc 2>/dev/null
truncate -s 1M all/only-hole; chmod 4711 all/dir/file; chmod 1777 all/sticky; head -c 1000000 /dev/urandom >all/big
touch -d '1960-01-01 00:00:00.5' all/old; touch -d '2040-01-01 01:01:01.000000001' all/dir/empty; touch -h -d @5 all/dir/link
"#;
/// What only root can make.
pub const OF_ROOT: &str = r#"
chown 5:6 all/dir/file; chown -h 7:8 all/dir/link; chown 3000000:4000000 all/old; mknod all/null c 1 3; mknod all/disk b 259 70000
setfattr -n user.note -v "$(printf 'a\nb=c')" all/big; setfattr -n trusted.mine -v 1 all/dir; setfacl -m u:5:rwx -d -m g:6:rx all/sticky
setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 all/big; setfattr -h -n trusted.mine -v 2 all/dir/link
chmod 2755 all/dir; touch all/sticky/inside; mkdir all/sticky/sub; setfacl -b all/sticky/inside all/sticky/sub
"#;

/// A scene whose `all` is the tree with everything.
pub fn everything() -> Scene {
    let scene = Scene::new();
    disk(&scene, "disk");
    scene.sh(&format!("cd disk; {EVERYTHING} {OF_ROOT}")).assert().success();
    scene
}

#[test]
fn gnu_tar_gets_back_all_that_was_packed() {
    if !needs(&[Need::Root, Need::Program("setfacl"), Need::Program("setfattr")]) {
        return;
    }
    let scene = everything();
    scene
        .sh("cd disk; whiteout pack all >all.tar && mkdir tar && \
             tar -xpf all.tar -C tar --numeric-owner --xattrs --xattrs-include='*' 2>&1")
        .assert()
        .success();
    assert_eq!(described(&scene.path("disk/tar")), described(&scene.path("disk/all")));
    // The holes are there, too.
    assert!(fs::metadata(scene.path("disk/tar/sparse")).unwrap().blocks() < 1000);
    assert!(fs::metadata(scene.path("disk/all.tar")).unwrap().len() < 2_000_000);
}

#[test]
fn unpack_gets_back_all_that_was_packed() {
    if !needs(&[Need::Root, Need::Program("setfacl"), Need::Program("setfattr")]) {
        return;
    }
    let scene = everything();
    scene.sh("cd disk; whiteout pack all | tee all.tar | whiteout unpack ours").assert().success();
    assert_eq!(described(&scene.path("disk/ours")), described(&scene.path("disk/all")));
    assert!(fs::metadata(scene.path("disk/ours/sparse")).unwrap().blocks() < 1000);
    // What is packed again is the same archive.
    scene.sh("cd disk; whiteout pack ours | cmp - all.tar").assert().success();
    // In another order, by another program.
    scene
        .sh("cd disk; mkdir copy && cp -a --sparse=always all/. copy && whiteout pack copy | cmp - all.tar")
        .assert()
        .success();
}

#[test]
fn nothing_is_inherited_from_where_a_layer_is_unpacked() {
    if !needs(&[Need::Root, Need::Program("setfacl"), Need::Program("setfattr")]) {
        return;
    }
    let scene = everything();
    scene
        .sh("cd disk; mkdir there; chown 9:9 there; chmod 2777 there; setfacl -m u:5:rwx -d -m u:5:rwx there
             umask 077; whiteout pack all | whiteout unpack there/ours")
        .assert()
        .success();
    assert_eq!(described(&scene.path("disk/there/ours")), described(&scene.path("disk/all")));
}

#[test]
fn equal_trees_give_equal_bytes_however_they_were_made() {
    let scene = Scene::new();
    scene
        .sh("for i in a b c d e; do mkdir -p one/$i; echo $i >one/$i/f; done; for i in e c a d b; do mkdir -p two/$i; echo $i >two/$i/f; done
             find one two -exec touch -h -d @1000000 {} +
             whiteout pack one >1.tar; whiteout pack two >2.tar; cmp 1.tar 2.tar")
        .assert()
        .success();
}

#[test]
fn an_overlays_marks_become_oci_marks_before_their_siblings() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for by in [By::Root, By::User] {
        let listed = by.sh_on_layers(
            &scene,
            &format!("layers/{by:?}"),
            "mount_it; cd merged; rm file; rm -r gone dir/sub again; mkdir again; echo n >again/new; echo x >aaa
                rm link; mkdir link; cd ..; umount merged; whiteout pack upper | tar -tf -",
        );
        assert_eq!(
            listed,
            "./\n.wh.file\n.wh.gone\naaa\nagain/\nagain/.wh..wh..opq\nagain/new\ndir/\ndir/.wh.sub\nlink/\nlink/.wh..wh..opq\n",
            "{by:?}"
        );
    }
}

#[test]
fn no_attribute_of_overlays_own_is_packed_and_an_inner_overlays_are_given_back() {
    if !needs(&[Need::Root, Need::Program("setfattr")]) {
        return;
    }
    let scene = Scene::new();
    scene
        .sh("mkdir -p layer/d; setfattr -n trusted.overlay.origin -v x layer/d; setfattr -n trusted.overlay.impure -v y layer
             setfattr -n trusted.overlay.overlay.opaque -v y layer/d; whiteout pack layer >l.tar; whiteout unpack again <l.tar")
        .assert()
        .success();
    let archive = fs::read(scene.path("l.tar")).unwrap();
    let text = String::from_utf8_lossy(&archive);
    assert!(!text.contains("origin") && !text.contains("impure"));
    assert!(text.contains("SCHILY.xattr.trusted.overlay.opaque=y"));
    assert_eq!(xattr::get(scene.path("again/d"), "trusted.overlay.opaque").unwrap(), None);
    assert_eq!(
        xattr::get(scene.path("again/d"), "trusted.overlay.overlay.opaque").unwrap(),
        Some(b"y".to_vec())
    );
}

#[test]
fn later_times_are_clamped() {
    let scene = Scene::new();
    scene
        .sh("mkdir up; touch -d @100 up/early; touch -d @2000000000.5 up/late; touch -d @50 up")
        .assert()
        .success();
    for line in ["whiteout pack --clamp-mtime 1000 up", "SOURCE_DATE_EPOCH=1000 whiteout pack up"] {
        let listed = scene.sh(&format!("{line} | TZ=UTC tar -tvf - --full-time | awk '{{print $5}}'"));
        let mut listed = listed;
        assert_eq!(stdout(&listed.assert().success()), "00:00:50\n00:01:40\n00:16:40\n", "{line}");
    }
    assert!(
        stderr(&scene.sh("SOURCE_DATE_EPOCH=soon whiteout pack up").assert().code(125))
            .contains("SOURCE_DATE_EPOCH")
    );
}

#[test]
fn owners_are_shifted_back_and_forth() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene
        .sh("mkdir up; touch up/f; chown 100000:100005 up up/f; map=0:100000:1000
             whiteout pack --idmap $map up >l.tar; whiteout unpack --idmap $map again <l.tar; tar -tvf l.tar --numeric-owner >listed")
        .assert()
        .success();
    assert!(fs::read_to_string(scene.path("listed")).unwrap().contains(" 0/5 "));
    let stat = fs::metadata(scene.path("again/f")).unwrap();
    assert_eq!((stat.uid(), stat.gid()), (100_000, 100_005));
    let failed = scene.sh("whiteout pack --idmap 0:100000:5 up").assert().code(125);
    assert!(
        stderr(&failed)
            .starts_with("whiteout: up: shift its owner: group 100005 is in no range of --idmap\n")
    );
}

#[test]
fn sockets_are_left_out_with_a_warning() {
    let scene = Scene::new();
    let up = scene.dir("up");
    let _socket = std::os::unix::net::UnixListener::bind(up.join("socket")).unwrap();
    let run = scene.sh("whiteout pack up | tar -tf -").assert().success().stdout("./\n");
    assert_eq!(stderr(&run), "whiteout: warning: up/socket: a socket, left out\n");
}

#[test]
fn what_oci_would_misread_is_refused_by_name() {
    if !needs(&[Need::Root, Need::Program("setfattr")]) {
        return;
    }
    let scene = Scene::new();
    By::Root.sh_on_layers(
        &scene,
        "layers",
        "mount_it; chmod 600 merged/file; touch merged/.wh.link; umount merged",
    );
    let failed = scene.sh("whiteout pack layers/upper >/dev/null").assert().code(125);
    assert!(
        stderr(&failed).starts_with(
            "whiteout: layers/upper/.wh.link: pack: an OCI layer cannot hold a name that begins with .wh.\n"
        ),
        "{failed}"
    );
    scene
        .sh("mkdir moved meta; setfattr -n trusted.overlay.redirect -v other moved; touch meta/f
             setfattr -n trusted.overlay.metacopy -v '' meta/f; mkdir twice; whiteout create twice/.wh.x")
        .assert()
        .success();
    for (layer, why) in [
        ("moved", "moved: read a layer: the directory is a redirect"),
        ("meta", "meta/f: read a layer: its data is in a lower layer (metacopy)"),
        ("twice", "twice/.wh.x: pack: an OCI layer cannot hold"),
    ] {
        let failed = scene.sh(&format!("whiteout pack {layer} >/dev/null")).assert().code(125);
        assert!(stderr(&failed).contains(why), "{failed}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let scene = Scene::new();
    // The pipe is full long before the file is read to its end.
    let failed = scene
        .sh("mkdir up; head -c 3000000 /dev/zero >up/f
             { whiteout pack up || echo $? >status; } | { head -c 100000 >/dev/null; echo more >>up/f; cat >/dev/null; }
             cat status >&2; exit $(cat status)")
        .assert()
        .code(125);
    assert!(stderr(&failed).contains("whiteout: up/f: pack: it changed while it was read\n"), "{failed}");
}

#[test]
fn a_layer_of_nothing_is_one_entry() {
    let scene = Scene::new();
    scene.dir("up");
    scene.sh("whiteout pack up | tar -tf -").assert().success().stdout("./\n");
    scene.sh("whiteout pack up | whiteout unpack again").assert().success();
    assert_eq!(fs::metadata(scene.path("again")).unwrap().permissions().mode() & 0o7777, 0o777);
}

#[test]
fn a_terminal_gets_no_archive() {
    if !needs(&[Need::Program("script")]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("up");
    let shown = scene.sh("script -qec 'whiteout pack up' /dev/null </dev/null").assert().code(125);
    assert!(stdout(&shown).contains("it is a terminal"), "{shown}");
}

#[test]
fn a_reader_that_goes_away_ends_it_by_sigpipe() {
    let scene = Scene::new();
    scene.sh("mkdir up; head -c 3000000 /dev/zero >up/f").assert().success();
    let run = scene
        .sh("{ whiteout pack up; echo $? >status; } | head -c 10 >/dev/null; cat status")
        .assert()
        .success();
    assert_eq!((stdout(&run), stderr(&run)), ("141\n".into(), String::new()));
}
