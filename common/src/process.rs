//! One process for good: a PID can be used again, a PID with its start time and a pidfd cannot.

use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::error::{Error, Result, Why};
use crate::{procfs, sys};

/// A process held by a pidfd.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    start_time: u64,
    pidfd: OwnedFd,
}

impl Process {
    /// The process that has `pid` now.
    pub fn open(pid: i32) -> Result<Self> {
        procfs::must_be_of_our_pid_namespace()?;
        let object = format!("process {pid}");
        let pidfd = sys::pidfd::open(Pid::from_raw(pid)).map_err(|errno| {
            Error::new("open a pidfd", &object, errno).or_hint(match errno {
                // pidfd_open(2): for a thread that does not lead its group (newer kernels: ENOENT), or a PID below 1.
                Errno::EINVAL | Errno::ENOENT => Some("a PID is a positive number, and not that of a thread"),
                _ => None,
            })
        })?;
        let stat = procfs::stat(pid)?;
        let process = Self { pid, start_time: stat.start_time, pidfd };
        process.still_running()?; // the pidfd lives, so what was read in /proc is of this process
        Ok(process)
    }

    /// The process with `pid` that started at `start_time`, as a container record names it.
    pub fn open_same(pid: i32, start_time: u64) -> Result<Self> {
        let process = Self::open(pid)?;
        if process.start_time == start_time {
            return Ok(process);
        }
        Err(Error::new(
            "match the record's start_time",
            process.to_string(),
            "the PID now belongs to another process",
        )
        .hint("the container of this record has ended"))
    }

    /// Fails where the process has ended, a zombie included.
    pub fn still_running(&self) -> Result<()> {
        let ended =
            |why: Why| Error::new("use the process", self.to_string(), why).hint("the process has ended");
        sys::pidfd::send_signal(self.pidfd(), 0).or_else(|errno| match errno {
            Errno::EPERM => Ok(()), // it is there, and not ours
            Errno::ESRCH => Err(ended(Errno::ESRCH.into())),
            other => Err(Error::new("ask for the process", self.to_string(), other)),
        })?;
        if procfs::stat(self.pid)?.state == b'Z' { Err(ended("it is a zombie".into())) } else { Ok(()) }
    }

    /// Adds to the error of a pipeline's stage that this process, the container's PID 1, still runs:
    /// where `record_is_lost` with the stage that failed, its reader must know how to end it.
    #[must_use]
    pub fn left_behind_by(&self, error: Error, record_is_lost: bool) -> Error {
        if !record_is_lost {
            return error;
        }
        let stop = format!("the container's PID 1 still runs: 'kill -KILL {}' stops it", self.pid);
        let hint = error.hint_text().map_or_else(|| stop.clone(), |hint| format!("{hint}; {stop}"));
        error.hint(hint)
    }

    /// Its PID in this process's PID namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// When it started, in clock ticks since boot (field 22 of /proc/PID/stat).
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// The descriptor that holds it.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let pid = std::process::id() as i32;
        let start_time = Process::open(pid).unwrap().start_time();
        assert!(Process::open_same(pid, start_time).is_ok());
        let error = Process::open_same(pid, start_time + 1).unwrap_err();
        assert!(error.to_string().ends_with("the PID now belongs to another process"), "{error}");
    }

    #[test]
    fn a_zombie_and_a_missing_process_are_told_apart() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        while procfs::stat(pid).unwrap().state != b'Z' {
            std::thread::yield_now();
        }
        assert!(Process::open(pid).unwrap_err().to_string().contains("zombie"));
        child.wait().unwrap();
        assert!(Process::open(pid).unwrap_err().to_string().contains("No such process"));
    }
}
