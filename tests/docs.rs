//! The pages, `--help` and README say what the tools do.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{CHAIN_TOOLS, Need, Scene, needs};

fn tools() -> impl Iterator<Item = &'static str> {
    CHAIN_TOOLS.into_iter().chain(["whiteout"])
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a tool's `--help` prints, with that of its subcommands.
fn help(tool: &str) -> Vec<String> {
    let scene = Scene::new();
    let print = |arguments: &[&str]| {
        let output = scene.tool(tool).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let own = print(&["--help"]);
    let subcommands = own.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<_> =
        subcommands.map_while(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    let others: Vec<_> =
        names.iter().filter(|name| **name != "help").map(|name| print(&[name, "--help"])).collect();
    [own].into_iter().chain(others).collect()
}

/// The long options that a help text lists: at the head of a line, after a short one at most.
fn options_of_help(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim_start);
    let long = lines.filter_map(|line| {
        line.strip_prefix("--")
            .or_else(|| line.split_once(", --").filter(|(short, _)| short.len() == 2)?.1.into())
    });
    long.map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect()).collect()
}

/// The long options that a page documents: `.Fl -name`, or `Fl -name` within a line.
fn options_of_page(tool: &str) -> BTreeSet<String> {
    let page = std::fs::read_to_string(project(&format!("man/{tool}.1"))).unwrap();
    let described = page.split("Fl -").skip(1);
    described.map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect()).collect()
}

#[test]
fn every_option_is_in_the_page_and_the_page_has_no_other() {
    for tool in tools() {
        let common = ["help", "version", "verbose"].map(str::to_owned);
        let known: BTreeSet<_> =
            help(tool).iter().flat_map(|text| options_of_help(text)).chain(common).collect();
        let described = options_of_page(tool);
        let missing: Vec<_> = known
            .difference(&described)
            .filter(|name| !["help", "version"].contains(&name.as_str()))
            .collect();
        assert!(missing.is_empty(), "{tool}.1 lacks {missing:?}");
        // A page may name an option of another tool, in an example.
        let others: BTreeSet<_> = tools()
            .filter(|other| *other != tool)
            .flat_map(help)
            .flat_map(|text| options_of_help(&text))
            .collect();
        let unknown: Vec<_> = described.difference(&known).filter(|name| !others.contains(*name)).collect();
        assert!(unknown.is_empty(), "{tool}.1 describes {unknown:?}, which {tool} does not know");
    }
}

#[test]
fn help_fits_a_screen_and_has_an_example() {
    for tool in tools() {
        let texts = help(tool);
        assert!(texts[0].contains("Example"), "{tool}");
        for text in texts {
            let (lines, widest) = (text.lines().count(), text.lines().map(|line| line.chars().count()).max());
            assert!(lines <= 70 && widest <= Some(110), "{tool}: {lines} lines, {widest:?} columns\n{text}");
        }
    }
}

#[test]
fn the_pages_are_clean() {
    if !needs(&[Need::Program("mandoc")]) {
        return;
    }
    let scene = Scene::new();
    let pages = project("man");
    let command = format!("mandoc -T lint -W warning {}/*.[1-8]", pages.display());
    scene.sh(&command).assert().success().stdout("");
}

#[test]
fn the_demo_proves_every_promise_as_root_and_as_a_user() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let tools = common::path_of("pivot").parent().unwrap().display().to_string();
    let demo = project("recipes/demo").display().to_string();
    let root = scene.sh(&demo).env("CONTAINER_STEPS_BIN", &tools).assert().success();
    let printed = common::stdout(&root);
    for promise in
        ["demo (outside", "is PID 1", "is an overlay", "mounts (outside", "works", "is killed", "is not here"]
    {
        assert!(printed.contains(promise), "{promise}: {printed}");
    }
    // The user must be able to reach the script and the tools, wherever the checkout is.
    let copy = scene.dir("checkout/recipes");
    std::fs::copy(project("recipes/demo"), copy.join("demo")).unwrap();
    let user = scene.user_sh("CONTAINER_STEPS_BIN=${PATH%%:*} checkout/recipes/demo").assert().success();
    let printed = common::stdout(&user);
    for promise in ["demo (outside", "is PID 1", "is an overlay", "works", "is not here"] {
        assert!(printed.contains(promise), "{promise}: {printed}");
    }
    scene.assert_nothing_left();
}
