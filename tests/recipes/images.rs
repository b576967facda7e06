//! Images on their way: other names, a registry, other programs, several at once.

use crate::common::registry::Registry;
use crate::common::{Need, needs};
use crate::{Store, can_run, can_run_here};

#[test]
fn a_tag_is_another_name_of_the_same_image() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.sh("tag base registry.example:5000/team/app:1.0 && tag base two").assert().success();
    store
        .sh("images | cut -f 1")
        .assert()
        .stdout("base:latest\nregistry.example:5000/team/app:1.0\ntwo:latest\n");
    store.sh("images | cut -f 2 | uniq | wc -l").assert().stdout("1\n");
    store.sh("run --rm registry.example:5000/team/app:1.0 true").assert().success();
    let missing = "tag: nonesuch:latest: no such image here, pull or build it\n";
    store.sh("tag nonesuch x").assert().code(125).stderr(missing);
}

#[test]
fn an_image_goes_through_a_registry_into_another_store() {
    if !can_run_here() || !needs(&[Need::Program("docker-registry"), Need::Program("umoci")]) {
        return;
    }
    let store = Store::new();
    store.image("it", "FROM base\nRUN echo x >/x; rm /etc/group; mkdir -m 700 /d\nCMD [\"cat\", \"/x\"]\n");
    let registry = Registry::start(&store.scene);
    let there = format!("127.0.0.1:{}/team/it:1", registry.port());
    let script = format!(
        "push --tls-verify=false it {there} && export CONTAINER_STEPS={} && pull --tls-verify=false {there} && pull --tls-verify=false docker://{there} back &&
        run --rm {there} && run --rm back sh -c 'ls /etc; stat -c %a /d'",
        store.scene.path("other").display()
    );
    store
        .sh(&script)
        .env("HOME", store.scene.path(""))
        .assert()
        .success()
        .stdout(predicates::str::ends_with("\nx\nhostname\nhosts\npasswd\nresolv.conf\n700\n"));
    // What umoci and skopeo make of it is what we unpacked.
    let compare = "umoci unpack --image store/images:it:latest bundle && mkdir root && \
        for layer in $(skopeo inspect oci:store/images:it:latest | jq -r '.Layers[]' | cut -d : -f 2); do whiteout unpack --apply root <store/images/blobs/sha256/$layer; done && \
        list() { (cd $1; find . -printf '%p %m %U:%G %s %l\\n' | grep -v '^\\. ' | grep -v ' [0-9]*:[0-9]* 4096 ' | sort); } && list root >ours && list bundle/rootfs >theirs && cmp ours theirs && grep -q busybox ours";
    store.sh(compare).env("HOME", store.scene.path("")).assert().success();
}

#[test]
fn an_archive_of_docker_save_is_pulled() {
    if !can_run() {
        return;
    }
    let store = Store::new();
    store.sh("push base docker-archive:saved.tar:it:1 && pull docker-archive:saved.tar saved && run --rm saved cat /etc/group | head -n 1").assert().success().stdout(predicates::str::ends_with("root:x:0:\n"));
    store.sh("pull docker-archive:saved.tar").assert().code(125);
    store.sh("pull oci:nonesuch:it x").assert().code(125);
    store.assert_nothing_left();
}

#[test]
fn pulls_at_once_do_not_disturb_each_other() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.image("it", "FROM base\nRUN echo 1 >/1\nRUN echo 2 >/2\n");
    // Into a store that does not exist yet.
    let script = format!(
        "there=$PWD/store; export CONTAINER_STEPS={}
        for n in 1 2 3 4; do pull oci:$there/images:it:latest it:$n & jobs=\"$jobs $!\"; done
        for job in $jobs; do wait $job || exit; done
        images | cut -f 1; ls -A other/layers | wc -l; ls -A other; for n in 1 2 3 4; do run --rm it:$n cat /1 /2; done",
        store.scene.path("other").display()
    );
    let assert = store.sh(&script).assert().success();
    let digest_free: Vec<_> = crate::common::stdout(&assert)
        .lines()
        .filter(|line| !line.starts_with("sha256:"))
        .map(str::to_owned)
        .collect();
    assert_eq!(digest_free.join(" "), "it:1 it:2 it:3 it:4 3 containers images layers 1 2 1 2 1 2 1 2");
}
