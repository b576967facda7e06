//! Standard input, read in large pieces and handed out as the reader asks for it.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;

use common::{During as _, Error, Result};

use super::BLOCK;
use crate::interrupt;

/// The name of the archive in messages.
pub const NAME: &str = "standard input";

/// What the archive comes from.
#[derive(Debug)]
pub struct Input {
    file: File,
    buffer: Box<[u8]>,
    /// The part of the buffer that was read and not yet handed out.
    start: usize,
    end: usize,
}

impl Input {
    /// Reads `file` from where it is.
    pub fn new(file: File) -> Self {
        Self { file, buffer: vec![0; 256 * 1024].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Some bytes, at most `most`; none: the end.
    pub fn some(&mut self, most: u64) -> Result<&[u8]> {
        if self.start == self.end {
            self.fill()?;
        }
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.end - self.start);
        self.start += count;
        Ok(&self.buffer[self.start - count..self.start])
    }

    /// One block; `None` if the archive ends before it.
    pub fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let some = self.some((BLOCK - filled) as u64)?;
            match some.len() {
                0 if filled == 0 => return Ok(None),
                0 => return Err(cut_short()),
                count => block[filled..filled + count].copy_from_slice(some),
            }
            filled += some.len();
        }
        Ok(Some(block))
    }

    /// Hands the next `size` bytes to `take`, piece by piece.
    pub fn exactly(&mut self, mut size: u64, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while size > 0 {
            let some = self.some(size)?;
            if some.is_empty() {
                return Err(cut_short());
            }
            size -= some.len() as u64;
            take(some)?;
        }
        Ok(())
    }

    /// Reads on to the end, so that who writes to us does not fail.
    pub fn drain(&mut self) -> Result<()> {
        while !self.some(u64::MAX)?.is_empty() {}
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        interrupt::wait_for(self.file.as_fd())?;
        (self.start, self.end) = (0, self.file.read(&mut self.buffer).during("read", NAME)?);
        Ok(())
    }
}

/// The end came within something.
pub fn cut_short() -> Error {
    Error::new("read the archive", NAME, "it ends too early")
}
