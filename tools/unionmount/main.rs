//! unionmount - mount the union of layers: a container's root filesystem
//!
//! `unionmount [-l DIR]... [-u DIR [-w DIR] | --ephemeral[=SIZE]] MERGED [-- COMMAND [ARG...]]`
//!
//! `unionmount --from FILE [-l DIR]... [-u DIR [-w DIR] | --ephemeral[=SIZE]] MERGED`

#![forbid(unsafe_code)]

mod attributes;
mod cli;
mod layer;
mod legacy;
mod overlay;
mod pipeline;
mod plan;
mod scratch;
mod split;
mod tree;
mod union;
mod upper;

use std::process::ExitCode;

use common::Result;

use cli::Cli;
use plan::{Plan, Then};
use union::Union;

fn main() -> ExitCode {
    common::app::run(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    let plan = Plan::new(cli)?;
    match plan.then {
        Then::Return => Union::mount(&plan.stack)?.keep(),
        Then::Exec(command) => {
            let union = Union::mount(&plan.stack)?;
            let error = command.exec();
            drop(union); // COMMAND does not run, so nothing stays
            return Err(error);
        }
        Then::HandOn { record } => pipeline::stage(&record, &plan.stack)?,
    }
    Ok(ExitCode::SUCCESS)
}
