//! The exec contract: how a tool becomes COMMAND, the same in all of them.
//!
//! COMMAND gets what the tool got: argument bytes, standard streams, environment,
//! signal mask and dispositions, SIGPIPE included. It gets no descriptor above 2
//! but those that were asked for. Not found is 127, found but not runnable is 126.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use clap::Args;
use nix::errno::Errno;

use crate::error::{During as _, Error, Result};
use crate::exit::Exit;
use crate::{sys, trace};

/// What every chain tool has on its command line.
#[derive(Args, Debug)]
pub struct ChainArgs {
    /// Pass the N descriptors from 3 on to COMMAND; all others above 2 are closed
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u16,
    /// The command that takes the tool's place, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A COMMAND to become.
#[derive(Debug)]
pub struct Chain {
    argv: Vec<CString>,
    preserve_fds: u32,
}

impl ChainArgs {
    /// The COMMAND, if one was given; what it must not inherit closes at exec.
    pub fn chain(self) -> Result<Option<Chain>> {
        // Arguments come from execve(2), so they hold no NUL.
        let argv: Vec<_> =
            self.command.into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect();
        if argv.is_empty() {
            return Ok(None);
        }
        let chain = Chain { argv, preserve_fds: self.preserve_fds.into() };
        chain.close_other_descriptors().map(|()| Some(chain))
    }

    /// The COMMAND, where the tool is nothing without one.
    pub fn required(self) -> Result<Chain> {
        self.chain()?
            .ok_or_else(|| Error::usage("no COMMAND given").hint("end the line with -- COMMAND [ARG...]"))
    }
}

impl Chain {
    /// Fails where COMMAND is nowhere to be found: to be asked before what cannot be taken back.
    pub fn must_be_there(&self, environment: Option<&[CString]>) -> Result<()> {
        let name = self.argv[0].as_bytes();
        if candidates(name, environment).iter().any(may_exist) { Ok(()) } else { Err(not_found(name)) }
    }

    /// Becomes COMMAND with this process's environment. Returns only the error.
    pub fn exec(&self) -> Error {
        self.exec_in(None)
    }

    /// Becomes COMMAND; with `environment`, COMMAND gets that and is searched in its PATH.
    /// Returns only the error.
    pub fn exec_in(&self, environment: Option<&[CString]>) -> Error {
        match self.prepare() {
            Ok(()) => self.exec_prepared(environment),
            Err(error) => error,
        }
    }

    /// All of [`exec_in`](Self::exec_in) but the exec: what a seccomp filter may forbid.
    pub fn prepare(&self) -> Result<()> {
        sys::startup::close_inherited_from(3 + self.preserve_fds);
        // Ours close at exec by themselves, inherited ones since `chain()`: this is for what a library opened.
        match sys::exec::close_on_exec_from(3 + self.preserve_fds) {
            Err(Errno::ENOSYS | Errno::EINVAL) => {}
            result => result.during("close on exec", "descriptors")?,
        }
        sys::startup::restore();
        Ok(())
    }

    /// The exec alone, after [`prepare`](Self::prepare). Returns only the error.
    pub fn exec_prepared(&self, environment: Option<&[CString]>) -> Error {
        trace::step(format_args!("exec {}", self.shown()));
        let name = self.argv[0].as_bytes();
        let mut denied = None;
        for file in candidates(name, environment) {
            let errno = sys::exec::execve(&file, &self.argv, environment);
            match errno {
                // A missing interpreter is also ENOENT: then the file itself is there.
                Errno::ENOENT | Errno::ENOTDIR if !exists(&file) => {}
                // execvp(3) goes on with the next directory of PATH, and so do we.
                Errno::EACCES if !name.contains(&b'/') => denied = denied.or(Some((file, errno))),
                _ => return not_runnable(&file, errno),
            }
        }
        match denied {
            Some((file, errno)) => not_runnable(&file, errno),
            None => not_found(name),
        }
    }

    /// What is open above 2 and was not asked for must not reach COMMAND: a descriptor of a
    /// host directory is a way out of the container (CVE-2024-21626). To be done while /proc is
    /// the caller's: a container's may be a decoy that lists none (CVE-2025-52881).
    fn close_other_descriptors(&self) -> Result<()> {
        let first = 3 + self.preserve_fds;
        match sys::exec::close_on_exec_from(first) {
            // Before Linux 5.9 no close_range, before 5.11 without the flag.
            Err(Errno::ENOSYS | Errno::EINVAL) => close_on_exec_one_by_one(first),
            result => result.during("close on exec", format!("descriptors from {first} up")),
        }
    }

