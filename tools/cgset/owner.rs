//! Delegation: a group is given to a user, who may then divide it.

use std::fs;

use common::undo::Changes;
use common::{During as _, Error, Result, trace};
use nix::unistd::{Gid, Uid, chown};
use std::os::unix::fs::MetadataExt as _;

use crate::group::Group;
use crate::hierarchy::Version;

/// A user, and a group of users where that is to change too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    user: Uid,
    group: Option<Gid>,
}

impl Owner {
    /// Reads `UID[:GID]`.
    pub fn parse(text: &str) -> Result<Self> {
        // -1 means "leave it" to chown(2).
        let id = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u32>().ok())?.filter(|id| *id != u32::MAX)
        };
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let read = || {
            let user = Uid::from_raw(id(user)?);
            match group {
                None => Some(Self { user, group: None }),
                Some(group) => Some(Self { user, group: Some(Gid::from_raw(id(group)?)) }),
            }
        };
        read().ok_or_else(|| {
            Error::new("read the owner", text, "not UID[:GID]")
                .hint("ids are numbers; 'id -u NAME' prints them")
        })
    }
}

/// Gives the group away: in each hierarchy the directory, so that subgroups can be made, and
/// the files that move processes. The limits stay with whoever set them (cgroups(7)).
pub fn give(group: &Group<'_>, owner: Owner, changes: &mut Changes<'_>) -> Result<()> {
    for place in &group.places {
        let files = match place.hierarchy.version {
            Version::V1 => vec!["cgroup.procs".to_owned(), "tasks".to_owned()],
            Version::V2 => delegated(),
        };
        let directory = place.directory();
        let all = files.into_iter().map(|file| directory.join(file)).filter(|file| file.exists());
        for path in all.chain([directory.clone()]) {
            let old = path.metadata().during("look at the owner", &path)?;
            trace::step(format_args!("give {} to user {}", common::error::printable(&path), owner.user));
            chown(&path, Some(owner.user), owner.group).during("change the owner", &path)?;
            changes.made(move || {
                let _ = chown(&path, Some(Uid::from_raw(old.uid())), Some(Gid::from_raw(old.gid())));
            });
        }
    }
    Ok(())
}

/// The files that the kernel says are safe to give away (Linux 4.15).
fn delegated() -> Vec<String> {
    match fs::read_to_string("/sys/kernel/cgroup/delegate") {
        Ok(list) => list.lines().map(str::to_owned).collect(),
        Err(_) => ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"].map(str::to_owned).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_one_number_or_two() {
        let owner =
            |user, group: Option<u32>| Owner { user: Uid::from_raw(user), group: group.map(Gid::from_raw) };
        assert_eq!(Owner::parse("1000").unwrap(), owner(1000, None));
        assert_eq!(Owner::parse("0:5").unwrap(), owner(0, Some(5)));
        for text in ["", "x", "1:", ":1", "-1", "4294967295", "1:2:3", "99999999999"] {
            assert!(Owner::parse(text).is_err(), "{text}");
        }
    }
}
