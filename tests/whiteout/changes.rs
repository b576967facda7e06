//! What was done to files in a container, on its way through pack, unpack and onto another root filesystem.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use crate::archive::Archive;
use crate::common::{Need, Scene, needs, stdout};
use crate::hostile::refused;
use crate::place::By;
use crate::tree::described;

const GIB: u64 = 1 << 30;

#[test]
fn holes_lengths_and_acls_of_changed_files_arrive() {
    if !needs(&[Need::Root, Need::Program("setfacl")]) {
        return;
    }
    let scene = Scene::new();
    By::Root.sh_on_layers(
        &scene,
        "layers",
        "for f in punched cut grown acl; do head -c 1000000 /dev/urandom >lower/$f; done; mount_it
            fallocate --punch-hole --offset 65536 --length 524288 merged/punched
            truncate -s 3 merged/cut; truncate -s 5M merged/grown; setfacl -m u:5:rwx,g:6:r merged/acl
            setfacl -d -m u:7:rx merged/dir; cp -a lower root; whiteout pack upper >l.tar
            whiteout unpack again <l.tar; whiteout unpack --apply root <l.tar; mkdir shown; cp -a merged/. shown",
    );
    let at = |path: &str| scene.path("layers").join(path);
    assert_eq!(described(&at("again")), described(&at("upper")));
    assert_eq!(described(&at("root")), described(&at("shown")));
    for layer in ["again", "root"] {
        let room = |file: &str| fs::metadata(at(layer).join(file)).unwrap().blocks() * 512;
        assert!(room("punched") < 600_000 && room("grown") < 1_100_000, "{layer}");
        assert!(xattr::get(at(layer).join("acl"), "system.posix_acl_access").unwrap().is_some());
        assert!(xattr::get(at(layer).join("dir"), "system.posix_acl_default").unwrap().is_some());
    }
}

#[test]
fn a_layer_of_whiteouts_alone_deletes_and_adds_nothing() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let listed = By::Root.sh_on_layers(
        &scene,
        "layers",
        "mount_it; rm merged/file; rm -r merged/gone merged/dir; umount merged; cp -a lower root
            whiteout pack upper >l.tar; tar -tf l.tar; whiteout unpack again <l.tar; whiteout list again
            whiteout pack again | cmp - l.tar; whiteout unpack --apply root <l.tar; ls root; rm -r lower/file lower/gone lower/dir",
    );
    assert_eq!(listed, "./\n.wh.dir\n.wh.file\n.wh.gone\ndir\nfile\ngone\nagain\nempty\nkept\nlink\npipe\n");
    let below = |top: &str| -> Vec<String> {
        described(&scene.path("layers").join(top)).lines().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(below("root"), below("lower"), "the others are as they were");
}

#[test]
fn a_file_of_more_than_8_gib_comes_back() {
    let scene = Scene::new();
    let huge = fs::File::create(scene.dir("up").join("huge")).unwrap();
    huge.set_len(9 * GIB).unwrap();
    let marks = [(0, b'a'), (8 * GIB - 1, b'b'), (8 * GIB, b'c'), (9 * GIB - 1, b'd')];
    for (at, byte) in marks {
        huge.write_all_at(&[byte], at).unwrap();
    }
    drop(huge);
    scene.sh("whiteout pack up >l.tar; whiteout unpack again <l.tar").assert().success().stderr("");
    let again = fs::File::open(scene.path("again/huge")).unwrap();
    let stat = again.metadata().unwrap();
    assert!(stat.len() == 9 * GIB && stat.blocks() < 1000, "{} in {}", stat.len(), stat.blocks());
    for (at, byte) in marks {
        let mut read = [0];
        again.read_exact_at(&mut read, at).unwrap();
        assert_eq!(read, [byte], "at {at}");
    }
    let listed = stdout(&scene.sh("tar -tvf l.tar --wildcards '*huge'").assert().success());
    assert!(listed.contains(&format!(" {} ", 9 * GIB)), "{listed}");
}

#[test]
fn a_size_above_8_gib_is_of_an_extended_header() {
    if !needs(&[Need::Disk]) {
        return;
    }
    let scene = Scene::new();
    // It has no holes, so that all of it would be in the archive; its head is enough.
    scene.sh("mkdir up; fallocate -l 9G up/huge").assert().success();
    let head = scene.sh("whiteout pack up | head -c 4096 >head; tar -tvf head 2>&1").assert();
    assert!(stdout(&head).contains(&format!(" {} ", 9 * GIB)), "{}", stdout(&head));
    fs::remove_file(scene.path("up/huge")).unwrap();
    let size = (9 * GIB).to_string();
    let archive = Archive::new().pax(&[("size", size.as_bytes())]).file("huge", "its beginning");
    refused(archive.open(), "it ends too early");
}
