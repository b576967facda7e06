//! Namespaces that outlive their processes: bind mounts of their files (namespaces(7)).
//!
//! It is done from outside: a mount namespace cannot hold a bind mount of itself, and
//! the file must be found where the caller sees it, not where the namespace does.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use common::namespace::NamespaceKind;
use common::undo::Undo;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::plan::Pin;

/// Binds the namespaces of `pid` to their files; the guards take that back.
pub(crate) fn bind_all(pins: &[Pin], pid: i32) -> Result<Vec<impl Drop + use<>>> {
    pins.iter().map(|pin| bind(pin, pid)).collect()
}

fn bind(pin: &Pin, pid: i32) -> Result<impl Drop + use<>> {
    let file = pin.file.clone();
    let created = create_if_missing(&file)?;
    let remove = Undo::new({
        let file = file.clone();
        move || {
            if created {
                let _ = std::fs::remove_file(file);
            }
        }
    });
    trace::step(format_args!("bind the {} namespace to {}", pin.kind.name(), file.display()));
    let source = source(pin.kind, pid);
    mount(Some(&source), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|errno| refusal(pin, errno))?;
    remove.keep();
    Ok(Undo::new(move || {
        let _ = umount2(&file, MntFlags::MNT_DETACH);
        if created {
            let _ = std::fs::remove_file(&file);
        }
    }))
}

/// PID and time namespaces are those of the children; the others are the process's own.
fn source(kind: NamespaceKind, pid: i32) -> PathBuf {
    let name = match kind {
        NamespaceKind::Pid | NamespaceKind::Time => format!("{}_for_children", kind.name()),
        _ => kind.name().to_owned(),
    };
    Path::new("/proc").join(pid.to_string()).join("ns").join(name)
}

/// Whether it was missing. A directory in its place is found here rather than by mount(2).
fn create_if_missing(file: &Path) -> Result<bool> {
    let step = "make the file to pin a namespace to";
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let metadata = std::fs::metadata(file).during(step, file)?;
            if metadata.is_dir() { Err(Error::new(step, file, Errno::EISDIR)) } else { Ok(false) }
        }
        Err(error) => Err(Error::new(step, file, error)),
    }
}

fn refusal(pin: &Pin, errno: Errno) -> Error {
    Error::new(format!("bind the {} namespace", pin.kind.name()), &pin.file, errno).or_hint(match errno {
        Errno::EPERM | Errno::EACCES => {
            Some("pinning takes CAP_SYS_ADMIN in the mount namespace that holds the file")
        }
        Errno::EINVAL if pin.kind == NamespaceKind::Mount => {
            Some("the file's mount must be private, and older than the namespace: 'mount --make-private' it")
        }
        _ => None,
    })
}
