//! Filesystems by the new mount API: fsopen(2), fsconfig(2), fsmount(2), and the context's own words.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::mount::Attributes;
use super::{check, check_fd};

/// A filesystem being configured (fsopen(2), Linux 5.2).
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
}

impl FsContext {
    /// fsopen(2) of a filesystem type.
    pub fn open(fs_type: &CStr) -> nix::Result<Self> {
        const FSOPEN_CLOEXEC: libc::c_uint = 1;
        // SAFETY: `fs_type` is NUL-terminated.
        let fd = check_fd(unsafe { libc::syscall(libc::SYS_fsopen, fs_type.as_ptr(), FSOPEN_CLOEXEC) })?;
        Ok(Self { fd })
    }

    /// Sets `key` to a string (FSCONFIG_SET_STRING): at most 255 bytes of value.
    pub fn set_string(&self, key: &CStr, value: &CStr) -> nix::Result<()> {
        self.config(FSCONFIG_SET_STRING, Some(key), Some(value), 0)
    }

    /// Sets `key` without a value (FSCONFIG_SET_FLAG), such as `ro`.
    pub fn set_flag(&self, key: &CStr) -> nix::Result<()> {
        self.config(FSCONFIG_SET_FLAG, Some(key), None, 0)
    }

    /// Sets `key` to an open file (FSCONFIG_SET_FD).
    pub fn set_fd(&self, key: &CStr, file: BorrowedFd<'_>) -> nix::Result<()> {
        self.config(FSCONFIG_SET_FD, Some(key), None, file.as_raw_fd())
    }

    /// Makes the filesystem (FSCONFIG_CMD_CREATE) and a detached mount of it (fsmount(2)).
    pub fn mount(&self, attributes: Attributes) -> nix::Result<OwnedFd> {
        const FSMOUNT_CLOEXEC: libc::c_uint = 1;
        self.config(FSCONFIG_CMD_CREATE, None, None, 0)?;
        // SAFETY: no memory is passed.
        check_fd(unsafe {
            libc::syscall(libc::SYS_fsmount, self.fd.as_raw_fd(), FSMOUNT_CLOEXEC, attributes.bits())
        })
    }

    /// What the kernel said about this context so far, one message each, without the
    /// severity letter that it puts before them. Reading takes them away.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut buffer = [0; 4096];
        // One read(2) returns one message; ENODATA: no more.
        while let Ok(length) = nix::unistd::read(self.fd.as_fd(), &mut buffer) {
            if length == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&buffer[..length]);
            let text = text.trim_end();
            messages.push(text.split_once(' ').map_or(text, |(_severity, message)| message).to_owned());
        }
        messages
    }

    /// `errno`, with the kernel's messages after it where it left some.
    #[must_use]
    pub fn explain(&self, errno: Errno) -> String {
        match self.messages() {
            messages if messages.is_empty() => errno.desc().to_owned(),
            messages => format!("{} ({})", messages.join("; "), errno.desc()),
        }
    }

    fn config(
        &self,
        command: libc::c_uint,
        key: Option<&CStr>,
        value: Option<&CStr>,
        aux: libc::c_int,
    ) -> nix::Result<()> {
        let key = key.map_or(ptr::null(), CStr::as_ptr);
        let value = value.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: key and value are null or NUL-terminated and outlive the call.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, self.fd.as_raw_fd(), command, key, value, aux) })?;
        Ok(())
    }
}

const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_SET_FD: libc::c_uint = 5;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_filesystem_is_enodev() {
        let errno = FsContext::open(c"no-such-filesystem").unwrap_err();
        // EPERM without CAP_SYS_ADMIN: the test also runs as an ordinary user.
        assert!(matches!(errno, Errno::ENODEV | Errno::EPERM), "{errno}");
    }
}
