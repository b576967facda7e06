//! fuse-overlayfs(1) in overlayfs's place.
//!
//! We make the FUSE mount, and the server gets its other end. It runs in a mount namespace of
//! its own, which does not hold that mount: so it ends by itself with the last mount
//! of the union, and nobody has to stop it. (One that mounts by itself would keep the
//! container's mount namespace, and with it the mount, alive for ever.)

use std::env;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use common::sys::clone::{Fork, fork};
use common::sys::exec::{execve, exit_now};
use common::sys::fscontext::FsContext;
use common::sys::mount::Attributes;
use common::sys::wait;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid, write};

use crate::layer::Layer;
use crate::legacy::escaped_path;
use crate::tree::Tree;
use crate::union::Parts;

const PROGRAM: &str = "fuse-overlayfs";

/// What must be set for overlayfs, and fuse-overlayfs does or does not need.
const UNDERSTOOD: [&CStr; 2] = [c"volatile", c"userxattr"];

/// Builds the union of whole layers.
pub fn mount(parts: &Parts<'_>) -> Result<Tree> {
    let place = parts.merged.path();
    let other = parts.settings.iter().find(|setting| !UNDERSTOOD.contains(&setting.key.as_c_str()));
    if other.is_some() || !parts.data_only.is_empty() {
        return Err(Error::new(
            "mount by fuse-overlayfs",
            place,
            "it has only --volatile of overlayfs's options",
        )
        .hint("leave the others out"));
    }
    if parts.lowers.iter().any(Layer::is_private) {
        return Err(Error::new("mount by fuse-overlayfs", place, "it takes neither images nor shifted ids")
            .hint("unpack an image into a directory, and shift the ids on disk"));
    }
    let program = program()?;
    let device = open("/dev/fuse", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| {
        Error::new("open", "/dev/fuse", errno).or_hint(match errno {
            Errno::ENOENT | Errno::ENODEV => Some("this kernel has no FUSE: 'modprobe fuse' loads it"),
            Errno::EACCES => Some("this user may not use FUSE"),
            _ => None,
        })
    })?;
    trace::step(format_args!("mount {PROGRAM} on {} and start its server", place.display()));
    let mount = fuse_mount(parts, device.as_fd())?;
    let mut log =
        File::from(memfd_create(PROGRAM, MFdFlags::MFD_CLOEXEC).during("make a file in memory", PROGRAM)?);
    serve(parts, &program, &device, &log)?;
    drop(device); // only the server's end is left: should it die, we learn of it
    fstat(&mount).map_err(|errno| {
        let mut said = String::new();
        let _ = log.seek(SeekFrom::Start(0)).and_then(|_| log.read_to_string(&mut said));
        let why = if said.is_empty() { errno.desc().to_owned() } else { said.trim().replace('\n', "; ") };
        Error::new("mount by fuse-overlayfs", place, why)
    })?;
    Ok(Tree::new(mount))
}

fn fuse_mount(parts: &Parts<'_>, device: BorrowedFd<'_>) -> Result<OwnedFd> {
    let context = FsContext::open(c"fuse").during("mount by fuse-overlayfs", parts.merged.path())?;
    let configure = || {
        let number = CString::new(device.as_raw_fd().to_string()).unwrap_or_default();
        context.set_string(c"fd", &number)?;
        context.set_string(c"rootmode", c"40000")?;
        context.set_string(c"user_id", c"0")?;
        context.set_string(c"group_id", c"0")?;
        context.set_string(c"subtype", c"fuse-overlayfs")?;
        // The kernel checks permissions, and for all users, as with overlayfs.
        context.set_flag(c"default_permissions")?;
        context.set_flag(c"allow_other")?;
        context.set_string(c"source", parts.source)?;
        context.mount(Attributes::NONE)
    };
    configure()
        .map_err(|errno| Error::new("mount by fuse-overlayfs", parts.merged.path(), context.explain(errno)))
}

/// Forks the server, as a grandchild: COMMAND must not find a child that it never made.
fn serve(parts: &Parts<'_>, program: &CStr, device: &OwnedFd, log: &File) -> Result<()> {
    match fork().during("fork", PROGRAM)? {
        Fork::Parent(child) => wait::wait(child).during("wait for", PROGRAM).map(|_| ()),
        Fork::Child => match fork() {
            Ok(Fork::Child) => {
                let errno = match prepare(parts, device, log) {
                    Ok(()) => execve(program, &arguments(parts, device), None),
                    Err(errno) => errno,
                };
                let _ = write(log, errno.desc().as_bytes());
                exit_now(127)
            }
            _ => exit_now(0), // without a server, its end of the mount closes
        },
    }
}

fn prepare(parts: &Parts<'_>, device: &OwnedFd, log: &File) -> nix::Result<()> {
    setsid()?; // the terminal's signals are not for it
    unshare(CloneFlags::CLONE_NEWNS)?;
    nix::mount::mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    if parts.upper.is_some_and(|upper| upper.layer.is_private()) {
        parts.scratch.reach_at(parts.merged.path())?; // it wants paths
    }
    let null = open("/dev/null", OFlag::O_RDWR, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(log)?;
    dup2_stderr(log)?;
    for fd in inherited(parts, device) {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(())
}

/// Directories are named by descriptor, since there is no escape for a colon in a layer's name.
fn arguments(parts: &Parts<'_>, device: &OwnedFd) -> Vec<CString> {
    let name = |layer: &Layer| match layer.path().file_name() {
        Some(name) if layer.is_private() => escaped_path(&parts.merged.path().join(name)).into_vec(),
        _ => layer.path_by_descriptor().into_bytes(),
    };
    let lowers: Vec<Vec<u8>> = parts.lowers.iter().rev().map(name).collect();
    let mut options = [b"lowerdir=".to_vec(), lowers.join(&b':')].concat();
    if let Some(upper) = parts.upper {
        options.extend([b",upperdir=", &name(&upper.layer)[..], b",workdir=", &name(&upper.work)].concat());
    }
    if parts.settings.iter().any(|setting| setting.key.as_c_str() == c"volatile") {
        options.extend(b",volatile");
    }
    let device = format!("/dev/fd/{}", device.as_raw_fd());
    let words = [PROGRAM.as_bytes(), b"-f", b"-o", &options, device.as_bytes()];
    words.iter().filter_map(|word| CString::new(*word).ok()).collect() // no path holds a NUL
}

fn inherited<'a>(parts: &'a Parts<'_>, device: &'a OwnedFd) -> Vec<BorrowedFd<'a>> {
    let writable = parts.upper.into_iter().flat_map(|upper| [upper.layer.fd(), upper.work.fd()]);
    parts.lowers.iter().map(Layer::fd).chain(writable).chain([device.as_fd()]).collect()
}

fn program() -> Result<CString> {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let found = env::split_paths(&path).map(|directory| directory.join(PROGRAM)).find(|file| file.is_file());
    let found: PathBuf = found.ok_or_else(|| {
        Error::new("mount by fuse-overlayfs", PROGRAM, "it is not installed")
            .hint("Debian's package is fuse-overlayfs")
    })?;
    CString::new(found.as_os_str().as_bytes())
        .map_err(|_| Error::new("run", found, "its path holds a NUL byte"))
}
