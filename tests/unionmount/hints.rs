//! Each error that is found before the mount has a hint of its own: what to do about it.

use crate::common::{Need, needs, stderr, stdout};
use crate::{private, two_layers};

/// What is done before, the arguments, the error, and its hint.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// Of the command line and the lists that it names.
const OF_USAGE: [Case; 11] = [
    ("", "merged", "no layer given", "--lower DIR names one"),
    ("", "-l bottom -w work merged", "--upper", "--help"),
    ("", "-l bottom --ephemeral=x merged", "x: read a size", "64M"),
    ("", "-l bottom --ephemeral=0 merged", "a layer of no size", "without a size"),
    ("", "-l bottom --volatile merged", "nothing is written without", "leave --volatile out"),
    ("", "-l bottom -u / merged", "it has no name", "--work DIR names one"),
    ("", "-l bottom -o =x merged", "not KEY or KEY=VALUE", "nfs_export=on"),
    ("", "-l bottom -o upperdir=top merged", "it is set from the layers", "use --lower"),
    ("", "-l bottom -o a=1,b=2 merged", "one option at a time", "repeat -o"),
    ("", "--layers-from none merged", "none: read the list of layers", "a name a line"),
    ("", "--from - --layers-from - merged", "cannot both read", "put one of them into a file"),
];

/// Of the layers and the mount point.
const OF_LAYERS: [Case; 9] = [
    ("", "-l none merged", "none: open the layer: No such file", "check the name"),
    ("ln -s none link", "-l link merged", "link: open the layer: No such file", "check the name"),
    ("", "-l bottom --init none merged", "none: open the init layer: No such file", "check the name"),
    ("", "-l /dev/null merged", "/dev/null: open the layer: Not a directory", "erofs or squashfs"),
    ("", "-l bottom --init bottom/both merged", "open the init layer: Not a dir", "it must be a directory"),
    ("", "-l bottom none", "none: open the mount point: No such file", "make the directory first"),
    ("", "-l bottom bottom/both", "open the mount point: Not a directory", "it must be a directory"),
    ("", "-l bottom/both merged", "neither an erofs nor a squashfs", "whiteout unpack"),
    ("", "-l bottom -l top -l bottom merged", "the same layer twice", "give each layer once"),
];

/// Of the upper and the work directory.
const OF_THE_UPPER: [Case; 14] = [
    ("", "-l bottom -u bottom merged", "it is also a read-only layer", "name another directory"),
    (
        "mount -t tmpfs -o ro t top",
        "-l bottom -u top/up merged",
        "a read-only filesystem",
        "can be written to",
    ),
    (
        "mount -t tmpfs t top",
        "-l bottom -u up -w top/w merged",
        "another filesystem",
        "on the upper's filesystem",
    ),
    ("", "-l bottom -u /proc/up merged", "it is on proc", "ext4, xfs, btrfs or tmpfs"),
    ("", "-l top/inner -u top merged", "it lies inside the upper", "move it out"),
    ("", "-l top/inner -u up -w top merged", "it lies inside the work directory", "move it out"),
    ("", "-l bottom -u up -w up/work merged", "lie in each other", "a directory beside the upper"),
    ("", "-l bottom -u up -w top merged", "it is not empty", "a directory of its own"),
    ("mkdir -p w/work/incompat/volatile", "-l bottom -u up -w w merged", "was volatile", "remove "),
    ("", "-l bottom -u none/up merged", "make the directory: No such file", "is to lie in first"),
    ("", "-l bottom -u top/both/up merged", "make the directory: Not a directory", "must be a directory"),
    ("", "-l bottom -u top/both merged", "open the upper: Not a directory", "it must be a directory"),
    (
        "",
        "-l bottom -u up -w top/both merged",
        "open the work directory: Not a dir",
        "it must be a directory",
    ),
    ("unionmount -l top -u up merged", "-l bottom -u up top", "another overlay uses it", "is mounted on"),
];

fn each_has_its_hint(cases: &[Case]) {
    if !needs(&[Need::Root]) {
        return;
    }
    for (prepare, arguments, error, hint) in cases {
        let scene = two_layers();
        let run = private(&scene, &format!("{prepare}\nunionmount {arguments} || echo $?")).success();
        assert_eq!(stdout(&run), "125\n", "{arguments}: {}", stderr(&run));
        let said = stderr(&run);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{arguments}: {said}");
        assert!(lines[0].contains(error), "{arguments}: {said}");
        let is_hint = lines[1].strip_prefix("unionmount: hint: ").is_some_and(|text| text.contains(hint));
        assert!(is_hint, "{arguments}: {said}");
        scene.assert_nothing_left();
    }
}

#[test]
fn each_mistake_in_the_arguments_has_its_hint() {
    each_has_its_hint(&OF_USAGE);
}

#[test]
fn each_thing_wrong_with_a_layer_has_its_hint() {
    each_has_its_hint(&OF_LAYERS);
}

#[test]
fn each_thing_wrong_with_the_upper_has_its_hint() {
    each_has_its_hint(&OF_THE_UPPER);
}

#[test]
fn what_an_ordinary_user_may_not_reach_has_its_hint() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    scene.dir("closed/layer");
    scene.sh("chmod 700 closed; chmod 755 .").assert().success();
    for (arguments, error, hint) in [
        ("-l closed/layer merged", "open the layer: Permission denied", "open to this user"),
        ("-l bottom closed/layer", "open the mount point: Permission denied", "open to this user"),
        ("-l bottom -u up merged", "make the directory: Permission denied", "cannot write there"),
    ] {
        let line = format!("exec unshare-lite --map-root-user --mount -- unionmount {arguments}");
        let run = scene.user_sh(&line).assert().code(125);
        let said = stderr(&run);
        assert!(said.contains(error), "{arguments}: {said}");
        assert!(said.contains("\nunionmount: hint: ") && said.contains(hint), "{arguments}: {said}");
    }
    scene.assert_nothing_left();
}
