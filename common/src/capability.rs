//! Sets of capabilities (capabilities(7)).

use std::collections::HashSet;

use caps::CapSet;
pub use caps::Capability;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::{procfs, sys};

/// A set of capabilities, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// Nothing.
    pub const EMPTY: Self = Self(0);

    /// The one with this name, with or without `CAP_` and in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let capability: Capability = caps::to_canonical(name).parse().ok()?;
        Some(Self::one(capability))
    }

    /// Just this one.
    #[must_use]
    pub fn one(capability: Capability) -> Self {
        Self(capability.bitmask())
    }

    /// The bounding set of this process: all that COMMAND could ever get.
    #[must_use]
    pub fn bounding() -> Self {
        // EINVAL ends the kernel's list.
        let set = (0..64).filter(|number| sys::capability::is_bounding(*number) == Ok(true));
        Self(set.fold(0, |bits, number| bits | 1 << number))
    }

    /// The bounding set of another process.
    pub fn bounding_of(pid: i32) -> Result<Self> {
        let text = procfs::status(pid, "CapBnd")?;
        u64::from_str_radix(&text, 16).map(Self).map_err(|_| {
            Error::new("read the bounding set", format!("process {pid}"), "not a hexadecimal number")
        })
    }

    /// What this process may use now.
    pub fn permitted() -> Result<Self> {
        let permitted = caps::read(None, CapSet::Permitted).map_err(|error| failed("read", &error))?;
        Ok(Self(permitted.iter().fold(0, |bits, capability| bits | capability.bitmask())))
    }

    /// What this process hands on through exec although it is not root.
    #[must_use]
    pub fn ambient() -> Self {
        // Fails only where the kernel has no ambient set, before Linux 4.3.
        let ambient = caps::read(None, CapSet::Ambient).unwrap_or_default();
        Self(ambient.iter().fold(0, |bits, capability| bits | capability.bitmask()))
    }

    /// In either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// In this and not in `other`.
    #[must_use]
    pub fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names, in the kernel's order: `CAP_CHOWN`. Those that are too new to have one are left out.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        let mut known: Vec<Capability> = self.known().into_iter().collect();
        known.sort_unstable_by_key(Capability::index);
        known.iter().map(ToString::to_string).collect()
    }

    /// As an array of names.
    #[must_use]
    pub fn to_json(self) -> Value {
        self.names().into()
    }

    /// What [`to_json`](Self::to_json) wrote.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let names = value.as_array()?.iter().map(|name| Self::named(name.as_str()?));
        names.collect::<Option<Vec<_>>>().map(|sets| sets.into_iter().fold(Self::EMPTY, Self::union))
    }

    /// Takes all others out of the bounding set.
    pub(crate) fn bound(self) -> Result<()> {
        for number in (0..64).filter(|number| self.0 & (1 << number) == 0) {
            if sys::capability::is_bounding(number) == Ok(true) {
                sys::capability::drop_bounding(number).map_err(|errno| {
                    Error::new("drop from the bounding set", format!("capability {number}"), errno)
                        .hint("dropping capabilities takes CAP_SETPCAP")
                })?;
            }
        }
        Ok(())
    }

    /// Makes it the effective set: a change of user has cleared that even where it kept the permitted one.
    pub fn make_effective(self) -> Result<()> {
        caps::set(None, CapSet::Effective, &self.known())
            .map_err(|error| failed("set the effective set", &error))
    }

    /// Makes it the permitted and effective set, and `ambient` the inheritable and ambient one.
    /// Each call leaves a state that the kernel's rules for the next allow (capset(2)).
    pub(crate) fn hold(self, ambient: Self) -> Result<()> {
        let set = |which, set: Self| {
            caps::set(None, which, &set.known())
                .map_err(|error| failed(format!("set the {which:?} set").to_lowercase(), &error))
        };
        set(CapSet::Effective, self)?;
        set(CapSet::Inheritable, ambient)?;
        set(CapSet::Permitted, self)?;
        set(CapSet::Ambient, ambient)
    }

    pub(crate) fn known(self) -> HashSet<Capability> {
        caps::all().into_iter().filter(|capability| self.0 & capability.bitmask() != 0).collect()
    }
}

fn failed(step: impl Into<std::borrow::Cow<'static, str>>, error: &caps::errors::CapsError) -> Error {
    Error::new(step, "capabilities", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_come_in_three_spellings() {
        let chown = CapabilitySet::named("CAP_CHOWN").unwrap();
        assert_eq!(CapabilitySet::named("chown"), Some(chown));
        assert_eq!(CapabilitySet::named("Cap_Chown"), Some(chown));
        assert_eq!(CapabilitySet::named("CAP_FLY"), None);
    }

    #[test]
    fn a_set_comes_back_from_json() {
        let set = CapabilitySet::one(Capability::CAP_KILL).union(CapabilitySet::one(Capability::CAP_CHOWN));
        assert_eq!(set.to_json(), json!(["CAP_CHOWN", "CAP_KILL"]));
        assert_eq!(CapabilitySet::from_json(&set.to_json()), Some(set));
        assert_eq!(CapabilitySet::from_json(&json!(["CAP_FLY"])), None);
        assert_eq!(CapabilitySet::from_json(&json!("CAP_KILL")), None);
    }
}
