//! Mistakes of the caller's: one clear line, status 125, nothing made.

use crate::common::{Scene, stderr};

/// The message of a command line that has to fail.
fn refused(scene: &Scene, line: &str) -> String {
    stderr(&scene.sh(line).assert().code(125).stdout(""))
}

#[test]
fn without_arguments_it_says_how_to_use_it() {
    let scene = Scene::new();
    assert_eq!(
        refused(&scene, "whiteout"),
        "whiteout: nothing to do\nwhiteout: hint: 'whiteout --help' shows how to use it\n"
    );
    for line in ["whiteout create", "whiteout opaque", "whiteout remove", "whiteout list", "whiteout diff"] {
        assert!(refused(&scene, line).contains("required arguments were not provided"), "{line}");
    }
}

#[test]
fn what_it_does_not_know_is_named() {
    let scene = Scene::new();
    assert!(refused(&scene, "whiteout paint x").contains("unrecognized subcommand 'paint'"));
    assert!(refused(&scene, "whiteout list --frob x").contains("unexpected argument '--frob'"));
    assert!(refused(&scene, "whiteout create --format aufs x").contains("invalid value 'aufs'"));
    assert!(refused(&scene, "whiteout list -0 --json x").contains("cannot be used with"));
}

#[test]
fn two_dashes_end_the_options_and_no_command_is_missed() {
    let scene = Scene::new();
    scene.dir("layer");
    scene.sh("whiteout create -f oci layer/x && whiteout list layer --").assert().success().stdout("x\n");
    scene
        .sh("cd layer; whiteout create -f oci -- -y && whiteout list -- .")
        .assert()
        .success()
        .stdout("-y\nx\n");
    let message = refused(&scene, "whiteout list --");
    assert!(message.contains("required arguments were not provided: <DIR>"), "{message}");
    assert!(refused(&scene, "whiteout --").contains("--help"));
}

#[test]
fn a_missing_directory_is_named_with_a_hint() {
    let scene = Scene::new();
    let message = refused(&scene, "whiteout create no/such");
    assert!(
        message.starts_with("whiteout: no: open the directory: No such file or directory\n"),
        "{message}"
    );
    assert!(message.contains("hint: make the directory first"), "{message}");
    for line in
        ["whiteout list no", "whiteout diff -u no -l /", "whiteout diff -u . -l no", "whiteout opaque no"]
    {
        assert!(refused(&scene, line).contains("no: open the directory: No such file"), "{line}");
    }
}

#[test]
fn a_path_must_end_in_a_name() {
    let scene = Scene::new();
    for path in ["/", ".", "..", "a/.."] {
        assert!(refused(&scene, &format!("whiteout create {path}")).contains("it does not end in a name"));
    }
    assert!(refused(&scene, "whiteout create -f oci .wh.a").contains("are marks themselves in this format"));
}

#[test]
fn trusted_attributes_are_refused_to_an_ordinary_user_with_a_hint() {
    let scene = Scene::new();
    scene.user_sh("mkdir layer").assert().success();
    let failed = scene.user_sh("whiteout opaque --format overlay layer").assert().code(125);
    let message = stderr(&failed);
    assert!(message.contains("layer: set trusted.overlay.opaque: Operation not permitted\n"), "{message}");
    assert!(message.contains("use --format userxattr"), "{message}");
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    let scene = Scene::new();
    scene.dir("layer");
    let run = scene.sh("whiteout list --json layer >/dev/full").assert().code(125);
    assert_eq!(stderr(&run), "whiteout: standard output: write: No space left on device\n");
    for action in ["list", "pack"] {
        let run = scene.sh(&format!("whiteout {action} layer >&-")).assert().code(125);
        assert_eq!(stderr(&run), "whiteout: standard output: write: it is closed\n");
    }
}
