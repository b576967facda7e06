//! User and group id maps of a new user namespace (user_namespaces(7), newuidmap(1)).

use std::fs;
use std::path::Path;
use std::process::Command;

use common::idmap::{IdMap, to_file};
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};

use crate::cli::{MapArgs, Setgroups};
use crate::subid;

/// What to write, and how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Maps {
    pub users: Vec<IdMap>,
    pub groups: Vec<IdMap>,
    pub setgroups: Option<Setgroups>,
    /// Who writes it.
    writer: Writer,
}

/// Who may write a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writer {
    /// We may: as root, or since it is our own id alone.
    #[default]
    Ourselves,
    /// Set-user-ID helpers, which know what /etc/subuid and /etc/subgid grant.
    Newuidmap,
}

impl Maps {
    /// The maps that were asked for. `new_user` is whether there is a user namespace to map.
    pub(crate) fn new(args: MapArgs, new_user: bool) -> Result<Self> {
        let MapArgs { map_root_user, map_current_user, map_users, map_groups, map_auto, setgroups } = args;
        if !new_user {
            return Ok(Self::default());
        }
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let mut users = own(uid, map_root_user, map_current_user);
        let mut groups = own(gid, map_root_user, map_current_user);
        users.extend(map_users);
        groups.extend(map_groups);
        if map_auto {
            users.extend(subid::range(Path::new("/etc/subuid"), uid)?.around(&users));
            groups.extend(subid::range(Path::new("/etc/subgid"), uid)?.around(&groups));
        }
        check("--map-users", &users)?;
        check("--map-groups", &groups)?;
        let ours = geteuid().is_root() || (is_own(&users, uid) && is_own(&groups, gid));
        let writer = if ours { Writer::Ourselves } else { Writer::Newuidmap };
        // Without privilege a group map may be written only once setgroups(2) is denied, lest
        // somebody leave a group that takes rights away (CVE-2014-8989).
        let unprivileged = writer == Writer::Ourselves && !geteuid().is_root() && !groups.is_empty();
        if unprivileged && setgroups == Some(Setgroups::Allow) {
            return Err(Error::usage("--setgroups allow needs privilege or subordinate group ids").hint(
                "an ordinary user's own group can only be mapped with setgroups denied; see --map-auto",
            ));
        }
        let setgroups = setgroups.or(unprivileged.then_some(Setgroups::Deny));
        Ok(Self { users, groups, setgroups, writer })
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && self.setgroups.is_none()
    }

    /// Writes the maps of `pid`'s user namespace, from the namespace that it was made in.
    pub(crate) fn write(&self, pid: i32) -> Result<()> {
        if let Some(setgroups) = self.setgroups {
            let word = match setgroups {
                Setgroups::Allow => "allow",
                Setgroups::Deny => "deny",
            };
            // Before the group map: afterwards it can no longer be denied.
            write_file(pid, "setgroups", word)?;
        }
        for (maps, file, helper, package) in [
            (&self.groups, "gid_map", "newgidmap", "/etc/subgid"),
            (&self.users, "uid_map", "newuidmap", "/etc/subuid"),
        ] {
            match self.writer {
                _ if maps.is_empty() => {}
                Writer::Ourselves => write_file(pid, file, &to_file(maps))?,
                Writer::Newuidmap => run_helper(helper, package, pid, maps)?,
            }
        }
        Ok(())
    }
}

fn own(id: u32, as_root: bool, as_itself: bool) -> Vec<IdMap> {
    let inner = match (as_root, as_itself) {
        (true, _) => Some(0),
        (_, true) => Some(id),
        _ => None,
    };
    inner.map(|inner| IdMap::one(inner, id)).into_iter().collect()
}

fn is_own(maps: &[IdMap], id: u32) -> bool {
    matches!(maps, [] | [IdMap { count: 1, .. }]) && maps.iter().all(|map| map.outer == id)
}

