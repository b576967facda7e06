//! A person at a terminal: types, waits for what appears, changes the window's size, leaves.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::sys::terminal::{Size, open_peer, set_size};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, posix_openpt};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

use super::Scene;

/// A pseudo-terminal, and the program that leads the session on it.
pub struct Terminal {
    master: PtyMaster,
    /// Open in the test too, so that its modes can be looked at after the end.
    slave: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    /// 24 rows of 80 columns, with a shell line that leads its session.
    pub fn start(scene: &Scene, line: &str) -> Self {
        Self::start_as(scene, "", line)
    }

    /// The same by way of another command, which ends by executing its arguments.
    pub fn start_as(scene: &Scene, by_way_of: &str, line: &str) -> Self {
        let size = Size { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        // Close-on-exec from the start: what other tests run must not hold it open.
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        let slave = open_peer(master.as_fd()).unwrap();
        set_size(slave.as_fd(), &size).unwrap();
        let mut command: Command = scene.std_sh(&format!("exec {by_way_of} setsid --ctty sh -c \"$LINE\""));
        command.env("LINE", line).env("TERM", "dumb").env("PS1", "$ ");
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        drop(command); // with its copies of the terminal
        Self { master, slave, child, seen: String::new() }
    }

    /// The session's leader.
    pub fn leader(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn enter(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this appears; returns what appeared before it.
    pub fn shows(&mut self, text: &str) -> String {
        let deadline = Instant::now() + super::patience();
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                let mut before = std::mem::replace(&mut self.seen, rest);
                before.truncate(at);
                return before;
            }
            let more = self.read_on(deadline);
            assert!(more, "{text:?} does not appear after {:?}", self.seen);
        }
    }

    /// One piece of output; nothing more comes by the deadline, or after the last process.
    fn read_on(&mut self, deadline: Instant) -> bool {
        let mut source = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        let left = PollTimeout::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
        if poll(&mut source, left) != Ok(1) {
            return false;
        }
        let mut bytes = [0; 4096];
        let length = self.master.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        length > 0
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Size { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        set_size(self.slave.as_fd(), &size).unwrap();
    }

    pub fn modes(&self) -> Termios {
        tcgetattr(&self.slave).unwrap()
    }

    /// Whether the terminal itself makes lines of what is typed, as it does from the start.
    pub fn is_cooked(&self) -> bool {
        self.modes().local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    /// Waits for the leader's end, showing nothing more.
    pub fn ends(&mut self) -> ExitStatus {
        let deadline = Instant::now() + super::patience();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end after {:?}", self.seen);
            self.read_on(Instant::now() + Duration::from_millis(20));
        }
    }

    /// The window is closed.
    pub fn hang_up(self) -> Child {
        self.child
    }
}
