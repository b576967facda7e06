//! whiteout: what layers delete.
//!
//! ```text
//! whiteout create [--format FORMAT] PATH...
//! whiteout opaque [--format FORMAT] DIR...
//! whiteout remove PATH...
//! whiteout list [-0 | --json] DIR
//! whiteout convert --to FORMAT DIR
//! whiteout diff --upper DIR [--lower DIR...] [-0 | --json]
//! whiteout pack [--clamp-mtime SECS] [--idmap FROM:TO:COUNT]... UPPER >layer.tar
//! whiteout unpack [--format FORMAT | --apply] [--idmap FROM:TO:COUNT]... DIR <layer.tar
//! ```
#![forbid(unsafe_code)]

mod apply;
mod archive;
mod cli;
mod convert;
mod diff;
mod directory;
mod format;
mod idmap;
mod inside;
mod interrupt;
mod list;
mod listing;
mod lowers;
mod make;
mod mark;
mod node;
mod pack;
mod plan;
mod remove;
mod report;
mod sparse;
mod staging;
mod tree;
mod unpack;

use std::process::ExitCode;

use common::Result;

use cli::Cli;
use plan::Plan;

fn main() -> ExitCode {
    common::app::run(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    directory::allow_many_open()?;
    let done = carry_out(Plan::from_cli(cli)?);
    interrupt::die_if_noted();
    done.map(|()| ExitCode::SUCCESS)
}

fn carry_out(plan: Plan) -> Result<()> {
    match plan {
        Plan::Create { places, format } => mark::hide_all(&places, format),
        Plan::Opaque { directories, format } => mark::make_all_opaque(&directories, format),
        Plan::Remove { places } => mark::remove_all(&places),
        Plan::List { directory, style } => report::marks(&list::list(&directory)?, style),
        Plan::Convert { directory, to } => convert::convert(&directory, to),
        Plan::Diff { upper, lowers, style } => report::changes(&diff::diff(&upper, &lowers)?, style),
        Plan::Pack { upper, options } => pack::pack(&upper, &options),
        Plan::Unpack { place, options } => unpack::unpack(&place, &options),
        Plan::Apply { root, options } => apply::apply(&root, &options),
    }
}
