//! The idle PID 1 of a container that is built stage by stage: it holds the namespaces
//! open, reaps, and does nothing else until SIGTERM or the end of the container.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use common::namespace::NamespaceKind;
use common::process::Process;
use common::record::Record;
use common::supervise;
use common::sys::clone::Fork;
use common::sys::exec::{close_all_but, exit_now};
use common::sys::{memory, wait};
use common::undo::Undo;
use common::{During as _, Error, Result, trace};
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, read, setsid, write};

use crate::relay;
use crate::spawn::Outside;

/// Starts the holder, which runs `furnish` first, and prints the record once it is ready.
pub(crate) fn start(
    mut record: Record,
    kinds: &[NamespaceKind],
    into_cgroup: Option<BorrowedFd<'_>>,
    outside: &mut Outside,
    furnish: impl FnOnce(&mut Outside) -> Result<()>,
) -> Result<ExitCode> {
    let (ready, is_ready) = pipe2(OFlag::O_CLOEXEC).during("make a pipe", "holder")?;
    let (stays, may_stay) = pipe2(OFlag::O_CLOEXEC).during("make a pipe", "holder")?;
    match supervise::fork(into_cgroup)? {
        Fork::Child => {
            drop((ready, may_stay));
            hold(is_ready, stays, || furnish(outside))
        }
        Fork::Parent(pid) => {
            drop((is_ready, stays, furnish));
            trace::step(format_args!("start an idle process, {pid}, to hold the namespaces"));
            let end_it = Undo::new(|| end(pid));
            await_ready(ready, record.cgroup().map(|_| TOO_SMALL))?;
            let process = Process::open(pid.as_raw())?;
            record.set_process(&process, &ids(pid, kinds)?);
            // Before the record, for what is printed cannot be taken back.
            outside.keep()?;
            let told = record.write().and_then(|()| write(&may_stay, b"!").during("let it stay", "holder"));
            told.inspect_err(|_| outside.take_back())?;
            end_it.keep();
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What kills a holder before it can say why.
const TOO_SMALL: &str = "its cgroup's limits may be too small for it: memory.max, pids.max";

/// One byte says that it is ready; none, that it failed and has said why.
fn await_ready(ready: OwnedFd, likely: Option<&str>) -> Result<()> {
    let mut said = String::new();
    File::from(ready).read_to_string(&mut said).during("wait for", "holder")?;
    match said.strip_prefix('-') {
        None if said == "+" => Ok(()),
        None => Err(Error::new("start", "holder", "it died").or_hint(likely)),
        Some(error) => Err(relay::unpack(error)),
    }
}

fn ids(pid: Pid, kinds: &[NamespaceKind]) -> Result<BTreeMap<NamespaceKind, u64>> {
    kinds.iter().map(|kind| Ok((*kind, kind.id_of(pid)?))).collect()
}

fn end(pid: Pid) {
    // It is our own child and not reaped, so the PID is still its.
    let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
    let _ = wait::wait(pid);
}

/// The holder's life. Whom nobody has a record of does not stay, however the tool has ended.
fn hold(ready: OwnedFd, stays: OwnedFd, furnish: impl FnOnce() -> Result<()>) -> ! {
    let prepared = furnish().and_then(|()| let_go_of_the_caller(&[ready.as_fd(), stays.as_fd()]));
    let word = match &prepared {
        Ok(()) => "+".to_owned(),
        Err(error) => format!("-{}", relay::pack(error)),
    };
    let _ = write(&ready, word.as_bytes());
    drop(ready);
    if prepared.is_ok() && read(&stays, &mut [0]) == Ok(1) {
        drop(stays);
        idle();
    }
    exit_now(125)
}

/// Nothing of the caller stays open or reachable: no terminal, directory or stream.
fn let_go_of_the_caller(but: &[BorrowedFd<'_>]) -> Result<()> {
    setsid().during("begin a session", "holder")?;
    chdir("/").during("change the working directory", "/")?;
    let null = File::options().read(true).write(true).open("/dev/null").during("open", "/dev/null")?;
    dup2_stdin(null.as_fd())
        .and_then(|()| dup2_stdout(null.as_fd()))
        .and_then(|()| dup2_stderr(null.as_fd()))
        .during("redirect the standard streams to", "/dev/null")?;
    drop(null);
    close_all_but(but).during("close", "inherited descriptors")?;
    // All signals wait until we ask for them: PID 1 would ignore most, and none may kill it by surprise.
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None).during("block", "signals")
}

/// Reaps orphans until a signal that asks for the end.
fn idle() {
    let signals = SigSet::all();
    loop {
        // Little will run again of what has brought us here. Where it stays, nothing is lost.
        let _ = memory::let_go_of_code();
        match signals.wait() {
            Ok(Signal::SIGTERM | Signal::SIGINT) => return,
            _ => while let Ok(Some(_)) = wait::poll(Pid::from_raw(-1)) {},
        }
    }
}
