//! nsenter-lite: run COMMAND in the namespaces of a running process or container.
//!
//! `nsenter-lite [OPTIONS] (-t PID | --from FILE) [-- COMMAND [ARG...]]`
//!
//! What `docker exec` does: to stand inside what the other tools have built.
#![forbid(unsafe_code)]

mod choice;
mod cli;
mod enter;
mod identity;
mod list;
mod plan;
mod restrict;

use std::process::ExitCode;

use common::supervise::{self, Options};
use common::{Result, app, seal};
use nix::sys::signal::Signal;

use crate::cli::Cli;
use crate::identity::become_command;
use crate::plan::{Action, Plan};

fn main() -> ExitCode {
    app::run(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    seal::make_own_binary_unwritable()?;
    let plan = Plan::new(cli)?;
    let entry = match plan.action {
        Action::List { json } => return list::print(&plan.target, json).map(|()| ExitCode::SUCCESS),
        Action::Enter(entry) => entry,
    };
    enter::enter(&plan.target, &entry)?;
    if !entry.fork {
        return Err(become_command(&entry));
    }
    // A PID namespace is entered by the children only.
    let options = Options { death_signal: Some(Signal::SIGKILL), ..Options::default() };
    let ended = supervise::run(&options, |_| Err(become_command(&entry)))?;
    Ok(ExitCode::from(ended.status()))
}
