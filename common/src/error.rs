//! The one error type: which object, what failed, why, and what to do about it.
//!
//! An error is made where the object is known and travels up by return;
//! [`crate::app`] is the only place that prints it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::exit::Exit;

/// What every fallible step returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A step that failed: prints as `OBJECT: what failed: why`.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    object: OsString,
    step: Cow<'static, str>,
    why: Why,
    hint: Option<String>,
    exit: Exit,
}

/// The cause of an error, in the kernel's words where it has some.
#[derive(Debug)]
pub struct Why {
    errno: Option<Errno>,
    text: String,
}

impl Error {
    /// `step` (a verb phrase, such as "mount proc") failed on `object`.
    pub fn new(step: impl Into<Cow<'static, str>>, object: impl AsRef<OsStr>, why: impl Into<Why>) -> Self {
        Self(Box::new(Parts {
            object: object.as_ref().to_owned(),
            step: step.into(),
            why: why.into(),
            hint: None,
            exit: Exit::Tool,
        }))
    }

    /// The arguments make no sense together; nothing was tried.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new("", "", message.into())
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a hint where there is one and none was given closer to the cause.
    #[must_use]
    pub fn or_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.0.hint = self.0.hint.or_else(|| hint.map(Into::into));
        self
    }

    /// Sets the exit status (a tool's failure, 125, unless told).
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }

    /// The exit status that this error ends the tool with.
    #[must_use]
    pub fn status(&self) -> u8 {
        self.0.exit as u8
    }

    /// What the step was about: a path, a stream, a process.
    #[must_use]
    pub fn object(&self) -> &OsStr {
        &self.0.object
    }

    /// The kernel's error number, where the cause is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.0.why.errno
    }

    /// The hint's text, if any.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        // What came later than that has hints of its own, which name the version.
        let is_absent = self.errno() == Some(Errno::ENOSYS);
        let floor =
            "it takes a system call that Linux 5.10 has: the kernel is older, or a seccomp filter forbids it";
        self.0.hint.as_deref().or(is_absent.then_some(floor))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.object.is_empty() {
            write!(f, "{}: ", printable(&self.0.object))?;
        }
        if !self.0.step.is_empty() {
            write!(f, "{}: ", self.0.step)?;
        }
        f.write_str(&self.0.why.text)
    }
}

impl std::error::Error for Error {}

impl From<Errno> for Why {
    fn from(errno: Errno) -> Self {
        Self { errno: Some(errno), text: errno.desc().to_owned() }
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).into(),
            None => error.to_string().into(),
        }
    }
}

impl From<String> for Why {
    fn from(text: String) -> Self {
        Self { errno: None, text }
    }
}

impl From<&str> for Why {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Names the step and its object on the way up.
pub trait During<T> {
    /// Turns a bare cause into `object: step: cause`.
    fn during(self, step: impl Into<Cow<'static, str>>, object: impl AsRef<OsStr>) -> Result<T>;
}

impl<T, E: Into<Why>> During<T> for std::result::Result<T, E> {
    fn during(self, step: impl Into<Cow<'static, str>>, object: impl AsRef<OsStr>) -> Result<T> {
        self.map_err(|why| Error::new(step, object, why))
    }
}

/// Any bytes as one readable line: control characters, and what is not UTF-8, escaped.
#[must_use]
pub fn printable(text: impl AsRef<OsStr>) -> String {
    let mut line = String::new();
    for chunk in text.as_ref().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
        }
        for byte in chunk.invalid() {
            line.push_str(&format!("\\x{byte:02x}"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn an_error_names_object_step_and_the_kernels_words() {
        let error = Error::new("mount proc", "/mnt/proc", Errno::EPERM);
        assert_eq!(error.to_string(), "/mnt/proc: mount proc: Operation not permitted");
        assert_eq!(error.status(), 125);
    }

    #[test]
    fn a_usage_error_is_its_message_alone() {
        assert_eq!(Error::usage("no COMMAND").to_string(), "no COMMAND");
    }

    #[test]
    fn an_io_error_loses_rusts_own_suffix() {
        let error = Error::new("open", "x", io::Error::from_raw_os_error(2));
        assert_eq!(error.to_string(), "x: open: No such file or directory");
        assert_eq!(error.errno(), Some(Errno::ENOENT));
    }

    #[test]
    fn any_bytes_stay_on_one_line() {
        assert_eq!(printable(OsStr::from_bytes(b"a\nb\xffc\x1b")), "a\\nb\\xffc\\u{1b}");
    }
}
