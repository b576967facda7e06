//! statx(2) for what stat(2) does not tell.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::check;

/// Whether `name` in `directory` (itself where empty; no link is followed) is the root of a
/// mount (STATX_ATTR_MOUNT_ROOT, Linux 5.8).
pub fn is_mount_root(directory: BorrowedFd<'_>, name: &CStr) -> nix::Result<bool> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `name` is NUL-terminated and `answer` has room for a struct statx.
    let returned =
        unsafe { libc::statx(directory.as_raw_fd(), name.as_ptr(), flags, 0, answer.as_mut_ptr()) };
    check(returned.into())?;
    // SAFETY: all zeroes is a valid struct statx, and the kernel has only filled it in.
    let attributes = unsafe { answer.assume_init() }.stx_attributes;
    Ok(attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn proc_is_a_mount_and_what_is_in_it_is_not() {
        let root = std::fs::File::open("/").unwrap();
        assert!(is_mount_root(root.as_fd(), c"proc").unwrap());
        assert!(is_mount_root(root.as_fd(), c"").unwrap());
        assert!(!is_mount_root(root.as_fd(), c"proc/self").unwrap());
    }
}
