//! The command line as it is typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::format::Format;
use crate::idmap::IdMap;

/// Look after the deletions that overlay layers record
#[derive(Parser, Debug)]
#[command(name = "whiteout", after_help = EXAMPLE)]
pub struct Cli {
    #[command(subcommand)]
    pub operation: Operation,
}

const EXAMPLE: &str = "\
Example: a layer without /etc/motd, and what it changes
  mkdir -p layer/etc
  whiteout create layer/etc/motd
  whiteout diff --upper layer --lower /";

#[derive(Subcommand, Debug)]
pub enum Operation {
    /// Hide what lower layers have at PATH
    Create {
        #[command(flatten)]
        written: Written,
        /// The name to hide, as a path into the layer; its directory must exist
        #[arg(required = true)]
        path: Vec<PathBuf>,
    },
    /// Hide all that lower layers have in DIR
    Opaque {
        #[command(flatten)]
        written: Written,
        /// A directory in the layer
        #[arg(required = true)]
        dir: Vec<PathBuf>,
    },
    /// Take the mark, of any format, off PATH
    Remove {
        /// A hidden name or an opaque directory, as a path into the layer
        #[arg(required = true)]
        path: Vec<PathBuf>,
    },
    /// Print the whiteouts and opaque directories of the layer DIR
    List {
        #[command(flatten)]
        printed: Printed,
        /// The layer
        dir: PathBuf,
    },
    /// Turn all marks of the layer DIR into another format
    Convert {
        /// The new format
        #[arg(short, long, value_enum, value_name = "FORMAT")]
        to: Format,
        /// The layer
        dir: PathBuf,
    },
    /// Print what a layer changes, as docker diff does: A(dded), C(hanged), D(eleted)
    Diff {
        /// The layer that holds the changes
        #[arg(short, long, value_name = "DIR")]
        upper: PathBuf,
        /// A layer below it, bottom first; may be given several times
        #[arg(short, long, value_name = "DIR", num_args = 1..)]
        lower: Vec<PathBuf>,
        #[command(flatten)]
        printed: Printed,
    },
    /// Write a layer as an OCI layer, a tar archive, to standard output
    Pack {
        /// Turn later times into this [default: SOURCE_DATE_EPOCH, if set]
        #[arg(long, value_name = "SECS", allow_negative_numbers = true)]
        clamp_mtime: Option<i64>,
        #[command(flatten)]
        shifted: Shifted,
        /// The layer
        upper: PathBuf,
    },
    /// Make a layer of an OCI layer, a tar archive, from standard input
    Unpack {
        #[command(flatten)]
        written: Written,
        /// Carry deletions out, and put the rest in place, in the root filesystem DIR
        #[arg(long, conflicts_with = "format")]
        apply: bool,
        #[command(flatten)]
        shifted: Shifted,
        /// Make all files ours, whatever owners the archive says
        #[arg(long, conflicts_with = "idmap")]
        no_same_owner: bool,
        /// Leave out devices that we may not make
        #[arg(long)]
        skip_devices: bool,
        /// The layer: missing or an empty directory
        dir: PathBuf,
    },
}

/// How owners differ between image and disk.
#[derive(Args, Debug)]
pub struct Shifted {
    /// Owners FROM and up in the image are TO and up on the disk
    #[arg(long, value_name = "FROM:TO:COUNT")]
    pub idmap: Vec<IdMap>,
}

/// In what format marks are written.
#[derive(Args, Debug)]
pub struct Written {
    /// How to write it [default: as an overlay of the caller's would]
    #[arg(short, long, value_enum)]
    pub format: Option<Format>,
}

/// How results are printed.
#[derive(Args, Debug)]
pub struct Printed {
    /// End each result with NUL instead of a newline, and print names as they are
    #[arg(short = '0', long)]
    pub null: bool,
    /// Print one JSON array
    #[arg(long, conflicts_with = "null")]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        common::app::command::<Cli>().debug_assert();
    }
}
