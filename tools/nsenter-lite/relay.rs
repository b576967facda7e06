//! Between the caller's terminal and the one inside: keys in, output out, the window size along.
//!
//! It stays outside with the caller, in no namespace or cgroup of the container, so that it outlives
//! whatever is killed or frozen there. The caller's terminal is raw meanwhile: every key, Ctrl-C too,
//! is the inner terminal's to interpret. At its end the modes are as they were.

use std::io::{Stdin, Stdout};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use common::supervise::{Beside, Left};
use common::{During as _, Result, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::termios::{SetArg, SpecialCharacterIndices, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, read, tcgetpgrp, write};

use crate::pty::Settings;

/// How much is on its way in each direction at most, in bytes.
const CHUNK: usize = 4096;

/// The caller's side.
pub(crate) struct Relay {
    input: Stdin,
    output: Stdout,
    settings: Settings,
    /// Whether the caller's terminal is set so by us.
    raw: bool,
    inside: Inside,
    /// Whether the caller may still have something to say.
    listens: bool,
    keys: Vec<u8>,
    shown: Vec<u8>,
    last_key: Option<u8>,
}

/// The other side.
enum Inside {
    /// Its master is still to come, through this socket.
    Awaited(OwnedFd),
    Open(Pty),
    /// It never came, or has been hung up.
    Gone,
}

/// The terminal inside.
struct Pty {
    master: OwnedFd,
    /// Held open, so that the master does not hang up while nobody inside has it open.
    terminal: OwnedFd,
}

impl Relay {
    /// A relay, and the socket for the master of the terminal that is still to be made.
    pub(crate) fn new(settings: Settings) -> Result<(Self, OwnedFd)> {
        let (socket, other_end) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
                .during("make a pair of sockets", "")?;
        let input = std::io::stdin();
        if let Some(modes) = &settings.modes {
            // Changes nothing; but in the background the kernel stops us here, before anything has begun.
            tcsetattr(&input, SetArg::TCSANOW, modes).during("set the modes of", "the terminal")?;
        }
        let relay = Self {
            input,
            output: std::io::stdout(),
            settings,
            raw: false,
            inside: Inside::Awaited(socket),
            listens: true,
            keys: Vec::new(),
            shown: Vec::new(),
            last_key: None,
        };
        Ok((relay, other_end))
    }

    fn take_over(&mut self) -> Result<()> {
        let Inside::Awaited(socket) = &self.inside else { return Ok(()) };
        if !is_ready(socket.as_fd(), PollFlags::POLLIN) {
            return Ok(());
        }
        let (step, object) = ("take over", "the new terminal");
        self.inside = match sys::rights::receive(socket.as_fd()).during(step, object)? {
            Some(master) => {
                let terminal = sys::terminal::open_peer(master.as_fd()).during(step, object)?;
                Inside::Open(Pty { master, terminal })
            }
            None => Inside::Gone,
        };
        self.make_raw();
        self.follow_size();
        Ok(())
    }

    /// Whether the caller's terminal is ours to set: in the background it is somebody else's.
    fn is_in_front(&self) -> bool {
        tcgetpgrp(&self.input) == Ok(getpgrp())
    }

    fn make_raw(&mut self) {
        if let (Inside::Open(_), Some(modes), true) = (&self.inside, &self.settings.modes, self.is_in_front())
        {
            let mut modes = modes.clone();
            cfmakeraw(&mut modes);
            self.raw = tcsetattr(&self.input, SetArg::TCSANOW, &modes).is_ok();
            self.listens = true;
        }
    }

    fn restore(&mut self) {
        if let (true, Some(modes), true) = (self.raw, &self.settings.modes, self.is_in_front()) {
            // Nothing to be done where it fails: it has been hung up.
            let _ = tcsetattr(&self.input, SetArg::TCSANOW, modes);
            self.raw = false;
        }
    }

    fn follow_size(&self) {
        if let (Inside::Open(pty), Some(size)) = (&self.inside, Settings::of_the_caller().size) {
            let _ = sys::terminal::set_size(pty.terminal.as_fd(), &size);
        }
    }

    /// From the caller to the inside.
    fn type_in(&mut self) {
        let Inside::Open(pty) = &self.inside else { return };
        if self.listens && self.keys.is_empty() && is_ready(self.input.as_fd(), PollFlags::POLLIN) {
            let is_terminal = self.settings.modes.is_some();
            match take(self.input.as_fd(), &mut self.keys) {
                Ok(1..) => self.last_key = self.keys.last().copied(),
                // We are in the background; SIGCONT says when that is over.
                Err(Errno::EIO) if is_terminal => self.listens = false,
                // The caller's terminal has hung up, and so does this one.
                _ if is_terminal => return self.inside = Inside::Gone,
                _ => {
                    self.listens = false;
                    self.keys = pty.end_of_file(self.last_key);
                }
            }
        }
        if is_ready(pty.master.as_fd(), PollFlags::POLLOUT) {
            let _ = give(&mut self.keys, pty.master.as_fd()); // what has ended reads no more
        }
    }

    /// From the inside to the caller. Whether anything moved.
    fn show(&mut self) -> bool {
        let Inside::Open(pty) = &self.inside else { return false };
        let mut moved = false;
        if self.shown.is_empty() {
            // EAGAIN: nothing there
            moved = take(pty.master.as_fd(), &mut self.shown).is_ok_and(|length| length > 0);
        }
        if !self.shown.is_empty() && is_ready(self.output.as_fd(), PollFlags::POLLOUT) {
            match give(&mut self.shown, self.output.as_fd()) {
                Ok(_) => moved = true,
                Err(_) => self.inside = Inside::Gone, // nobody sees it any more: hang up
            }
        }
        moved
    }
}

impl Beside for Relay {
    fn sources(&self) -> Vec<PollFd<'_>> {
        let pty = match &self.inside {
            Inside::Awaited(socket) => return vec![PollFd::new(socket.as_fd(), PollFlags::POLLIN)],
            Inside::Open(pty) => pty,
            Inside::Gone => return Vec::new(),
        };
        let sources = [
            (self.listens && self.keys.is_empty())
                .then(|| PollFd::new(self.input.as_fd(), PollFlags::POLLIN)),
            (!self.keys.is_empty()).then(|| PollFd::new(pty.master.as_fd(), PollFlags::POLLOUT)),
            Some(match self.shown.is_empty() {
                true => PollFd::new(pty.master.as_fd(), PollFlags::POLLIN),
                false => PollFd::new(self.output.as_fd(), PollFlags::POLLOUT),
            }),
        ];
        sources.into_iter().flatten().collect()
    }

    fn serve(&mut self) -> Result<()> {
        self.take_over()?;
        self.type_in();
        self.show();
        Ok(())
    }

    fn hear(&mut self, signal: i32) {
        match Signal::try_from(signal) {
            Ok(Signal::SIGCONT) => {
                self.make_raw();
                self.follow_size();
            }
            Ok(Signal::SIGWINCH) => self.follow_size(),
            _ => {}
        }
    }

    fn pause(&mut self) {
        self.restore();
    }

    fn wind_up(&mut self) -> Left {
        // Its first word may have been its last. What is typed now is for whoever comes after us.
        if self.take_over().is_err() {
            return Left::Nothing;
        }
        self.listens = false;
        self.keys.clear();
        match self.show() {
            true => Left::More,
            false if self.shown.is_empty() || matches!(self.inside, Inside::Gone) => Left::Nothing,
            false => Left::Waiting,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.restore();
    }
}

impl Pty {
    /// What a terminal takes for the end: at the beginning of a line one character, within it two.
    fn end_of_file(&self, last_key: Option<u8>) -> Vec<u8> {
        let Ok(modes) = tcgetattr(&self.master) else { return Vec::new() };
        let character = modes.control_chars[SpecialCharacterIndices::VEOF as usize];
        let at_the_beginning = last_key.is_none_or(|key| key == b'\n');
        vec![character; if at_the_beginning { 1 } else { 2 }]
    }
}

fn is_ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    poll(&mut [PollFd::new(fd, flags)], PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Reads what is there, up to a chunk, into an empty buffer.
fn take(from: BorrowedFd<'_>, into: &mut Vec<u8>) -> nix::Result<usize> {
    into.resize(CHUNK, 0);
    let length = read(from, into);
    into.truncate(length.unwrap_or(0));
    length
}

/// Writes what `to` takes of the buffer, and removes that from it.
fn give(from: &mut Vec<u8>, to: BorrowedFd<'_>) -> nix::Result<()> {
    match write(to, from) {
        Ok(length) => drop(from.drain(..length)),
        Err(Errno::EAGAIN | Errno::EINTR) => {}
        Err(errno) => return Err(errno),
    }
    Ok(())
}
