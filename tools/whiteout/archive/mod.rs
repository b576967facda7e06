//! Layers as tar archives: POSIX's pax format (pax(1), "pax Interchange Format"), in which
//! OCI layers are written, and GNU tar's as far as archives from others use them.
//!
//! What is read is taken for hostile: every size is checked before it is believed, nothing of
//! a file's content is held in memory, and two ways to read the same bytes are an error.

pub mod entry;
mod header;
mod input;
pub mod pax;
pub mod reader;
mod sparse;
pub mod writer;

/// The unit of the format: headers are one block, content is filled up to whole ones.
pub const BLOCK: usize = 512;

/// How many bytes fill up content of `size` bytes.
pub fn padding(size: u64) -> usize {
    // Less than a block, so it fits.
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}
