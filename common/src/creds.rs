//! Who COMMAND is and what it may do: pivot imposes it on the container's process, and
//! nsenter-lite again on every process that joins.

use caps::Capability;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde_json::{Map, Value, json};

use crate::capability::CapabilitySet;
use crate::error::{During as _, Error, Result};
use crate::seccomp::Filter;
use crate::{death_signal, trace};

/// What a process gives up for good.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    /// Key `user`: whom it becomes.
    pub user: Option<Ids>,
    /// Key `capabilities`: what it keeps; `None` leaves it to the kernel's rules.
    pub capabilities: Option<Capabilities>,
    /// Key `no_new_privs`: no set-user-ID program gives it more.
    pub no_new_privs: bool,
    /// Key `seccomp`: which system calls it may make.
    pub seccomp: Option<Filter>,
}

/// A user and its groups, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids; the primary one is among them (CVE-2022-36109).
    pub groups: Vec<u32>,
}

/// What a process keeps of its capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// All that it or a program it runs can have.
    pub bounding: CapabilitySet,
    /// Of these, what programs have that are not run by root.
    pub ambient: CapabilitySet,
}

impl Credentials {
    /// As keys of the record's `root`.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        if let Some(Ids { uid, gid, groups }) = &self.user {
            keys.insert("user".into(), json!({ "uid": uid, "gid": gid, "groups": groups }));
        }
        if let Some(Capabilities { bounding, ambient }) = self.capabilities {
            let value = json!({ "bounding": bounding.to_json(), "ambient": ambient.to_json() });
            keys.insert("capabilities".into(), value);
        }
        keys.insert("no_new_privs".into(), self.no_new_privs.into());
        if let Some(filter) = &self.seccomp {
            keys.insert("seccomp".into(), filter.to_json());
        }
        keys
    }

    /// What [`to_json`](Self::to_json) wrote, other keys left aside; or which key is malformed.
    pub fn from_json(keys: &Map<String, Value>) -> std::result::Result<Self, &'static str> {
        let no_new_privs = keys.get("no_new_privs").map_or(Some(false), Value::as_bool);
        Ok(Self {
            user: optional(keys, "user", ids)?,
            capabilities: optional(keys, "capabilities", capabilities)?,
            no_new_privs: no_new_privs.ok_or("no_new_privs")?,
            seccomp: optional(keys, "seccomp", Filter::from_json)?,
        })
    }

    /// Imposes them on this process, in the only order in which each step may still be taken.
    /// `with_the_ids` is what the caller has to do as the new user but before a filter could
    /// forbid it; after this, only exec.
    pub fn apply(&self, with_the_ids: impl FnOnce() -> Result<()>) -> Result<()> {
        death_signal::keep_over(|| self.give_up())?;
        with_the_ids()?;
        self.seccomp.as_ref().map_or(Ok(()), Filter::install)
    }

    fn give_up(&self) -> Result<()> {
        if let Some(capabilities) = &self.capabilities {
            trace::step(format_args!("keep of the capabilities: {}", shown(capabilities.bounding)));
            capabilities.bounding.bound()?; // takes CAP_SETPCAP, so it is first
        }
        if self.capabilities.is_some() || self.seccomp_takes_privilege() {
            prctl::set_keepcaps(true).during("keep over the change of user", "capabilities")?;
        }
        if let Some(user) = &self.user {
            user.become_them()?;
        }
        self.hold_capabilities()?;
        if self.no_new_privs {
            trace::step("set no_new_privs");
            prctl::set_no_new_privs().during("set", "no_new_privs")?;
        }
        Ok(())
    }

    /// Without no_new_privs only CAP_SYS_ADMIN may install a filter (seccomp(2)).
    fn seccomp_takes_privilege(&self) -> bool {
        self.seccomp.is_some() && !self.no_new_privs
    }

    fn hold_capabilities(&self) -> Result<()> {
        let permitted = CapabilitySet::permitted()?;
        match &self.capabilities {
            Some(keep) => {
                let missing = keep.ambient.difference(permitted);
                if !missing.is_empty() {
                    return Err(Error::new("keep", shown(missing), "this process does not have it"));
                }
                // What only the filter needs is not in the bounding set any more, so exec takes it away.
                let for_the_filter = if self.seccomp_takes_privilege() {
                    CapabilitySet::one(Capability::CAP_SYS_ADMIN)
                } else {
                    CapabilitySet::EMPTY
                };
                keep.bounding.union(for_the_filter).intersection(permitted).hold(keep.ambient)
            }
            // Kept over the change of user for the filter; exec by who is not root takes it away.
            None if self.seccomp_takes_privilege() => permitted.hold(CapabilitySet::ambient()),
            // Nothing is inheritable but what is ambient: a program with inheritable file
            // capabilities would get it (CVE-2022-24769).
            None => caps::set(None, caps::CapSet::Inheritable, &CapabilitySet::ambient().known())
                .map_err(|error| Error::new("clear the inheritable set", "capabilities", error.to_string())),
        }
    }
}

