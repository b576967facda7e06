//! cgset: limit, measure, freeze, kill and clean up a group of processes.
//!
//! ```text
//! cgset [OPTIONS] GROUP [KEY=VALUE]... [-- COMMAND [ARG...]]
//! cgset --from FILE [OPTIONS] [GROUP] [KEY=VALUE]...
//! ```
#![forbid(unsafe_code)]

mod apply;
mod changes;
mod cli;
mod end;
mod file;
mod group;
mod key;
mod members;
mod plan;
mod set;
mod v1;
mod value;

use std::process::ExitCode;

use common::{Result, hierarchy};

use cli::Cli;
use group::Group;
use hierarchy::Host;
use plan::{Control, Plan};

fn main() -> ExitCode {
    common::app::run(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    let plan = Plan::new(cli)?;
    let host = Host::find()?;
    match plan {
        Plan::Set(plan) => set::run(&host, plan),
        Plan::Control(plan) => control(&host, &plan),
    }
}

fn control(host: &Host, plan: &Control) -> Result<ExitCode> {
    let group = Group::existing(host, &plan.group)?;
    if plan.kill {
        end::kill_all(&group)?;
    }
    if plan.delete {
        end::remove(&group, plan.recursive)?;
    }
    Ok(ExitCode::SUCCESS)
}
