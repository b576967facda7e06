//! Carrying settings out: written, read back, and put back where a later step fails.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::undo::Changes;
use common::{Error, Result, size};
use nix::unistd::{SysconfVar, sysconf};

use crate::file;
use crate::group::{Group, Place};
use crate::hierarchy::{Host, Version};
use crate::key::{Setting, huge_page_of};
use crate::v1;
use crate::value::{Value, parse_list};

/// One write to a control file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The file's name.
    pub file: String,
    /// What is written.
    pub text: String,
    /// What must be read afterwards.
    pub expect: Expect,
}

/// What a control file shows when the kernel took a write as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A limit, rounded down to a multiple of the granule; `None` is no limit.
    Limit(Option<u64>, u64),
    /// What was written.
    Text,
    /// The same members.
    List(BTreeSet<u32>),
    /// In the line of a device (or `default`) these words, or no such line where it holds no limit.
    Line {
        /// The line's first word.
        of: String,
        /// The others; those that say "no limit" may be absent.
        words: Vec<String>,
        /// What removes the line.
        gone: String,
    },
    /// Frozen or thawed, which takes the processes a moment.
    Frozen(bool),
    /// A file of a format that we don't know: what was written, or a number that means the same.
    Loose,
}

/// Sets all of `settings` in `group`.
pub fn all(host: &Host, group: &Group<'_>, settings: &[Setting], changes: &mut Changes<'_>) -> Result<()> {
    for setting in settings {
        let (_, controller) = setting.home(host)?;
        let place = group.place_with(controller).ok_or_else(|| {
            Error::new("set", &setting.key, "its hierarchy cannot be written to")
                .hint("it is mounted read-only")
        })?;
        let writes = match place.hierarchy.version {
            Version::V1 => v1::writes(&place.directory(), setting)?,
            Version::V2 => vec![Write::in_v2(setting)],
        };
        for write in writes {
            write.perform(place, changes)?;
        }
    }
    Ok(())
}

/// What the kernel counts a key's limit in, in bytes: pages, huge pages, or single things.
pub fn granule(key: &str) -> u64 {
    match huge_page_of(key) {
        Some(page) => size::parse(page, || Ok(1)).unwrap_or(1).max(1),
        None if key.starts_with("memory.") => page_size(),
        None => 1,
    }
}

fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

impl Write {
    /// The write where the file has the key's name and format: all of v2's, and some of v1's.
    pub fn in_v2(setting: &Setting) -> Self {
        let Setting { key, value } = setting;
        let expect = match value {
            Value::Limit(limit) => Expect::Limit(*limit, granule(key)),
            Value::List(list) => Expect::List(list.clone()),
            Value::Switch(on) if key == "cgroup.freeze" => Expect::Frozen(*on),
            Value::IoLimits(device, limits) => Expect::Line {
                of: device.to_string(),
                words: limits
                    .iter()
                    .map(|(name, limit)| format!("{name}={}", crate::value::or_max(*limit)))
                    .collect(),
                gone: format!("{device} rbps=max wbps=max riops=max wiops=max"),
            },
            Value::IoWeight(device, weight) => {
                let of = device.map_or_else(|| "default".to_owned(), |device| device.to_string());
                let gone = format!("{of} {}", if device.is_some() { "default" } else { "100" });
                Expect::Line { of, words: vec![weight.to_string()], gone }
            }
            Value::Raw(_) => Expect::Loose,
            Value::Bandwidth(..) | Value::Weight(_) | Value::Switch(_) => Expect::Text,
        };
        Self { file: key.clone(), text: value.to_string(), expect }
    }

    /// Writes, reads back, and notes how to put the old value back.
    pub fn perform(&self, place: &Place<'_>, changes: &mut Changes<'_>) -> Result<()> {
        let file = place.file(&self.file);
        // A file that is not there, or that may only be written, is the write's business.
        let before = file::read(&file).ok();
        file::write(&file, &self.text)?;
        if let Some(old) = before {
            let (file, texts) = (file.clone(), self.way_back(&old));
            changes.made(move || texts.iter().for_each(|text| file::put_back(&file, text)));
        }
        if !is_readable(&file) {
            return Ok(());
        }
        if let Expect::Frozen(frozen) = self.expect {
            return settle(&file, &self.text, frozen);
        }
        let now = file::read(&file)?;
        if self.is_met_by(&now) {
            return Ok(());
        }
        Err(Error::new(format!("set it to {:?}", self.text), &file, format!("the kernel made it {now:?}")))
    }

