//! A child that takes the tool's place in all but the PID: signals go on to it, and
//! its end is the tool's end.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, pipe2, read, write};

use crate::error::{During as _, Error, Result};
use crate::sys::clone::Fork;
use crate::sys::wait::Wait;
use crate::{app, exit, sys, trace};

/// How the child is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// What the kernel sends to the child when the tool dies, however it dies.
    pub death_signal: Option<Signal>,
    /// An open cgroup v2 directory that the child must start in.
    pub into_cgroup: Option<BorrowedFd<'a>>,
}

/// How the child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// COMMAND ran; its exit status, 128+N for a death by signal N.
    Command(u8),
    /// A step before COMMAND failed in the child, which has reported it; its exit status.
    Tool(u8),
}

impl Ended {
    /// The exit status, whoever set it.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Command(status) | Self::Tool(status) => status,
        }
    }
}

/// Forks. The child runs `child`, which ends by exec and returns only an error; the parent
/// forwards every signal that it can, stops when the child stops, and returns how it ended.
pub fn run(options: &Options<'_>, child: impl FnOnce() -> Error) -> Result<Ended> {
    let signals = Signals::block()?; // before the fork, so that no signal is lost
    let (parent_lives, parent_end) = pipe()?;
    let (report, report_end) = pipe()?;
    trace::step("fork");
    match fork(options)? {
        Fork::Child => {
            drop((parent_end, report));
            let error =
                match options.death_signal.map_or(Ok(()), |signal| die_with_parent(signal, &parent_lives)) {
                    Ok(()) => signals.restore().map_or_else(|error| error, |()| child()),
                    Err(error) => error,
                };
            // Tells the parent that COMMAND never ran; exec would have closed the pipe.
            let _ = write(&report_end, b"!");
            sys::exec::exit_now(app::report(&error))
        }
        Fork::Parent(pid) => {
            drop((parent_lives, report_end));
            let status = signals.forward_until_end_of(pid)?;
            signals.restore()?;
            match read(&report, &mut [0]) {
                Ok(1) => Ok(Ended::Tool(status)),
                _ => Ok(Ended::Command(status)),
            }
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).during("make a pipe", "")
}

fn fork(options: &Options<'_>) -> Result<Fork> {
    let forked = match options.into_cgroup {
        Some(cgroup) => sys::clone::fork_into_cgroup(cgroup),
        None => sys::clone::fork(),
    };
    forked.map_err(|errno| {
        Error::new("fork", "", errno).or_hint(match errno {
            Errno::EAGAIN => {
                Some("a limit on processes is reached: RLIMIT_NPROC, pids.max or kernel.pid_max")
            }
            // pid_namespaces(7): no process can be made once PID 1 has ended.
            Errno::ENOMEM => Some("out of memory, or PID 1 of the PID namespace has ended"),
            _ => None,
        })
    })
}

/// Asks for `signal` at the parent's death; the parent may have died before we asked.
fn die_with_parent(signal: Signal, parent_lives: &OwnedFd) -> Result<()> {
    prctl::set_pdeathsig(signal).during("ask for a signal at the parent's death", "prctl")?;
    let mut ends = [PollFd::new(parent_lives.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ends, PollTimeout::ZERO) == Ok(0) {
        return Ok(());
    }
    Err(Error::new("start the command", "parent", "it has died"))
}

/// All signals blocked and readable, and what was in force before.
struct Signals {
    queue: SignalFd,
    old_mask: SigSet,
    old_sigchld: SigAction,
}

impl Signals {
    fn block() -> Result<Self> {
        let mut old_mask = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut old_mask))
            .during("block", "signals")?;
        let queue = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC)
            .during("open a signalfd", "signals")?;
        // Where SIGCHLD is ignored, children leave no status behind (wait(2)).
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        let old_sigchld = sys::signal::set_action(Signal::SIGCHLD, &default).during("reset", "SIGCHLD")?;
        Ok(Self { queue, old_mask, old_sigchld })
    }

    fn restore(&self) -> Result<()> {
        sys::signal::set_action(Signal::SIGCHLD, &self.old_sigchld).during("restore", "SIGCHLD")?;
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.old_mask), None).during("restore", "signal mask")
    }

    /// Until the child ends: its stops stop us, and our signals are its signals.
    fn forward_until_end_of(&self, pid: Pid) -> Result<u8> {
        let object = format!("process {pid}");
        let pidfd = sys::pidfd::open(pid).during("open a pidfd", &object)?;
        loop {
            match sys::wait::poll(pid).during("wait for", &object)? {
                Some((_, Wait::Stopped(_))) => {
                    // As the shell that waits for us must see it. It goes on when we are continued.
                    raise(Signal::SIGSTOP).during("stop", "this process")?;
                    forward(pidfd.as_fd(), libc::SIGCONT);
                    continue;
                }
                Some((_, ended)) => {
                    return exit::code_of(ended)
                        .ok_or_else(|| Error::new("wait for", &object, "unknown status"));
                }
                None => {}
            }
            let Ok(Some(signal)) = self.queue.read_signal() else { continue };
            // The terminal and the kernel send to the whole foreground group, the child
            // included; a second one from us would be one too many.
            let from_a_process = signal.ssi_code <= 0;
            if from_a_process && signal.ssi_signo != libc::SIGCHLD as u32 {
                forward(pidfd.as_fd(), signal.ssi_signo as i32);
            }
        }
    }
}

/// A child that has just ended, or that changed its user, cannot be signalled: no error of ours.
fn forward(pidfd: BorrowedFd<'_>, signal: i32) {
    let _ = sys::pidfd::send_signal(pidfd, signal);
}
