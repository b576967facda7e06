//! Loop devices, loop(4): a block device that is a file.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

use super::check;

/// A loop device that frees itself with its last user, which we are while this lives.
#[derive(Debug)]
pub struct LoopDevice {
    /// Its file in /dev.
    pub name: String,
    _open: File,
}

/// struct loop_info64 of linux/loop.h.
#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// struct loop_config of linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a; // Linux 5.8

/// Makes a free loop device show `file`, read-only (LOOP_CTL_GET_FREE, LOOP_CONFIGURE).
pub fn attach_read_only(file: BorrowedFd<'_>) -> nix::Result<LoopDevice> {
    let control = open("/dev/loop-control", true)?;
    loop {
        // SAFETY: the request takes no argument.
        let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) }.into())?;
        let name = format!("/dev/loop{number}");
        let device = open(&name, false)?;
        match configure(&device, file) {
            Ok(()) => return Ok(LoopDevice { name, _open: device }),
            Err(Errno::EBUSY) => {} // somebody else was faster
            Err(errno) => return Err(errno),
        }
    }
}

fn configure(device: &File, file: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: all of it is integers, for which zero is valid.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    config.fd = file.as_raw_fd() as u32;
    config.info.flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    // SAFETY: `config` has the layout that the request reads and outlives the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }.into())?;
    Ok(())
}

fn open(path: &str, write: bool) -> nix::Result<File> {
    let opened = OpenOptions::new().read(true).write(write).open(path);
    opened.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_size() {
        assert_eq!(size_of::<LoopInfo64>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}
