//! What was typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, ValueEnum};
use common::chain::ChainArgs;
use common::idmap::IdMap;
use common::namespace_args::NamespaceArgs;

use crate::clock::Offset;
use crate::signal_name::SignalNumber;

/// Run COMMAND in new Linux namespaces
#[derive(Parser, Debug)]
#[command(
    name = "unshare-lite",
    override_usage = "unshare-lite [OPTIONS] [-- COMMAND [ARG...]]",
    group(ArgGroup::new("pid_namespace").args(["pid", "all"]).multiple(true)),
    after_help = "Example: a shell that is PID 1, with its own host name and no network\n  \
        unshare-lite --user --map-root-user --mount-proc --pid --uts --net --hostname demo -- /bin/sh"
)]
pub(crate) struct Cli {
    /// Fork, and run COMMAND as the child (--pid and --time do so by themselves)
    #[arg(short, long)]
    pub fork: bool,
    /// As PID 1, reap orphans and forward signals, with COMMAND as the child
    #[arg(long, requires = "pid_namespace")]
    pub init: bool,
    /// What the child is sent when unshare-lite dies: KILL unless told (means --fork)
    #[arg(long, value_name = "SIG", num_args = 0..=1, require_equals = true, default_missing_value = "KILL")]
    pub kill_child: Option<SignalNumber>,
    /// Start an idle PID 1 in the background and print its container record
    #[arg(long, conflicts_with_all = ["init", "fork", "kill_child", "command"])]
    pub detach: bool,
    /// Read a container record, '-' for standard input, and start inside its cgroup
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub chain: ChainArgs,
    #[command(flatten)]
    pub new: NewArgs,
    #[command(flatten)]
    pub maps: MapArgs,
    #[command(flatten)]
    pub inside: InsideArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "New namespaces (=FILE pins one by a bind mount)")]
pub(crate) struct NewArgs {
    #[command(flatten)]
    pub namespaces: NamespaceArgs,
    /// All but user and time
    #[arg(short, long)]
    pub all: bool,
    /// How mounts pass to and fro: private, slave, shared, unchanged
    #[arg(long, value_name = "MODE", default_value = "private", hide_possible_values = true)]
    pub propagation: Propagation,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Users (each means --user)")]
pub(crate) struct MapArgs {
    /// Be root inside
    #[arg(short = 'r', long, conflicts_with = "map_current_user")]
    pub map_root_user: bool,
    /// Be the same user and group inside
    #[arg(short = 'c', long)]
    pub map_current_user: bool,
    /// Map COUNT users from INNER on to those from OUTER on (repeatable)
    #[arg(long, value_name = "INNER:OUTER:COUNT")]
    pub map_users: Vec<IdMap>,
    /// Map groups likewise
    #[arg(long, value_name = "INNER:OUTER:COUNT")]
    pub map_groups: Vec<IdMap>,
    /// Map the subordinate ids that /etc/subuid and /etc/subgid grant
    #[arg(long)]
    pub map_auto: bool,
    /// Whether setgroups(2) works inside
    #[arg(long, value_name = "allow|deny", hide_possible_values = true)]
    pub setgroups: Option<Setgroups>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Inside")]
pub(crate) struct InsideArgs {
    /// Become this user before COMMAND
    #[arg(short = 'S', long, value_name = "UID")]
    pub setuid: Option<u32>,
    /// Become this group, and leave all supplementary groups
    #[arg(short = 'G', long, value_name = "GID")]
    pub setgid: Option<u32>,
    /// Let COMMAND keep the capabilities (as ambient ones) although it is not root
    #[arg(long)]
    pub keep_caps: bool,
    /// Set the host name
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<OsString>,
    /// Set the NIS domain name
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<OsString>,
    /// Bring the loopback interface up
    #[arg(long)]
    pub lo: bool,
    /// Mount a fresh procfs on DIR, /proc unless told (means --mount)
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub mount_proc: Option<Option<PathBuf>>,
    /// Offset of the monotonic clock in seconds, such as -1.5
    #[arg(long, value_name = "SECS", allow_hyphen_values = true)]
    pub monotonic: Option<Offset>,
    /// Offset of the boot-time clock in seconds
    #[arg(long, value_name = "SECS", allow_hyphen_values = true)]
    pub boottime: Option<Offset>,
}

/// Mount propagation of the new namespace (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Propagation {
    Private,
    Slave,
    Shared,
    Unchanged,
}

/// /proc/PID/setgroups (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Setgroups {
    Allow,
    Deny,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        common::app::command::<Cli>().debug_assert();
    }

    #[test]
    fn an_init_is_for_a_pid_namespace_however_it_was_asked_for() {
        let parses = |words: &[&str]| {
            Cli::try_parse_from([&["unshare-lite", "--init"], words, &["--", "sh"]].concat()).is_ok()
        };
        assert!(parses(&["--pid"]) && parses(&["-a"]) && parses(&["--all", "--pid"]));
        assert!(!parses(&[]) && !parses(&["--mount"]));
    }
}