    /// What to write so that the file holds `old` again.
    fn way_back(&self, old: &str) -> Vec<String> {
        match &self.expect {
            Expect::Line { of, gone, .. } => {
                let line = old.lines().find(|line| line.split_ascii_whitespace().next() == Some(of));
                // First without, so that a word that the old line lacks goes.
                [Some(gone.clone()), line.map(str::to_owned)].into_iter().flatten().collect()
            }
            Expect::Loose if self.file == "cgroup.subtree_control" => self
                .text
                .split_ascii_whitespace()
                .map(|word| match word.strip_prefix('+') {
                    Some(name) if !old.split_ascii_whitespace().any(|had| had == name) => format!("-{name}"),
                    Some(_) => String::new(),
                    None => word.replacen('-', "+", 1),
                })
                .filter(|word| !word.is_empty())
                .collect(),
            _ => vec![if old.is_empty() { "\n".to_owned() } else { old.to_owned() }],
        }
    }

    fn is_met_by(&self, now: &str) -> bool {
        match &self.expect {
            Expect::Limit(limit, granule) => same_limit(*limit, *granule, now),
            Expect::Text => now == self.text,
            Expect::List(list) => parse_list(now).as_ref() == Some(list),
            Expect::Line { of, words, .. } => {
                let line = now.lines().find(|line| line.split_ascii_whitespace().next() == Some(of));
                let shown: Vec<_> = line.unwrap_or_default().split_ascii_whitespace().collect();
                words.iter().all(|word| {
                    shown.contains(&word.as_str())
                        || (line.is_none() && (word.ends_with("=max") || word == "0"))
                })
            }
            Expect::Loose => is_loosely(&self.text, now),
            Expect::Frozen(_) => true,
        }
    }
}

/// Whether the file's number is `limit`. v1 shows "no limit" as the largest number of pages.
fn same_limit(limit: Option<u64>, granule: u64, now: &str) -> bool {
    const NO_LIMIT: u64 = i64::MAX as u64;
    let granule = granule.max(1);
    let most = NO_LIMIT / granule * granule;
    let now = match now {
        "max" | "-1" => most,
        number => match number.parse::<u64>() {
            Ok(number) => number.min(most),
            Err(_) => return false,
        },
    };
    now == limit.map_or(most, |limit| (limit / granule * granule).min(most))
}

/// Whether a file of unknown format took `text`: verbatim, as a number, or word by word.
fn is_loosely(text: &str, now: &str) -> bool {
    let wanted: Vec<_> = text.split_ascii_whitespace().collect();
    if now.split_ascii_whitespace().eq(wanted.iter().copied()) {
        return true;
    }
    if let [word] = wanted[..] {
        let number = if word == "-1" { Some(None) } else { size::parse(word, || Ok(0)).ok().map(Some) };
        let same_number = number.is_some_and(|n| same_limit(n, 1, now) || same_limit(n, page_size(), now));
        let same_decimal = matches!((word.parse::<f64>(), now.parse::<f64>()), (Ok(a), Ok(b)) if a == b);
        let same_list = parse_list(word).is_some_and(|list| parse_list(now) == Some(list));
        let shown: Vec<_> = now.split_ascii_whitespace().collect();
        // memory.oom_control of v1: "oom_kill_disable 1", and more below it.
        let named = now.lines().next().is_some_and(|line| line.split_ascii_whitespace().nth(1) == Some(word));
        return same_number || same_decimal || same_list || named || switched(word, &shown);
    }
    now.lines().any(|line| {
        let shown: Vec<_> = line.split_ascii_whitespace().collect();
        shown.first() == wanted.first() && wanted.iter().all(|word| shown.contains(word))
    }) || wanted.iter().all(|word| switched(word, &now.split_ascii_whitespace().collect::<Vec<_>>()))
}

