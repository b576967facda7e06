//! What two or more of the tools need, and every `unsafe` line.
//!
//! A module belongs here once a second tool wants it; it is named by the
//! field's noun and never knows which tool calls it. `unsafe` is allowed
//! in [`sys`] only.

pub mod app;
pub mod capability;
pub mod cgroup;
pub mod chain;
pub mod creds;
pub mod death_signal;
pub mod error;
pub mod exit;
pub mod hierarchy;
pub mod idmap;
pub mod json;
pub mod limits;
pub mod mapping;
pub mod mountinfo;
pub mod namespace;
pub mod namespace_args;
pub mod output;
pub mod passwd;
pub mod process;
pub mod procfs;
pub mod record;
pub mod root;
pub mod seal;
pub mod seccomp;
pub mod size;
pub mod supervise;
pub mod sys;
pub mod trace;
pub mod undo;

pub use error::{During, Error, Result};
