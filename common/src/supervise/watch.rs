//! The parent's side: it watches the child, and serves what is beside it.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise};
use nix::unistd::{Pid, getpid, getsid, read};

use super::{Ended, Parent};
use crate::error::{During as _, Error, Result};
use crate::sys::signalfd::{Arrived, Mask, Queue};
use crate::{exit, sys};

/// What the parent serves while it waits for the child. It never makes the parent wait.
pub trait Beside {
    /// What to wake up for.
    fn sources(&self) -> Vec<PollFd<'_>>;
    /// Called whenever something has happened.
    fn serve(&mut self) -> Result<()>;
    /// A signal has arrived; the child gets it too, where it is one to forward.
    fn hear(&mut self, signal: i32);
    /// The parent is about to stop, or to end; it hears SIGCONT if it goes on.
    fn pause(&mut self);
    /// The child has ended: does a part of what is left to do.
    fn wind_up(&mut self) -> Left;
}

/// What is left to do after the child's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All is done.
    Nothing,
    /// There is more.
    More,
    /// There is more, once one of the sources is ready.
    Waiting,
}

/// All signals blocked and readable, and what was in force before.
pub(super) struct Signals {
    pub queue: Queue,
    old_mask: Mask,
    old_sigchld: SigAction,
}

impl Signals {
    pub(super) fn block() -> Result<Self> {
        let old_mask = Mask::ALL.block_only().during("block", "signals")?;
        let queue = Queue::open(Mask::ALL).during("open a signalfd", "signals")?;
        // Where SIGCHLD is ignored, children leave no status behind (wait(2)).
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        let old_sigchld = sys::signal::set_action(Signal::SIGCHLD, &default).during("reset", "SIGCHLD")?;
        Ok(Self { queue, old_mask, old_sigchld })
    }

    pub(super) fn restore(&self) -> Result<()> {
        sys::signal::set_action(Signal::SIGCHLD, &self.old_sigchld).during("restore", "SIGCHLD")?;
        self.old_mask.block_only().during("restore", "signal mask").map(|_all| ())
    }
}

/// A child being watched.
pub(super) struct Watch<'a> {
    pid: Pid,
    pidfd: OwnedFd,
    /// The child's line to us, until exec closes it.
    line: Option<OwnedFd>,
    failed: bool,
    init_for: Option<&'a Parent>,
    beside: Option<&'a mut dyn Beside>,
}

impl<'a> Watch<'a> {
    pub(super) fn over(
        pid: Pid,
        line: OwnedFd,
        init_for: Option<&'a Parent>,
        beside: Option<&'a mut dyn Beside>,
    ) -> Result<Self> {
        let pidfd = sys::pidfd::open(pid).during("open a pidfd", format!("process {pid}"))?;
        Ok(Self { pid, pidfd, line: Some(line), failed: false, init_for, beside })
    }

    /// Its stops stop us, and our signals are its signals, until it ends.
    pub(super) fn until_it_ends(mut self, queue: &Queue) -> Result<Ended> {
        loop {
            if let Some(status) = self.reap()? {
                // It is no child any more that an error of ours should end.
                while self.line.is_some() && self.listen().unwrap_or_default() {}
                self.wind_up(queue);
                return Ok(if self.failed { Ended::Tool(status) } else { Ended::Command(status) });
            }
            self.await_news(queue)?;
            self.listen()?;
            while let Some(arrived) = queue.next() {
                if let Some(beside) = &mut self.beside {
                    beside.hear(arrived.signal);
                }
                if self.is_for_the_child(arrived) {
                    self.forward(arrived.signal);
                }
            }
            if let Some(beside) = &mut self.beside {
                beside.serve()?;
            }
        }
    }

    /// Until all is done that was beside; a signal that would have been for the child ends it.
    fn wind_up(&mut self, queue: &Queue) {
        while let Some(beside) = &mut self.beside {
            let left = beside.wind_up();
            if left == Left::Nothing || queue.next().is_some_and(|arrived| self.is_for_the_child(arrived)) {
                break;
            }
            if left == Left::Waiting && self.await_news(queue).is_err() {
                break;
            }
        }
        if let Some(beside) = &mut self.beside {
            beside.pause();
        }
    }

    /// The terminal sends to the whole foreground group, the child included: a second signal from us
    /// would be one too many. But of a terminal that hangs up only the leader of the session hears,
    /// and no child in another session.
    fn is_for_the_child(&self, arrived: Arrived) -> bool {
        let from_a_process = arrived.code <= 0;
        let only_we_hear = self.beside.is_some() || getsid(None) == Ok(getpid());
        from_a_process || (arrived.signal == libc::SIGHUP && only_we_hear)
    }

    /// The child's exit status, once it has ended. PID 1 reaps the orphans of others on the way.
    fn reap(&mut self) -> Result<Option<u8>> {
        // Whoever is PID 1 gets the orphans, whether it was told so or not: a chain may have put it there.
        let is_init = self.init_for.is_some() || getpid().as_raw() == 1;
        let whom = if is_init { Pid::from_raw(-1) } else { self.pid };
        while let Some((who, what)) =
            sys::wait::poll(whom).during("wait for", format!("process {}", self.pid))?
        {
            match exit::code_of(what) {
                Some(status) if who == self.pid => return Ok(Some(status)),
                None if who == self.pid => self.stop_too()?,
                _ => {}
            }
        }
        Ok(None)
    }

    /// Stops as the child did, so that whoever waits for us sees it; goes on when continued.
    fn stop_too(&mut self) -> Result<()> {
        if let Some(parent) = self.init_for {
            parent.tell(Parent::STOPPED); // and it continues us, by the signal that continues it
            return Ok(());
        }
        if let Some(beside) = &mut self.beside {
            beside.pause();
        }
        raise(Signal::SIGSTOP).during("stop", "this process")?;
        self.forward(libc::SIGCONT);
        Ok(())
    }

    /// Waits for a signal, a word from the child, or what is beside.
    fn await_news(&self, queue: &Queue) -> Result<()> {
        let sources = [Some(queue.as_fd()), self.line.as_ref().map(OwnedFd::as_fd)];
        let mut sources: Vec<_> =
            sources.into_iter().flatten().map(|source| PollFd::new(source, PollFlags::POLLIN)).collect();
        if let Some(beside) = &self.beside {
            sources.extend(beside.sources());
        }
        match poll(&mut sources, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::new("poll", "signals", errno)),
        }
    }

    /// Reads one word from the child, if there is one.
    fn listen(&mut self) -> Result<bool> {
        let mut word = [0];
        match self.line.as_ref().map(|line| read(line, &mut word)) {
            Some(Ok(1)) if word == [Parent::STOPPED] => self.stop_too()?,
            Some(Ok(1)) => self.failed = true,
            Some(Ok(_)) => self.line = None, // exec, or its end
            _ => return Ok(false),           // EAGAIN: nothing yet
        }
        Ok(true)
    }

    /// A child that has just ended, or that changed its user, cannot be signalled: no error of ours.
    fn forward(&self, signal: i32) {
        let _ = sys::pidfd::send_signal(self.pidfd.as_fd(), signal);
    }
}
