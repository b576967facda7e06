//! What can be typed: the clap command.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use common::chain::ChainArgs;
use common::limits::Rlimit;

/// Make NEW_ROOT the root directory, with what a container finds in it, and run COMMAND there.
#[derive(Parser, Debug)]
#[command(name = "pivot", arg_required_else_help = true, after_help = EXAMPLE)]
pub struct Cli {
    /// The directory that becomes the root
    #[arg(value_name = "NEW_ROOT")]
    pub new_root: PathBuf,
    /// Switch the root of this record's container, and print the record
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// pivot_root, move or chroot; auto is the first that works
    #[arg(long, value_enum, default_value_t = MethodArg::Auto, value_name = "METHOD", hide_possible_values = true, hide_default_value = true)]
    pub method: MethodArg,
    /// Keep the old root at DIR in the new one
    #[arg(long, value_name = "DIR")]
    pub keep_old: Option<PathBuf>,
    /// Even in the machine's own mount namespace
    #[arg(long)]
    pub force: bool,
    /// docker or strict: a set of the options below, which may add to it
    #[arg(long, value_enum, value_name = "NAME", hide_possible_values = true)]
    pub preset: Option<Preset>,

    #[command(flatten)]
    pub mounts: MountArgs,
    #[command(flatten)]
    pub process: ProcessArgs,
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// What is in the new root.
#[derive(Args, Debug)]
pub struct MountArgs {
    /// Mount the host's SRC: ro rro nosuid nodev noexec bind slave shared idmap=
    #[arg(short = 'V', long = "volume", value_name = "SRC:DST[:OPT]")]
    pub volumes: Vec<OsString>,
    /// Mount an empty tmpfs: size= mode= uid= gid= ro exec suid dev
    #[arg(long, value_name = "DST[:OPT]")]
    pub tmpfs: Vec<OsString>,
    /// --proc --sys --dev, mqueue, cgroup, Docker's masked paths
    #[arg(long)]
    pub mount_api: bool,
    /// Mount /proc
    #[arg(long)]
    pub proc: bool,
    /// Mount /sys, read-only
    #[arg(long)]
    pub sys: bool,
    /// Mount /dev with its nodes, pts and shm
    #[arg(long)]
    pub dev: bool,
    /// Hide what is at PATH
    #[arg(long, value_name = "PATH")]
    pub mask: Vec<PathBuf>,
    /// Make PATH read-only
    #[arg(long, value_name = "PATH")]
    pub read_only_path: Vec<PathBuf>,
    /// Make the root read-only, but not what is mounted in it
    #[arg(long)]
    pub read_only: bool,
}

/// What COMMAND is there.
#[derive(Args, Debug)]
pub struct ProcessArgs {
    /// COMMAND's working directory, made if missing
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// Set a variable; without '=V' keep the caller's
    #[arg(short, long, value_name = "K[=V]")]
    pub env: Vec<OsString>,
    /// Set the variables of FILE, a K[=V] a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Start from an empty environment
    #[arg(long)]
    pub clear_env: bool,
    /// Become this user, a number or a name of the root's own passwd
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<OsString>,
    /// The supplementary groups, in place of the user's own
    #[arg(long, value_name = "GROUP,...", value_delimiter = ',')]
    pub groups: Option<Vec<OsString>>,
    /// Take away a capability, or 'all'
    #[arg(long, value_name = "CAP,...", value_delimiter = ',')]
    pub cap_drop: Vec<String>,
    /// Keep a capability although --cap-drop takes it, or 'all'
    #[arg(long, value_name = "CAP,...", value_delimiter = ',')]
    pub cap_add: Vec<String>,
    /// Let no set-user-ID program give more privilege
    #[arg(long)]
    pub no_new_privs: bool,
    /// Filter system calls by a profile in Docker's format, or 'unconfined'
    #[arg(long, value_name = "FILE")]
    pub seccomp: Option<PathBuf>,
    /// Set a resource limit, such as nofile=1024:4096
    #[arg(long, value_name = "R=SOFT[:HARD]", value_parser = Rlimit::parse)]
    pub rlimit: Vec<Rlimit>,
    /// Set the file mode creation mask, in octal
    #[arg(long, value_name = "MODE", value_parser = octal)]
    pub umask: Option<u32>,
    /// Set how soon the kernel kills it for memory, -1000 to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub oom_score_adj: Option<i32>,
}

/// The values of `--method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum MethodArg {
    /// The first of the others that works
    Auto,
    /// pivot_root(2)
    PivotRoot,
    /// mount(2) with MS_MOVE onto /, then chroot(2)
    Move,
    /// chroot(2) alone
    Chroot,
}

/// Named sets of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// --mount-api, Docker's capabilities and its seccomp profile
    Docker,
    /// --mount-api --read-only --cap-drop all --no-new-privs, and Docker's seccomp profile
    Strict,
}

const EXAMPLE: &str = "\
Example:
  unshare-lite --mount --pid -- pivot --mount-api -V ~/src:/src:ro --user 1000 /srv/root -- /bin/sh";

fn octal(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mode.filter(|mode| *mode <= 0o777).ok_or_else(|| "a mask is octal, 0 to 777".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
        common::app::command::<Cli>().debug_assert();
    }

    #[test]
    fn a_mask_is_octal() {
        assert_eq!(octal("027"), Ok(0o027));
        for text in ["", "8", "1000", "-1", "0x7"] {
            assert!(octal(text).is_err(), "{text}");
        }
    }
}
