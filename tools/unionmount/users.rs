//! Who else uses an upper: the kernel would only warn in its log, and both unions would be wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::mountinfo::{self, Mount};
use common::{Error, Result};

/// Fails where an overlay in any mount namespace that we can look into has this upper or work directory.
pub fn none_of(upper: &Path, work: &Path) -> Result<()> {
    if !upper.exists() && !work.exists() {
        return Ok(());
    }
    for (pid, table) in mount_tables() {
        for mount in table.iter().filter(|mount| mount.fs_type == "overlay") {
            for (ours, key, what) in [(upper, "upperdir", "upper"), (work, "workdir", "work directory")] {
                if mount.super_option_values(key).iter().any(|used| is_same(Path::new(used), ours)) {
                    return Err(Error::new(
                        format!("take it as the {what}"),
                        ours,
                        "another overlay uses it",
                    )
                    .hint(format!("it is mounted on {} for process {pid}", mount.mount_point.display())));
                }
            }
        }
    }
    Ok(())
}

/// As the option names it: in an option string, separators in paths are escaped.
fn is_same(used: &Path, ours: &Path) -> bool {
    used == ours || used == Path::new(&crate::legacy::escaped_path(ours))
}

/// The mount tables of all mount namespaces with a process that we can look at; our own with it.
fn mount_tables() -> Vec<(String, Vec<Mount>)> {
    let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
    let mut tables = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // Processes come and go, and not all are ours to look at.
        let Ok(namespace) = fs::read_link(process.path().join("ns/mnt")) else { continue };
        if seen.insert(namespace)
            && let Ok(table) = mountinfo::read(process.path().join("mountinfo"))
        {
            tables.push((pid, table));
        }
    }
    tables
}
