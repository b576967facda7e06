//! What ioctl_tty(2) has beyond termios(3).

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::{check, check_fd};

/// Rows and columns, in characters and in pixels, as the kernel keeps them.
pub type Size = libc::winsize;

/// TIOCGWINSZ: the window size; ENOTTY where `fd` is no terminal.
pub fn size(fd: BorrowedFd<'_>) -> nix::Result<Size> {
    let mut size = Size { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes one winsize, which `size` is.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(size)
}

/// TIOCSWINSZ: sets the window size; the foreground process group gets SIGWINCH if it is another.
pub fn set_size(fd: BorrowedFd<'_>, size: &Size) -> nix::Result<()> {
    // SAFETY: the call reads one winsize, which `size` points to.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const *size) }.into()).map(drop)
}

/// TIOCSPTLCK, TIOCGPTPEER (Linux 4.13): the other side of a pseudo-terminal, close-on-exec. No path
/// is looked up, so nobody can put another file in its place.
pub fn open_peer(master: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: the call reads one int, which `unlocked` is.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the call takes flags as its argument and touches no memory.
    check_fd(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// TIOCSCTTY: makes it the controlling terminal of this process's session, which has none.
pub fn make_controlling(fd: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: the call takes a number as its argument and touches no memory.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}
