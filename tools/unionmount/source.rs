//! What the mount table calls a union of ours: enough to know, later, what we made of what.
//!
//! It is the `source` of the mount, which overlayfs leaves to us: `unionmount`, and a word for
//! each thing that the options of the mount do not tell.

use std::ffi::{CString, OsStr};

/// The words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The upper is in our tmpfs.
    pub ephemeral: bool,
    /// The uppermost of the read-only layers is the init layer.
    pub init: bool,
    /// We made the work directory.
    pub work_is_ours: bool,
    /// It is built in pieces, each with a work directory inside the one that was given.
    pub in_pieces: bool,
}

const NAME: &str = "unionmount";

impl Source {
    /// For the kernel.
    pub fn to_c_string(self) -> CString {
        let words = [
            (self.ephemeral, ",ephemeral"),
            (self.init, ",init"),
            (self.work_is_ours, ",work"),
            (self.in_pieces, ",pieces"),
        ];
        let words = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word);
        let text: String = std::iter::once(NAME).chain(words).collect();
        CString::new(text).unwrap_or_default() // no word holds a NUL
    }

    /// From the mount table; `None`: not a mount of ours.
    pub fn of(source: &OsStr) -> Option<Self> {
        let mut words = source.to_str()?.split(',');
        if words.next() != Some(NAME) {
            return None;
        }
        let mut read = Self::default();
        for word in words {
            match word {
                "ephemeral" => read.ephemeral = true,
                "init" => read.init = true,
                "work" => read.work_is_ours = true,
                "pieces" => read.in_pieces = true,
                _ => return None,
            }
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for bits in 0..16 {
            let [ephemeral, init, work_is_ours, in_pieces] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let source = Source { ephemeral, init, work_is_ours, in_pieces };
            let text = source.to_c_string().into_string().unwrap();
            assert_eq!(Source::of(OsStr::new(&text)), Some(source), "{text}");
        }
        assert_eq!(Source::of(OsStr::new("overlay")), None);
        assert_eq!(Source::of(OsStr::new("unionmount,more")), None);
    }
}
