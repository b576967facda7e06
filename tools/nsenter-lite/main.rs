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
mod pty;
mod relay;
mod restrict;

use std::process::ExitCode;

use common::process::Process;
use common::supervise::{self, Ended, Options};
use common::{Result, app, seal};
use nix::sys::signal::Signal;

use crate::cli::Cli;
use crate::identity::become_command;
use crate::plan::{Action, Entry, Plan};
use crate::pty::{NewTerminal, Settings};
use crate::relay::Relay;

/// What we fork does not outlive us.
const WITH_US: Options<'_> =
    Options { death_signal: Some(Signal::SIGKILL), into_cgroup: None, keeps_mounts: false, init_for: None };

fn main() -> ExitCode {
    app::run(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    seal::make_own_binary_unwritable()?;
    let plan = Plan::new(cli)?;
    let ended = match &plan.action {
        Action::List { json } => return list::print(&plan.target, *json).map(|()| ExitCode::SUCCESS),
        Action::Enter(entry) if entry.tty => with_a_new_terminal(&plan.target, entry)?,
        Action::Enter(entry) => go_in(&plan.target, entry, None)?,
    };
    Ok(ExitCode::from(ended.status()))
}

/// Goes in and becomes COMMAND, or waits for it.
fn go_in(target: &Process, entry: &Entry, terminal: Option<NewTerminal>) -> Result<Ended> {
    enter::enter(target, entry)?;
    if !entry.fork {
        return Err(become_command(entry, terminal));
    }
    // A PID namespace is entered by the children only.
    supervise::run(&WITH_US, |_| Err(become_command(entry, terminal)))
}

/// The child goes in, and this process stays outside, between the two terminals.
fn with_a_new_terminal(target: &Process, entry: &Entry) -> Result<Ended> {
    let settings = Settings::of_the_caller();
    let (mut relay, to_relay) = Relay::new(settings.clone())?;
    let terminal = NewTerminal { to_relay, settings };
    supervise::run_beside(&WITH_US, Some(&mut relay), |_| go_in(target, entry, Some(terminal)))
}
