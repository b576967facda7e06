//! What was typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use common::chain::ChainArgs;
use common::idmap::IdMap;

/// Mount the union of layers on MERGED: a container's root filesystem
#[derive(Parser, Debug)]
#[command(name = "unionmount", after_help = EXAMPLE)]
pub struct Cli {
    #[command(flatten)]
    pub layers: Layers,
    #[command(flatten)]
    pub features: Features,
    /// Use fuse-overlayfs: never (default), always, or auto: on refusal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Fuse::Never)]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub fuse: Fuse,
    /// Mount in the container of this record ('-': standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub other: Other,
    /// Where the union is mounted: a directory
    pub merged: PathBuf,
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// When fuse-overlayfs(1) takes overlayfs's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fuse {
    Auto,
    Never,
    Always,
}

/// The stack.
#[derive(Args, Debug)]
pub struct Layers {
    /// A read-only layer, or an erofs or squashfs image of one; bottom first
    #[arg(short, long, value_name = "DIR|IMAGE")]
    pub lower: Vec<PathBuf>,
    /// More layers, above those, one a line of FILE ('-': standard input)
    #[arg(long, value_name = "FILE")]
    pub layers_from: Option<PathBuf>,
    /// The names in --layers-from end in NUL
    #[arg(short = '0', long, requires = "layers_from")]
    pub null: bool,
    /// The writable layer, made if missing; without it all is read-only
    #[arg(short, long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub upper: Option<PathBuf>,
    /// overlayfs's work directory, made if missing [default: UPPER.work]
    #[arg(short, long, value_name = "DIR", requires = "upper")]
    pub work: Option<PathBuf>,
    /// A writable layer in memory, seen by nobody else; goes with the mount
    #[arg(long, value_name = "SIZE", require_equals = true, num_args = 0..=1)]
    pub ephemeral: Option<Option<String>>,
    /// The init layer: writes to its files stay in it, out of the upper
    #[arg(long, value_name = "DIR")]
    pub init: Option<PathBuf>,
    /// Show the read-only layers' ids from FROM on as TO on; repeatable
    #[arg(long, value_name = "FROM:TO:COUNT")]
    pub idmap: Vec<IdMap>,
}

/// What overlayfs can do beyond stacking.
#[derive(Args, Debug)]
pub struct Features {
    /// A layer with only the data of metacopy files; repeatable
    #[arg(long, value_name = "DIR")]
    pub data_only: Vec<PathBuf>,
    /// Never wait for the disk; after a crash the upper cannot be trusted
    #[arg(long)]
    pub volatile: bool,
    /// A change of mode or owner copies no data to the upper
    #[arg(long)]
    pub metacopy: bool,
    /// Directories of read-only layers can be renamed
    #[arg(long)]
    pub redirect_dir: bool,
    /// Hard links of read-only layers stay links
    #[arg(long)]
    pub index: bool,
    /// Inode numbers are unique and lasting
    #[arg(long)]
    pub xino: bool,
    /// Marks in user.overlay.* attributes; by itself in a user namespace
    #[arg(long)]
    pub userxattr: bool,
    /// Any other option of overlayfs; repeatable
    #[arg(short, value_name = "KEY[=VALUE]")]
    pub option: Vec<OsString>,
}

/// Instead of a mount.
#[derive(Args, Debug)]
pub struct Other {
    /// Print the stack that is mounted on MERGED
    #[arg(long, conflicts_with_all = ["Layers", "Features", "from", "command", "unmount"])]
    pub show: bool,
    /// Print it as JSON
    #[arg(long, requires = "show")]
    pub json: bool,
    /// Take the union away, and the work directory if this tool made it
    #[arg(long, conflicts_with_all = ["Layers", "Features", "from", "command"])]
    pub unmount: bool,
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