impl Ids {
    fn become_them(&self) -> Result<()> {
        let Self { uid, gid, groups } = self;
        let name = format!("user {uid}:{gid}");
        trace::step(format_args!("become {name} with groups {groups:?}"));
        set_groups(groups, *gid)?;
        let gid = Gid::from_raw(*gid);
        setresgid(gid, gid, gid).map_err(|errno| change_failed("set the group", &name, errno))?;
        let uid = Uid::from_raw(*uid);
        setresuid(uid, uid, uid).map_err(|errno| change_failed("set the user", &name, errno))
    }
}

/// The groups always change with the user; where a user namespace denies that, the
/// caller's own stay, which is an error only where others were asked for.
fn set_groups(groups: &[u32], primary: u32) -> Result<()> {
    let list: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    match setgroups(&list) {
        Err(Errno::EPERM) if setgroups_is_denied() && groups.iter().all(|group| *group == primary) => Ok(()),
        result => result.map_err(|errno| change_failed("set the groups", &format!("{groups:?}"), errno)),
    }
}

/// user_namespaces(7): an unprivileged map of groups comes with setgroups(2) switched off for good.
#[must_use]
pub fn setgroups_is_denied() -> bool {
    // Where /proc is not mounted any more: in a user namespace whose maps were written without
    // privilege, nothing else refuses a process that has CAP_SETGID.
    match std::fs::read_to_string("/proc/self/setgroups") {
        Ok(text) => text.trim() == "deny",
        Err(_) => CapabilitySet::permitted()
            .is_ok_and(|have| !have.intersection(CapabilitySet::one(Capability::CAP_SETGID)).is_empty()),
    }
}

fn change_failed(step: &'static str, object: &str, errno: Errno) -> Error {
    Error::new(step, object, errno).or_hint(match errno {
        Errno::EINVAL => Some("the id is not mapped in this user namespace"),
        Errno::EPERM => Some(
            "changing the user takes CAP_SETUID and CAP_SETGID; an unprivileged user namespace denies setgroups",
        ),
        Errno::EAGAIN => Some("the user's RLIMIT_NPROC is reached"),
        _ => None,
    })
}

fn shown(set: CapabilitySet) -> String {
    match set.names() {
        names if names.is_empty() => "none".into(),
        names => names.join(" "),
    }
}

fn optional<T>(
    keys: &Map<String, Value>,
    key: &'static str,
    parse: fn(&Value) -> Option<T>,
) -> std::result::Result<Option<T>, &'static str> {
    keys.get(key).map(|value| parse(value).ok_or(key)).transpose()
}

fn ids(value: &Value) -> Option<Ids> {
    let groups = value.get("groups")?.as_array()?.iter().map(id).collect::<Option<_>>()?;
    Some(Ids { uid: id(value.get("uid")?)?, gid: id(value.get("gid")?)?, groups })
}

/// Not 2^32-1, which system calls take for "leave as it is".
fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX)
}

fn capabilities(value: &Value) -> Option<Capabilities> {
    Some(Capabilities {
        bounding: CapabilitySet::from_json(value.get("bounding")?)?,
        ambient: CapabilitySet::from_json(value.get("ambient")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_back_from_json() {
        let chown = CapabilitySet::named("chown").unwrap();
        let credentials = Credentials {
            user: Some(Ids { uid: 7, gid: 8, groups: vec![8, 9] }),
            capabilities: Some(Capabilities { bounding: chown, ambient: CapabilitySet::EMPTY }),
            no_new_privs: true,
            seccomp: None,
        };
        assert_eq!(Credentials::from_json(&credentials.to_json()), Ok(credentials));
        assert_eq!(Credentials::from_json(&Map::new()), Ok(Credentials::default()));
    }

    #[test]
    fn a_malformed_key_is_named() {
        for (key, value) in [
            ("user", json!("ann")),
            ("user", json!({ "uid": 4_294_967_295_u32, "gid": 0, "groups": [] })),
            ("capabilities", json!(["CAP_CHOWN"])),
            ("no_new_privs", json!("yes")),
        ] {
            let keys = [(key.to_owned(), value)].into_iter().collect();
            assert_eq!(Credentials::from_json(&keys), Err(key));
        }
    }
}
