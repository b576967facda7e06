//! What was typed.

use std::path::PathBuf;

use clap::Parser;
use common::chain::ChainArgs;

/// Mount the union of layers on MERGED: a container's root filesystem
#[derive(Parser, Debug)]
#[command(name = "unionmount", after_help = EXAMPLE)]
pub struct Cli {
    /// A read-only layer; repeatable, the bottom first
    #[arg(short, long, value_name = "DIR")]
    pub lower: Vec<PathBuf>,
    /// The writable layer, made if missing; without it the union is read-only
    #[arg(short, long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub upper: Option<PathBuf>,
    /// overlayfs's work directory, made if missing [default: UPPER.work]
    #[arg(short, long, value_name = "DIR", requires = "upper")]
    pub work: Option<PathBuf>,
    /// A writable layer in memory that nobody else sees and that goes with the mount
    #[arg(long, value_name = "SIZE", require_equals = true, num_args = 0..=1)]
    pub ephemeral: Option<Option<String>>,
    /// Mount in the container of this record ('-': standard input), and print the record
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub from: Option<PathBuf>,
    /// Where the union is mounted: a directory
    pub merged: PathBuf,
    #[command(flatten)]
    pub chain: ChainArgs,
}

const EXAMPLE: &str = "\
Example: the machine's own root directory, with a writable layer of 64 MiB in memory
  unshare-lite --mount -- unionmount --lower / --ephemeral=64M /mnt -- chroot /mnt touch /new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        common::app::command::<Cli>().debug_assert();
    }
}
