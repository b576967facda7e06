//! What the tests share: the tools, what a test needs of its machine, and a scene to act in.
#![allow(dead_code)] // each test file uses its own part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)] // set-up of tests

pub mod namespace;
pub mod needs;
pub mod process;
pub mod registry;
pub mod scene;
pub mod terminal;

pub use needs::{Need, needs};
pub use scene::Scene;

use std::path::Path;
use std::time::{Duration, Instant};

/// The binary under test.
pub fn path_of(tool: &str) -> &'static Path {
    Path::new(match tool {
        "unshare-lite" => env!("CARGO_BIN_EXE_unshare-lite"),
        "cgset" => env!("CARGO_BIN_EXE_cgset"),
        "unionmount" => env!("CARGO_BIN_EXE_unionmount"),
        "pivot" => env!("CARGO_BIN_EXE_pivot"),
        "nsenter-lite" => env!("CARGO_BIN_EXE_nsenter-lite"),
        "whiteout" => env!("CARGO_BIN_EXE_whiteout"),
        _ => panic!("no tool is named {tool}"),
    })
}

/// The five that end by becoming COMMAND.
pub const CHAIN_TOOLS: [&str; 5] = ["unshare-lite", "cgset", "unionmount", "pivot", "nsenter-lite"];

/// How long a step may take at most: what takes longer hangs. Also on a machine that is loaded, and
/// in user-mode-linux on that, where a process costs 25 ms and more.
pub fn patience() -> Duration {
    Duration::from_secs(if needs::in_uml() { 300 } else { 90 })
}

/// Waits until something holds; a test that waits too long has failed.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < patience(), "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a finished command printed on standard output.
pub fn stdout(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

/// What a finished command printed on standard error.
pub fn stderr(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}
