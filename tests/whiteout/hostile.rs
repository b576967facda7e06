//! unpack: archives that are made to do harm, or damaged.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use tar::{EntryType, Header};

use crate::archive::Archive;
use crate::common::needs::in_uml;
use crate::common::{Need, Scene, needs, stderr};
use crate::place::disk;
use crate::tree::described;
use crate::unpack::unpack;

/// The archive has to be refused with these words, and nothing of it may be left.
pub fn refused(archive: Vec<u8>, words: &str) {
    let scene = Scene::new();
    let secret = scene.file("host/secret", "untouched");
    let before = described(&scene.path("host"));
    let failed = unpack(&scene, archive).code(125).stdout("");
    assert!(stderr(&failed).contains(words), "{words:?}: {failed}");
    assert_eq!(fs::read_to_string(secret).unwrap(), "untouched");
    assert_eq!(described(&scene.path("host")), before);
    let names: Vec<_> =
        fs::read_dir(scene.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "left: {names:?}");
}

#[test]
fn paths_out_of_the_layer_are_refused() {
    for path in ["../host/x", "a/../../host/x", "/tmp/x", "..", "a/.."] {
        refused(Archive::new().file(path, "x").end(), "read the archive: a");
        refused(Archive::new().directory(path).end(), "read the archive: a");
        refused(Archive::new().file("a", "x").hard_link("b", path).end(), "read the archive: a");
    }
    refused(Archive::new().pax(&[("path", b"../host/x")]).file("x", "x").end(), "a path with '..' in it");
    refused(Archive::new().pax(&[("path", b"a\0b")]).file("x", "x").end(), "its extended header");
    refused(Archive::new().entry("L", EntryType::GNULongName, b"../host/x\0").file("x", "x").end(), "'..'");
}

#[test]
fn links_lead_nowhere() {
    for target in ["../host", "/tmp", ".", "inside"] {
        let planted = Archive::new().directory("inside").symlink("link", target);
        refused(planted.file("link/x", "x").end(), "something that is no directory");
        let planted = Archive::new().directory("inside").symlink("link", target);
        refused(planted.directory("link/x").end(), "something that is no directory");
        let planted = Archive::new().directory("inside").symlink("link", target);
        refused(planted.hard_link("x", "link/secret").end(), "a hard link to what is not there");
        let planted = Archive::new().directory("inside").symlink("link", target);
        refused(planted.file("link/.wh.secret", "").end(), "something that is no directory");
        let planted = Archive::new().directory("inside").symlink("link", target);
        refused(planted.file("link/.wh..wh..opq", "").end(), "something that is no directory");
    }
    refused(Archive::new().hard_link("x", "../host/secret").end(), "a path with '..' in it");
    refused(Archive::new().hard_link("x", "host/secret").end(), "a hard link to what is not there");
    refused(Archive::new().directory("d").hard_link("x", "d").end(), "a hard link to a directory");
}

#[test]
fn the_top_is_a_directory() {
    for path in [".", "./"] {
        refused(Archive::new().symlink(path, "../host").end(), "the layer's top is no directory");
        refused(Archive::new().file(path, "x").end(), "the layer's top is no directory");
    }
    let scene = Scene::new();
    let top = Archive::new().header("./", EntryType::Directory, 0, |header| header.set_mode(0o1750));
    unpack(&scene, top.end()).success();
    let stat = fs::metadata(scene.path("layer")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o1750, 1_000_000_000));
}

#[test]
fn tricks_with_whiteouts_are_refused() {
    for path in [".wh.", ".wh..", ".wh...", "a/.wh...", "./.wh."] {
        refused(Archive::new().file(path, "").end(), "a whiteout of no name");
    }
    refused(Archive::new().file(".wh.a/b", "").end(), "a whiteout is no directory");
    refused(Archive::new().directory(".wh.a").end(), "a mark that is no file");
    refused(Archive::new().directory(".wh..wh..opq").end(), "a mark that is no file");
    refused(Archive::new().symlink(".wh.a", "../host").end(), "a mark that is no file");
    refused(Archive::new().file(".wh.a", "").hard_link("b", "a").end(), "a hard link to what is not there");
    refused(Archive::new().hard_link("b", ".wh.a").end(), "a hard link to a mark");
}

