//! unpack: archives that are small and ask for much. Memory is bounded, and what can't be is an error.

use std::fs;
use std::io::{BufWriter, Write as _};

use tar::EntryType;

use crate::archive::Archive;
use crate::common::needs::in_uml;
use crate::common::{Need, Scene, needs};
use crate::hostile::refused;

#[test]
fn bombs_go_off_quietly() {
    let long = [b"a/".repeat(40_000), b"b".to_vec()].concat();
    refused(Archive::new().pax(&[("path", &long)]).file("x", "").end(), "a path of more than 16 KiB");
    refused(
        Archive::new().pax(&[("path", &[b'n'; 64 * 1024])]).file("x", "").end(),
        "a path of more than 16 KiB",
    );
    let deep = b"a/".repeat(2_000);
    refused(Archive::new().pax(&[("path", &deep)]).directory("x").end(), "more than 500 levels");
    // As deep as may be, and then an error: all of it goes.
    let deep = b"a/".repeat(500);
    let deepest = || Archive::new().pax(&[("path", &deep)]).directory("x");
    refused(deepest().file("../x", "").end(), "'..'");
    refused(Archive::new().pax(&[("path", &[b'n'; 300])]).file("x", "").end(), "a name that is too long");
    refused(Archive::new().header("x", EntryType::XHeader, 8 << 30, |_| {}).end(), "more than 1 MiB");
    refused(Archive::new().header("x", EntryType::GNULongName, 1 << 40, |_| {}).end(), "more than 1 MiB");
    refused(
        Archive::new().pax(&[("SCHILY.xattr.user.big", &[b'x'; 100_000])]).file("x", "").end(),
        "layer/x: set user.big: ",
    );
    // Of megabytes: not even read.
    refused(
        Archive::new().pax(&[("SCHILY.xattr.user.big", &[b'x'; 3 << 20])]).file("x", "").end(),
        "more than 1 MiB",
    );
    refused(Archive::new().header("x", EntryType::Regular, 1 << 60, |_| {}).end(), "it ends too early");
    let exabytes = Archive::new().pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"x"),
        ("GNU.sparse.realsize", b"9999999999999999999"),
    ]);
    refused(
        exabytes.entry("y", EntryType::Regular, &[&b"0\n"[..], &[0; 510]].concat()).end(),
        "set its size",
    );
    let parts = Archive::new().pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.realsize", b"9"),
    ]);
    refused(
        parts.entry("y", EntryType::Regular, &[&b"99999999999\n"[..], &[0; 500]].concat()).end(),
        "its holes",
    );
}

#[test]
fn many_entries_take_no_memory() {
    let scene = Scene::new();
    // 30,000 entries of one name: as fast as they come.
    let archive = Archive::new().file("d/f", "x").open().repeat(30_000);
    fs::write(scene.path("archive.tar"), [archive, vec![0; 1024]].concat()).unwrap();
    scene
        .sh("ulimit -v 65536; whiteout unpack layer <archive.tar && ls layer/d")
        .assert()
        .success()
        .stdout("f\n");
}

/// An archive of a file for each number, whose name begins so.
fn numbered(scene: &Scene, archive: &str, prefix: &str, count: u32) {
    let mut file = BufWriter::new(fs::File::create(scene.path(archive)).unwrap());
    for number in 0..count {
        file.write_all(&Archive::new().file(&format!("d/{prefix}{number}"), "").open()).unwrap();
    }
    file.write_all(&[0; 1024]).unwrap();
    file.flush().unwrap();
}

#[test]
fn many_names_and_many_marks_take_little_memory() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    // 300,000 in the 64 MiB above take a minute. The program alone takes some 7 MiB: what 14 MiB leave
    // for each of these names is no more.
    let count = if in_uml() { 4_000 } else { 40_000 };
    numbered(&scene, "names.tar", "", count);
    numbered(&scene, "marks.tar", ".wh.", count);
    // On a tmpfs of its own, as a disk is slow, too.
    let script = "mkdir memory; mount -t tmpfs none memory; cd memory; mkdir root
         limited() { (ulimit -v 14336; exec whiteout \"$@\"); }
         limited unpack --apply root <../names.tar; find root/d -type f | wc -l
         limited unpack --apply root <../marks.tar; ls root/d
         limited unpack layer <../marks.tar; limited list layer | wc -l";
    scene.private_sh(script).assert().success().stdout(format!("{count}\n{count}\n"));
}
