//! A helper that stays behind in the old namespaces, to do there what cannot be done from
//! inside: write id maps, and bind a namespace to a file of the old mount namespace.
//!
//! It is forked before unshare(2), waits for the word, does its one task, and answers.
//! What the task made stands once it is told to keep it, and is taken back if we fail
//! or die first. It is no child of ours, lest COMMAND find a child that it never made.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use common::sys::clone::{Fork, fork};
use common::sys::exec::{close_all_but, exit_now};
use common::sys::wait;
use common::{During as _, Error, Result};
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::pipe2;

use crate::relay;

/// Our end of the line to a helper.
#[derive(Debug)]
pub(crate) struct Outsider {
    /// `None` once there is nothing more to say.
    words: Option<File>,
    answers: File,
    /// Whether the answers are for this process: after a fork, one of the two must not read them.
    listens: bool,
}

const ACT: u8 = b'a';
const KEEP: u8 = b'k';
const UNDO: u8 = b'u';
const DONE: u8 = b'+';

impl Outsider {
    /// Forks the helper. `task` returns a guard that takes its work back when dropped.
    pub(crate) fn fork<Guard>(task: impl FnOnce() -> Result<Guard>) -> Result<Self> {
        let (hears, words) = pipe()?;
        let (answers, says) = pipe()?;
        match fork().during("fork", "helper")? {
            Fork::Parent(child) => {
                wait::wait(child).during("wait for", "helper")?;
                Ok(Self { words: Some(words), answers, listens: true })
            }
            Fork::Child => {
                drop((words, answers));
                // The child of a child that has ended belongs to init, which reaps it.
                match fork() {
                    Ok(Fork::Child) => serve(hears, says, task),
                    Ok(Fork::Parent(_)) | Err(_) => exit_now(0), // on error the line's end tells
                }
            }
        }
    }

    /// Has the task done, and waits for it.
    pub(crate) fn act(&mut self) -> Result<()> {
        let gone = "the helper in the old namespaces has died";
        match self.tell(ACT) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {} // it has ended, and has said why
            told => told.during("ask the helper", "helper")?,
        }
        let mut answer = [0];
        match self.answers.read(&mut answer) {
            Ok(1) if answer == [DONE] => Ok(()),
            Ok(1) => Err(self.relayed_error()),
            _ => Err(Error::new("ask the helper", "helper", gone)),
        }
    }

    /// What was done shall stand: said just before COMMAND takes over.
    pub(crate) fn keep(&mut self) -> Result<()> {
        self.tell(KEEP).during("keep the work of the helper", "helper")
    }

    /// It shall not after all, since COMMAND could not be run; waits until it is taken back.
    pub(crate) fn take_back(&mut self) {
        let _ = self.tell(UNDO);
        let _ = self.answers.read(&mut [0]);
    }

    /// Before a fork: the child will speak with the helper, and we only let go of the line.
    pub(crate) fn leave_to_the_child(&mut self) {
        self.listens = false;
    }

    /// After the fork, in the child.
    pub(crate) fn take_over(&mut self) {
        self.listens = true;
    }

    fn tell(&mut self, word: u8) -> std::io::Result<()> {
        self.words.as_mut().map_or(Ok(()), |words| words.write_all(&[word]))
    }

    fn relayed_error(&mut self) -> Error {
        let mut text = String::new();
        let _ = self.answers.read_to_string(&mut text);
        relay::unpack(&text)
    }
}

impl Drop for Outsider {
    /// Without a KEEP the helper takes its work back when nobody can speak to it any more; we see it done.
    fn drop(&mut self) {
        self.words = None;
        if self.listens {
            let _ = self.answers.read(&mut [0]);
        }
    }
}

fn pipe() -> Result<(File, File)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).during("make a pipe", "helper")?;
    Ok((read.into(), write.into()))
}

/// The helper's life.
fn serve<Guard>(mut hears: File, mut says: File, task: impl FnOnce() -> Result<Guard>) -> ! {
    // A Ctrl-C for the foreground group must not end it before it has cleaned up.
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None);
    release_standard_streams();
    // Above all the ends of other helpers' pipes: they would not see their line close.
    let alone = close_all_but(&[hears.as_fd(), says.as_fd()]).during("close", "inherited descriptors");
    if alone.is_err() || next(&mut hears) == Some(ACT) {
        let done = alone.and_then(|()| task());
        release_standard_error();
        match done {
            Ok(guard) => {
                let told = says.write_all(&[DONE]).is_ok(); // else the other side sees the line close
                if told && is_kept(&mut hears) { std::mem::forget(guard) } else { drop(guard) }
            }
            Err(error) => {
                let _ = write!(says, "-{}", relay::pack(&error));
            }
        }
    }
    exit_now(0) // which closes `says`: only now, with the guard dropped, does the other side see the end
}

/// The last word before the line closes.
fn is_kept(hears: &mut File) -> bool {
    let mut keep = false;
    while let Some(word) = next(hears) {
        keep = word == KEEP;
        if !keep {
            break; // the other side waits
        }
    }
    keep
}

/// Who reads our standard output must not wait for the helper's end.
fn release_standard_streams() {
    if let Ok(null) = null() {
        let _ = nix::unistd::dup2_stdin(&null);
        let _ = nix::unistd::dup2_stdout(&null);
    }
}

/// It is kept until the task has reported its steps.
fn release_standard_error() {
    if let Ok(null) = null() {
        let _ = nix::unistd::dup2_stderr(&null);
    }
}

fn null() -> std::io::Result<OwnedFd> {
    File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from)
}

fn next(hears: &mut File) -> Option<u8> {
    let mut word = [0];
    matches!(hears.read(&mut word), Ok(1)).then_some(word[0])
}
