//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser};
use common::chain::ChainArgs;

use crate::device::Access;

/// Limit, measure, freeze, kill and clean up a group of processes, on cgroup v1, v2 and hybrid hosts
#[derive(Parser, Debug)]
#[command(
    name = "cgset",
    override_usage = "cgset [OPTIONS] GROUP [KEY=VALUE]... [-- COMMAND [ARG...]]\n       \
                      cgset --from FILE [OPTIONS] [GROUP] [KEY=VALUE]...",
    after_help = "Keys are cgroup v2's on every host: memory.max=64M (or 50%), pids.max=32, cpu.max=1.5 (CPUs),\n\
                  cpuset.cpus=0-3, 'io.max=/dev/vda rbps=10M', cpu.weight=200, ...; cgset(1) has them all.\n\n\
                  Example: run a command that may take 64 MiB, 32 processes and half a CPU, and clean up after it:\n  \
                  cgset --rm demo memory.max=64M pids.max=32 cpu.max=0.5 -- make test"
)]
pub struct Cli {
    /// From the hierarchy's top, or ./GROUP from the caller's own group
    #[arg(value_name = "GROUP [KEY=VALUE]")]
    pub operands: Vec<OsString>,
    /// Take the container of the record in FILE (-: standard input)
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Move this process instead of cgset; may be repeated
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Vec<i32>,
    /// Move single threads instead of processes
    #[arg(long)]
    pub threads: bool,
    /// Wait for COMMAND, then kill what is left in GROUP and remove it
    #[arg(long)]
    pub rm: bool,
    /// Give GROUP to this user, to make subgroups and move processes
    #[arg(long, value_name = "UID[:GID]")]
    pub owner: Option<String>,
    #[command(flatten)]
    pub devices: Devices,
    #[command(flatten)]
    pub acts: Acts,
    #[command(flatten)]
    pub views: Views,
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// Which devices may be used.
#[derive(Args, Debug)]
pub struct Devices {
    /// Allow a device: 'c 1:3 rwm', '/dev/null rw'; may be repeated
    #[arg(long, value_name = "RULE")]
    pub device: Vec<String>,
    /// What other devices are (deny where --device is given)
    #[arg(long, value_name = "allow|deny", hide_possible_values = true)]
    pub device_default: Option<Access>,
}

/// Acts on a group that exists.
#[derive(Args, Debug)]
pub struct Acts {
    /// Stop all processes in GROUP, and wait until they stand still
    #[arg(long, conflicts_with_all = ["thaw", "kill", "delete"])]
    pub freeze: bool,
    /// Let them go on
    #[arg(long)]
    pub thaw: bool,
    /// Kill all processes in GROUP, and wait until it is empty
    #[arg(long)]
    pub kill: bool,
    /// Remove GROUP
    #[arg(long)]
    pub delete: bool,
    /// With --delete: remove its child groups too
    #[arg(long, requires = "delete")]
    pub recursive: bool,
}

/// Looks at a group that exists.
#[derive(Args, Debug)]
pub struct Views {
    /// Print the settings that are named after GROUP, or all
    #[arg(long, group = "show")]
    pub get: bool,
    /// Print what GROUP has used: memory, CPU, processes, io, pressure
    #[arg(long, group = "show")]
    pub stat: bool,
    /// Print GROUP and the groups in it, with their processes
    #[arg(long, group = "show")]
    pub list: bool,
    /// With --get, --stat, --list: print JSON
    #[arg(long, requires = "show")]
    pub json: bool,
}

impl Acts {
    /// Whether one was asked for.
    pub fn any(&self) -> bool {
        self.freeze || self.thaw || self.kill || self.delete
    }
}

impl Views {
    /// Whether one was asked for.
    pub fn any(&self) -> bool {
        self.get || self.stat || self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        common::app::command::<Cli>().debug_assert();
    }
}
