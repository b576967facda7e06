//! Holes in files: which parts of a file hold data.

use std::fs::File;
use std::path::Path;

use common::{During as _, Error, Result};
use nix::errno::Errno;
use nix::sys::stat::FileStat;
use nix::unistd::{Whence, lseek};

use crate::archive::writer::Extent;

/// The most parts that are told apart, a bound of memory for both sides: beyond, holes are zeros.
pub const MOST_EXTENTS: usize = 1 << 16;

/// Whether the file takes less room than it has bytes. Compressing filesystems do as well: then
/// there is one extent.
pub fn has_holes(stat: &FileStat) -> bool {
    stat.st_blocks.saturating_mul(512) < stat.st_size
}

/// The parts of the file that hold data, in order.
pub fn extents(file: &File, size: u64, object: &Path) -> Result<Vec<Extent>> {
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = 0;
    while at < size {
        let Some(start) = seek(file, at, Whence::SeekData, object)?.filter(|&start| start < size) else {
            break;
        };
        let end = if extents.len() + 1 == MOST_EXTENTS {
            size
        } else {
            seek(file, start, Whence::SeekHole, object)?.unwrap_or(size).min(size)
        };
        if end <= start {
            return Err(Error::new("look for holes", object, "it changed while it was read"));
        }
        extents.push((start, end - start));
        at = end;
    }
    Ok(extents)
}

/// `None`: there is nothing more of what was looked for.
fn seek(file: &File, from: u64, whence: Whence, object: &Path) -> Result<Option<u64>> {
    let step = "look for holes";
    let from = i64::try_from(from).map_err(|_| Error::new(step, object, Errno::EFBIG))?;
    match lseek(file, from, whence) {
        Ok(at) => Ok(u64::try_from(at).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno).during(step, object),
    }
}
