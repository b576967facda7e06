//! What the union shows.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{private, rootless, two_layers};

#[test]
fn the_layer_given_last_is_on_top() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = private(&scene, "unionmount -l bottom -l top merged; cat merged/both; cat merged/only");
    assert_eq!(stdout(&run.success()), "topbottom only");
    scene.assert_nothing_left();
}

#[test]
fn without_an_upper_the_union_is_read_only_whatever_the_number_of_layers() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    for layers in ["-l bottom", "-l bottom -l top"] {
        let run =
            private(&scene, &format!("unionmount {layers} merged; cat merged/only; ! touch merged/new"));
        assert_eq!(stdout(&run.success()), "bottom only");
    }
}

#[test]
fn it_is_one_overlay_mount() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = private(&scene, "unionmount -l bottom -l top merged; grep merged /proc/self/mountinfo");
    let table = stdout(&run.success());
    assert_eq!(table.lines().count(), 1, "{table}");
    assert!(table.contains(" - overlay unionmount ro,"), "{table}");
}

#[test]
fn names_with_separators_spaces_and_any_bytes_are_taken_as_they_are() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("merged");
    let names: [&[u8]; 7] = [b"a:b", b"c,d", b"e\\f", b"g h", b"i\nj", b"\xff\xfe", b"k\\:l,m="];
    let mut union =
        scene.sh("exec unshare-lite --mount -- unionmount \"$@\" -- cat merged/file merged/other");
    union.arg("sh");
    for name in names {
        let name = OsString::from_vec(name.to_vec());
        let layer = scene.path("").join(&name);
        std::fs::create_dir(&layer).unwrap();
        std::fs::write(layer.join("file"), name.as_encoded_bytes()).unwrap();
        union.arg("-l").arg(name);
    }
    scene.file("a:b/other", "!");
    let upper = OsString::from_vec(b"u:p,p\\er\xff".to_vec());
    union.arg("-u").arg(&upper).arg("merged");
    assert_eq!(stdout(&union.assert().success()), "k\\:l,m=!");
    assert!(scene.path("").join(upper).is_dir());
}

#[test]
fn a_path_may_be_longer_than_the_255_bytes_that_the_kernel_takes_as_an_option() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let long = format!("{0}/{0}", "x".repeat(200));
    scene.file(&format!("{long}/only"), "from afar");
    let run = private(&scene, &format!("unionmount -l bottom -l {long} merged; cat merged/only"));
    assert_eq!(stdout(&run.success()), "from afar");
}

#[test]
fn many_long_names_need_no_room_in_an_option_string() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("merged");
    let layers: Vec<String> = (0..100).map(|n| format!("{}{n}", "x".repeat(60))).collect();
    for (n, layer) in layers.iter().enumerate() {
        scene.file(&format!("{layer}/file"), &n.to_string());
        scene.file(&format!("{layer}/file{n}"), "");
    }
    let options: String = layers.iter().map(|layer| format!("-l {layer} ")).collect();
    let run = private(&scene, &format!("unionmount {options} merged; cat merged/file; ls merged | wc -l"));
    assert_eq!(stdout(&run.success()), "99101\n");
}

#[test]
fn a_layer_that_is_a_link_is_followed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    std::os::unix::fs::symlink("bottom", scene.path("link")).unwrap();
    let run = private(&scene, "unionmount -l link merged; cat merged/only");
    assert_eq!(stdout(&run.success()), "bottom only");
}

#[test]
fn merged_may_be_one_of_the_layers() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run =
        private(&scene, "unionmount -l top -l bottom --ephemeral bottom; cat bottom/both; touch bottom/new");
    assert_eq!(stdout(&run.success()), "bottom");
    assert!(!scene.path("bottom/new").exists());
}

#[test]
fn the_machines_own_root_is_a_layer_like_any_other() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.dir("merged");
    let run = private(
        &scene,
        "unionmount --lower / --ephemeral merged -- chroot merged sh -c 'id -u; echo x > /etc/cs-new'
         grep -c /merged /proc/self/mountinfo",
    );
    assert_eq!(stdout(&run.success()), "0\n1\n");
    assert!(!std::path::Path::new("/etc/cs-new").exists());
}

#[test]
fn an_ordinary_user_mounts_in_a_user_namespace() {
    let scene = two_layers();
    let run = rootless(
        &scene,
        "unionmount -v -l bottom -l top --ephemeral merged; cat merged/both; echo x > merged/new; cat merged/new",
    );
    assert_eq!(stdout(&run.success()), "topx\n");
    scene.assert_nothing_left();
}

#[test]
fn steps_are_reported_with_v() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    let run = private(&scene, "unionmount -v -l bottom -l top -u up merged").success();
    assert!(stderr(&run).contains("unionmount: mount overlay on"), "{}", stderr(&run));
    assert!(stderr(&run).contains("unionmount: make"), "{}", stderr(&run));
}

#[test]
fn what_lies_in_merged_is_covered_and_comes_back() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    scene.file("merged/mine", "mine");
    let run = private(&scene, "unionmount -l bottom merged; ls merged; umount merged; ls merged");
    assert_eq!(stdout(&run.success()), "both\nonly\nmine\n");
}

#[test]
fn a_union_may_be_a_layer_of_another_but_not_of_a_third() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = two_layers();
    scene.dir("second");
    scene.dir("third");
    let run = private(
        &scene,
        "unionmount -l bottom -l top merged
         unionmount -l merged --ephemeral second; cat second/both; touch second/new
         unionmount -l second --ephemeral third || echo $?",
    );
    let run = run.success();
    assert_eq!(stdout(&run), "top125\n");
    assert!(stderr(&run).contains("maximum fs stacking depth exceeded"), "{}", stderr(&run));
}
