//! What a test needs of the machine. Without it the test is skipped and says so;
//! with `CI=true` a skip is a failure, unless the need is one that only the other
//! machine of `tests/run` can have, where the same test runs.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::major;

/// Something a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To run as root.
    Root,
    /// A cgroup v1 hierarchy with the memory and pids controllers.
    CgroupV1,
    /// A machine that has cgroup v2 alone, with cpu, memory and pids.
    CgroupV2,
    /// Any cgroup controllers at all.
    Cgroup,
    /// A cgroup v1 hierarchy with this controller, or with this name (`name=...`).
    HierarchyV1(&'static str),
    /// The controller hugetlb, on v1 or v2, and huge pages of 2 MiB.
    Hugetlb,
    /// Time namespaces (Linux 5.6, if configured).
    TimeNamespace,
    /// Overlay's `lowerdir+` option (Linux 6.5).
    OverlayAppend,
    /// erofs of a file, without a loop device (Linux 6.12, if configured).
    ErofsOfFile,
    /// Whiteouts that are attributes (Linux 6.8).
    OverlayXattrWhiteouts,
    /// Loop devices.
    LoopDevices,
    /// Temporary files on a disk, which has an I/O controller.
    Disk,
    /// FUSE filesystems.
    Fuse,
    /// The user-mode-linux machine that `tests/run` boots.
    Uml,
    /// A program that some Debian package brings.
    Program(&'static str),
    /// A file that some Debian package brings.
    File(&'static str),
}

/// Whether the machine has all of `needs`; says what is missing.
#[must_use]
pub fn needs(needs: &[Need]) -> bool {
    let Some(missing) = needs.iter().find(|need| !need.is_here()) else { return true };
    let must_run = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        !must_run || missing.is_of_the_other_machine(),
        "skipped: needs {missing:?}, and with CI=true a skip is a failure"
    );
    // Not by eprintln!, whose text libtest keeps to itself when a test passes: tests/run counts these.
    let test = std::thread::current();
    let _ = writeln!(std::io::stderr(), "skipped: needs {missing:?}: {}", test.name().unwrap_or_default());
    false
}

/// Whether this is the user-mode-linux machine that `tests/run` boots.
#[must_use]
pub fn in_uml() -> bool {
    std::env::var("CONTAINER_STEPS_MACHINE").is_ok_and(|machine| machine == "uml")
}

impl Need {
    fn is_here(self) -> bool {
        match self {
            Self::Root => nix::unistd::geteuid().is_root(),
            Self::CgroupV1 => has_filesystem("cgroup"),
            Self::CgroupV2 => has_filesystem("cgroup2") && !has_filesystem("cgroup"),
            Self::Cgroup => has_filesystem("cgroup") || has_filesystem("cgroup2"),
            Self::TimeNamespace => Path::new("/proc/self/ns/time").exists(),
            Self::OverlayAppend => kernel() >= (6, 5),
            Self::ErofsOfFile => kernel() >= (6, 12) && has_kernel_option("EROFS_FS_BACKED_BY_FILE"),
            Self::HierarchyV1(name) => has_hierarchy_v1(name),
            Self::Hugetlb => has_controller("hugetlb") && Path::new(PAGES_OF_2_MIB).exists(),
            Self::OverlayXattrWhiteouts => kernel() >= (6, 8),
            Self::LoopDevices => Path::new("/dev/loop-control").exists(),
            Self::Disk => std::env::temp_dir().metadata().is_ok_and(|directory| major(directory.dev()) != 0),
            Self::Fuse => Path::new("/dev/fuse").exists(),
            Self::Uml => in_uml(),
            Self::Program(name) => has_program(name),
            Self::File(path) => Path::new(path).exists(),
        }
    }

    /// tests/run runs everything twice: on this machine and in a user-mode-linux with Linux 6.1
    /// and cgroup v2 alone. What the one cannot have the other is sure to show.
    fn is_of_the_other_machine(self) -> bool {
        if in_uml() {
            matches!(
                self,
                Self::CgroupV1
                    | Self::HierarchyV1(_)
                    | Self::Hugetlb
                    | Self::TimeNamespace
                    | Self::OverlayAppend
                    | Self::OverlayXattrWhiteouts
                    | Self::ErofsOfFile
                    | Self::Disk
                    | Self::Fuse
            )
        } else {
            matches!(
                self,
                Self::CgroupV2 | Self::CgroupV1 | Self::HierarchyV1(_) | Self::LoopDevices | Self::Uml
            )
        }
    }
}

const PAGES_OF_2_MIB: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

fn has_hierarchy_v1(name: &str) -> bool {
    let mounts = common::mountinfo::of_self().unwrap();
    mounts.iter().any(|mount| mount.fs_type == "cgroup" && mount.has_super_option(name))
}

/// Whether the kernel has a controller, wherever it is mounted, and has not switched it off.
fn has_controller(name: &str) -> bool {
    let table = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    table.lines().any(|line| line.split('\t').next() == Some(name) && line.ends_with("\t1"))
}

fn has_filesystem(fs_type: &str) -> bool {
    let wanted = format!(" - {fs_type} ");
    std::fs::read_to_string("/proc/self/mountinfo")
        .is_ok_and(|table| table.lines().any(|line| line.contains(&wanted)))
}

/// Whether the running kernel was built with it; yes where it keeps its configuration to itself.
fn has_kernel_option(name: &str) -> bool {
    let line = format!("CONFIG_{name}=[ym]");
    let script = "test ! -e /proc/config.gz || zcat /proc/config.gz | grep -qx \"$0\"";
    Command::new("sh").args(["-c", script, &line]).status().is_ok_and(|status| status.success())
}

fn has_program(name: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v \"$0\" >/dev/null", name])
        .status()
        .is_ok_and(|status| status.success())
}

/// The running kernel's version, major and minor.
#[must_use]
pub fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}
