//! Reading an archive, entry by entry.

use std::fs::File;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use common::error::printable;
use common::{During as _, Error, Result};

use super::entry::{Device, Entry, Kind, Time, decimal};
use super::header::{Block, text};
use super::input::{Input, NAME, cut_short};
use super::writer::Extent;
use super::{BLOCK, padding, pax, sparse};
use crate::node::Attributes;

/// An archive on its way in.
#[derive(Debug)]
pub struct Reader {
    input: Input,
    /// What is left of the current entry's content, and of what fills it up.
    content: u64,
    padding: usize,
    /// Where the content belongs in its file.
    extents: Vec<Extent>,
    /// Whether anything was read at all.
    started: bool,
}

/// What extended headers say of the entry after them.
#[derive(Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<Time>,
    attributes: Attributes,
    sparse: sparse::Records,
    /// The types that were seen: of each there may be one.
    seen: Vec<u8>,
}

impl Reader {
    /// The archive that comes from `file`.
    pub fn new(file: File) -> Self {
        Self { input: Input::new(file), content: 0, padding: 0, extents: Vec::new(), started: false }
    }

    /// The next entry; what was not taken of the last one's content is passed over.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        self.skip_content()?;
        let mut extended = Extended::default();
        loop {
            let Some(block) = self.input.block()? else { return Err(cut_short()) };
            if block == [0; BLOCK] {
                return if extended.seen.is_empty() { self.end() } else { Err(cut_short()) };
            }
            let header = Block::new(&block).ok_or_else(|| self.no_header(&block))?;
            self.started = true;
            match header.kind() {
                kind @ (b'x' | b'g' | b'L' | b'K') => self.extend(&mut extended, &header, kind)?,
                b'V' => self.begin_content(header.size().ok_or_else(|| bad(&header.path(), "its size"))?),
                _ => return self.entry(&header, extended).map(Some),
            }
            self.skip_content()?;
        }
    }

    /// Writes the current entry's content to `file` (`path`, for messages), which is empty.
    pub fn content(&mut self, file: &File, size: u64, path: &Path) -> Result<()> {
        let mut end = 0;
        for (at, length) in std::mem::take(&mut self.extents).into_iter().filter(|(_, length)| *length > 0) {
            end = at;
            self.input.exactly(length, |bytes| {
                file.write_all_at(bytes, end).during("write", path)?;
                end += bytes.len() as u64;
                Ok(())
            })?;
            self.content -= length;
        }
        // Unless it ends in a hole, or in nothing.
        if end == size { Ok(()) } else { file.set_len(size).during("set its size", path) }
    }

    fn end(&mut self) -> Result<Option<Entry>> {
        self.input.drain()?;
        Ok(None)
    }

    fn skip_content(&mut self) -> Result<()> {
        self.input.exactly(self.content, |_| Ok(()))?;
        self.input.exactly(self.padding as u64, |_| Ok(()))?;
        (self.content, self.padding) = (0, 0);
        Ok(())
    }

    fn begin_content(&mut self, size: u64) {
        (self.content, self.padding) = (size, padding_of(size));
    }

    /// Takes an extended header.
    fn extend(&mut self, extended: &mut Extended, header: &Block, kind: u8) -> Result<()> {
        let name = header.path();
        let size = header.size().ok_or_else(|| bad(&name, "its size"))?;
        if size > MOST_EXTENDED {
            return Err(bad(&name, "an extended header of more than 1 MiB"));
        }
        if kind != b'g' && extended.seen.contains(&kind) {
            return Err(bad(&name, "two extended headers for one entry"));
        }
        extended.seen.push(kind);
        let mut content = Vec::new();
        self.input.exactly(size, |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        self.padding = padding_of(size);
        match kind {
            b'L' => set_once(&mut extended.path, text(&content).to_vec()),
            b'K' => set_once(&mut extended.link, text(&content).to_vec()),
            b'g' => check_global(&content),
            _ => extended.records(&content),
        }
        .ok_or_else(|| bad(&name, "its extended header"))
    }

    /// The entry itself, from its header and what came before it.
    fn entry(&mut self, header: &Block, extended: Extended) -> Result<Entry> {
        let named = extended.sparse.name.clone().or(extended.path);
        let mut path = named.unwrap_or_else(|| header.path());
        let header_size = header.size().ok_or_else(|| bad(&path, "its size"))?;
        let size = extended.size.unwrap_or(header_size);
        let link = extended.link.unwrap_or_else(|| header.link());
        let device = || -> Result<Device> {
            let (major, minor) = header.device().ok_or_else(|| bad(&path, "its device number"))?;
            match (u32::try_from(major), u32::try_from(minor)) {
                (Ok(major), Ok(minor)) => Ok(Device { major, minor }),
                _ => Err(bad(&path, "its device number")),
            }
        };
        let kind = match header.kind() {
            // Before there was a type for them, directories were files with a slash.
            0 if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File(size),
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'3' => Kind::CharacterDevice(device()?),
            b'4' => Kind::BlockDevice(device()?),
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(bad(&path, "a type of entry that is not known")),
        };
        let kind = self.with_content(header, kind, size, extended.sparse, &path)?;
        if kind == Kind::Directory {
            path.truncate(path.len() - path.iter().rev().take_while(|&&byte| byte == b'/').count());
        }
        let mode = header.mode().ok_or_else(|| bad(&path, "its mode"))? & 0o7777;
        let seconds = header.mtime().ok_or_else(|| bad(&path, "its time"))?;
        let id = |recorded: Option<u64>, id: Option<u64>| {
            let id = recorded.or(id).and_then(|id| u32::try_from(id).ok());
            id.filter(|&id| id != u32::MAX).ok_or_else(|| bad(&path, "its owner"))
        };
        let (uid, gid) = (id(extended.uid, header.uid())?, id(extended.gid, header.gid())?);
        let mtime = extended.mtime.unwrap_or(Time { seconds, nanoseconds: 0 });
        Ok(Entry { path, kind, mode: mode as u32, uid, gid, mtime, attributes: extended.attributes })
    }

    /// Prepares for the content of an entry, and gives a file with holes its real size.
    fn with_content(
        &mut self,
        header: &Block,
        kind: Kind,
        stored: u64,
        records: sparse::Records,
        path: &[u8],
    ) -> Result<Kind> {
        if !matches!(kind, Kind::File(_)) {
            // Whether to pass over such content, readers do not agree on; links are always without.
            let is_link = matches!(kind, Kind::HardLink(_));
            let empty = stored == 0 || is_link;
            return if empty { Ok(kind) } else { Err(bad(path, "content where there can be none")) };
        }
        self.begin_content(stored);
        let (size, extents) = if header.kind() == b'S' {
            let (fields, more, size) = header.sparse().ok_or_else(|| bad(path, "its holes"))?;
            (size, sparse::old_map(&mut self.input, fields, more, size, stored)?)
        } else if records.is_empty() {
            (stored, Some(vec![(0, stored)]))
        } else {
            match records.map(&mut self.input, &mut self.content)? {
                Some((size, extents)) => (size, Some(extents)),
                None => (0, None),
            }
        };
        self.extents = extents.ok_or_else(|| bad(path, "its holes"))?;
        Ok(Kind::File(size))
    }

    fn no_header(&self, block: &[u8; BLOCK]) -> Error {
        let error = Error::new("read the archive", NAME, "what should be a header is none");
        if self.started {
            return error;
        }
        let unpack = match block {
            [0x1f, 0x8b, ..] => "gzip -dc",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd -dc",
            [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz -dc",
            [b'B', b'Z', b'h', ..] => "bzip2 -dc",
            _ => return error.hint("it is not a tar archive"),
        };
        error.hint(format!("it is compressed; send it through '{unpack}' first"))
    }
}

impl Extended {
    /// Takes the records of a pax header; `None` if they make no sense.
    fn records(&mut self, content: &[u8]) -> Option<()> {
        for (key, value) in pax::parse(content)? {
            match key {
                b"path" => set_once(&mut self.path, without_nul(value)?)?,
                b"linkpath" => set_once(&mut self.link, without_nul(value)?)?,
                b"size" => set_once(&mut self.size, decimal(value)?)?,
                b"uid" => set_once(&mut self.uid, decimal(value)?)?,
                b"gid" => set_once(&mut self.gid, decimal(value)?)?,
                b"mtime" => set_once(&mut self.mtime, Time::parse(value)?)?,
                _ => {
                    if let Some(attribute) = key.strip_prefix(pax::ATTRIBUTE) {
                        let attribute = std::ffi::OsString::from_vec(without_nul(attribute)?);
                        self.attributes.insert(attribute, value.to_vec());
                    } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                        self.sparse.take(key, value)?;
                    }
                }
            }
        }
        self.sparse.name.as_deref().is_none_or(|name| !name.contains(&0)).then_some(())
    }
}

