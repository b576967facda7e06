//! The mount table, /proc/PID/mountinfo (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::error::{During as _, Error, Result};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Unique among the mounts that exist now.
    pub id: u64,
    /// The mount that it is mounted on.
    pub parent: u64,
    /// `major:minor` of the filesystem.
    pub device: String,
    /// Which directory of the filesystem is mounted.
    pub root: PathBuf,
    /// Where, as the reading process's root shows it.
    pub mount_point: PathBuf,
    /// Per-mount options: `ro`, `nosuid`, `nodev`, …
    pub options: String,
    /// Propagation: `shared:N`, `master:N`, …; none of them: private.
    pub propagation: Vec<String>,
    /// Filesystem type, such as `ext4` or `cgroup2`.
    pub fs_type: String,
    /// Filesystem-specific source.
    pub source: OsString,
    /// Options of the filesystem itself, with the kernel's escapes: a comma inside a value is `\054`.
    pub super_options: OsString,
}

impl Mount {
    /// Whether the per-mount options hold `option`.
    #[must_use]
    pub fn has_option(&self, option: &str) -> bool {
        self.options.split(',').any(|have| have == option)
    }

    /// Whether the filesystem's own options hold `option`.
    #[must_use]
    pub fn has_super_option(&self, option: &str) -> bool {
        self.super_option_list().any(|have| have == option)
    }

    /// The values of the filesystem's own option `key`, which may be there several times.
    #[must_use]
    pub fn super_option_values(&self, key: &str) -> Vec<OsString> {
        let value = |option: OsString| {
            let value = option.as_bytes().strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
            Some(OsString::from_vec(value.to_vec()))
        };
        self.super_option_list().filter_map(value).collect()
    }

    /// Each option, as it was before the kernel escaped it.
    fn super_option_list(&self) -> impl Iterator<Item = OsString> {
        self.super_options.as_bytes().split(|&byte| byte == b',').map(unescape)
    }
}

/// The mount table of this process, in mount order: of two mounts on one place the later is on top.
pub fn of_self() -> Result<Vec<Mount>> {
    read("/proc/self/mountinfo")
}

/// The mount table in `path`, a mountinfo file.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Mount>> {
    let path = path.as_ref();
    parse(&std::fs::read(path).during("read", path)?)
        .ok_or_else(|| Error::new("read", path, "not in the format of proc_pid_mountinfo(5)"))
}

/// The topmost mount exactly at `mount_point`.
#[must_use]
pub fn at<'a>(mounts: &'a [Mount], mount_point: &Path) -> Option<&'a Mount> {
    mounts.iter().rev().find(|mount| mount.mount_point == mount_point)
}

/// The mount that holds `path`, an absolute path without links.
#[must_use]
pub fn holding<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    path.ancestors().find_map(|ancestor| at(mounts, ancestor))
}

fn parse(table: &[u8]) -> Option<Vec<Mount>> {
    table.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut next = || fields.next();
    let id = number(next()?)?;
    let parent = number(next()?)?;
    let device = text(next()?)?;
    let root = unescape(next()?).into();
    let mount_point = unescape(next()?).into();
    let options = text(next()?)?;
    let mut propagation = Vec::new();
    loop {
        match next()? {
            b"-" => break,
            tag => propagation.push(text(tag)?),
        }
    }
    let fs_type = text(next()?)?;
    let source = unescape(next()?);
    let super_options = OsString::from_vec(next()?.to_vec());
    Some(Mount {
        id,
        parent,
        device,
        root,
        mount_point,
        options,
        propagation,
        fs_type,
        source,
        super_options,
    })
}

fn text(field: &[u8]) -> Option<String> {
    std::str::from_utf8(field).ok().map(str::to_owned)
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if byte == b'\\' => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"21 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard\n\
        30 21 0:25 / /mnt/a\\040b\\134c ro,nosuid - tmpfs none rw,size=4k\n\
        31 21 0:26 / /mnt/a\\040b\\134c rw - tmpfs top rw\n\
        32 21 0:27 / /union rw - overlay o rw,lowerdir+=/a\\054b,lowerdir+=/c,lowerdir=d\n";

    #[test]
    fn fields_and_escapes_are_read() {
        let mounts = parse(TABLE).unwrap();
        assert_eq!(mounts[0].propagation, ["shared:1", "master:2"]);
        assert_eq!(mounts[1].mount_point, Path::new("/mnt/a b\\c"));
        assert!(mounts[1].has_option("ro") && mounts[1].has_super_option("size=4k"));
    }

    #[test]
    fn an_option_may_hold_a_comma_and_come_twice() {
        let mounts = parse(TABLE).unwrap();
        assert_eq!(mounts[3].super_option_values("lowerdir+"), ["/a,b", "/c"]);
        assert_eq!(mounts[3].super_option_values("lowerdir"), ["d"]);
        assert!(mounts[3].has_super_option("lowerdir+=/a,b"));
    }

    #[test]
    fn of_two_mounts_on_one_place_the_later_is_on_top() {
        let mounts = parse(TABLE).unwrap();
        assert_eq!(at(&mounts, Path::new("/mnt/a b\\c")).unwrap().source, "top");
        assert_eq!(holding(&mounts, Path::new("/mnt/a b\\c/d")).unwrap().id, 31);
        assert_eq!(holding(&mounts, Path::new("/mnt/a")).unwrap().id, 21);
    }

    #[test]
    fn a_line_cut_short_is_no_mount_table() {
        assert_eq!(parse(b"21 1 254:0 / / rw"), None);
    }

    #[test]
    fn our_own_table_has_a_root() {
        assert!(at(&of_self().unwrap(), Path::new("/")).is_some());
    }

    #[test]
    fn a_trailing_backslash_is_itself() {
        assert_eq!(unescape(b"a\\"), "a\\");
    }
}
