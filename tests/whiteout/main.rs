//! whiteout, looked at from outside: through the files it makes, and through real overlays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // set-up of tests

mod apply;
mod archive;
mod bombs;
mod changes;
#[path = "../common/mod.rs"]
mod common;
mod convert;
mod diff;
mod hostile;
mod hostile_marks;
mod marks;
mod pack;
mod peers;
mod place;
mod tree;
mod unpack;
mod usage;