    /// The words, for a person to read: a whole script among them would hide the steps.
    fn shown(&self) -> String {
        const WIDTH: usize = 100;
        let words: Vec<_> = self
            .argv
            .iter()
            .map(|word| crate::error::printable(OsStr::from_bytes(word.as_bytes())))
            .collect();
        let line = words.join(" ");
        match line.char_indices().nth(WIDTH) {
            Some((end, _)) => format!("{} ...", &line[..end]),
            None => line,
        }
    }
}

fn close_on_exec_one_by_one(first: u32) -> Result<()> {
    let directory = "/proc/self/fd";
    for entry in std::fs::read_dir(directory).during("list", directory)? {
        let name = entry.during("list", directory)?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if number >= first {
            sys::exec::close_on_exec(number).during("close on exec", format!("descriptor {number}"))?;
        }
    }
    Ok(())
}

/// Where COMMAND may be: itself where it holds a slash, else in each directory of PATH.
/// (Not execvp(3), which hands a file that the kernel won't run to /bin/sh.)
fn candidates(name: &[u8], environment: Option<&[CString]>) -> Vec<CString> {
    if name.is_empty() || name.contains(&b'/') {
        return CString::new(name).into_iter().collect();
    }
    let path = match environment {
        None => env::var_os("PATH"),
        Some(variables) => variables
            .iter()
            .find_map(|variable| variable.as_bytes().strip_prefix(b"PATH="))
            .map(|path| OsString::from_vec(path.to_vec())),
    };
    // What execvp(3) searches where PATH is not set (confstr(3), _CS_PATH).
    let path = path.unwrap_or_else(|| "/bin:/usr/bin".into());
    path.as_bytes()
        .split(|&byte| byte == b':')
        .map(|directory| if directory.is_empty() { &b"."[..] } else { directory })
        .filter_map(|directory| CString::new([directory, b"/", name].concat()).ok())
        .collect()
}

/// Also where we are not let look: COMMAND's user may be.
fn may_exist(file: &CString) -> bool {
    let path = Path::new(OsStr::from_bytes(file.as_bytes()));
    let absent = |error: &std::io::Error| {
        matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG))
    };
    !file.is_empty() && !path.symlink_metadata().is_err_and(|error| absent(&error))
}

fn exists(file: &CString) -> bool {
    !file.is_empty() && Path::new(OsStr::from_bytes(file.as_bytes())).symlink_metadata().is_ok()
}

fn not_runnable(file: &CString, errno: Errno) -> Error {
    Error::new("run the command", OsStr::from_bytes(file.as_bytes()), errno).exit(Exit::NotRunnable).or_hint(
        match errno {
            Errno::ENOENT => Some("the file is there, but its interpreter or dynamic loader is not"),
            Errno::ENOEXEC => {
                Some("neither a program for this machine nor a script with #! in its first line")
            }
            Errno::EACCES => {
                Some("it is a directory, not executable, on a noexec mount, or out of reach for this user")
            }
            _ => None,
        },
    )
}

fn not_found(name: &[u8]) -> Error {
    Error::new("run the command", OsStr::from_bytes(name), "not found").exit(Exit::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(path: &str, name: &str) -> Vec<String> {
        let environment = [CString::new(format!("PATH={path}")).unwrap()];
        candidates(name.as_bytes(), Some(&environment))
            .iter()
            .map(|c| c.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_name_is_looked_for_in_each_directory_of_path() {
        assert_eq!(found_in("/a:/b", "x"), ["/a/x", "/b/x"]);
        assert_eq!(found_in("/a::/b", "x"), ["/a/x", "./x", "/b/x"]);
    }

    #[test]
    fn a_name_with_a_slash_is_itself() {
        assert_eq!(found_in("/a", "./x"), ["./x"]);
    }

    #[test]
    fn without_path_the_systems_default_is_searched() {
        let none: [CString; 0] = [];
        assert_eq!(candidates(b"x", Some(&none)), [c"/bin/x".to_owned(), c"/usr/bin/x".to_owned()]);
    }
}
