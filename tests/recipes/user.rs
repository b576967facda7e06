//! The same for an ordinary user, in a user namespace.

use crate::common::{stderr, stdout};
use crate::{Store, can_run, can_run_here};

fn prepared() -> Store {
    let store = Store::empty();
    store.busybox("base");
    store.scene.dir("data");
    store.dockerfile("base", "FROM scratch\nADD rootfs.tar /\nRUN echo x >/x; chmod 700 /x\n");
    store
}

#[test]
fn an_ordinary_user_builds_runs_enters_and_commits() {
    if !can_run() {
        return;
    }
    let store = prepared();
    store.user_sh("build -t base base").assert().success();
    store.user_sh("run --rm base sh -c 'id -u; cat /x; exit 4'").assert().code(4).stdout("0\nx\n");
    let story = "run -d --name box base sleep 600 && exec box sh -c 'rm /x; echo y >/y; id -u; hostname' && containers | cut -f 1,4 && \
        commit box changed && remove -f box && containers && run --rm changed sh -c 'cat /y; ls /x'";
    let assert = store.user_sh(story).assert().code(1);
    let lines: Vec<_> =
        stdout(&assert).lines().filter(|line| !line.starts_with("sha256:")).map(str::to_owned).collect();
    assert_eq!(lines, ["box", "0", "box", "box\trunning", "y"]);
    store
        .scene
        .sh("stat -c '%a %u' data/container-steps; find data ! -uid 65534 | wc -l")
        .assert()
        .stdout("700 65534\n1\n");
    store.scene.assert_all_ends();
}

#[test]
fn limits_that_cannot_be_set_are_an_error() {
    if !can_run_here() {
        return;
    }
    let store = prepared();
    store.user_sh("build -t base base").assert().success();
    let assert = store.user_sh("run --rm -m 64m base true").assert().code(125);
    assert!(stderr(&assert).starts_with("cgset: "), "{}", stderr(&assert));
    store.scene.sh("ls -A data/container-steps/containers").assert().stdout("");
    store.scene.assert_all_ends();
}
