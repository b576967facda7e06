//! Standard output, which carries results only.

use std::io::{self, Write as _};

use crate::error::{During as _, Error, Result};
use crate::sys::startup;

/// Writes a result whole; a reader that went away, or a full device, is an error.
pub fn write(result: impl AsRef<[u8]>) -> Result<()> {
    must_be_open()?;
    let mut out = io::stdout().lock();
    out.write_all(result.as_ref()).and_then(|()| out.flush()).during("write", STANDARD_OUTPUT)
}

/// Fails where the caller has closed it: Rust's runtime has put /dev/null there, where a result is lost.
pub fn must_be_open() -> Result<()> {
    if startup::was_closed(1) {
        return Err(Error::new("write", STANDARD_OUTPUT, "it is closed"));
    }
    Ok(())
}

/// The object of errors about standard output: what writes to it otherwise names it so too.
pub const STANDARD_OUTPUT: &str = "standard output";

/// Writes one JSON value on one line.
pub fn write_json(value: &serde_json::Value) -> Result<()> {
    write(format!("{value}\n"))
}
