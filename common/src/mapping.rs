//! An id map as mount_setattr(2) takes it: a user namespace that exists for its maps alone.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{pipe2, read, write};

use crate::error::{During as _, Error, Result};
use crate::idmap::{IdMap, to_file};
use crate::procfs;
use crate::sys::clone::{Fork, fork};
use crate::sys::exec::exit_now;
use crate::sys::wait;

/// Makes a user namespace with these maps, for users and groups alike. A mount that gets it shows
/// what on disk is the inner id as the outer one.
pub fn user_namespace(maps: &[IdMap]) -> Result<File> {
    let (lives, dies) = pipe2(OFlag::O_CLOEXEC).during("make a pipe", "")?;
    let (ready, is_ready) = pipe2(OFlag::O_CLOEXEC).during("make a pipe", "")?;
    match fork().during("fork", "")? {
        Fork::Child => {
            drop((dies, ready));
            let made = unshare(CloneFlags::CLONE_NEWUSER).is_ok();
            // Where the parent finds it; 0 is nobody.
            let pid = if made { procfs::own_pid().unwrap_or(0) } else { 0 };
            let _ = write(&is_ready, &pid.to_ne_bytes());
            let _ = read(&lives, &mut [0]); // until the parent has what it needs, or has died
            exit_now(0)
        }
        Fork::Parent(child) => {
            drop((lives, is_ready));
            let namespace = map(&ready, maps);
            drop(dies);
            let _ = wait::wait(child);
            namespace
        }
    }
}

fn map(ready: &OwnedFd, maps: &[IdMap]) -> Result<File> {
    let mut child = [0; size_of::<i32>()];
    read(ready, &mut child).during("wait for", "child")?;
    let child = i32::from_ne_bytes(child);
    if child == 0 {
        return Err(Error::new("make a user namespace", "id map", "the kernel refused")
            .hint("user namespaces may be switched off: see user.max_user_namespaces"));
    }
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{child}/{file}");
        fs::write(&path, to_file(maps)).map_err(|error| {
            Error::new("write the id map", &path, error)
                .hint("ranges must not overlap, and both ids must be yours to map")
        })?;
    }
    let path = format!("/proc/{child}/ns/user");
    File::open(&path).during("open", path)
}
