//! A new pseudo-terminal inside the container, and COMMAND's session on it.
//!
//! It is the container's own: COMMAND finds it as /dev/pts/N, and never holds the caller's
//! terminal, into which it could push keys (CVE-2017-5226). What an image has put in the place of
//! /dev/pts is not taken for it (CVE-2025-52565).

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use common::{During as _, Error, Result, sys, trace};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat, major, minor};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Uid, fchown, setsid};

/// Where devpts is, and where whoever has it keeps the node.
const DEVPTS: &str = "/dev/pts";
const PTMX: (u64, u64) = (5, 2); // Documentation/admin-guide/devices.txt

/// How the caller's terminal is set: what a new one begins with.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub modes: Option<Termios>,
    pub size: Option<sys::terminal::Size>,
}

impl Settings {
    /// Of standard input where that is a terminal; the size, else, of another standard stream.
    pub(crate) fn of_the_caller() -> Self {
        let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let streams = [input.as_fd(), output.as_fd(), error.as_fd()];
        Self {
            modes: tcgetattr(input.as_fd()).ok(),
            size: streams.into_iter().find_map(|stream| sys::terminal::size(stream).ok()),
        }
    }
}

/// A terminal to be made inside.
pub(crate) struct NewTerminal {
    /// The socket to the relay, which gets the master.
    pub to_relay: OwnedFd,
    pub settings: Settings,
}

impl NewTerminal {
    /// Makes it, as this process's controlling terminal and standard streams. It belongs to `owner`
    /// where that is another user.
    pub(crate) fn take(self, owner: Option<u32>) -> Result<()> {
        trace::step(format_args!("open a new pseudo-terminal in {DEVPTS}"));
        let master = open_master()?;
        let terminal = sys::terminal::open_peer(master.as_fd()).during("open the terminal of", DEVPTS)?;
        must_be_of_devpts(&terminal)?;
        if let Some(modes) = &self.settings.modes {
            tcsetattr(&terminal, SetArg::TCSANOW, modes).during("set the modes of", "the new terminal")?;
        }
        if let Some(size) = &self.settings.size {
            sys::terminal::set_size(terminal.as_fd(), size).during("set the size of", "the new terminal")?;
        }
        if let Some(uid) = owner {
            fchown(&terminal, Some(Uid::from_raw(uid)), None)
                .during("give to the user", "the new terminal")?;
        }
        setsid().during("begin a session", "setsid")?;
        sys::terminal::make_controlling(terminal.as_fd()).during("take as controlling terminal", DEVPTS)?;
        sys::rights::send(self.to_relay.as_fd(), master.as_fd()).during("hand over", "the new terminal")?;
        sys::startup::replace_standard_streams(terminal.as_fd()).during("make standard streams of", DEVPTS)
    }
}

fn open_master() -> Result<OwnedFd> {
    let hint = "the container has no devpts there: pivot --mount-api or --dev makes one";
    let step = "open a pseudo-terminal";
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory =
        open(DEVPTS, flags, Mode::empty()).during(step, DEVPTS).map_err(|error| error.hint(hint))?;
    must_be_of_devpts(&directory).map_err(|error| error.hint(hint))?;
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let path = Path::new(DEVPTS).join("ptmx");
    let master = openat(&directory, "ptmx", flags, Mode::empty()).during(step, &path).map_err(|error| {
        let hint = match error.errno() {
            Some(Errno::ENOSPC) => {
                Some("no more of them: mount option max= of devpts, or sysctl kernel.pty.max")
            }
            Some(Errno::EACCES) => Some("this devpts is not for everybody: mount it with ptmxmode=0666"),
            _ => None,
        };
        error.or_hint(hint)
    })?;
    must_be_of_devpts(&master)?; // something may be mounted on the node
    let device = fstat(&master).during("look at", &path)?.st_rdev;
    if (major(device), minor(device)) == PTMX {
        Ok(master)
    } else {
        Err(Error::new(step, path, "it is another device"))
    }
}

fn must_be_of_devpts(fd: &OwnedFd) -> Result<()> {
    if fstatfs(fd).during("look at", DEVPTS)?.filesystem_type() == DEVPTS_SUPER_MAGIC {
        return Ok(());
    }
    Err(Error::new("open a pseudo-terminal", DEVPTS, "it is not on devpts"))
}
