//! Writing an archive: the same bytes for the same entries.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use common::{During as _, Error, Result, output};
use tar::{EntryType, Header};

use super::entry::{Device, Entry, Kind, Time};
use super::{BLOCK, padding, pax};

/// An archive on its way out.
#[derive(Debug)]
pub struct Writer {
    out: File,
    buffer: Box<[u8]>,
    filled: usize,
}

/// A part of a file that holds data: first byte, and length.
pub type Extent = (u64, u64);

impl Writer {
    /// An archive to be written to `out`.
    pub fn new(out: File) -> Self {
        Self { out, buffer: vec![0; CAPACITY].into_boxed_slice(), filled: 0 }
    }

    /// Writes an entry; a file's content is to follow.
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        let size = if let Kind::File(size) = entry.kind { size } else { 0 };
        self.headers(entry, &name_of(entry), size, Vec::new())
    }

    /// Writes a file with holes: its entry, and the list of the extents, which are to follow.
    ///
    /// The format is GNU tar's "PAX format 1.0" (its manual, appendix D.2.3): the list stands before
    /// the data, a number a line, and the entry's own name is one that tells other readers.
    pub fn sparse_entry(&mut self, entry: &Entry, size: u64, extents: &[Extent]) -> Result<()> {
        let map = sparse_map(size, extents);
        let stored = (map.len() + padding(map.len() as u64)) as u64
            + extents.iter().map(|(_, length)| length).sum::<u64>();
        let mut records = Vec::new();
        pax::push(&mut records, b"GNU.sparse.major", b"1");
        pax::push(&mut records, b"GNU.sparse.minor", b"0");
        pax::push(&mut records, b"GNU.sparse.name", &entry.path);
        pax::push(&mut records, b"GNU.sparse.realsize", size.to_string().as_bytes());
        self.headers(entry, &inserted(&entry.path, b"GNUSparseFile.0"), stored, records)?;
        self.bytes(&map)?;
        self.pad(map.len() as u64)
    }

    /// Copies `extent` of `file` (`path`, for messages) into the archive.
    pub fn content(&mut self, file: &File, extent: Extent, path: &Path) -> Result<()> {
        let (mut at, end) = (extent.0, extent.0 + extent.1);
        while at < end {
            if self.filled == CAPACITY {
                self.flush()?;
            }
            let room = usize::try_from(end - at).unwrap_or(CAPACITY).min(CAPACITY - self.filled);
            let read = file.read_at(&mut self.buffer[self.filled..self.filled + room], at);
            match read.during("read", path)? {
                0 => return Err(Error::new("read", path, "it became shorter while it was read")),
                count => {
                    at += count as u64;
                    self.filled += count;
                }
            }
        }
        Ok(())
    }

    /// Fills up the content of `size` bytes that was just written.
    pub fn pad(&mut self, size: u64) -> Result<()> {
        self.bytes(&ZEROS[..padding(size)])
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<()> {
        self.bytes(&ZEROS)?;
        self.flush()
    }

    fn headers(&mut self, entry: &Entry, name: &[u8], size: u64, mut records: Vec<u8>) -> Result<()> {
        let header = header(entry, name, size, &mut records);
        if !records.is_empty() {
            self.extended_header(name, &records)?;
        }
        self.bytes(header.as_bytes())
    }

    fn extended_header(&mut self, name: &[u8], records: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        set_field(&mut header.as_old_mut().name, &inserted(name, b"PaxHeaders"));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.len() as u64);
        header.set_cksum();
        self.bytes(header.as_bytes())?;
        self.bytes(records)?;
        self.pad(records.len() as u64)
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.filled == CAPACITY {
                self.flush()?;
            }
            let count = bytes.len().min(CAPACITY - self.filled);
            self.buffer[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer[..self.filled]).during("write", output::STANDARD_OUTPUT)?;
        self.filled = 0;
        Ok(())
    }
}

/// What is written at once.
const CAPACITY: usize = 256 * 1024;

static ZEROS: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The header block of an entry; what does not fit its fields goes into `records`.
fn header(entry: &Entry, name: &[u8], size: u64, records: &mut Vec<u8>) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(match entry.kind {
        Kind::File(_) => EntryType::Regular,
        Kind::HardLink(_) => EntryType::Link,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::CharacterDevice(_) => EntryType::Char,
        Kind::BlockDevice(_) => EntryType::Block,
        Kind::Directory => EntryType::Directory,
        Kind::Fifo => EntryType::Fifo,
    });
    if !set_field(&mut header.as_old_mut().name, name) {
        pax::push(records, b"path", name);
    }
    header.set_mode(entry.mode);
    number(records, b"uid", entry.uid.into(), MOST_7, |value| header.set_uid(value));
    number(records, b"gid", entry.gid.into(), MOST_7, |value| header.set_gid(value));
    number(records, b"size", size, MOST_11, |value| header.set_size(value));
    header.set_mtime(time(records, entry.mtime));
    if let Kind::HardLink(target) | Kind::Symlink(target) = &entry.kind
        && !set_field(&mut header.as_old_mut().linkname, target)
    {
        pax::push(records, b"linkpath", target);
    }
    if let Kind::CharacterDevice(Device { major, minor }) | Kind::BlockDevice(Device { major, minor }) =
        entry.kind
        && let Some(ustar) = header.as_ustar_mut()
    {
        ustar.set_device_major(major);
        ustar.set_device_minor(minor);
    }
    for (attribute, value) in &entry.attributes {
        pax::push(records, &[pax::ATTRIBUTE, attribute.as_encoded_bytes()].concat(), value);
    }
    header.set_cksum();
    header
}

