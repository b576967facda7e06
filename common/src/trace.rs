//! `-v`: one line on standard error for each step that changes state, as it is taken.

use std::fmt::Display;
use std::io::{Write as _, stderr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::printable;

static TOOL: OnceLock<String> = OnceLock::new();
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Names the tool in all that it reports.
pub(crate) fn begin(tool: &str) {
    // Only app::run calls this, once; a second name would change nothing.
    let _ = TOOL.set(tool.to_owned());
}

/// Turns the reporting of steps on or off.
pub(crate) fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Whether steps are reported: for a report that takes work to put together.
pub fn on() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// Reports a step that is about to be taken, where `-v` asked for it.
pub fn step(what: impl Display) {
    if on() {
        say(what);
    }
}

/// Reports what the user should know although nothing failed.
pub fn warn(what: impl Display) {
    say(format_args!("warning: {what}"));
}

/// The tool's name.
pub(crate) fn tool() -> &'static str {
    TOOL.get().map_or("container-steps", String::as_str)
}

/// Writes one line with the tool's name before it.
pub(crate) fn say(what: impl Display) {
    let tool = tool();
    let what = printable(what.to_string()); // names of files may hold anything
    // One write a line, so that the lines of a pipeline's stages do not mix.
    // Where standard error is gone there is nobody left to tell.
    let _ = stderr().write_all(format!("{tool}: {what}\n").as_bytes());
}