#[test]
fn what_overlay_would_take_for_its_own_mark_is_none() {
    if !needs(&[Need::Root]) {
        return;
    }
    let device = |kind| {
        Archive::new().header("x", kind, 0, |header| {
            header.set_device_major(0).unwrap();
            header.set_device_minor(0).unwrap();
        })
    };
    refused(device(EntryType::Char).end(), "a device 0:0");
    let scene = Scene::new();
    disk(&scene, "disk");
    let archive = Archive::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ])
        .directory("d")
        .pax(&[("SCHILY.xattr.user.overlay.whiteout", b"y")])
        .file("f", "");
    fs::write(scene.path("archive.tar"), archive.end()).unwrap();
    scene
        .sh("whiteout unpack disk/layer <archive.tar && whiteout list disk/layer")
        .assert()
        .success()
        .stdout("");
    assert_eq!(xattr::get(scene.path("disk/layer/d"), "trusted.overlay.redirect").unwrap(), None);
}

#[test]
fn archives_that_say_two_things_are_refused() {
    let header = |kind, size| Archive::new().header("x", kind, size, |_| {});
    // CVE-2025-62518: what one reader takes for content is a header to the other.
    let hidden = Archive::new().file("hidden", "").open();
    let smuggled = Archive::new().pax(&[("size", b"1024")]).header("x", EntryType::Regular, 0, |_| {});
    let scene = Scene::new();
    unpack(&scene, smuggled.bytes(&[&hidden[..], &[0; 512]].concat()).file("after", "").end()).success();
    // The record's size counts, as in GNU tar: the header is content.
    assert_eq!(fs::metadata(scene.path("layer/x")).unwrap().len(), 1024);
    scene
        .sh("tar -tf archive.tar >theirs; LC_ALL=C ls layer >ours; LC_ALL=C sort theirs | diff - ours")
        .assert()
        .success();
    let words = "content where there can be none";
    for kind in [EntryType::Directory, EntryType::Symlink, EntryType::Fifo, EntryType::Char, EntryType::Block]
    {
        refused(header(kind, 512).bytes(&hidden).end(), words);
    }
    refused(
        Archive::new().pax(&[("size", b"5"), ("size", b"6")]).file("x", "x").end(),
        "its extended header",
    );
    refused(Archive::new().pax(&[]).pax(&[]).file("x", "x").end(), "two extended headers");
    refused(
        Archive::new().entry("L", EntryType::GNULongName, b"a\0").pax(&[("path", b"b")]).file("x", "").end(),
        "its extended header",
    );
    refused(
        Archive::new().entry("g", EntryType::XGlobalHeader, b"10 path=x\n").file("y", "").end(),
        "its extended",
    );
}

#[test]
fn malformed_archives_are_refused_and_leave_nothing() {
    refused(Vec::new(), "it ends too early");
    refused(vec![b'x'; 4096], "what should be a header is none");
    refused(vec![0x1f, 0x8b, 8, 0].into_iter().chain([0; 600]).collect(), "'gzip -dc'");
    refused(Archive::new().file("a", "x").open(), "it ends too early");
    refused(Archive::new().file("a", &"x".repeat(3000)).open()[..2000].to_vec(), "it ends too early");
    refused(Archive::new().file("a", "x").open()[..700].to_vec(), "it ends too early");
    refused(Archive::new().entry("a", EntryType::new(b'Q'), b"").end(), "a type of entry that is not known");
    refused(
        Archive::new().header("a", EntryType::Regular, 0, |h| h.as_old_mut().size[0] = b'9').end(),
        "its size",
    );
    refused(
        Archive::new().header("a", EntryType::Regular, 0, |h| h.as_old_mut().uid = [0xff; 8]).end(),
        "its owner",
    );
    refused(Archive::new().pax(&[("uid", b"4294967295")]).file("a", "").end(), "its owner");
    refused(Archive::new().pax(&[("mtime", b"soon")]).file("a", "").end(), "its extended header");
    refused(
        Archive::new().entry("x", EntryType::XHeader, b"99 path=x\n").file("a", "").end(),
        "its extended header",
    );
    refused(
        Archive::new().pax(&[("GNU.sparse.map", b"0,5,3,5"), ("GNU.sparse.size", b"9")]).file("a", "").end(),
        "its holes",
    );
}

