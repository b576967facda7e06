//! diff, compared with what find(1) sees on real overlays before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::place::{By, LAYERS, disk};

/// What find prints of a tree: path, and then what docker diff compares.
const FIND: &str = "find_it() { find $1 -mindepth 1 \\( -type d -printf '%P\\t%y %m %U %G\\n' \
                    -o -printf '%P\\t%y %m %U %G %T@ %s\\n' \\); }\n";

fn tree(found: &str) -> BTreeMap<&str, &str> {
    found.lines().map(|line| line.split_once('\t').unwrap()).collect()
}

/// docker diff by its definition: the two whole trees compared.
fn by_definition(old: &str, new: &str) -> String {
    let (old, new) = (tree(old), tree(new));
    let mut changes = BTreeSet::new();
    let is_directory = |tree: &BTreeMap<&str, &str>, path: &str| {
        path.is_empty() || tree.get(path).is_some_and(|what| what.starts_with('d'))
    };
    for (path, what) in &new {
        match old.get(path) {
            None => drop(changes.insert(((*path).to_owned(), 'A'))),
            Some(before) if before != what => drop(changes.insert(((*path).to_owned(), 'C'))),
            Some(_) => {}
        }
    }
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if is_directory(&new, parent) {
            changes.insert(((*path).to_owned(), 'D'));
        }
    }
    for (path, _) in changes.clone() {
        for parent in Path::new(&path).ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            let parent = parent.to_str().unwrap().to_owned();
            if !changes.iter().any(|(changed, _)| *changed == parent) {
                changes.insert((parent, 'C'));
            }
        }
    }
    changes.into_iter().map(|(path, kind)| format!("{kind} /{path}\n")).collect()
}

/// Makes `changes` on an overlay of the test's layers, and compares diff with the definition.
fn compare(scene: &Scene, by: By, changes: &str) -> String {
    let place = scene.dir(&format!("disk/{}", std::fs::read_dir(scene.path("disk")).unwrap().count()));
    by.sh(
        scene,
        place.to_str().unwrap(),
        &format!(
            "{LAYERS}{FIND}find_it lower >old; mount_it; (cd merged; {changes}); find_it merged >new
            umount merged; whiteout diff --upper upper --lower lower >ours"
        ),
    );
    let read = |name: &str| std::fs::read_to_string(place.join(name)).unwrap();
    let ours = read("ours");
    assert_eq!(ours, by_definition(&read("old"), &read("new")), "{by:?}: {changes}");
    ours
}

#[test]
fn diff_is_docker_diff_for_each_kind_of_change() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    disk(&scene, "disk");
    for changes in [
        ":",
        "echo new >new; mkdir -p n/m; echo x >n/m/o; ln -s x n/link; mkfifo n/pipe",
        "rm file; rm -r gone; rm dir/sub/b",
        "echo more >>file; : >dir/a; chmod 600 kept/d; touch -d @5 dir/sub/b",
        "chmod 700 dir; chmod 700 dir/sub",
        "rm -r again; mkdir again; echo 5 >again/old; echo n >again/new",
        "rm file; mkdir file; echo x >file/inside",
        "rm -r dir; echo x >dir",
        "rm file; ln -s elsewhere file; rm link; echo plain >link",
        "mv dir/a dir/b; mv file kept/file",
        "touch -r file keep; echo 1 >file; touch -r keep file; rm keep",
        "rm -r dir; mkdir dir; mkdir dir/sub; rm -r dir/sub; rm -r dir",
        "rm dir/a; mkdir dir/a; rm -r dir/sub; mkdir dir/sub; mkdir dir/sub/b",
        "echo x >a.c; mkdir a; echo y >a/b; echo z >a-b",
        "rm pipe; mkfifo pipe; rm empty; touch empty",
    ] {
        compare(&scene, By::Root, changes);
        compare(&scene, By::User, changes);
    }
    compare(&scene, By::Root, "chown 1 file; chown -h :1 link; chown 1 kept; rm pipe; mknod pipe c 1 3");
}

#[test]
fn a_directory_that_is_made_again_is_compared_with_what_it_was() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    disk(&scene, "disk");
    assert_eq!(
        compare(&scene, By::Root, "rm -r again; mkdir again; echo n >again/new"),
        "C /again\nA /again/new\nD /again/old\nD /again/same\n"
    );
}

#[test]
fn attributes_and_capabilities_are_changes_and_overlays_own_are_not() {
    if !needs(&[Need::Root, Need::Program("setfattr")]) {
        return;
    }
    let scene = Scene::new();
    let shown = By::Root.sh_on_layers(
        &scene,
        "layers",
        "setfattr -n user.had -v 1 lower/dir/sub; mount_it; cd merged
            setfattr -n user.note -v 1 file; setfattr -x user.had dir/sub; chmod 600 kept; chmod 755 kept
            setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 again/old
            cd ..; umount merged; whiteout diff --upper upper --lower lower",
    );
    assert_eq!(shown, "C /again\nC /again/old\nC /dir\nC /dir/sub\nC /file\n");
}

