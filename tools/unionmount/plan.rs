//! What is meant: plain data, with every path absolute.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, stdin};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use common::chain::Chain;
use common::idmap::IdMap;
use common::{During as _, Error, Result, size};

use crate::cli::{Cli, Fuse, Layers, Other};
use crate::options::{Setting, settings};

/// What the tool is to do.
#[derive(Debug)]
pub enum Plan {
    /// Print the stack mounted on `merged`.
    Show {
        /// Where it is mounted.
        merged: PathBuf,
        /// As JSON.
        json: bool,
    },
    /// Take the union on `merged` away.
    Unmount {
        /// Where it is mounted.
        merged: PathBuf,
    },
    /// Mount a union.
    Mount {
        /// The union.
        stack: Box<Stack>,
        /// What follows once it is mounted.
        then: Then,
    },
}

/// The union: which layers, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Stack {
    /// Where it is mounted.
    pub merged: PathBuf,
    /// The read-only layers, bottom first.
    pub lowers: Vec<PathBuf>,
    /// Below them, for data of metacopy files alone.
    pub data_only: Vec<PathBuf>,
    /// Above them, but for its own writes.
    pub init: Option<PathBuf>,
    /// How the ids of the read-only layers are shown.
    pub idmap: Vec<IdMap>,
    /// What takes the writes.
    pub writable: Writable,
    /// overlayfs's options.
    pub settings: Vec<Setting>,
    /// Whether fuse-overlayfs(1) takes its place.
    pub fuse: Fuse,
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

/// The kernel's OVL_MAX_STACK (fs/overlayfs/params.h); all read-only layers count.
const MOST_LAYERS: usize = 500;

impl Plan {
    /// Checks what was typed.
    pub fn new(cli: Cli) -> Result<Self> {
        let Cli { layers, features, fuse, from, other, merged, chain } = cli;
        let merged = absolute(&merged)?;
        match other {
            Other { show: true, json, .. } => return Ok(Self::Show { merged, json }),
            Other { unmount: true, .. } => return Ok(Self::Unmount { merged }),
            Other { .. } => {}
        }
        if from.as_deref() == Some(Path::new("-")) && layers.layers_from.as_deref() == Some(Path::new("-")) {
            return Err(Error::usage("--from - and --layers-from - cannot both read standard input")
                .hint("put one of them into a file"));
        }
        let settings = settings(&features)?;
        let data_only = features.data_only.iter().map(|path| absolute(path)).collect::<Result<_>>()?;
        let stack = Stack { merged, data_only, settings, fuse, ..Stack::of(layers)? };
        stack.check()?;
        let then = match (from, chain.chain()?) {
            (Some(record), _) => Then::HandOn { record },
            (None, Some(command)) => Then::Exec(command),
            (None, None) => Then::Return,
        };
        Ok(Self::Mount { stack: Box::new(stack), then })
    }
}

impl Stack {
    /// The layers as typed; the rest is left empty.
    fn of(layers: Layers) -> Result<Self> {
        let Layers { lower, layers_from, null, upper, work, ephemeral, init, idmap } = layers;
        let listed = match layers_from {
            Some(file) => listed(&file, if null { 0 } else { b'\n' })?,
            None => Vec::new(),
        };
        // Once, for hundreds of layers; it may be gone, where none needs it.
        let all = || lower.iter().chain(&listed);
        let here =
            if all().all(|path| path.is_absolute()) { PathBuf::new() } else { absolute(Path::new("."))? };
        Ok(Self {
            merged: PathBuf::new(),
            lowers: all().map(|path| here.join(path)).collect(),
            data_only: Vec::new(),
            init: init.as_deref().map(absolute).transpose()?,
            idmap,
            writable: writable(upper.as_deref(), work.as_deref(), ephemeral)?,
            settings: Vec::new(),
            fuse: Fuse::Never,
        })
    }

