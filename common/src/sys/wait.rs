//! waitpid(2) that knows real-time signals, which nix's does not.

use nix::errno::Errno;
use nix::unistd::Pid;

/// What a child did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Ended with this status, 0 to 255.
    Exited(u8),
    /// Died of this signal.
    Killed(i32),
    /// Stopped by this signal.
    Stopped(i32),
}

/// waitpid(2), restarted when a signal interrupts it. `pid` -1 is any child.
pub fn wait(pid: Pid) -> nix::Result<(Pid, Wait)> {
    loop {
        match call(pid, 0) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// waitpid(2) with WNOHANG and WUNTRACED: `None` where no child has changed.
pub fn poll(pid: Pid) -> nix::Result<Option<(Pid, Wait)>> {
    call(pid, libc::WNOHANG | libc::WUNTRACED)
}

fn call(pid: Pid, options: libc::c_int) -> nix::Result<Option<(Pid, Wait)>> {
    let mut status = 0;
    // SAFETY: `status` is a valid int for the call to write.
    let who = Errno::result(unsafe { libc::waitpid(pid.as_raw(), &raw mut status, options) })?;
    let what = if libc::WIFEXITED(status) {
        Wait::Exited((libc::WEXITSTATUS(status) & 0xff) as u8)
    } else if libc::WIFSIGNALED(status) {
        Wait::Killed(libc::WTERMSIG(status))
    } else {
        Wait::Stopped(libc::WSTOPSIG(status))
    };
    Ok((who > 0).then(|| (Pid::from_raw(who), what)))
}
