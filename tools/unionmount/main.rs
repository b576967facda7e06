//! unionmount - mount the union of layers: a container's root filesystem
//!
//! `unionmount [-l DIR]... [-u DIR [-w DIR] | --ephemeral[=SIZE]] MERGED [-- COMMAND [ARG...]]`
//!
//! `unionmount --from FILE [-l DIR]... [-u DIR [-w DIR] | --ephemeral[=SIZE]] MERGED`
//!
//! `unionmount --show [--json] MERGED`
//!
//! `unionmount --unmount MERGED`

#![forbid(unsafe_code)]

mod attributes;
mod checks;
mod cli;
mod fuse;
mod image;
mod init_layer;
mod kernel_log;
mod layer;
mod legacy;
mod mounted;
mod options;
mod overlay;
mod pipeline;
mod plan;
mod real_path;
mod scratch;
mod shift;
mod show;
mod skeleton;
mod source;
mod split;
mod tree;
mod union;
mod unmount;
mod upper;
mod user_namespace;
mod users;

use std::process::ExitCode;

use common::Result;

use cli::Cli;
use plan::{Plan, Then};
use union::Union;

fn main() -> ExitCode {
    common::app::run(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    match Plan::new(cli)? {
        Plan::Show { merged, json } => show::show(&merged, json)?,
        Plan::Unmount { merged } => unmount::unmount(&merged)?,
        Plan::Mount { stack, then: Then::Return } => {
            Union::mount(&stack, user_namespace::is_inner()?)?.keep()
        }
        Plan::Mount { stack, then: Then::HandOn { record } } => pipeline::stage(&record, &stack)?,
        Plan::Mount { stack, then: Then::Exec(command) } => {
            let union = Union::mount(&stack, user_namespace::is_inner()?)?;
            let error = command.exec();
            drop(union); // COMMAND does not run, so nothing stays
            return Err(error);
        }
    }
    Ok(ExitCode::SUCCESS)
}
