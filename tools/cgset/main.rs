//! cgset: limit, measure, freeze, kill and clean up a group of processes.
//!
//! ```text
//! cgset [OPTIONS] GROUP [KEY=VALUE]... [-- COMMAND [ARG...]]
//! cgset --from FILE [OPTIONS] [GROUP] [KEY=VALUE]...
//! ```
#![forbid(unsafe_code)]

mod apply;
mod cli;
mod control;
mod device;
mod end;
mod enforce;
mod file;
mod formula;
mod get;
mod group;
mod key;
mod list;
mod members;
mod owner;
mod plan;
#[cfg(test)]
mod properties;
mod set;
mod stat;
mod v1;
mod value;

use std::process::ExitCode;

use common::{Result, hierarchy};

use cli::Cli;
use group::Group;
use hierarchy::Host;
use plan::{Plan, Show, What};

fn main() -> ExitCode {
    common::app::run(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    let plan = Plan::new(cli)?;
    let host = Host::find()?;
    match plan {
        Plan::Set(plan) => set::run(&host, plan),
        Plan::Control(plan) => control::run(&host, &plan),
        Plan::Show(plan) => show(&host, &plan),
    }
}

fn show(host: &Host, plan: &Show) -> Result<ExitCode> {
    let group = Group::existing(host, &plan.group)?;
    match &plan.what {
        What::Settings(keys) => get::print(host, &group, keys, plan.json)?,
        What::Usage => stat::print(host, &group, plan.json)?,
        What::Members => list::print(&group, plan.json)?,
    }
    Ok(ExitCode::SUCCESS)
}
