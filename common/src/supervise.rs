//! A child that takes the tool's place in all but the PID: signals go on to it, its
//! stops are the tool's stops, and its end is the tool's end.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise};
use nix::unistd::{Pid, getpid, getsid, pipe2, read, write};

use crate::error::{During as _, Error, Result};
use crate::sys::clone::Fork;
use crate::sys::signalfd::{Arrived, Mask, Queue};
use crate::undo::Undo;
use crate::{app, exit, sys, trace};

/// How the child is made and watched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// What the kernel sends to the child when the tool dies, however it dies.
    pub death_signal: Option<Signal>,
    /// An open cgroup v2 directory that the child must start in.
    pub into_cgroup: Option<BorrowedFd<'a>>,
    /// This process is PID 1 of a PID namespace: it reaps every orphan, and since the kernel
    /// will not let it stop, it tells its own parent when the child stops.
    pub init_for: Option<&'a Parent>,
}

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

/// The child's line to the parent that supervises it; closed by exec.
#[derive(Debug)]
pub struct Parent {
    line: OwnedFd,
}

impl Parent {
    const FAILED: u8 = b'!';
    const STOPPED: u8 = b'z';

    /// One byte; a parent that has died needs to know nothing.
    fn tell(&self, what: u8) {
        let _ = write(&self.line, &[what]);
    }
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

/// Forks. The child runs `child`, which mostly ends by exec and then returns only an error; the
/// parent forwards every signal that it can, stops when the child stops, and returns how it ended.
/// The child begins once the parent watches it; a parent that cannot any more ends it.
pub fn run(options: &Options<'_>, child: impl FnOnce(&Parent) -> Result<Ended>) -> Result<Ended> {
    run_beside(options, None, child)
}

/// The same for a parent that has something else to do meanwhile, and a child in a session of its own.
pub fn run_beside<'a>(
    options: &Options<'a>,
    beside: Option<&'a mut dyn Beside>,
    child: impl FnOnce(&Parent) -> Result<Ended>,
) -> Result<Ended> {
    let signals = Signals::block()?; // before the fork, so that no signal is lost
    let (word, parents_word) = pipe()?;
    let (report, line) = pipe()?;
    trace::step("fork");
    match fork(options.into_cgroup)? {
        Fork::Child => {
            drop((parents_word, report));
            let parent = Parent { line };
            let armed = options.death_signal.map_or(Ok(()), |signal| {
                prctl::set_pdeathsig(signal).during("ask for a signal at the parent's death", "prctl")
            });
            let begun = armed.and_then(|()| await_word(&word));
            drop(word);
            let ended = begun.and_then(|()| signals.restore()).and_then(|()| child(&parent));
            let ended = ended.unwrap_or_else(|error| Ended::Tool(app::report(&error)));
            if let Ended::Tool(_) = ended {
                parent.tell(Parent::FAILED);
            }
            sys::exec::exit_now(ended.status())
        }
        Fork::Parent(pid) => {
            drop((word, line, child)); // what the child holds, it alone holds now
            let end_it = Undo::new(|| end(pid));
            let watch = Watch::over(pid, report, options.init_for, beside)?;
            let _ = write(parents_word, b"!"); // without it the child fails, and says so
            let ended = watch.until_it_ends(&signals.queue)?;
            end_it.keep();
            signals.restore()?;
            Ok(ended)
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).during("make a pipe", "")
}

/// fork(2), or clone3(2) into an open cgroup v2 directory.
pub fn fork(into_cgroup: Option<BorrowedFd<'_>>) -> Result<Fork> {
    let forked = match into_cgroup {
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
            Errno::EBUSY if into_cgroup.is_some() => {
                Some("cgroup v2 has no processes beside child groups that are limited: the cgroup has such children")
            }
            _ => None,
        })
    })
}

/// Waits until the parent says that it watches; it may have died before we asked to be told.
fn await_word(word: &OwnedFd) -> Result<()> {
    let step = "wait for";
    poll(&mut [PollFd::new(word.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).during(step, "parent")?;
    match read(word, &mut [0]).during(step, "parent")? {
        0 => Err(Error::new("start the command", "parent", "it has died")),
        _ => Ok(()),
    }
}

/// It is our own child and not reaped, so the PID is still its.
fn end(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
    let _ = sys::wait::wait(pid);
}

/// All signals blocked and readable, and what was in force before.
struct Signals {
    queue: Queue,
    old_mask: Mask,
    old_sigchld: SigAction,
}

impl Signals {
    fn block() -> Result<Self> {
        let old_mask = Mask::ALL.block_only().during("block", "signals")?;
        let queue = Queue::open(Mask::ALL).during("open a signalfd", "signals")?;
        // Where SIGCHLD is ignored, children leave no status behind (wait(2)).
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        let old_sigchld = sys::signal::set_action(Signal::SIGCHLD, &default).during("reset", "SIGCHLD")?;
        Ok(Self { queue, old_mask, old_sigchld })
    }

    fn restore(&self) -> Result<()> {
        sys::signal::set_action(Signal::SIGCHLD, &self.old_sigchld).during("restore", "SIGCHLD")?;
        self.old_mask.block_only().during("restore", "signal mask").map(|_all| ())
    }
}

/// A child being watched.
struct Watch<'a> {
    pid: Pid,
    pidfd: OwnedFd,
    /// The child's line to us, until exec closes it.
    line: Option<OwnedFd>,
    failed: bool,
    init_for: Option<&'a Parent>,
    beside: Option<&'a mut dyn Beside>,
}

impl<'a> Watch<'a> {
    fn over(
        pid: Pid,
        line: OwnedFd,
        init_for: Option<&'a Parent>,
        beside: Option<&'a mut dyn Beside>,
    ) -> Result<Self> {
        let pidfd = sys::pidfd::open(pid).during("open a pidfd", format!("process {pid}"))?;
        Ok(Self { pid, pidfd, line: Some(line), failed: false, init_for, beside })
    }

    /// Its stops stop us, and our signals are its signals, until it ends.
    fn until_it_ends(mut self, queue: &Queue) -> Result<Ended> {
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