#[test]
fn several_lower_layers_are_seen_as_one_bottom_first() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene
        .sh("mkdir -p bottom/d bottom/e middle/d middle/e top/d upper/d upper/e
             echo 1 >bottom/d/deleted; echo 2 >bottom/d/shown; echo 3 >bottom/e/covered; echo 4 >bottom/twice
             whiteout create middle/d/deleted; whiteout opaque middle/e; echo 5 >middle/twice
             cp -p middle/twice upper/twice; echo 6 >upper/d/deleted; echo 7 >upper/e/covered
             whiteout create upper/d/shown upper/nowhere upper/e/nothing; rmdir top/d")
        .assert()
        .success();
    let expected = "C /d\nA /d/deleted\nD /d/shown\nC /e\nA /e/covered\n";
    for line in ["--lower bottom middle top", "-l bottom --lower middle -l top"] {
        assert_eq!(stdout(&scene.sh(&format!("whiteout diff -u upper {line}")).assert().success()), expected);
    }
}

#[test]
fn layers_in_oci_format_are_compared_by_their_names() {
    let scene = Scene::new();
    scene
        .sh("mkdir -p low/d low/e low/f mid/f up/d up/e up/f; touch low/a low/d/x low/e/y low/f/z mid/.wh.a
             touch up/.wh.d up/d/new up/e/.wh..wh..opq up/.wh..wh.plnk up/a mid/f/.wh.z up/f/.wh.z")
        .assert()
        .success();
    assert_eq!(
        stdout(&scene.sh("whiteout diff -u up -l low mid").assert().success()),
        "A /a\nC /d\nA /d/new\nD /d/x\nC /e\nD /e/y\n"
    );
}

#[test]
fn a_file_named_like_a_mark_on_an_overlay_is_a_file() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let shown = By::Root.sh_on_layers(
        &scene,
        "layers",
        "mount_it; chmod 600 merged/file; touch merged/.wh.link; umount merged
                  whiteout diff -u upper -l lower",
    );
    assert_eq!(shown, "A /.wh.link\nC /file\n");
}

#[test]
fn without_a_lower_layer_all_is_added() {
    let scene = Scene::new();
    scene.sh("mkdir -p up/d; touch up/d/f").assert().success();
    assert_eq!(stdout(&scene.sh("whiteout diff -u up").assert().success()), "A /d\nA /d/f\n");
}

#[test]
fn names_of_any_bytes_come_out_in_all_styles() {
    let scene = Scene::new();
    scene.sh("mkdir up; touch \"$(printf 'up/a\\nb\\377')\" up/c").assert().success();
    assert_eq!(stdout(&scene.sh("whiteout diff -u up").assert().success()), "A /a\\nb\\xff\nA /c\n");
    let raw = scene.sh("whiteout diff -0 -u up").assert().success().get_output().stdout.clone();
    assert_eq!(raw, b"A /a\nb\xff\0A /c\0");
    assert_eq!(
        stdout(&scene.sh("whiteout diff --json -u up").assert().success()),
        "[{\"kind\":\"A\",\"path\":[47,97,10,98,255]},{\"kind\":\"A\",\"path\":\"/c\"}]\n"
    );
}

#[test]
fn a_redirected_directory_is_refused_by_name() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    By::Root.sh_on_layers(
        &scene,
        "layers",
        "overlay lowerdir=lower,upperdir=upper,workdir=work,redirect_dir=on merged; mv merged/dir merged/moved",
    );
    let failed = scene.sh("whiteout diff -u layers/upper -l layers/lower").assert().code(125);
    assert!(
        stderr(&failed)
            .starts_with("whiteout: layers/upper/moved: read a layer: the directory is a redirect"),
        "{failed}"
    );
}

#[test]
fn many_lower_layers_of_deep_trees_need_no_higher_limit_of_open_files() {
    let scene = Scene::new();
    scene
        .sh("deep=$(printf 'd/%.0s' $(seq 20)); for i in $(seq 100); do mkdir -p low$i/$deep; done; mkdir -p up/$deep
             touch low1/$deep/f up/$deep/f up/$deep/g; touch -r low1/$deep/f up/$deep/f")
        .assert()
        .success();
    let shown = stdout(
        &scene
            .sh("ulimit -Sn 64; whiteout diff -u up -l $(for i in $(seq 100); do echo low$i; done)")
            .assert()
            .success(),
    );
    assert_eq!(shown.lines().filter(|line| line.starts_with('C')).count(), 20);
    assert_eq!(shown.lines().filter(|line| line.starts_with('A')).count(), 1);
}