/// `+memory` and `-memory` in cgroup.subtree_control.
fn switched(word: &str, shown: &[&str]) -> bool {
    match (word.strip_prefix('+'), word.strip_prefix('-')) {
        (Some(name), _) => shown.contains(&name),
        (_, Some(name)) => !name.starts_with(|c: char| c.is_ascii_digit()) && !shown.contains(&name),
        _ => false,
    }
}

fn is_readable(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o444 != 0)
}

/// How long processes may take to stop: one in an uninterruptible wait may never.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the group is frozen. `file` is cgroup.freeze (v2) or freezer.state (v1).
fn settle(file: &Path, text: &str, frozen: bool) -> Result<()> {
    let start = Instant::now();
    while frozen && !is_frozen(file)? {
        if start.elapsed() > PATIENCE {
            return Err(Error::new("freeze", file, "some process did not stop in 10 seconds").hint(
                "it is in an uninterruptible wait (state D), such as for a disk or a network filesystem",
            ));
        }
        sleep(Duration::from_millis(1));
        if file.ends_with("freezer.state") {
            // v1 does not finish by itself where a process was about to be stopped otherwise.
            let _ = file::put(file, text);
        }
    }
    Ok(())
}

fn is_frozen(file: &Path) -> Result<bool> {
    if file.ends_with("freezer.state") {
        return Ok(file::read(file)? == "FROZEN");
    }
    Ok(file::read(&file.with_file_name("cgroup.events"))?.lines().any(|line| line == "frozen 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: &str, value: &str) -> Write {
        Write::in_v2(&Setting::parse(&format!("{key}={value}")).unwrap())
    }

    #[test]
    fn a_limit_is_met_when_rounded_down_to_pages() {
        let page = page_size();
        let write = write("memory.max", &(3 * page + 1).to_string());
        assert!(write.is_met_by(&(3 * page).to_string()));
        assert!(!write.is_met_by(&(4 * page).to_string()));
        assert!(!write.is_met_by("max"));
    }

    #[test]
    fn no_limit_has_several_spellings() {
        assert!(same_limit(None, 4096, "max"));
        assert!(same_limit(None, 4096, "9223372036854771712"));
        assert!(same_limit(Some(u64::MAX), 4096, "max"));
        assert!(!same_limit(Some(0), 4096, "max"));
    }

    #[test]
    fn a_disks_line_is_found_among_others() {
        let write = write("io.max", "8:0 rbps=1M wiops=max");
        assert!(write.is_met_by("8:16 rbps=1 wbps=max\n8:0 rbps=1048576 wbps=max riops=max wiops=max"));
        assert!(!write.is_met_by("8:16 rbps=1048576 wiops=max"));
        assert_eq!(
            write.way_back("8:0 rbps=5 wbps=max riops=max wiops=max").last().unwrap(),
            "8:0 rbps=5 wbps=max riops=max wiops=max"
        );
        assert_eq!(write.way_back(""), ["8:0 rbps=max wbps=max riops=max wiops=max"]);
    }

    #[test]
    fn unknown_formats_are_compared_by_meaning() {
        for (text, now) in [
            ("threaded", "threaded"),
            ("64M", "67108864"),
            ("-1", "9223372036854771712"),
            ("50", "50.00"),
            ("+memory -io", "memory pids"),
            ("8:0 target=75", "8:0 target=75\n8:16 target=1"),
            ("0-1", "0,1"),
            ("1", "oom_kill_disable 1\nunder_oom 0"),
        ] {
            assert!(is_loosely(text, now), "{text:?} {now:?}");
        }
        for (text, now) in [
            ("root", "root invalid (no CPUs)"),
            ("64M", "4096"),
            ("1", "oom_kill_disable 0\nunder_oom 1"),
            ("8:0 target=75", "8:16 target=75"),
            ("+io", ""),
        ] {
            assert!(!is_loosely(text, now), "{text:?} {now:?}");
        }
    }
}
