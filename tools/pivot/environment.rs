//! COMMAND's environment: the caller's or none, with changes.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use common::{During as _, Error, Result};

/// The changes to make.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Whether to start from nothing.
    pub clear: bool,
    /// Variables to set, the later before the earlier.
    pub set: Vec<(OsString, OsString)>,
}

impl Environment {
    /// Reads the words of `--env` and the lines of `--env-file`; the words win.
    pub fn new(clear: bool, files: &[PathBuf], words: &[OsString]) -> Result<Self> {
        let mut environment = Self { clear, set: Vec::new() };
        for file in files {
            let text = std::fs::read(file).during("read the variables", file)?;
            for line in text.split(|&byte| byte == b'\n') {
                // As docker run reads it: a comment is a whole line, blanks before the name don't count.
                let line = line.trim_ascii_start();
                if !line.is_empty() && !line.starts_with(b"#") {
                    environment.add(line)?;
                }
            }
        }
        for word in words {
            environment.add(word.as_bytes())?;
        }
        Ok(environment)
    }

    /// `K=V` sets, `K` takes the caller's value, if it has one.
    fn add(&mut self, text: &[u8]) -> Result<()> {
        let bad = |why: &str| {
            Error::usage(format!("{}: {why}", common::error::printable(OsStr::from_bytes(text))))
                .hint("write a variable as NAME=VALUE")
        };
        let mut parts = text.splitn(2, |&byte| byte == b'=');
        let name = parts.next().unwrap_or_default();
        if name.is_empty() || name.contains(&0) {
            return Err(bad("a variable needs a name"));
        }
        let name = OsStr::from_bytes(name).to_owned();
        match parts.next() {
            Some(value) if value.contains(&0) => return Err(bad("a value cannot hold a NUL byte")),
            Some(value) => self.put(name, OsStr::from_bytes(value).to_owned()),
            None => {
                if let Some(value) = env::var_os(&name) {
                    self.put(name, value);
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, name: OsString, value: OsString) {
        self.set.retain(|(have, _)| *have != name);
        self.set.push((name, value));
    }

    /// The user's home, unless HOME was given.
    pub fn default_home(&mut self, home: &Path) {
        if !self.set.iter().any(|(name, _)| name == "HOME") {
            self.put("HOME".into(), home.into());
        }
    }

    /// The changes as `K=V`.
    pub fn assignments(&self) -> Vec<OsString> {
        self.set.iter().map(|(name, value)| [name.as_os_str(), value].join(OsStr::new("="))).collect()
    }

    /// What COMMAND gets; `None` where that is the caller's own, untouched.
    pub fn strings(&self) -> Option<Vec<CString>> {
        if !self.clear && self.set.is_empty() {
            return None;
        }
        let inherited = env::vars_os().filter(|(name, _)| !self.clear && !self.sets(name));
        let inherited = inherited.map(|(name, value)| [name.as_os_str(), &value].join(OsStr::new("=")));
        let all = inherited.chain(self.assignments());
        // Neither what execve(2) gave us nor what add() let pass holds a NUL.
        Some(all.filter_map(|variable| CString::new(variable.into_vec()).ok()).collect())
    }

    fn sets(&self, name: &OsStr) -> bool {
        self.set.iter().any(|(have, _)| have == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn strings(environment: &Environment) -> Vec<String> {
        let strings = environment.strings().unwrap();
        strings.iter().map(|text| text.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        let environment = Environment::new(true, &[], &words(&["A=1", "B=x=y", "A="])).unwrap();
        assert_eq!(strings(&environment), ["B=x=y", "A="]);
    }

    #[test]
    fn a_file_has_comments_and_words_win_over_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"# no\n\nA=1\n  B= 2 \nNOT_SET_ANYWHERE\n").unwrap();
        let environment = Environment::new(true, &[file.path().to_owned()], &words(&["A=3"])).unwrap();
        assert_eq!(strings(&environment), ["B= 2 ", "A=3"]);
    }

    #[test]
    fn a_name_alone_keeps_the_callers_value() {
        let environment = Environment::new(true, &[], &words(&["PATH"])).unwrap();
        assert_eq!(strings(&environment), [format!("PATH={}", env::var("PATH").unwrap())]);
    }

    #[test]
    fn home_is_the_users_unless_given() {
        let mut environment = Environment::new(true, &[], &words(&["HOME=/x"])).unwrap();
        environment.default_home(Path::new("/root"));
        assert_eq!(strings(&environment), ["HOME=/x"]);
    }

    #[test]
    fn untouched_means_untouched() {
        assert_eq!(Environment::default().strings(), None);
        assert!(Environment::new(false, &[], &words(&["=1"])).is_err());
    }
}
