//! Whichever system call fails, COMMAND runs in just the container that was asked for or not at
//! all, and a run that fails leaves nothing: SECURITY's promises, call by call.
//!
//! strace(1) tells which calls a command line makes, and makes one of them fail. They are some hundred, and
//! a run takes 30 ms to 130 ms, in user-mode-linux a second: so only every so manieth call fails each time,
//! unless `FAILURE_STRIDE=1` asks for all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

#[path = "../common/mod.rs"]
mod common;

mod chain;
mod killed;
mod look;
mod stages;
mod sweep;
mod tools;
mod whiteout;
