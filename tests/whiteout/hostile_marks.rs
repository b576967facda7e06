//! unpack --apply: marks that would delete what they do not name, or what is elsewhere.

use std::fs;

use crate::archive::Archive;
use crate::common::{Scene, stderr};
use crate::tree::described;

/// A populated root filesystem in `world`, with a link to what is beside it.
fn world() -> Scene {
    let scene = Scene::new();
    scene
        .sh("mkdir -p world/host/inner world/root/etc world/root/dir/sub; cd world; echo kept >host/secret; echo kept >host/inner/f
             echo kept >root/etc/passwd; echo kept >root/dir/a; echo kept >root/dir/sub/b; echo kept >root/b
             ln -s ../host root/out; ln -s \"$PWD/host\" root/away; ln -s dir root/in; ln -s .. root/dir/up; touch 'root/-rf' 'root/*'")
        .assert()
        .success();
    scene
}

/// Applies the archive, with the time of the top as it was: work is done there, also in vain.
fn apply(scene: &Scene, archive: Vec<u8>) -> assert_cmd::assert::Assert {
    fs::write(scene.path("archive.tar"), archive).unwrap();
    let line = "touch -r world/root then; whiteout unpack --apply world/root <archive.tar; code=$?
                touch -r then world/root; exit $code";
    scene.sh(line).assert()
}

/// The lines of a description that are not in the other.
fn without<'a>(all: &'a str, other: &str) -> Vec<&'a str> {
    all.lines().filter(|line| !other.lines().any(|one| one == *line)).collect()
}

#[test]
fn a_mark_that_names_nothing_or_is_no_file_deletes_nothing() {
    let scene = world();
    let before = described(&scene.path("world"));
    let archives =
        [".wh.", ".wh..", ".wh...", "dir/.wh.", "dir/.wh..", "dir/.wh...", "./.wh...", "dir/sub/../.wh.a"]
            .map(|path| Archive::new().file(path, ""))
            .into_iter()
            .chain(
                [".wh.dir/a", ".wh.dir/.wh.a", ".wh.out/.wh.secret"]
                    .map(|path| Archive::new().file(path, "")),
            )
            .chain(
                [".wh.etc", "dir/.wh.a", ".wh..wh..opq", "dir/.wh..wh..opq", ".wh..."]
                    .map(|path| Archive::new().directory(path)),
            )
            .chain([".wh.etc", ".wh..wh..opq", ".wh..."].map(|path| Archive::new().symlink(path, "../host")))
            .chain([Archive::new().hard_link("b", ".wh.etc"), Archive::new().hard_link(".wh...", "b")]);
    for archive in archives {
        // Not even what a sound mark before it names.
        let all = [Archive::new().file(".wh.etc", "").open(), archive.end()].concat();
        let failed = apply(&scene, all.clone()).code(125);
        let said = stderr(&failed);
        assert!(said.starts_with("whiteout: ") && said.contains(": read the archive: "), "{said}");
        assert_eq!(described(&scene.path("world")), before, "{said}");
    }
}

#[test]
fn a_mark_through_a_link_deletes_nothing_behind_it() {
    for (link, mark) in [
        ("out", ".wh.secret"),
        ("out", ".wh..wh..opq"),
        ("away", ".wh.inner"),
        ("in", ".wh.a"),
        ("in", ".wh..wh..opq"),
        ("dir/up", ".wh.b"),
        ("dir/up", ".wh..wh..opq"),
    ] {
        let scene = world();
        let before = described(&scene.path("world"));
        apply(&scene, Archive::new().file(&format!("{link}/{mark}"), "").end()).success();
        // A directory takes the link's place, as on an overlay, and that is all.
        let after = described(&scene.path("world"));
        let (place, parent) = (format!("/root/{link} "), "/root/dir ");
        let gone = without(&before, &after);
        let is_expected = |line: &&str| line.starts_with(&place) || line.starts_with(parent);
        assert!(!gone.is_empty() && gone.iter().all(is_expected), "{link}/{mark}: {gone:?}");
    }
    // The archive brings the link itself, before the mark or after it.
    let mark = |archive: Archive| archive.file("new/.wh.secret", "").file("new/.wh..wh..opq", "");
    let link = |archive: Archive| archive.symlink("new", "../host");
    for archive in [mark(link(Archive::new())), link(mark(Archive::new()))] {
        let scene = world();
        let before = described(&scene.path("world/host"));
        apply(&scene, archive.end());
        assert_eq!(described(&scene.path("world/host")), before);
    }
}

#[test]
fn a_mark_deletes_what_it_names_and_nothing_like_it() {
    for name in ["-rf", "*", "b"] {
        let scene = world();
        let before = described(&scene.path("world"));
        apply(&scene, Archive::new().file(&format!(".wh.{name}"), "").end()).success();
        let after = described(&scene.path("world"));
        let gone = without(&before, &after);
        assert!(gone.len() == 1 && gone[0].starts_with(&format!("/root/{name} ")), "{name}: {gone:?}");
    }
    for name in ["?", " b", "b ", "b\n", "%2e%2e", "....", ".wh.b", "etc*", "\u{ff0e}\u{ff0e}"] {
        let scene = world();
        let before = described(&scene.path("world"));
        apply(&scene, Archive::new().file(&format!(".wh.{name}"), "").end()).success();
        assert_eq!(described(&scene.path("world")), before, "{name:?}");
    }
}

#[test]
fn what_stands_where_the_tool_works_leads_nowhere() {
    for trap in ["ln -s ../host", "ln -s /nowhere", "ln host/secret", "mkfifo"] {
        let scene = world();
        scene.sh(&format!("cd world; {trap} root/.wh..wh.whiteout")).assert().success();
        let before = described(&scene.path("world"));
        let layer = Archive::new().file(".wh.etc", "").file("secret", "new").directory("inner");
        apply(&scene, layer.end()).code(125);
        assert_eq!(described(&scene.path("world")), before, "{trap}");
    }
}
