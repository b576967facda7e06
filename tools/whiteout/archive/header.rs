//! The fields of a header block (pax(1), "ustar Interchange Format"), read strictly.

use tar::Header;

use super::BLOCK;

/// Which of the formats with this block it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Before POSIX: no fields after the link's name.
    Old,
    /// POSIX: the name may have a prefix.
    Ustar,
    /// GNU tar, which has other fields in the prefix's place.
    Gnu,
}

/// A header block whose checksum is right.
pub struct Block(Header);

impl Block {
    /// Takes the block; `None` if its checksum is wrong.
    pub fn new(block: &[u8; BLOCK]) -> Option<Self> {
        let (before, rest) = block.split_at(148);
        let (checksum, after) = rest.split_at(8);
        let stored = unsigned(checksum)?;
        // The field itself counts as blanks.
        let bytes = || before.iter().chain(after).copied();
        let sum = 8 * u64::from(b' ') + bytes().map(u64::from).sum::<u64>();
        // Some old programs added signed bytes.
        let signed = || 8 * i64::from(b' ') + bytes().map(|byte| i64::from(byte as i8)).sum::<i64>();
        let right = stored == sum || i64::try_from(stored) == Ok(signed());
        right.then(|| Self(Header::from_byte_slice(block).clone()))
    }

    /// The entry's type, one letter.
    pub fn kind(&self) -> u8 {
        self.0.as_old().linkflag[0]
    }

    /// Which format the block is in.
    pub fn dialect(&self) -> Dialect {
        match &self.0.as_bytes()[257..265] {
            [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
            b"ustar  \0" => Dialect::Gnu,
            _ => Dialect::Old,
        }
    }

    /// The entry's path.
    pub fn path(&self) -> Vec<u8> {
        let name = text(&self.0.as_old().name);
        match self.0.as_ustar() {
            Some(ustar) if self.dialect() == Dialect::Ustar && ustar.prefix[0] != 0 => {
                [text(&ustar.prefix), b"/", name].concat()
            }
            _ => name.to_vec(),
        }
    }

    /// What a link leads to.
    pub fn link(&self) -> Vec<u8> {
        text(&self.0.as_old().linkname).to_vec()
    }

    /// Permissions, with whatever else the writer put there.
    pub fn mode(&self) -> Option<u64> {
        unsigned(&self.0.as_old().mode)
    }

    /// Owner.
    pub fn uid(&self) -> Option<u64> {
        unsigned(&self.0.as_old().uid)
    }

    /// Group.
    pub fn gid(&self) -> Option<u64> {
        unsigned(&self.0.as_old().gid)
    }

    /// Bytes of content.
    pub fn size(&self) -> Option<u64> {
        unsigned(&self.0.as_old().size)
    }

    /// Time of modification, in seconds.
    pub fn mtime(&self) -> Option<i64> {
        number(&self.0.as_old().mtime)
    }

    /// Major and minor number of a device.
    pub fn device(&self) -> Option<(u64, u64)> {
        let block = self.0.as_bytes();
        Some((unsigned(&block[329..337])?, unsigned(&block[337..345])?))
    }

    /// In GNU tar's old format for sparse files: the parts' fields, whether more follow, and the file's size.
    pub fn sparse(&self) -> Option<(&[u8], bool, u64)> {
        let block = self.0.as_bytes();
        Some((&block[386..482], block[482] == 1, unsigned(&block[483..495])?))
    }
}

/// The field up to the first NUL.
pub fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number that cannot be negative.
pub fn unsigned(field: &[u8]) -> Option<u64> {
    u64::try_from(number(field)?).ok()
}

/// Octal digits between blanks; or, if the first bit is set, GNU tar's binary form, in which
/// the second bit is the sign.
fn number(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    match *field.first()? {
        first if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            let mut value = if negative { -1 } else { 0_i64 };
            let first = if negative { first } else { first & 0x3f };
            for byte in std::iter::once(first).chain(field[1..].iter().copied()) {
                value = value.checked_mul(256)?.checked_add(i64::from(byte))?;
            }
            Some(value)
        }
        _ => {
            let start = field.iter().take_while(|byte| blank(byte)).count();
            let digits: &[u8] = field[start..].split(blank).next()?;
            if !field[start + digits.len()..].iter().all(blank) {
                return None;
            }
            digits.iter().try_fold(0_i64, |value, digit| match digit {
                b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
                _ => None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_numbers_stand_between_blanks() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o7777_7777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"0644 1\0\0", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn binary_numbers_have_a_sign() {
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]), Some(258));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Some(-1));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(
            number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
            Some(-2)
        );
        assert_eq!(unsigned(&[0xff; 12]), None);
        assert_eq!(number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn a_wrong_checksum_is_no_header() {
        let mut header = Header::new_ustar();
        header.set_cksum();
        let mut block = *header.as_bytes();
        assert!(Block::new(&block).is_some());
        block[0] = b'x';
        assert!(Block::new(&block).is_none());
    }
}