/// The kernel answers overlapping ranges and too many lines with a bare EINVAL.
fn check(option: &str, maps: &[IdMap]) -> Result<()> {
    // UID_GID_MAP_MAX_EXTENTS, Linux 4.15.
    if maps.len() > 340 {
        return Err(Error::usage(format!("{option}: a map holds at most 340 ranges, not {}", maps.len())));
    }
    let overlap = |a: (u32, u32), b: (u32, u32)| a.0 < b.0 + b.1 && b.0 < a.0 + a.1;
    for (index, a) in maps.iter().enumerate() {
        for b in &maps[..index] {
            if overlap((a.inner, a.count), (b.inner, b.count))
                || overlap((a.outer, a.count), (b.outer, b.count))
            {
                let show = |m: &IdMap| format!("{}:{}:{}", m.inner, m.outer, m.count);
                return Err(Error::usage(format!(
                    "{option}: the ranges {} and {} overlap",
                    show(b),
                    show(a)
                )));
            }
        }
    }
    Ok(())
}

fn write_file(pid: i32, file: &str, content: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    trace::step(format_args!("write {:?} to {path}", content.trim_end()));
    // One write(2) for all lines: user_namespaces(7) allows only one.
    fs::write(&path, content).during("write", &path).map_err(|error| {
        let hint = match error.errno() {
            Some(Errno::EPERM) if file == "setgroups" => Some(
                "setgroups is denied in the caller's own user namespace, and so in all below it: leave --setgroups out",
            ),
            Some(Errno::EPERM) => Some(
                "an ordinary user may map its own id alone; more takes --map-auto. (AppArmor can also forbid \
                 it: see kernel.apparmor_restrict_unprivileged_userns)",
            ),
            Some(Errno::EINVAL) => Some("an outer id is not mapped in the caller's own user namespace"),
            _ => None,
        };
        error.or_hint(hint)
    })
}

fn run_helper(helper: &str, grants: &str, pid: i32, maps: &[IdMap]) -> Result<()> {
    let mut command = Command::new(helper);
    command.arg(pid.to_string());
    for map in maps {
        command.args([map.inner, map.outer, map.count].map(|number| number.to_string()));
    }
    trace::step(format_args!("run {helper} {pid} {}", to_file(maps).trim_end().replace('\n', " ")));
    let output = command.output().during("run", helper).map_err(|error| {
        let hint =
            (error.errno() == Some(Errno::ENOENT)).then_some("it comes with the package uidmap or shadow");
        error.or_hint(hint)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said =
        said.trim().strip_prefix(helper).map_or(said.trim(), |rest| rest.trim_start_matches([':', ' ']));
    Err(Error::new("write the id map", helper, said.replace('\n', "; "))
        .hint(format!("{grants} must grant these ids to the user, in a line USER:FIRST:COUNT")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> MapArgs {
        MapArgs {
            map_root_user: false,
            map_current_user: false,
            map_users: vec![],
            map_groups: vec![],
            map_auto: false,
            setgroups: None,
        }
    }

    #[test]
    fn root_inside_is_the_caller_outside() {
        let maps = Maps::new(MapArgs { map_root_user: true, ..args() }, true).unwrap();
        assert_eq!(maps.users, [IdMap::one(0, geteuid().as_raw())]);
        assert_eq!(maps.writer, Writer::Ourselves);
    }

    #[test]
    fn overlapping_ranges_are_refused_by_name() {
        let map_users = vec!["0:1000:10".parse().unwrap(), "5:3000:1".parse().unwrap()];
        let error = Maps::new(MapArgs { map_users, ..args() }, true).unwrap_err();
        assert_eq!(error.to_string(), "--map-users: the ranges 0:1000:10 and 5:3000:1 overlap");
    }

    #[test]
    fn a_map_has_at_most_340_ranges() {
        let map_users = (0..341).map(|n| IdMap::one(n, n)).collect();
        assert!(Maps::new(MapArgs { map_users, ..args() }, true).is_err());
    }
}
