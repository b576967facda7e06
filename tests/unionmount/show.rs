//! `--show` and `--unmount`.

use serde_json::{Value, json};

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{private, rootless, two_layers};

fn shown(scene: &Scene, arguments: &str) -> Value {
    let script = format!("unionmount {arguments} merged; unionmount --show --json merged");
    serde_json::from_str(&stdout(&private(scene, &script).success())).unwrap()
}

#[test]
fn the_stack_is_shown_as_it_was_given() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    scene.dir("a:b,c\\ d");
    scene.dir("init");
    let path = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    let merged = path("merged");
    assert_eq!(
        shown(&scene, "-l bottom -l 'a:b,c\\ d' -l top -u up"),
        json!({"merged": merged, "lower": [path("bottom"), path("a:b,c\\ d"), path("top")],
               "upper": path("up"), "work": path("up.work"), "ephemeral": false})
    );
    assert_eq!(
        shown(&scene, "-l bottom --init init --ephemeral"),
        json!({"merged": merged, "lower": [path("bottom")], "init": path("init"), "ephemeral": true})
    );
    assert_eq!(
        shown(&scene, "-l bottom"),
        json!({"merged": merged, "lower": [path("bottom")], "ephemeral": false})
    );
}

#[test]
fn it_is_shown_to_a_person_from_the_bottom_up() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = private(&scene, "unionmount -l bottom -l top --ephemeral merged; unionmount --show merged");
    let [merged, bottom, top] =
        ["merged", "bottom", "top"].map(|name| scene.path(name).display().to_string());
    let expected =
        format!("merged    {merged}\nlower     {bottom}\nlower     {top}\nupper     (ephemeral)\n");
    assert_eq!(stdout(&run.success()), expected);
}

#[test]
fn data_only_layers_are_shown_and_in_the_record() {
    if !needs(&[Need::Root, Need::OverlayAppend]) {
        return;
    }
    let scene = two_layers();
    scene.dir("data1");
    scene.dir("data:2");
    let options = "-l bottom -l top --data-only data1 --data-only data:2 --metacopy";
    let run = private(
        &scene,
        &format!(
            "echo {{}} | unionmount --from - {options} merged; unionmount --show --json merged; unionmount --show merged"
        ),
    );
    let printed = stdout(&run.success());
    let mut lines = printed.lines();
    let record: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    let shown: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(record["rootfs"], shown);
    assert_eq!(shown["data"], json!([scene.path("data1"), scene.path("data:2")]));
    assert_eq!(shown["lower"], json!([scene.path("bottom"), scene.path("top")]));
    let names: Vec<_> = lines.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["merged", "data", "data", "lower", "lower"]);
}

#[test]
fn those_of_a_foreign_mount_are_shown_too() {
    if !needs(&[Need::Root, Need::OverlayAppend]) {
        return;
    }
    let scene = two_layers();
    scene.dir("data");
    let run = private(
        &scene,
        "mount -t overlay overlay -o metacopy=on,lowerdir=top:bottom::data merged; unionmount --show merged",
    );
    let shown = stdout(&run.success());
    assert!(shown.ends_with("data      data\nlower     bottom\nlower     top\n"), "{shown}");
}

#[test]
fn a_layer_in_pieces_is_shown_as_the_layer() {
    let scene = two_layers();
    let run = rootless(&scene, "unionmount -l / -u up -w up.work merged; unionmount --show --json merged");
    let record: Value = serde_json::from_str(&stdout(&run.success())).unwrap();
    assert_eq!(record["lower"], json!(["/"]));
    assert_eq!(record["work"], json!(scene.path("up.work")));
}

#[test]
fn unmount_removes_what_the_mount_made_and_nothing_else() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    scene.dir("work");
    let run = private(
        &scene,
        "before=$(cat /proc/self/mountinfo)
         unionmount -l bottom -u up merged; echo new > merged/new; unionmount --unmount merged
         ls -d up/new; ls -d up.work 2>/dev/null || echo no work
         unionmount -l bottom -u up -w work --index merged; unionmount --unmount merged; ls -dA work work/*  2>/dev/null || true
         unionmount -l bottom -u 'o,d:d' merged; unionmount --unmount merged; ls -d o,d:d*
         unionmount -l bottom --ephemeral merged; unionmount --unmount merged
         test \"$before\" = \"$(cat /proc/self/mountinfo)\"",
    );
    assert_eq!(stdout(&run.success()), "up/new\nno work\nwork\no,d:d\n");
}

#[test]
fn unmount_takes_a_union_in_pieces_as_one() {
    let scene = two_layers();
    scene.dir("work");
    let run = rootless(
        &scene,
        "unionmount -l / -u up -w work merged; echo new > merged/etc/new
         (cd merged/usr; unionmount --unmount ../../merged || echo $?)
         cat merged/etc/new; ls -d merged/usr/bin
         unionmount --unmount merged; ls -A merged; ls -A work; cat up/etc/new
         unionmount -l / -u up2 merged; unionmount --unmount merged; ls -d up2.work 2>/dev/null || echo no work",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "125\nnew\nmerged/usr/bin\nnew\nno work\n", "{}", stderr(&run));
    assert!(stderr(&run).contains("merged/usr: unmount: Device or resource busy"), "{}", stderr(&run));
}

#[test]
fn what_is_not_ours_is_neither_shown_nor_unmounted_by_guess() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = private(
        &scene,
        "unionmount --show merged || echo $?
         mount -t tmpfs tmpfs merged; unionmount --unmount merged || echo $?
         mount -t overlay overlay -o lowerdir=top:bottom merged
         unionmount --unmount merged || echo $?; unionmount --show merged | tail -n 2",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "125\n125\n125\nlower     bottom\nlower     top\n");
    assert!(stderr(&run).contains("no union is mounted there"), "{}", stderr(&run));
    assert!(stderr(&run).contains("not a union of this tool's making"), "{}", stderr(&run));
    assert!(stderr(&run).contains("hint: umount(8)"), "{}", stderr(&run));
}

#[test]
fn showing_and_unmounting_take_no_layers() {
    let scene = two_layers();
    for arguments in
        ["--show -l bottom", "--unmount --ephemeral", "--show --unmount", "--unmount --index", "--json"]
    {
        let run = scene.sh(&format!("unionmount {arguments} merged")).assert().code(125);
        assert!(stderr(&run).contains("hint: 'unionmount --help'"), "{}", stderr(&run));
    }
    scene.sh("unionmount --show merged -- true").assert().code(125);
}