/// Records for all entries: GNU tar heeds them and others do not, so they may say nothing that we use.
fn check_global(content: &[u8]) -> Option<()> {
    let used = |key: &[u8]| {
        matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime")
            || key.starts_with(pax::ATTRIBUTE)
            || key.starts_with(b"GNU.sparse.")
    };
    pax::parse(content)?.iter().all(|(key, _)| !used(key)).then_some(())
}

/// Which of two values counts, readers do not agree on.
fn set_once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    match place.replace(value) {
        None => Some(()),
        Some(_) => None,
    }
}

fn without_nul(value: &[u8]) -> Option<Vec<u8>> {
    (!value.contains(&0)).then(|| value.to_vec())
}

/// The most bytes of an extended header: the longest path and all attributes that Linux has fit.
const MOST_EXTENDED: u64 = 1 << 20;

fn padding_of(size: u64) -> usize {
    padding(size.min(u64::MAX - BLOCK as u64))
}

/// Something in the entry at `path` is not as it has to be.
fn bad(path: &[u8], what: &str) -> Error {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let mut name = printable(OsStr::from_bytes(path));
    if name.len() > 200 {
        name = format!("{}…", name.chars().take(200).collect::<String>());
    }
    Error::new("read the archive", NAME, format!("the entry {name} is refused: {what}"))
}