    fn check(&self) -> Result<()> {
        let count = self.lowers.len() + self.data_only.len() + usize::from(self.init.is_some());
        if self.lowers.is_empty() {
            return Err(Error::usage("no layer given")
                .hint("--lower DIR names one; --lower / is this machine's own root"));
        }
        if count > MOST_LAYERS {
            return Err(Error::usage(format!("{count} layers: overlayfs takes at most {MOST_LAYERS}"))
                .hint("merge some of them into one"));
        }
        if self.writable == Writable::No && self.has("volatile") {
            return Err(Error::usage("--volatile: nothing is written without --upper or --ephemeral")
                .hint("add one of them, or leave --volatile out"));
        }
        Ok(())
    }

    /// Whether this option of overlayfs was asked for.
    pub fn has(&self, key: &str) -> bool {
        self.settings.iter().any(|setting| setting.key.as_bytes() == key.as_bytes())
    }
}

/// The names in `file`, each ended by `end`.
fn listed(file: &Path, end: u8) -> Result<Vec<PathBuf>> {
    let mut text = Vec::new();
    let step = "read the list of layers";
    if file == Path::new("-") {
        stdin().lock().read_to_end(&mut text).during(step, "standard input")?;
    } else {
        File::open(file).and_then(|mut file| file.read_to_end(&mut text)).map_err(|error| {
            Error::new(step, file, error).hint("it is a file with a name a line, or - for standard input")
        })?;
    }
    Ok(split_list(&text, end))
}

fn split_list(text: &[u8], end: u8) -> Vec<PathBuf> {
    let names = text.split(|&byte| byte == end).filter(|name| !name.is_empty());
    names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect()
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
            Some(0) => Err(Error::usage("--ephemeral=0: a layer of no size holds nothing")
                .hint("write it as --ephemeral=64M, or without a size")),
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

    fn stack(words: &[&str]) -> Stack {
        match plan(words).unwrap() {
            Plan::Mount { stack, .. } => *stack,
            other => panic!("{other:?}"),
        }
    }

    fn why(words: &[&str]) -> String {
        plan(words).unwrap_err().to_string()
    }

    #[test]
    fn without_a_writable_layer_the_union_is_read_only() {
        let stack = stack(&["-l", "/a", "-l", "/b", "/m"]);
        assert_eq!(stack.lowers, [Path::new("/a"), Path::new("/b")]);
        assert_eq!(stack.writable, Writable::No);
        assert!(why(&["-l/a", "--volatile", "/m"]).contains("nothing is written"));
    }

    #[test]
    fn the_work_directory_is_a_sibling_of_the_upper() {
        let directory =
            |upper: &str, work: &str| Writable::Directory { upper: upper.into(), work: work.into() };
        let got = |words: &[&str]| stack(words).writable;
        assert_eq!(got(&["-l/a", "-u/x/up", "/m"]), directory("/x/up", "/x/up.work"));
        assert_eq!(got(&["-l/a", "-u/x/up", "-w/w", "/m"]), directory("/x/up", "/w"));
    }

    #[test]
    fn an_ephemeral_layer_may_have_a_size() {
        let got = |words: &[&str]| stack(words).writable;
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
        assert!(planned(500).is_ok());
        assert_eq!(planned(501).unwrap_err().to_string(), "501 layers: overlayfs takes at most 500");
        assert_eq!(planned(0).unwrap_err().to_string(), "no layer given");
    }

    #[test]
    fn what_is_relative_becomes_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(stack(&["-l", "a", "m"]).merged, here.join("m"));
    }

    #[test]
    fn a_list_of_layers_ends_lines_as_told() {
        assert_eq!(split_list(b"/a\n/b c\n\n", b'\n'), [Path::new("/a"), Path::new("/b c")]);
        assert_eq!(split_list(b"/a\nb\0/c", 0), [Path::new("/a\nb"), Path::new("/c")]);
    }

    #[test]
    fn options_become_settings() {
        let stack = stack(&["-l/a", "--ephemeral", "--metacopy", "--volatile", "-o", "nfs_export=off", "/m"]);
        let text: Vec<_> = stack.settings.iter().map(Setting::to_bytes).collect();
        assert_eq!(text, [&b"volatile"[..], b"metacopy=on", b"nfs_export=off"]);
    }
}
