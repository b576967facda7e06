//! The same for an ordinary user, in a user namespace.

use crate::common::{Need, needs, stderr, stdout};
use crate::{Store, can_run, can_run_here};

const AS_USER: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

impl Store {
    /// A line for an ordinary user that root's script ends with, as `$LINE`.
    fn sh_to_user(&self, script: &str, line: &str) -> assert_cmd::Command {
        let mut command = self.scene.private_sh(script);
        command.env("LINE", format!("{}{line}", self.names())).env_remove("CONTAINER_STEPS");
        command.env("XDG_DATA_HOME", self.scene.path("data"));
        command
    }
}

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

#[test]
fn with_subordinate_ids_the_owners_of_files_are_kept() {
    if !can_run_here() || !needs(&[Need::Program("newuidmap")]) {
        return;
    }
    let store = prepared();
    store.dockerfile("owned", "FROM base\nRUN chown 5:6 /x\nUSER 5:6\n");
    store.scene.file("granted", "nobody:200000:1000\n");
    let script = format!(
        "mount --bind granted /etc/subuid; mount --bind granted /etc/subgid; exec {AS_USER} sh -ec \"$LINE\""
    );
    let line = "build -t base base >&2; build -t owned owned >&2; run --rm owned sh -c 'stat -c %u:%g /x; id; cat /x'
        stat -c %u:%g data/container-steps/layers/*/x | sort";
    let expected = "5:6\nuid=5 gid=6 groups=6\nx\n200004:200005\n65534:65534\n";
    store.sh_to_user(&script, line).assert().success().stdout(expected);
    store.scene.assert_all_ends();
}

#[test]
fn in_a_delegated_cgroup_limits_are_set_and_kept() {
    if !needs(&[Need::Root, Need::CgroupV2, Need::Program("jq"), Need::Program("skopeo")]) {
        return;
    }
    let store = prepared();
    store.user_sh("build -t base base").assert().success();
    let group = store.scene.name();
    let script = format!(
        "cgset {group} memory.max=max pids.max=max --owner 65534:65534
         cgset {group} -- {AS_USER} cgset ./shell -- sh -ec \"$LINE\"
         cgset {group} --kill --delete --recursive"
    );
    let line = format!(
        "code=0; run --rm -m 64m base dd if=/dev/zero of=/dev/null bs=200M count=1 || code=$?; echo $code
         run -d --name box --pids 7 base sleep 600; cd /sys/fs/cgroup/{group}; cat box.*/pids.max
         remove -f box; echo *.*",
    );
    let seen = stdout(&store.sh_to_user(&script, &line).assert().success());
    assert!(seen.starts_with("137\nbox\n7\n"), "{seen}");
    assert!(!seen.contains("box."), "{seen}");
    store.scene.assert_all_ends();
}
