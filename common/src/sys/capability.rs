//! The capability bounding set (prctl(2)), any capability by number: also those that no crate knows yet.

use nix::errno::Errno;

/// PR_CAPBSET_READ: whether capability `number` is in the bounding set. EINVAL: the kernel has no such capability.
pub fn is_bounding(number: u32) -> nix::Result<bool> {
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number), 0, 0, 0) })
        .map(|answer| answer == 1)
}

/// PR_CAPBSET_DROP: takes capability `number` out of the bounding set for good.
pub fn drop_bounding(number: u32) -> nix::Result<()> {
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) })
        .map(drop)
}