#[test]
fn the_deepest_layer_can_be_packed_again() {
    let scene = Scene::new();
    let archive = Archive::new().pax(&[("path", &b"a/".repeat(500))]).directory("x").end();
    unpack(&scene, archive).success();
    scene
        .sh("ulimit -Sn 64; whiteout pack layer >1.tar && whiteout unpack again <1.tar && whiteout pack again | cmp - 1.tar
             mkdir root; whiteout unpack --apply root <1.tar && whiteout list root && whiteout diff -u again -l layer")
        .assert()
        .success()
        .stdout("");
    scene.sh("rm -r layer again root").assert().success();
}

/// An archive with each of the things that a reader has to understand.
fn something_of_everything() -> Vec<u8> {
    Archive::new()
        .directory("./")
        .pax(&[("path", b"d/a long one"), ("mtime", b"5.5")])
        .file("d/a", "content")
        .hard_link("d/b", "d/a long one")
        .symlink("d/l", "../../host")
        .file("d/.wh.c", "")
        .file("d/.wh..wh..opq", "")
        .entry("n", EntryType::GNULongName, b"d/other\0")
        .file("x", &"y".repeat(700))
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"s"),
            ("GNU.sparse.realsize", b"9"),
        ])
        .entry("y", EntryType::Regular, &[&b"1\n0\n1\n"[..], &[0; 506], b"z"].concat())
        .end()
}

#[test]
fn damaged_archives_end_in_a_message_and_never_in_a_crash() {
    let scene = Scene::new();
    scene.file("host/secret", "untouched");
    let before = described(&scene.path("host"));
    let whole = something_of_everything();
    unpack(&scene, whole.clone()).success();
    scene.sh("rm -r layer").assert().success();
    let mut random = 1_u64;
    let mut next = |below: usize| {
        // Knuth's MMIX generator: the same damage each time.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut accepted = 0;
    let rounds = if in_uml() { 40 } else { 200 }; // which is slow
    for round in 0..rounds {
        let mut archive = whole.clone();
        for _ in 0..=next(3) {
            let at = next(archive.len());
            let odd = b"\0/.\xff 017w=\n";
            archive[at] = if next(2) == 0 { next(256) as u8 } else { odd[next(odd.len())] };
            // Most damage is to be found by something else than the checksum.
            let block = at / 512 * 512;
            if next(4) > 0 {
                let mut header = Header::from_byte_slice(&archive[block..block + 512]).clone();
                header.set_cksum();
                archive[block..block + 512].copy_from_slice(header.as_bytes());
            }
        }
        if next(5) == 0 {
            archive.truncate(next(archive.len()));
        }
        fs::write(scene.path("archive.tar"), archive).unwrap();
        let run =
            scene.sh("whiteout unpack --no-same-owner --skip-devices layer <archive.tar").output().unwrap();
        let message = String::from_utf8_lossy(&run.stderr);
        match run.status.code() {
            Some(0) => accepted += 1,
            Some(125) => assert!(
                message.starts_with("whiteout: ") && !scene.path("layer").exists(),
                "{round}: {message}"
            ),
            other => panic!("round {round}: {other:?}: {message}"),
        }
        if scene.path("layer").exists() {
            scene.sh("chmod -R u+rwx layer; rm -r layer").assert().success();
        }
        assert_eq!(described(&scene.path("host")), before, "round {round}");
        assert!(!scene.path(".layer.unpack").exists(), "round {round}");
    }
    assert!((1..rounds).contains(&accepted), "{accepted}");
}
