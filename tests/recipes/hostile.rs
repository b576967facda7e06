//! Images, contexts and archives that want to reach the host.

use std::fs;

use crate::common::{stderr, stdout};
use crate::{Store, can_run_here};

#[test]
fn links_of_the_image_lead_copy_and_add_nowhere_else() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    let host = store.scene.dir("host").display().to_string();
    store.scene.file("it/file", "copied");
    store.scene.file("it/dir/sub/file", "copied");
    store.scene.sh("cd it; tar -cf a.tar file").assert().success();
    let up = "../".repeat(20);
    store.dockerfile(
        "it",
        &format!(
            "FROM base\nRUN mkdir /inside; ln -s {host} /abs; ln -s {up}{host} /rel; ln -s {host}/file /dangling; ln -s loop /loop; \
             mkdir /d; ln -s {host} /d/sub; ln -s abs /twice\n\
             COPY file /abs/\nCOPY dir /rel\nADD a.tar /twice/tar\nCOPY file /dangling\nCOPY dir /d/\nCOPY file {up}{host}/up\n"
        ),
    );
    store.sh("build -t it it").assert().success();
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "the host was reached");
    let look = format!("cd {host}; ls -R .; cat /d/sub/file; readlink /abs");
    let expected = format!(".:\nfile\nsub\ntar\nup\n\n./sub:\nfile\n\n./tar:\nfile\ncopied{host}\n");
    store.sh(&format!("run --rm it sh -c '{look}'")).assert().success().stdout(expected);
    store.dockerfile("loop", "FROM it\nCOPY Dockerfile /loop/\n");
    let assert = store.sh("build loop").assert().code(125);
    assert!(stderr(&assert).contains("too many levels of links"), "{}", stderr(&assert));
    store.assert_nothing_left();
}

#[test]
fn a_context_has_nothing_that_is_outside() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.scene.file("secret", "of the host");
    let host = store.scene.path("").display().to_string();
    store
        .scene
        .sh(&format!("mkdir it; cd it; ln -s {host}/secret link; ln -s .. up; ln -s {host} dir"))
        .assert()
        .success();
    for source in ["../secret", "link", "up/secret", "dir/secret", "*/secret", "/../../secret", "../s*"] {
        store.dockerfile("it", &format!("FROM base\nCOPY {source} /stolen\n"));
        let assert = store.sh("build -t it it").assert().code(125);
        assert!(
            stderr(&assert).contains("no such file or directory in what is copied from"),
            "{source}: {}",
            stderr(&assert)
        );
    }
    // Neither has an earlier stage.
    store.dockerfile(
        "it",
        &format!("FROM base AS a\nRUN ln -s {host} /out\nFROM base\nCOPY --from=a /out/secret /stolen\n"),
    );
    store.sh("build -t it it").assert().code(125);
    store.sh("images | cut -f 1").assert().stdout("base:latest\n");
}

#[test]
fn an_archive_for_add_reaches_nothing() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    let host = store.scene.dir("host").display().to_string();
    store.scene.sh("mkdir it; echo x >x; tar -P --transform 's,^x,../../../../../../../../../tmp/cs-escaped,' -cf it/up.tar x").assert().success();
    store
        .scene
        .sh(&format!(
            "ln -s {host} l; tar -cf it/link.tar l; rm l; mkdir l; echo x >l/x; tar -rf it/link.tar l/x"
        ))
        .assert()
        .success();
    for archive in ["up.tar", "link.tar"] {
        store.dockerfile("it", &format!("FROM base\nADD {archive} /\n"));
        let _ = store.sh("build -t it it").output().unwrap();
    }
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "the host was reached");
    assert!(!std::path::Path::new("/tmp/cs-escaped").exists());
}

