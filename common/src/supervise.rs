//! A child that takes the tool's place in all but the PID: signals go on to it, its
//! stops are the tool's stops, and its end is the tool's end.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2, write};

use crate::death_signal::parent_has_died;
use crate::error::{During as _, Error, Result};
use crate::sys::clone::Fork;
use crate::undo::Undo;
use crate::{app, sys, trace};

mod watch;

pub use watch::{Beside, Left};
use watch::{Signals, Watch};

/// How the child is made and watched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// What the kernel sends to the child when the tool dies, however it dies.
    pub death_signal: Option<Signal>,
    /// An open cgroup v2 directory that the child must start in.
    pub into_cgroup: Option<BorrowedFd<'a>>,
    /// The parent still needs the mounts as they are: a child that switches its root switches that of all in its
    /// mount namespace.
    pub keeps_mounts: bool,
    /// This process is PID 1 of a PID namespace: it reaps every orphan, and since the kernel
    /// will not let it stop, it tells its own parent when the child stops.
    pub init_for: Option<&'a Parent>,
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
            if options.keeps_mounts {
                keep_mounts()?;
            }
            let watch = Watch::over(pid, report, options.init_for, beside)?;
            match write(&parents_word, b"!") {
                Ok(_) | Err(Errno::EPIPE) => {} // it has failed already, and says so
                // Never told, it would wait for ever.
                Err(errno) => return Err(errno).during("tell to begin", "child"),
            }
            let ended = watch.until_it_ends(&signals.queue)?;
            end_it.keep();
            drop(parents_word); // open until here: so the child knows that we live
            // What the child was sent together with us, as Ctrl-C is, must not end us in its place.
            while signals.queue.next().is_some() {}
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

/// A mount namespace of our own, in which what is mounted and unmounted outside still arrives.
fn keep_mounts() -> Result<()> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => return Ok(()), // then the child cannot switch a root either
        result => result.during("keep", "mounts")?,
    }
    let none = None::<&str>;
    match mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none) {
        Err(Errno::EINVAL) => Ok(()), // a chroot: no mount point, and nothing to change
        result => result.during("make all mounts slave", "/"),
    }
}

/// Waits until the parent says that it watches; it may have died before we asked to be told.
fn await_word(word: &OwnedFd) -> Result<()> {
    let step = "wait for";
    let mut news = [PollFd::new(word.as_fd(), PollFlags::POLLIN)];
    poll(&mut news, PollTimeout::NONE).during(step, "parent")?;
    // The parent holds its end for as long as it lives. It may have said the word and died since.
    if news[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
        return Err(parent_has_died());
    }
    Ok(())
}

/// It is our own child and not reaped, so the PID is still its.
fn end(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
    let _ = sys::wait::wait(pid);
}
