//! The target's namespaces beside the caller's.

use serde_json::Value;

use crate::common::namespace::own_namespace;
use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{STAY, Target};

#[test]
fn the_table_says_what_differs() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite --uts --net -- {STAY}"));
    let table = stdout(&scene.sh(&format!("nsenter-lite -t {} --list", target.pid)).assert().success());
    for kind in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        let row = table.lines().find(|row| row.split_whitespace().next() == Some(kind)).unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(format!("{kind}:[{}]", words[1]), target.link(&format!("ns/{kind}")));
        assert_eq!(format!("{kind}:[{}]", words[2]), own_namespace(kind));
        assert_eq!(words[3], if ["uts", "net"].contains(&kind) { "differs" } else { "same" });
    }
}

#[test]
fn json_has_the_same() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let target = Target::start(&scene, &format!("exec unshare-lite --uts -- {STAY}"));
    let run = scene.sh(&format!("nsenter-lite -t {} --list --json", target.pid)).assert().success();
    let list: Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_eq!(list["pid"], target.pid);
    let uts = &list["namespaces"]["uts"];
    assert_eq!(format!("uts:[{}]", uts["target"]), target.link("ns/uts"));
    assert_eq!(format!("uts:[{}]", uts["caller"]), own_namespace("uts"));
    assert_eq!(uts["same"], false);
    assert_eq!(list["namespaces"]["net"]["same"], true);
}

#[test]
fn another_users_process_cannot_be_looked_into() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for line in ["nsenter-lite -t 1 --list", "nsenter-lite -t 1 -- echo ran"] {
        let run = scene.user_sh(line).assert().code(125).stdout("");
        let said = stderr(&run);
        assert!(said.contains("Permission denied") && said.contains("hint: "), "{said}");
    }
}

#[test]
fn a_list_has_no_command() {
    let scene = Scene::new();
    scene.sh("nsenter-lite -t $$ --list -- true").assert().code(125);
    scene.sh("nsenter-lite -t $$ --json").assert().code(125);
    scene.sh("nsenter-lite -t $$ --list >/dev/full").assert().code(125);
}
