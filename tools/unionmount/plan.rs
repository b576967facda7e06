//! What is meant: the union to build, as plain data, with every path absolute.

use std::path::{Path, PathBuf};

use common::chain::Chain;
use common::error::During as _;
use common::{Error, Result, size};

use crate::cli::Cli;

/// What the tool is to do.
#[derive(Debug)]
pub struct Plan {
    /// The union.
    pub stack: Stack,
    /// What follows once it is mounted.
    pub then: Then,
}

/// The union: which layers, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Stack {
    /// Where it is mounted.
    pub merged: PathBuf,
    /// The read-only layers, bottom first.
    pub lowers: Vec<PathBuf>,
    /// What takes the writes.
    pub writable: Writable,
}

/// What takes the writes.
#[derive(Debug, PartialEq, Eq)]
pub enum Writable {
    /// Nothing: the union is read-only.
    No,
    /// A directory, with overlayfs's work directory beside it.
    Directory {
        /// The writable layer.
        upper: PathBuf,
        /// On the same filesystem as the upper.
        work: PathBuf,
    },
    /// Memory, for as long as the mount exists.
    Ephemeral {
        /// The most bytes that it may hold; `None`: tmpfs's default, half of the memory.
        size: Option<u64>,
    },
}

/// What follows the mount.
#[derive(Debug)]
pub enum Then {
    /// The mount stays.
    Return,
    /// COMMAND takes the tool's place.
    Exec(Chain),
    /// A stage of a pipeline: print the record.
    HandOn {
        /// Where it is read from.
        record: PathBuf,
    },
}

/// The kernel's OVL_MAX_STACK (fs/overlayfs/params.h).
const MOST_LAYERS: usize = 500;

impl Plan {
    /// Checks what was typed.
    pub fn new(cli: Cli) -> Result<Self> {
        let Cli { lower, upper, work, ephemeral, from, merged, chain } = cli;
        let stack = Stack {
            merged: absolute(&merged)?,
            lowers: lowers(&lower)?,
            writable: writable(upper.as_deref(), work.as_deref(), ephemeral)?,
        };
        let then = match (from, chain.chain()) {
            (Some(record), _) => Then::HandOn { record },
            (None, Some(command)) => Then::Exec(command),
            (None, None) => Then::Return,
        };
        Ok(Self { stack, then })
    }
}

fn lowers(typed: &[PathBuf]) -> Result<Vec<PathBuf>> {
    match typed.len() {
        0 => Err(Error::usage("no layer given")
            .hint("--lower DIR names one; --lower / is this machine's own root")),
        count if count > MOST_LAYERS => {
            Err(Error::usage(format!("{count} layers: overlayfs takes at most {MOST_LAYERS}"))
                .hint("merge some of them into one"))
        }
        _ => typed.iter().map(|lower| absolute(lower)).collect(),
    }
}

fn writable(
    upper: Option<&Path>,
    work: Option<&Path>,
    ephemeral: Option<Option<String>>,
) -> Result<Writable> {
    if let Some(size) = ephemeral {
        let size = size.map(|text| size::parse(&text, size::machine_memory)).transpose()?;
        return match size {
            // tmpfs(5) takes 0 for "no limit", which nobody means who asks for a limit.
            Some(0) => Err(Error::usage("--ephemeral=0: a layer of no size holds nothing")),
            size => Ok(Writable::Ephemeral { size }),
        };
    }
    let Some(upper) = upper else { return Ok(Writable::No) };
    let upper = absolute(upper)?;
    let work = match work {
        Some(work) => absolute(work)?,
        None => beside(&upper)?,
    };
    Ok(Writable::Directory { upper, work })
}

/// The work directory that goes with an upper: on the same filesystem, and easy to recognise.
fn beside(upper: &Path) -> Result<PathBuf> {
    let name = upper.file_name().ok_or_else(|| {
        Error::usage(format!("--upper {}: it has no name to derive a work directory from", upper.display()))
            .hint("--work DIR names one on the same filesystem")
    })?;
    let mut name = name.to_owned();
    name.push(".work");
    Ok(upper.with_file_name(name))
}

/// Before a namespace is entered, which changes the working directory.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).during("make absolute", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches as _;

    fn plan(words: &[&str]) -> Result<Plan> {
        let words = ["unionmount"].iter().chain(words);
        let matches = common::app::command::<Cli>().try_get_matches_from(words).unwrap();
        Plan::new(Cli::from_arg_matches(&matches).unwrap())
    }

    fn why(words: &[&str]) -> String {
        plan(words).unwrap_err().to_string()
    }

    #[test]
    fn without_a_writable_layer_the_union_is_read_only() {
        let plan = plan(&["-l", "/a", "-l", "/b", "/m"]).unwrap();
        assert_eq!(plan.stack.lowers, [Path::new("/a"), Path::new("/b")]);
        assert_eq!(plan.stack.writable, Writable::No);
        assert!(matches!(plan.then, Then::Return));
    }

    #[test]
    fn the_work_directory_is_a_sibling_of_the_upper() {
        let directory =
            |upper: &str, work: &str| Writable::Directory { upper: upper.into(), work: work.into() };
        let got = |words: &[&str]| plan(words).unwrap().stack.writable;
        assert_eq!(got(&["-l/a", "-u/x/up", "/m"]), directory("/x/up", "/x/up.work"));
        assert_eq!(got(&["-l/a", "-u/x/up", "-w/w", "/m"]), directory("/x/up", "/w"));
    }

    #[test]
    fn an_ephemeral_layer_may_have_a_size() {
        let got = |words: &[&str]| plan(words).unwrap().stack.writable;
        assert_eq!(got(&["-l/a", "--ephemeral", "/m"]), Writable::Ephemeral { size: None });
        assert_eq!(got(&["-l/a", "--ephemeral=4M", "/m"]), Writable::Ephemeral { size: Some(4 << 20) });
        assert!(why(&["-l/a", "--ephemeral=0", "/m"]).contains("holds nothing"));
        assert!(why(&["-l/a", "--ephemeral=lots", "/m"]).contains("lots: read a size"));
    }

    #[test]
    fn one_layer_too_many_names_the_limit() {
        let words =
            |count| -> Vec<String> { (0..count).map(|n| format!("-l/{n}")).chain(["/m".into()]).collect() };
        let planned = |count| plan(&words(count).iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(planned(500).unwrap().stack.lowers.len(), 500);
        assert_eq!(planned(501).unwrap_err().to_string(), "501 layers: overlayfs takes at most 500");
        assert_eq!(planned(0).unwrap_err().to_string(), "no layer given");
    }

    #[test]
    fn what_is_relative_becomes_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(plan(&["-l", "a", "m"]).unwrap().stack.merged, here.join("m"));
    }
}
