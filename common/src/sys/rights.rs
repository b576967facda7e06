//! SCM_RIGHTS (unix(7)): a descriptor that goes to another process.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Sends one descriptor through a Unix socket.
pub fn send(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> nix::Result<()> {
    let fds = [fd.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&[0])], &message, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}

/// Receives the descriptor that [`send`] sent, close-on-exec; `None` where the sender has gone without.
pub fn receive(socket: BorrowedFd<'_>) -> nix::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!([libc::c_int; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut bytes, Some(&mut space), flags)?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let fds = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made this descriptor for us, and there is room for no second one.
    fds.map(|fd| Some(unsafe { OwnedFd::from_raw_fd(fd) })).ok_or(Errno::EBADMSG)
}
