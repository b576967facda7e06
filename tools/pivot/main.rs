//! pivot - make a directory the root directory and run a command in it
//!
//! `pivot [OPTIONS] NEW_ROOT -- COMMAND [ARG...]`
//! `pivot --from FILE [OPTIONS] NEW_ROOT`
#![forbid(unsafe_code)]

mod api;
mod asked;
mod attributes;
mod cgroup;
mod cli;
mod container;
mod dev;
mod environment;
mod filesystem;
mod furnish;
mod guard;
mod mask;
mod plan;
mod process;
mod seccomp;
mod switch;
mod tmpfs;
mod tree;
mod volume;

use std::process::ExitCode;

use common::chain::Chain;
use common::{Result, seal};

use crate::cgroup::Membership;
use crate::cli::Cli;
use crate::plan::{Aim, Plan};
use crate::process::Prepared;

fn main() -> ExitCode {
    common::app::run(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    seal::make_own_binary_unwritable()?;
    let (aim, plan) = Plan::from_cli(cli)?;
    match aim {
        Aim::Command(chain) => become_command(&chain, plan),
        Aim::Container(record) => container::switch_root_of(&record, plan),
    }
}

fn become_command(chain: &Chain, plan: Plan) -> Result<ExitCode> {
    if !plan.force && !plan.leaves_mounts_alone() {
        guard::refuse_the_machines_own("self")?;
    }
    let mut tree = furnish::furnish(&plan, Membership::of("self")?)?;
    let prepared = Prepared::new(plan.process, &mut tree)?;
    furnish::restrict(&plan.mounts, &mut tree)?;
    prepared.apply_before_the_switch()?;
    switch::switch(&tree, &plan.switch)?;
    Err(prepared.become_command(chain))
}
