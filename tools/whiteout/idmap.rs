//! Owners that are other numbers on the disk than in the image.

use std::path::Path;
use std::str::FromStr;

use common::{Error, Result};

/// A range of owners: `from` and up in the image are `to` and up on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    from: u32,
    to: u32,
    count: u32,
}

impl FromStr for IdMap {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers: Option<Vec<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
        let Some([from, to, count]) = numbers.as_deref() else {
            return Err("write it as FROM:TO:COUNT".to_owned());
        };
        let (from, to, count) = (*from, *to, *count);
        if count == 0 || from.checked_add(count).is_none() || to.checked_add(count).is_none() {
            return Err("the range is empty or goes past the last id".to_owned());
        }
        Ok(Self { from, to, count })
    }
}

/// All ranges; without any, owners are the same numbers on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps(Vec<IdMap>);

impl IdMaps {
    /// Checks that no owner has two meanings.
    pub fn new(maps: Vec<IdMap>) -> Result<Self> {
        for (index, one) in maps.iter().enumerate() {
            for other in &maps[..index] {
                let overlap = |one: u32, other: u32, first: &IdMap, second: &IdMap| {
                    one < other + second.count && other < one + first.count
                };
                if overlap(one.from, other.from, one, other) || overlap(one.to, other.to, one, other) {
                    return Err(Error::usage("two ranges of --idmap overlap"));
                }
            }
        }
        Ok(Self(maps))
    }

    /// Owner and group in the image of what has these on the disk.
    pub fn to_image(&self, uid: u32, gid: u32, object: &Path) -> Result<(u32, u32)> {
        self.shift(uid, gid, object, |map, id| shifted(id, map.to, map.from, map.count))
    }

    /// Owner and group on the disk of what has these in the image.
    pub fn to_disk(&self, uid: u32, gid: u32, object: &Path) -> Result<(u32, u32)> {
        self.shift(uid, gid, object, |map, id| shifted(id, map.from, map.to, map.count))
    }

    fn shift(
        &self,
        uid: u32,
        gid: u32,
        object: &Path,
        shift: impl Fn(&IdMap, u32) -> Option<u32>,
    ) -> Result<(u32, u32)> {
        if self.0.is_empty() {
            return Ok((uid, gid));
        }
        let find = |what: &str, id: u32| {
            self.0.iter().find_map(|map| shift(map, id)).ok_or_else(|| {
                Error::new("shift its owner", object, format!("{what} {id} is in no range of --idmap"))
            })
        };
        Ok((find("user", uid)?, find("group", gid)?))
    }
}

fn shifted(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    id.checked_sub(from).filter(|&offset| offset < count).map(|offset| to + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(texts: &[&str]) -> Result<IdMaps> {
        IdMaps::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn owners_are_shifted_range_by_range() {
        let maps = maps(&["0:100000:1000", "1000:5:1"]).unwrap();
        assert_eq!(maps.to_image(100_000, 100_999, Path::new("x")).unwrap(), (0, 999));
        assert_eq!(maps.to_image(5, 5, Path::new("x")).unwrap(), (1000, 1000));
        assert_eq!(maps.to_disk(999, 1000, Path::new("x")).unwrap(), (100_999, 5));
        let error = maps.to_image(100_000, 101_000, Path::new("x")).unwrap_err();
        assert_eq!(error.to_string(), "x: shift its owner: group 101000 is in no range of --idmap");
        assert_eq!(IdMaps::default().to_image(7, 8, Path::new("x")).unwrap(), (7, 8));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["", "1", "1:2", "1:2:0", "1:2:3:4", "-1:2:3", "a:b:c", "4294967295:0:1", "0:4294967290:10"]
        {
            assert!(text.parse::<IdMap>().is_err(), "{text}");
        }
    }

    #[test]
    fn overlapping_ranges_are_refused() {
        assert!(maps(&["0:100:10", "10:200:10"]).is_ok());
        assert!(maps(&["0:100:10", "9:200:10"]).is_err());
        assert!(maps(&["0:100:10", "10:109:10"]).is_err());
    }
}
