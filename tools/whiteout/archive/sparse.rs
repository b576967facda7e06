//! Which parts of a file with holes an archive holds, in the four ways that GNU tar has
//! written over the years (its manual, appendix "Storing Sparse Files").

use super::BLOCK;
use super::entry::decimal;
use super::header::unsigned;
use super::input::{Input, cut_short};
use super::writer::Extent;
use common::Result;

/// What the records of an extended header say of holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    major: Option<u64>,
    minor: Option<u64>,
    /// The entry's own path, for the header's is made up.
    pub name: Option<Vec<u8>>,
    size: Option<u64>,
    map: Option<Vec<Extent>>,
    /// Format 0.0: an offset whose length has not come yet.
    offset: Option<u64>,
}

impl Records {
    /// Takes the record `GNU.sparse.KEY`; `None` if it makes no sense.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"name" => self.name = Some(value.to_vec()),
            b"realsize" | b"size" => self.size = Some(decimal(value)?),
            b"map" => {
                let numbers: Vec<u64> =
                    value.split(|&byte| byte == b',').map(decimal).collect::<Option<_>>()?;
                let pairs = numbers.chunks_exact(2);
                if !pairs.remainder().is_empty() {
                    return None;
                }
                self.map = Some(pairs.map(|pair| (pair[0], pair[1])).collect());
            }
            b"offset" => {
                if self.offset.replace(decimal(value)?).is_some() {
                    return None;
                }
            }
            b"numbytes" => {
                let extent = (self.offset.take()?, decimal(value)?);
                self.map.get_or_insert_default().push(extent);
            }
            // How many parts there are is seen from the parts.
            b"numblocks" => drop(decimal(value)?),
            _ => return None,
        }
        Some(())
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The file's size and its parts; in format 1.0 they stand before the content, of which `stored` bytes are left.
    pub fn map(self, input: &mut Input, stored: &mut u64) -> Result<Option<(u64, Vec<Extent>)>> {
        let Some(size) = self.size else { return Ok(None) };
        let map = match (self.major, self.minor) {
            (Some(1), Some(0)) if self.map.is_none() => read_map(input, stored)?,
            (None | Some(0), _) if self.offset.is_none() => Some(self.map.unwrap_or_default()),
            _ => None,
        };
        Ok(map.filter(|map| is_sound(map, size, *stored)).map(|map| (size, map)))
    }
}

/// The parts of GNU tar's old format, which are in the header and in blocks after it.
pub fn old_map(
    input: &mut Input,
    fields: &[u8],
    mut more: bool,
    size: u64,
    stored: u64,
) -> Result<Option<Vec<Extent>>> {
    let mut map = Vec::new();
    let mut sound = push_fields(&mut map, fields).is_some();
    while more && sound {
        let block = input.block()?.ok_or_else(cut_short)?;
        sound = push_fields(&mut map, &block[..504]).is_some() && map.len() <= MOST;
        more = block[504] == 1;
    }
    Ok(Some(map).filter(|map| sound && is_sound(map, size, stored)))
}

fn push_fields(map: &mut Vec<Extent>, fields: &[u8]) -> Option<()> {
    for field in fields.chunks_exact(24).take_while(|field| field[0] != 0) {
        map.push((unsigned(&field[..12])?, unsigned(&field[12..])?));
    }
    Some(())
}

/// Format 1.0: a number a line, filled up to whole blocks. `None` if it is anything else.
fn read_map(input: &mut Input, stored: &mut u64) -> Result<Option<Vec<Extent>>> {
    let mut numbers = Vec::new();
    let mut number: Option<u64> = None;
    let mut wanted = 1;
    while numbers.len() < wanted {
        if *stored < BLOCK as u64 {
            return Ok(None);
        }
        let block = input.block()?.ok_or_else(cut_short)?;
        *stored -= BLOCK as u64;
        for byte in block {
            number = match (byte, number) {
                _ if numbers.len() == wanted => break,
                (b'0'..=b'9', _) => {
                    let grown = number.unwrap_or(0).checked_mul(10);
                    match grown.and_then(|grown| grown.checked_add(u64::from(byte - b'0'))) {
                        None => return Ok(None),
                        number => number,
                    }
                }
                (b'\n', Some(value)) => {
                    numbers.push(value);
                    None
                }
                _ => return Ok(None),
            };
            if numbers.len() == 1 && wanted == 1 {
                match usize::try_from(numbers[0]) {
                    Ok(count) if count <= MOST => wanted = 1 + 2 * count,
                    _ => return Ok(None),
                }
            }
        }
    }
    Ok(Some(numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()))
}

/// The most parts that we take: a bound of memory.
const MOST: usize = 1 << 18;

/// Whether the parts are in order, within the file, and as long together as what is stored.
fn is_sound(map: &[Extent], size: u64, stored: u64) -> bool {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for &(at, length) in map {
        match at.checked_add(length) {
            Some(next) if at >= end && next <= size => end = next,
            _ => return false,
        }
        sum += length; // at most `end`
    }
    sum == stored && map.len() <= MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_in_order_within_the_file_and_as_long_as_its_data() {
        assert!(is_sound(&[(0, 5), (10, 5), (20, 0)], 20, 10));
        for (map, size, stored) in [
            (&[(10, 5), (0, 5)][..], 20, 10),
            (&[(0, 6), (5, 5)], 20, 11),
            (&[(10, 11)], 20, 11),
            (&[(u64::MAX, 2)], 20, 2),
            (&[(0, 5)], 20, 6),
        ] {
            assert!(!is_sound(map, size, stored), "{map:?}");
        }
    }

    #[test]
    fn records_of_the_older_formats_are_understood() {
        let mut records = Records::default();
        for (key, value) in [
            ("size", "9"),
            ("numblocks", "2"),
            ("offset", "0"),
            ("numbytes", "1"),
            ("offset", "5"),
            ("numbytes", "2"),
        ] {
            records.take(key.as_bytes(), value.as_bytes()).unwrap();
        }
        assert_eq!(records.map, Some(vec![(0, 1), (5, 2)]));
        let mut records = Records::default();
        records.take(b"map", b"0,1,5,2").unwrap();
        assert_eq!(records.map, Some(vec![(0, 1), (5, 2)]));
        for (key, value) in [("map", "1"), ("map", "1,x"), ("numbytes", "1"), ("what", "1"), ("major", "-1")]
        {
            assert_eq!(Records::default().take(key.as_bytes(), value.as_bytes()), None, "{key}={value}");
        }
    }
}
