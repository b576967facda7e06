//! The signal that this process gets when its parent dies (prctl(2), `PR_SET_PDEATHSIG`).

use nix::sys::prctl;
use nix::unistd::getppid;

use crate::error::{During as _, Error, Result};

/// Makes a change of user or capabilities, which clears the signal, and asks for it again.
///
/// Fails where the parent has died in between. A parent in an outer PID namespace cannot be
/// seen from here (getppid(2) is 0): its death within these few system calls goes unnoticed.
pub fn keep_over(change: impl FnOnce() -> Result<()>) -> Result<()> {
    let signal = prctl::get_pdeathsig().during("read", "the parent death signal")?;
    let parent = getppid();
    change()?;
    prctl::set_pdeathsig(signal).during("set again", "the parent death signal")?;
    if signal.is_some() && getppid() != parent {
        return Err(parent_has_died());
    }
    Ok(())
}

/// What a child says that would outlive the tool it belongs to.
pub(crate) fn parent_has_died() -> Error {
    Error::new("start the command", "parent", "it has died")
}
