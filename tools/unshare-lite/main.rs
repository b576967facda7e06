//! unshare-lite: run COMMAND in new Linux namespaces.
//!
//! `unshare-lite [OPTIONS] [-- COMMAND [ARG...]]`
//!
//! The first step of a container: what unshare(2) can give a process of its own.
#![forbid(unsafe_code)]

mod cli;
mod clock;
mod detach;
mod inside;
mod maps;
mod outsider;
mod pin;
mod plan;
mod refusal;
mod relay;
mod signal_name;
mod spawn;
mod subid;

use std::process::ExitCode;

use common::{Result, app, seal};

use crate::cli::Cli;
use crate::plan::Plan;

fn main() -> ExitCode {
    app::run(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    if cli.init || cli.detach {
        seal::make_own_binary_unwritable()?; // it will be PID 1's, which the container can look into
    }
    let plan = Plan::new(cli)?;
    let mut outside = spawn::Outside::fork(&plan)?; // helpers that stay in the old namespaces
    spawn::enter_new_namespaces(&plan)?;
    outside.write_maps()?;
    clock::set(&plan.offsets)?;
    outside.pin()?;
    spawn::finish(plan, outside)
}
