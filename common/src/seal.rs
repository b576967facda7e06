//! The tool's own binary, out of the container's reach.
//!
//! Whoever runs as root in a container can open /proc/PID/exe of a process that comes in from
//! the host, or have it run as COMMAND (`#!/proc/self/exe`), and write to the file behind it
//! once that is not running any more: the host's own binary (CVE-2019-5736). So a tool that
//! meets an image runs from a mount of the file that is read-only and in nobody's mount table,
//! or, where it may not mount, from a copy in memory that nobody can write to.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::error::{During as _, Error, Result};
use crate::sys::mount::{Attributes, Reach, clone_tree, set_attributes};
use crate::{sys, trace};

const OWN: &str = "/proc/self/exe";

/// Goes on as the same program that nobody can write to, with the same arguments; returns at once
/// where it is that. To be called before anything is read or changed, since the program starts again.
/// Without a /proc there is no way to the binary, for us as for others.
pub fn make_own_binary_unwritable() -> Result<()> {
    let own = match File::open(OWN) {
        Ok(own) => own,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::new("open", OWN, error)),
    };
    if is_unwritable(&own)? {
        // exec by descriptor has named the process after its number.
        return prctl::set_name(&own_name()).during("set", "the process's name");
    }
    let program = match read_only_mount() {
        Ok(mount) => mount,
        Err(_) => sealed_copy(own)?,
    };
    let arguments = std::env::args_os().filter_map(|word| CString::new(word.into_vec()).ok());
    sys::startup::restore();
    let errno = sys::exec::execute(program.as_fd(), &arguments.collect::<Vec<_>>());
    Err(Error::new("run from out of reach", OWN, errno)
        .or_hint((errno == Errno::EACCES).then_some("sysctl vm.memfd_noexec=2 forbids programs in memory")))
}

fn is_unwritable(own: &File) -> Result<bool> {
    // Other files than those in memory have no seals to ask for: EINVAL.
    let sealed =
        fcntl(own, FcntlArg::F_GET_SEALS).is_ok_and(|seals| seals & SealFlag::F_SEAL_WRITE.bits() != 0);
    Ok(sealed || fstatvfs(own).during("look at", OWN)?.flags().contains(FsFlags::ST_RDONLY))
}

/// Costs nothing, but takes the right to mount, and mount_setattr(2) of Linux 5.12.
fn read_only_mount() -> nix::Result<OwnedFd> {
    let own = nix::fcntl::open(OWN, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let mount = clone_tree(own.as_fd(), Reach::One)?;
    set_attributes(mount.as_fd(), Attributes::READ_ONLY, Reach::One)?;
    trace::step("go on from a read-only mount of the tool's binary, out of the container's reach");
    Ok(mount)
}

fn sealed_copy(mut own: File) -> Result<OwnedFd> {
    trace::step("go on as a sealed copy of the tool's binary, out of the container's reach");
    let step = "copy into memory";
    let mut copy = File::from(memory().during(step, OWN)?);
    std::io::copy(&mut own, &mut copy).during(step, OWN)?;
    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).during("seal the copy of", OWN)?;
    Ok(copy.into())
}

/// A file in memory that may be run; Linux 6.3 wants that said, kernels before do not know the word.
fn memory() -> nix::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let executable = MFdFlags::from_bits_retain(0x10); // MFD_EXEC
    match memfd_create(own_name().as_c_str(), flags | executable) {
        Err(Errno::EINVAL) => memfd_create(own_name().as_c_str(), flags),
        result => result,
    }
}

fn own_name() -> CString {
    CString::new(trace::tool()).unwrap_or_default()
}
