//! The group and the groups in it, with their processes, over all hierarchies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::error::printable;
use common::{Result, json, output};
use serde_json::{Value, json};

use crate::group::Group;
use crate::members::{pids, subtree};

/// Each group of the subtree by its path, with its processes.
type Tree = BTreeMap<PathBuf, BTreeSet<i32>>;

/// Prints the tree: a line for each group, its processes indented; or a JSON array.
pub fn print(group: &Group<'_>, as_json: bool) -> Result<()> {
    let tree = tree_of(group)?;
    if as_json {
        let groups = tree.iter().map(|(path, pids)| {
            let processes = pids.iter().map(|pid| json!({ "pid": pid, "command": json_command(*pid) }));
            json!({ "path": json::from_name(path), "processes": processes.collect::<Value>() })
        });
        return output::write_json(&groups.collect());
    }
    let mut text = String::new();
    for (path, pids) in tree {
        text.push_str(&format!("{}\n", printable(path)));
        for pid in pids {
            text.push_str(&format!("  {pid:>7} {}\n", command_of(pid)));
        }
    }
    output::write(text)
}

/// A group need not be in every hierarchy, and each may know processes that others don't.
fn tree_of(group: &Group<'_>) -> Result<Tree> {
    let mut tree = Tree::new();
    for place in &group.places {
        let top = place.directory();
        for directory in subtree(&top) {
            let below = directory.strip_prefix(&top).unwrap_or(Path::new(""));
            let path = if below.as_os_str().is_empty() { group.name.clone() } else { group.name.join(below) };
            tree.entry(path).or_default().extend(pids(&directory)?);
        }
    }
    Ok(tree)
}

/// The command line, on one readable line; in brackets the name where there is none (a kernel
/// thread), and nothing for a process that has ended or is of another PID namespace.
fn command_of(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = words.split(|&byte| byte == 0).filter(|word| !word.is_empty()).map(as_text).collect();
    match (words.is_empty(), fs::read(format!("/proc/{pid}/comm"))) {
        (true, Ok(name)) => format!("[{}]", as_text(name.trim_ascii_end())),
        _ => words.join(" "),
    }
}

fn json_command(pid: i32) -> Value {
    let command = command_of(pid);
    if command.is_empty() { Value::Null } else { command.into() }
}

fn as_text(bytes: &[u8]) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    printable(std::ffi::OsStr::from_bytes(bytes))
}
