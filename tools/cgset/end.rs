//! The end of a group: its processes killed, its directories removed.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Error, Result, trace};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::file;
use crate::group::Group;
use crate::members::{all_pids, pids, subtree};

/// How long processes may take to die: one in an uninterruptible wait may never.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills every process in the group and below it, and waits until none is left.
///
/// cgroup.kill (Linux 5.14) kills the subtree at once; what only v1's hierarchies hold is frozen,
/// so that it cannot fork away, and killed until nothing is left.
pub fn kill_all(group: &Group<'_>) -> Result<()> {
    group.check_is_not_ours("kill")?;
    for place in &group.places {
        let switch = place.file("cgroup.kill");
        if switch.exists() {
            trace::step(format_args!("write \"1\" to {}", common::error::printable(&switch)));
            // A threaded group has the file and refuses it: then each process is killed.
            let _ = file::put(&switch, "1");
        }
    }
    let start = Instant::now();
    let mut killed = false;
    loop {
        let left = all_pids(group)?;
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            let left: Vec<_> = left.iter().map(ToString::to_string).collect();
            return Err(Error::new("kill", &group.name, format!("still there after 10 seconds: {}", left.join(" ")))
                .hint("a process in an uninterruptible wait (state D) dies when that ends; 0 is one of another PID namespace"));
        }
        // cgroup.kill needs a moment; what is left after that is not in v2's tree.
        if start.elapsed() > Duration::from_millis(50) || !killed {
            killed = true;
            kill_frozen(group)?;
        }
        sleep(Duration::from_millis(2));
    }
}

/// Whether no process is left in the group, now or a moment later.
pub fn is_emptied_within(group: &Group<'_>, patience: Duration) -> Result<bool> {
    let start = Instant::now();
    loop {
        let empty = all_pids(group)?.is_empty();
        if empty || start.elapsed() > patience {
            return Ok(empty);
        }
        sleep(Duration::from_millis(2));
    }
}

/// Stops the group, so that nobody forks, sends the signal to each, and lets them go on to die.
fn kill_frozen(group: &Group<'_>) -> Result<()> {
    // v2's frozen processes die at once, v1's when they go on.
    let switches = [("cgroup", "cgroup.freeze", "1", "0"), ("freezer", "freezer.state", "FROZEN", "THAWED")]
        .map(|(controller, file, on, off)| Some((group.place_with(controller)?.directory(), file, on, off)));
    for (directory, file, on, _) in switches.iter().flatten() {
        let _ = file::put(&directory.join(file), on);
    }
    for pid in all_pids(group)?.into_iter().filter(|pid| *pid > 0) {
        trace::step(format_args!("kill process {pid}"));
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(Error::new("kill", format!("process {pid}"), errno)),
        }
    }
    for (directory, file, _, off) in switches.iter().flatten() {
        for directory in subtree(directory) {
            // One that is frozen by itself would never see the signal.
            let _ = file::put(&directory.join(file), off);
        }
    }
    Ok(())
}

/// Removes the group everywhere, with its child groups where `recursive`. Looks first, so that
/// a group which cannot go stays whole.
pub fn remove(group: &Group<'_>, recursive: bool) -> Result<()> {
    if group.is_top() {
        return Err(Error::new("remove", &group.name, "the top of a hierarchy cannot be removed"));
    }
    for place in &group.places {
        let all = subtree(&place.directory());
        if all.len() > 1 && !recursive {
            return Err(Error::new("remove the cgroup", place.directory(), "it has child groups")
                .hint("--recursive removes them too"));
        }
        for directory in all {
            let left = pids(&directory)?;
            if !left.is_empty() {
                return Err(Error::new(
                    "remove the cgroup",
                    directory,
                    format!("it holds {} processes", left.len()),
                )
                .hint("--kill --delete kills them first"));
            }
        }
    }
    for place in &group.places {
        for directory in subtree(&place.directory()).iter().rev() {
            remove_directory(directory)?;
        }
    }
    Ok(())
}

/// The kernel calls a group busy until it has done with the processes that have just ended.
fn remove_directory(directory: &Path) -> Result<()> {
    trace::step(format_args!("remove the cgroup {}", common::error::printable(directory)));
    let start = Instant::now();
    loop {
        let Err(error) = fs::remove_dir(directory) else { return Ok(()) };
        match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::ENOENT => return Ok(()),
            Errno::EBUSY if start.elapsed() < Duration::from_secs(2) => sleep(Duration::from_millis(2)),
            errno => {
                return Err(Error::new("remove the cgroup", directory, errno).or_hint(match errno {
                    Errno::EBUSY => Some("a process or a child group has come into it"),
                    Errno::EACCES | Errno::EPERM => {
                        Some("only who may write to the parent group can remove it")
                    }
                    _ => None,
                }));
            }
        }
    }
}