/// Puts `base` into the layout `evil`, with a config that jq has changed.
fn evil(store: &Store, change: &str) {
    let script = r#"rm -rf evil; skopeo copy -q oci:store/images:base:latest oci:evil:it && cd evil && b=blobs/sha256 || exit
        put() { sum=$(sha256sum <$1 | cut -d ' ' -f 1); size=$(stat -c %s $1); mv $1 $b/$sum; }
        at() { jq -c --arg digest sha256:$sum --argjson size $size "$1 |= (.digest = \$digest | .size = \$size)" $2; }
        m=$b/$(jq -r '.manifests[0].digest[7:]' index.json); c=$b/$(jq -r '.config.digest[7:]' $m)
        jq -c "$CHANGE" $c >c && put c && at .config $m >m && put m && at '.manifests[0]' index.json >i && mv i index.json"#;
    store.scene.sh(script).env("CHANGE", change).assert().success();
}

#[test]
fn an_image_that_lies_is_not_pulled() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    let layers = || stdout(&store.scene.sh("ls -A store/layers store/containers; ls").assert());
    store.scene.dir("evil");
    let before = layers();
    let zeros = "0".repeat(64);
    for (config, why) in [
        (".rootfs.diff_ids = [\"sha256:../../../escaped\"]".to_owned(), "not a SHA-256 digest"),
        (".rootfs.diff_ids = [\"sha256:\"]".to_owned(), "not a SHA-256 digest"),
        (format!(".rootfs.diff_ids = [\"sha256:{zeros}\"]"), "has another content"),
        (".rootfs.diff_ids = []".to_owned(), "an image needs a diff id for each layer"),
        (format!(".rootfs.diff_ids = [\"sha256:{zeros}\\nsha256:x y\"]"), "has another content"),
    ] {
        evil(&store, &config);
        let assert = store.sh("pull oci:evil:it evil").assert().code(125).stdout("");
        assert!(stderr(&assert).contains(why), "{config}: {}", stderr(&assert));
        assert_eq!(layers(), before, "{config}");
    }
    store.sh("images | cut -f 1").assert().stdout("base:latest\n");
}

#[test]
fn an_image_cannot_make_the_shell_run_its_words_or_take_the_callers_variables() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    let words = r#"["/bin/busybox", "echo", "$(touch escaped)", "`touch escaped`", "'; touch escaped; '", "a\nb", "*", "--", "-x"]"#;
    let variables = r#"["SECRET", "A='; touch escaped; '", "B=$(touch escaped)"]"#;
    let config =
        format!(r#".config = {{Cmd: {words}, Env: {variables}, WorkingDir: "/tmp/$(touch escaped)"}}"#);
    evil(&store, &config);
    store.sh("pull oci:evil:it evil").assert().success();
    store
        .sh("run --rm evil")
        .assert()
        .success()
        .stdout("$(touch escaped) `touch escaped` '; touch escaped; ' a\nb * -- -x\n");
    let assert = store.sh("run --rm evil sh -c 'env; pwd; ls'").assert().success();
    assert!(!stdout(&assert).contains("SECRET"), "{}", stdout(&assert));
    assert!(stdout(&assert).contains("\nA='; touch escaped; '\n"), "{}", stdout(&assert));
    store.scene.sh("find . -name escaped").assert().stdout("");
    for odd in [".config.Cmd = {}", ".config.User = [[]]", ".config = []", ".config.Entrypoint = [{}]"] {
        evil(&store, odd);
        store.sh("pull oci:evil:it evil && run --rm evil true").assert().code(125);
    }
    store.assert_nothing_left();
}

#[test]
fn a_store_that_others_can_enter_is_refused() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.scene.sh("stat -c %a store").assert().stdout("700\n");
    store.scene.sh("chmod 755 store").assert().success();
    let assert = store.sh("run --rm base true").assert().code(125);
    assert!(stderr(&assert).contains("has to be its user's own, with mode 700"), "{}", stderr(&assert));
    store.scene.sh("chmod 700 store").assert().success();
    for odd in ["relative", "/tmp/a:b", "/tmp/a\nb"] {
        store.sh("images").env("CONTAINER_STEPS", odd).assert().code(125);
        assert!(!store.scene.path(odd).exists());
    }
}