/// The most that seven, and that eleven, octal digits hold.
const MOST_7: u64 = 0o777_7777;
const MOST_11: u64 = 0o777_7777_7777;

/// Sets a field that holds octal digits up to `most`. A larger number goes into a record, and the
/// field gets it as well, in GNU tar's binary form: then all readers see the same.
fn number(records: &mut Vec<u8>, key: &[u8], value: u64, most: u64, set: impl FnOnce(u64)) {
    if value > most {
        pax::push(records, key, value.to_string().as_bytes());
    }
    set(value);
}

/// The whole seconds for the header; a time that is more than that is recorded.
fn time(records: &mut Vec<u8>, time: Time) -> u64 {
    let seconds = u64::try_from(time.seconds).ok().filter(|&seconds| seconds <= MOST_11);
    if seconds.is_none() || time.nanoseconds != 0 {
        pax::push(records, b"mtime", time.to_string().as_bytes());
    }
    seconds.unwrap_or(0)
}

/// Sets a field to as much of `bytes` as fits; whether that was all.
fn set_field(field: &mut [u8], bytes: &[u8]) -> bool {
    let fits = bytes.len().min(field.len());
    field[..fits].copy_from_slice(&bytes[..fits]);
    fits == bytes.len()
}

/// The path as archives have it: with a slash after a directory.
fn name_of(entry: &Entry) -> Vec<u8> {
    let mut name = entry.path.clone();
    if entry.kind == Kind::Directory {
        name.push(b'/');
    }
    name
}

/// `a/b` as `a/DIRECTORY/b`.
fn inserted(path: &[u8], directory: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    [&path[..name], directory, b"/", &path[name..]].concat()
}

fn sparse_map(size: u64, extents: &[Extent]) -> Vec<u8> {
    // GNU tar ends the list with an empty extent where the file ends in a hole.
    let end = extents.last().map_or(0, |(at, length)| at + length);
    let last = (end < size).then_some((size, 0));
    let mut map = format!("{}\n", extents.len() + usize::from(last.is_some()));
    for (at, length) in extents.iter().copied().chain(last) {
        map.push_str(&format!("{at}\n{length}\n"));
    }
    map.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &[u8], kind: Kind) -> Entry {
        let mtime = Time { seconds: 5, nanoseconds: 0 };
        Entry {
            path: path.to_vec(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime,
            attributes: Default::default(),
        }
    }

    fn records_of(entry: &Entry, size: u64) -> String {
        let mut records = Vec::new();
        header(entry, &name_of(entry), size, &mut records);
        String::from_utf8(records).unwrap()
    }

    #[test]
    fn what_fits_the_header_needs_no_records() {
        let link = entry(&[b'n'; 100], Kind::Symlink(vec![b't'; 100]));
        assert_eq!(records_of(&link, 0), "");
        assert_eq!(records_of(&entry(b"f", Kind::File(MOST_11)), MOST_11), "");
    }

    #[test]
    fn what_does_not_fit_is_recorded() {
        let mut file = entry(b"f", Kind::File(0));
        file.uid = 0o1000_0000;
        file.mtime = Time { seconds: -1, nanoseconds: 500_000_000 };
        let size = MOST_11 + 1;
        assert_eq!(records_of(&file, size), "15 uid=2097152\n19 size=8589934592\n14 mtime=-0.5\n");
        let directory = entry(&[b'n'; 100], Kind::Directory);
        assert!(records_of(&directory, 0).starts_with("111 path=nnn"));
    }

    #[test]
    fn a_hole_at_the_end_ends_the_map() {
        assert_eq!(sparse_map(10, &[(2, 3)]), b"2\n2\n3\n10\n0\n");
        assert_eq!(sparse_map(5, &[(2, 3)]), b"1\n2\n3\n");
        assert_eq!(sparse_map(10, &[]), b"1\n10\n0\n");
    }

    #[test]
    fn other_names_are_made_beside_the_entrys_own() {
        assert_eq!(inserted(b"a/b/", b"X"), b"a/X/b");
        assert_eq!(inserted(b"b", b"X"), b"X/b");
    }
}
