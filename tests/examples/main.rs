//! Each example of the pages, run as it is printed.
//!
//! What an example takes for granted, and what comes of it, is in `table.rs`. It runs in a mount
//! namespace of its own, so that `/mnt` and `/srv` are the example's alone; and the name `demo`
//! is the scene's, since a cgroup is everybody's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod table;

use std::path::Path;

use common::scene::USER;
use common::{Need, Scene, needs, stderr, stdout};
use table::{By, ENTRIES, Entry};

/// The literal blocks of a page: of its EXAMPLES, or all where it has no such section.
fn examples(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let section = match text.split_once("\n.Sh EXAMPLES\n") {
        Some((_, rest)) => rest.split_once("\n.Sh ").map_or(rest, |(section, _)| section).to_owned(),
        None => text,
    };
    let blocks = section.split("\n.Bd -literal").skip(1).filter_map(|block| block.split_once("\n.Ed"));
    blocks.map(|(block, _)| as_printed(block.split_once('\n').unwrap().1)).collect()
}

/// What roff makes of a line.
fn as_printed(text: &str) -> String {
    text.replace("\\e", "\\").replace("\\&", "").replace("\\-", "-")
}

fn pages() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let mut names: Vec<_> = directory
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_example_is_in_the_table_and_the_table_has_no_other() {
    let printed: Vec<_> = pages()
        .into_iter()
        .flat_map(|page| examples(&page).into_iter().map(move |text| (page.clone(), text)))
        .collect();
    let is_of = |entry: &Entry, page: &str, text: &str| entry.page == page && text.starts_with(entry.begins);
    for (page, text) in &printed {
        let entries = ENTRIES.iter().filter(|entry| is_of(entry, page, text)).count();
        assert_eq!(entries, 1, "{page}: entries for\n{text}");
    }
    for entry in ENTRIES {
        let examples = printed.iter().filter(|(page, text)| is_of(entry, page, text)).count();
        assert_eq!(examples, 1, "{}: examples that begin with {}", entry.page, entry.begins);
    }
    assert!(pages().iter().all(|page| !examples(page).is_empty()), "a page without an example");
}

/// Runs the examples of a page; each must do what the table says, and leave nothing.
fn run(page: &str) {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let printed = examples(page);
    for entry in ENTRIES.iter().filter(|entry| entry.page == page) {
        let text =
            printed.iter().find(|text| text.starts_with(entry.begins)).expect("an example of the page");
        run_one(entry, text);
    }
}

fn run_one(entry: &Entry, text: &str) {
    let scene = Scene::new();
    scene.rootfs("root");
    let own = |script: &str| script.replace("demo", scene.name());
    scene.file("example", &own(&format!("set -e\n{}\n{text}\n{}\n", entry.before, entry.after)));
    let who = match entry.by {
        By::Root => String::new(),
        By::User => format!("setpriv --reuid {USER} --regid {USER} --clear-groups"),
    };
    // $HOME and /srv are the example's; a root filesystem is in /srv/root.
    let script = format!(
        "set -e; mount -t tmpfs tmpfs /srv; cp -a root /srv/root; mkdir -m 777 home; export HOME=$PWD/home; exec {who} sh example"
    );
    let run = scene
        .sh("exec unshare --mount sh -c \"$SCRIPT\" 2>&1")
        .env("SCRIPT", script)
        .write_stdin(own(entry.input))
        .assert();
    let said = stdout(&run) + &stderr(&run);
    assert!(run.get_output().status.success(), "{}: {text}\n{said}", entry.page);
    for expected in entry.shows {
        let (is_there, what) = match expected.strip_prefix('!') {
            Some(what) => (false, own(what)),
            None => (true, own(expected)),
        };
        assert_eq!(said.contains(&what), is_there, "{}: {text}\n{expected}: {said}", entry.page);
    }
    scene.assert_all_ends();
}

#[test]
fn those_of_cgset_do_what_they_say() {
    run("cgset.1");
}

#[test]
fn those_of_nsenter_lite_do_what_they_say() {
    run("nsenter-lite.1");
}

#[test]
fn those_of_pivot_do_what_they_say() {
    run("pivot.1");
}

#[test]
fn those_of_unionmount_do_what_they_say() {
    run("unionmount.1");
}

#[test]
fn those_of_unshare_lite_do_what_they_say() {
    run("unshare-lite.1");
}

#[test]
fn those_of_whiteout_do_what_they_say() {
    run("whiteout.1");
}

#[test]
fn those_of_the_overview_do_what_they_say() {
    run("container-steps.7");
}
