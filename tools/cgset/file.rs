//! Control files: one write is one request to the kernel, and its errors are retold in words.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};

/// Reads a control file without the white space at its end.
pub fn read(file: &Path) -> Result<String> {
    let bytes = fs::read(file).during("read", file)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// Reads a control file that may not be there: another kernel, or a controller that is not enabled.
pub fn read_if_any(file: &Path) -> Result<Option<String>> {
    match read(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENODEV)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Writes `text` to a control file in one write(2), as a step that `-v` shows.
pub fn write(file: &Path, text: &str) -> Result<()> {
    trace::step(format_args!("write {text:?} to {}", common::error::printable(file)));
    put(file, text).map_err(|errno| {
        Error::new(format!("write {text:?}"), file, errno).or_hint(hint_for_setting(file, errno))
    })
}

/// The bare write, for way-backs and for callers that tell errors by number.
pub fn put(file: &Path, text: &str) -> std::result::Result<(), Errno> {
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
    // Not O_TRUNC or O_CREAT: these are requests to a file that the kernel made.
    let mut file = OpenOptions::new().write(true).open(file).map_err(errno)?;
    // What is mounted over a part of a hierarchy would take our word for a limit (CVE-2025-52881).
    let magic = fstatfs(&file)?.filesystem_type();
    if magic != CGROUP_SUPER_MAGIC && magic != CGROUP2_SUPER_MAGIC {
        return Err(DECOY);
    }
    file.write_all(text.as_bytes()).map_err(errno)
}

/// "Invalid cross-device link": the file is not of a cgroup filesystem.
pub const DECOY: Errno = Errno::EXDEV;

/// Puts an old value back. Where that fails there is nothing left to try.
pub fn put_back(file: &Path, text: &str) {
    let _ = put(file, text);
}

/// cgroups(7): "no internal processes".
pub const NO_INTERNAL_PROCESSES: &str = "cgroup v2 has no processes beside child groups that are limited: move \
    the processes of the parent into a child of its own first, with cgset PARENT/CHILD --pid PID";

/// What the kernel means by an error number of a setting.
fn hint_for_setting(file: &Path, errno: Errno) -> Option<String> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match errno {
        Errno::ENOENT => Some(missing(name)),
        Errno::EACCES | Errno::EPERM => Some(match name {
            "cgroup.subtree_control" => "the controller was not delegated to this user".to_owned(),
            _ => "limits are set by root, or by the user to whom the parent group was delegated".to_owned(),
        }),
        DECOY => Some("something else is mounted over this part of the cgroup hierarchy".to_owned()),
        Errno::EROFS => {
            Some("the cgroup filesystem is mounted read-only, as it is inside a container".to_owned())
        }
        Errno::EBUSY if name == "cgroup.subtree_control" => Some(NO_INTERNAL_PROCESSES.to_owned()),
        Errno::EBUSY if name.starts_with("memory.") => {
            Some("more is in use than the new limit, and it could not be reclaimed".to_owned())
        }
        Errno::EOPNOTSUPP if name == "cgroup.subtree_control" => {
            Some("a threaded group can only have the controllers cpu, cpuset, perf_event and pids".to_owned())
        }
        Errno::ENODEV if name.starts_with("io.") || name.starts_with("blkio.") => {
            Some("limits are for whole disks, not for partitions".to_owned())
        }
        Errno::EINVAL | Errno::ERANGE => Some(refused(name).to_owned()),
        _ => None,
    }
}

/// Why a control file is not there: which kernel brought it.
fn missing(name: &str) -> String {
    let since = match name {
        "memory.swap.max" | "memory.memsw.limit_in_bytes" => {
            return "the kernel accounts no swap (CONFIG_SWAP, or booted with swapaccount=0)".to_owned();
        }
        "memory.swap.high" => "5.8",
        "misc.max" => "5.13",
        "cgroup.kill" | "cpu.max.burst" => "5.14",
        "cpu.idle" => "5.15",
        "memory.zswap.max" | "memory.reclaim" | "memory.peak" => "5.19",
        "cgroup.pressure" => "6.1",
        "cpuset.cpus.exclusive" => "6.7",
        "memory.zswap.writeback" => "6.8",
        _ => return "this kernel has no such setting in this group".to_owned(),
    };
    format!("this setting came with Linux {since}, if the kernel is configured for it")
}

/// What the kernel's "Invalid argument" means here.
fn refused(name: &str) -> &'static str {
    match name {
        "cpuset.cpus" | "cpuset.mems" => "the parent group or the machine does not have all of them",
        "cpu.cfs_quota_us" | "cpu.cfs_period_us" | "cpu.max" => {
            "a period is 1 ms to 1 s, a quota at least 1 ms, and on v1 a child's share is at most its parent's"
        }
        "cpu.max.burst" | "cpu.cfs_burst_us" => "a burst is at most the quota: set cpu.max first",
        "cgroup.type" => "only 'threaded' can be written, and only below a threaded group or its root",
        "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes" => {
            "memory's limit cannot be above that of memory and swap together"
        }
        _ => "the value is out of range, or not in this file's format",
    }
}
