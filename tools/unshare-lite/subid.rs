//! Subordinate ids: what /etc/subuid and /etc/subgid grant (subuid(5)).

use std::fs;
use std::path::Path;

use common::idmap::IdMap;
use common::{During as _, Error, Result};

/// A granted range of ids outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    first: u32,
    count: u32,
}

impl Range {
    /// The range mapped to the ids inside that are not `taken`, from 0 on, as unshare(1) has it.
    pub(crate) fn around(self, taken: &[IdMap]) -> Vec<IdMap> {
        let mut taken = taken.to_vec();
        taken.sort_by_key(|map| map.inner);
        // The last id, 2^32 - 1, cannot be mapped: it stands for "no id".
        taken.push(IdMap::one(u32::MAX, u32::MAX));
        let (mut maps, mut inner, mut outer, mut left) = (Vec::new(), 0, self.first, self.count);
        for next in taken {
            let count = left.min(next.inner.saturating_sub(inner));
            if count > 0 {
                maps.push(IdMap { inner, outer, count });
            }
            (outer, left) = (outer.saturating_add(count), left - count);
            inner = inner.max(next.end());
        }
        maps
    }
}

/// The first range that `file` grants to the user `uid`, by name or by number.
pub(crate) fn range(file: &Path, uid: u32) -> Result<Range> {
    let step = "look for subordinate ids";
    let name = user_name(uid);
    let who = name.clone().unwrap_or_else(|| uid.to_string());
    let missing = || {
        Error::new(step, file, format!("no range for {who}"))
            .hint(format!("have root add a line such as {who}:100000:65536 to it"))
    };
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        text => text.during(step, file)?,
    };
    parse(&text, name.as_deref(), uid).ok_or_else(missing)
}

fn parse(text: &str, name: Option<&str>, uid: u32) -> Option<Range> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if name != Some(owner) && owner.parse() != Ok(uid) {
            return None;
        }
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (count > 0).then_some(Range { first, count })
    })
}

/// From /etc/passwd itself: a static binary cannot load NSS modules. A user of another
/// directory service needs a line with its number.
fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_goes_around_what_is_mapped_otherwise() {
        let range = Range { first: 1000, count: 100 };
        let around = |taken: &[(u32, u32)]| -> Vec<String> {
            let taken: Vec<_> =
                taken.iter().map(|(inner, count)| IdMap { inner: *inner, outer: 7, count: *count }).collect();
            range.around(&taken).iter().map(IdMap::to_string).collect()
        };
        assert_eq!(around(&[]), ["0 1000 100"]);
        assert_eq!(around(&[(0, 1)]), ["1 1000 100"]);
        assert_eq!(around(&[(500, 1)]), ["0 1000 100"]);
        assert_eq!(around(&[(99, 5), (20, 1), (21, 9)]), ["0 1000 20", "30 1020 69", "104 1089 11"]);
        assert_eq!(around(&[(5, u32::MAX - 5)]), ["0 1000 5"]);
    }

    #[test]
    fn a_range_is_granted_by_name_or_number() {
        let text = "ann:100000:65536\n1001:300000:10\nbad:x:y\nzero:5:0\n";
        assert_eq!(parse(text, Some("ann"), 1000), Some(Range { first: 100_000, count: 65536 }));
        assert_eq!(parse(text, None, 1001), Some(Range { first: 300_000, count: 10 }));
        assert_eq!(parse(text, Some("bad"), 1), None);
        assert_eq!(parse(text, Some("zero"), 1), None);
        assert_eq!(parse(text, Some("bob"), 1), None);
    }

    #[test]
    fn root_has_a_name() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
    }
}
