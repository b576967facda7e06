//! overlayfs's own options, and layers by list.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{private, two_layers};

/// The options in the mount table of a union that was mounted with these arguments.
fn mounted_with(scene: &Scene, arguments: &str) -> String {
    let script = format!("unionmount {arguments} merged; grep /merged /proc/self/mountinfo");
    stdout(&private(scene, &script).success())
}

#[test]
fn each_option_reaches_the_kernel() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    assert!(mounted_with(&scene, "-l bottom --ephemeral --volatile").contains("volatile"));
    assert!(mounted_with(&scene, "-l bottom --ephemeral --metacopy").contains(",metacopy=on"));
    assert!(mounted_with(&scene, "-l bottom --ephemeral --redirect-dir").contains(",redirect_dir=on"));
    assert!(mounted_with(&scene, "-l bottom --ephemeral --index").contains(",index=on"));
    assert!(mounted_with(&scene, "-l bottom --ephemeral --xino").contains(",xino=on"));
    assert!(mounted_with(&scene, "-l bottom --ephemeral --userxattr").contains(",userxattr"));
    assert!(mounted_with(&scene, "-l bottom --ephemeral -o nfs_export=on").contains(",nfs_export=on"));
}

#[test]
fn a_directory_of_a_lower_layer_is_renamed_with_redirect_dir() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    private(&scene, "unionmount -l top -u up --redirect-dir merged; mv merged/inner merged/outer").success();
    assert_eq!(fs::read_dir(scene.path("up/outer")).unwrap().count(), 0);
}

#[test]
fn a_chmod_copies_no_data_with_metacopy() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    scene.file("bottom/big", &"x".repeat(1 << 20));
    for (option, copied) in [("", true), ("--metacopy", false)] {
        private(&scene, &format!("unionmount -l bottom -u up {option} merged; chmod 600 merged/big"))
            .success();
        let metadata = fs::metadata(scene.path("up/big")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(std::os::unix::fs::MetadataExt::blocks(&metadata) > 1024, copied);
        private(&scene, "rm -r up up.work").success();
    }
}

#[test]
fn a_volatile_upper_is_not_taken_up_again_without_a_word() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    private(&scene, "unionmount -l bottom -u up --volatile merged; touch merged/new").success();
    let run = private(&scene, "unionmount -l bottom -u up merged || echo $?").success();
    assert_eq!(stdout(&run), "125\n");
    assert!(stderr(&run).contains("its last use was volatile"), "{}", stderr(&run));
    assert!(stderr(&run).contains("up.work/work/incompat/volatile"), "{}", stderr(&run));
}

#[test]
fn data_only_layers_show_no_names_of_their_own() {
    if !needs(&[Need::Root, Need::OverlayAppend, Need::Program("setfattr")]) {
        return;
    }
    let scene = two_layers();
    scene.file("data/blob", "the data");
    let run = private(
        &scene,
        "truncate -s 8 bottom/file
         setfattr -n trusted.overlay.metacopy bottom/file
         setfattr -n trusted.overlay.redirect -v /blob bottom/file
         unionmount -l bottom --data-only data --metacopy merged; cat merged/file; ls merged",
    );
    assert_eq!(stdout(&run.success()), "the databoth\nfile\nonly\n");
}

#[test]
fn layers_come_from_a_list_above_those_given_singly() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    scene.file("odd\nname/both", "odd");
    let run = private(
        &scene,
        "printf 'top\\n' > list; unionmount -l bottom --layers-from list merged; cat merged/both
         umount merged; printf 'bottom\\0odd\\nname\\0' | unionmount --layers-from - -0 merged; cat merged/both",
    );
    assert_eq!(stdout(&run.success()), "topodd");
}

#[test]
fn five_hundred_layers_are_one_mount_and_one_more_is_too_many() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("merged");
    let mut list = String::new();
    for number in 0..501 {
        scene.file(&format!("layers/{number:03}/file"), &number.to_string());
        scene.file(&format!("layers/{number:03}/{number}"), "");
        list += &format!("layers/{number:03}\n");
    }
    scene.file("list", &list);
    let run = private(
        &scene,
        "head -n 500 list > most; unionmount --layers-from most merged; cat merged/file; ls merged | wc -l
         umount merged; unionmount --layers-from list merged || echo $?",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "499501\n125\n");
    assert!(stderr(&run).contains("501 layers: overlayfs takes at most 500"), "{}", stderr(&run));
}

#[test]
fn ids_are_shown_shifted() {
    if !needs(&[Need::Root, Need::OverlayAppend]) {
        return;
    }
    let scene = two_layers();
    private(&scene, "chown -R 0:0 bottom; chown 5:6 bottom/only").success();
    let run = private(
        &scene,
        "unionmount -l bottom -l top --ephemeral --idmap 0:100000:65536 merged
         stat -c %u:%g merged merged/only merged/both
         chmod 700 merged/only; stat -c %u:%g merged/only bottom/only",
    );
    assert_eq!(stdout(&run.success()), "100000:100000\n100005:100006\n100000:100000\n100005:100006\n5:6\n");
    let chain = "unshare-lite --mount --pid -- unionmount -l bottom -l top --ephemeral --idmap 0:7:9 merged";
    private(&scene, &format!("{chain} -- stat -c %u:%g merged/only")).success().stdout("12:13\n");
    let run = private(&scene, "unionmount -l bottom --idmap 0:1:2 --idmap 1:2:3 merged || echo $?").success();
    assert_eq!(stdout(&run), "125\n");
    assert!(stderr(&run).contains("ranges must not overlap"), "{}", stderr(&run));
    scene.assert_nothing_left();
}

#[test]
fn from_a_directory_that_is_gone_absolute_names_work() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let script = "here=$PWD; mkdir gone; cd gone; rmdir ../gone
        unionmount -l $here/bottom -l $here/top --ephemeral $here/merged; ls $here/merged
        unionmount -l bottom --ephemeral $here/merged || echo $?";
    let run = private(&scene, script).success();
    assert!(stdout(&run).ends_with("\n125\n"), "{}", stdout(&run));
    assert_eq!(stderr(&run), "unionmount: .: make absolute: No such file or directory\n");
}
