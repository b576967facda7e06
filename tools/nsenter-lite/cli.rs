//! What was typed.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser};
use common::chain::ChainArgs;
use common::namespace_args::NamespaceArgs;

/// Run COMMAND in the namespaces of a running process or container
#[derive(Parser, Debug)]
#[command(
    name = "nsenter-lite",
    override_usage = "nsenter-lite [OPTIONS] (-t PID | --from FILE) [-- COMMAND [ARG...]]",
    group(ArgGroup::new("whom").args(["target", "from"]).required(true)),
    after_help = "Without options that say what to enter: all that differs, root, cgroup and working directory.\n\n\
        Example: a shell in a container that 'unshare-lite --detach | … > demo.json' has built\n  \
        nsenter-lite --from demo.json -- /bin/sh"
)]
pub(crate) struct Cli {
    /// The process to join
    #[arg(short, long, value_name = "PID", allow_negative_numbers = true)]
    pub target: Option<i32>,
    /// Join PID 1 of the container in this record, '-' for standard input
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Print the target's namespaces beside the caller's
    #[arg(long, conflicts_with = "command")]
    pub list: bool,
    /// Print the list as JSON
    #[arg(long, requires = "list")]
    pub json: bool,
    #[command(flatten)]
    pub chain: ChainArgs,
    #[command(flatten)]
    pub enter: EnterArgs,
    #[command(flatten)]
    pub become_: BecomeArgs,
}

/// Each `None` where not given, `Some(None)` for the target's, `Some(Some(DIR))` for that one.
#[derive(Args, Debug)]
#[command(next_help_heading = "What to enter (the target's, or FILE's)")]
pub(crate) struct EnterArgs {
    #[command(flatten)]
    pub namespaces: NamespaceArgs,
    /// All of the target's namespaces
    #[arg(short, long)]
    pub all: bool,
    /// Root directory
    #[arg(short, long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub root: Option<Option<PathBuf>>,
    /// Working directory
    #[arg(short = 'w', long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub wd: Option<Option<PathBuf>>,
    /// Working directory, looked up inside
    #[arg(short = 'W', long, value_name = "DIR", conflicts_with = "wd")]
    pub wdns: Option<PathBuf>,
    /// The target's cgroup
    #[arg(short = 'c', long)]
    pub join_cgroup: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Who and how")]
pub(crate) struct BecomeArgs {
    /// Take the target's environment
    #[arg(short, long)]
    pub env: bool,
    /// Become this user (0 where a user namespace is entered)
    #[arg(short = 'S', long, value_name = "UID")]
    pub setuid: Option<u32>,
    /// Become this group, and leave all supplementary groups
    #[arg(short = 'G', long, value_name = "GID")]
    pub setgid: Option<u32>,
    /// Stay the same user and groups in a user namespace
    #[arg(long, conflicts_with_all = ["setuid", "setgid"])]
    pub preserve_credentials: bool,
    /// Give COMMAND a new pseudo-terminal inside, joined with the caller's terminal
    #[arg(long, conflicts_with = "no_fork")]
    pub tty: bool,
    /// Do not fork: COMMAND stays in the caller's PID namespace, and its children are in the target's
    #[arg(short = 'F', long)]
    pub no_fork: bool,
    /// Let COMMAND keep the capabilities (as ambient ones) although it is not root
    #[arg(long)]
    pub keep_caps: bool,
    /// Hold COMMAND to nothing that the container is held to
    #[arg(long)]
    pub privileged: bool,
    /// Enter the parent of the user namespace in its place
    #[arg(long)]
    pub user_parent: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        common::app::command::<Cli>().debug_assert();
    }

    #[test]
    fn short_letters_combine_as_util_linux_has_them() {
        let cli = Cli::try_parse_from(["nsenter-lite", "-t", "7", "-mUr", "-w=/x", "--", "sh"]).unwrap();
        assert_eq!(cli.target, Some(7));
        assert_eq!(cli.enter.root, Some(None));
        assert_eq!(cli.enter.wd, Some(Some("/x".into())));
    }
}
