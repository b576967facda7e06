//! Archives made by hand, as no decent program writes them.

use tar::{EntryType, Header};

/// An archive in the making.
#[derive(Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file.
    pub fn file(self, path: &str, content: &str) -> Self {
        self.entry(path, EntryType::Regular, content.as_bytes())
    }

    /// A directory.
    pub fn directory(self, path: &str) -> Self {
        self.entry(path, EntryType::Directory, b"")
    }

    /// A symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.link(path, target, EntryType::Symlink)
    }

    /// A hard link.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.link(path, target, EntryType::Link)
    }

    fn link(self, path: &str, target: &str, kind: EntryType) -> Self {
        self.header(path, kind, 0, |header| {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes())
        })
    }

    /// A pax extended header for the entry after it.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..).find(|length| length.to_string().len() + rest == *length).unwrap();
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry("pax", EntryType::XHeader, &content)
    }

    /// Any entry.
    pub fn entry(self, path: &str, kind: EntryType, content: &[u8]) -> Self {
        self.header(path, kind, content.len() as u64, |_| {}).bytes(content)
    }

    /// A header alone.
    pub fn header(
        mut self,
        path: &str,
        kind: EntryType,
        size: u64,
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(size);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    /// Content, filled up to whole blocks.
    pub fn bytes(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The archive as far as it is, without an end.
    pub fn open(self) -> Vec<u8> {
        self.0
    }

    /// The archive with its end.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}
