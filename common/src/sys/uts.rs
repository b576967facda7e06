//! setdomainname(2), which nix lacks.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;

/// setdomainname(2): at most 64 bytes, no NUL needed.
pub fn set_domain_name(name: &OsStr) -> nix::Result<()> {
    let name = name.as_bytes();
    // SAFETY: pointer and length are of one slice, which the call only reads.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) })?;
    Ok(())
}
