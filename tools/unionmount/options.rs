//! overlayfs's own options, each a key with or without a value.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;

use common::error::{During as _, printable};
use common::{Error, Result};

use crate::cli::Features;

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub key: CString,
    /// `None`: it stands alone.
    pub value: Option<CString>,
}

/// What the tool sets from its own arguments, each layer by a call of its own.
const OURS: [&[u8]; 6] = [b"lowerdir", b"lowerdir+", b"datadir+", b"upperdir", b"workdir", b"source"];

/// The options that the flags and `-o` ask for. Data-only layers are not among them.
pub fn settings(features: &Features) -> Result<Vec<Setting>> {
    let Features { data_only: _, volatile, metacopy, redirect_dir, index, xino, userxattr, option } =
        features;
    let flags = [(*volatile, "volatile"), (*userxattr, "userxattr")];
    let values =
        [(*metacopy, "metacopy"), (*redirect_dir, "redirect_dir"), (*index, "index"), (*xino, "xino")];
    let mut settings = Vec::new();
    for (_, key) in flags.into_iter().filter(|(wanted, _)| *wanted) {
        settings.push(setting(OsStr::new(key))?);
    }
    for (_, key) in values.into_iter().filter(|(wanted, _)| *wanted) {
        settings.push(setting(OsStr::new(&format!("{key}=on")))?);
    }
    for typed in option {
        settings.push(setting(typed)?);
    }
    Ok(settings)
}

impl Setting {
    /// As an option string has it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = self.key.as_bytes().to_vec();
        if let Some(value) = &self.value {
            text.push(b'=');
            text.extend(value.as_bytes());
        }
        text
    }
}

fn setting(typed: &OsStr) -> Result<Setting> {
    let bad = |why: &str| Error::usage(format!("-o {}: {why}", printable(typed)));
    let bytes = typed.as_bytes();
    let (key, value) = match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    match key {
        _ if OURS.contains(&key) => {
            Err(bad("it is set from the layers given").hint("use --lower, --data-only, --upper and --work"))
        }
        b"" => Err(bad("not KEY or KEY=VALUE").hint("write it as -o nfs_export=on")),
        _ if bytes.contains(&b',') => Err(bad("one option at a time").hint("repeat -o")),
        _ => {
            let text =
                |bytes: &[u8]| CString::new(bytes).map_err(|_| "it holds a NUL byte").during("read", typed);
            Ok(Setting { key: text(key)?, value: value.map(text).transpose()? })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &str) -> std::result::Result<Vec<u8>, String> {
        setting(OsStr::new(typed)).map(|setting| setting.to_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_option_is_a_key_with_or_without_a_value() {
        assert_eq!(read("nfs_export=off").unwrap(), b"nfs_export=off");
        assert_eq!(read("volatile").unwrap(), b"volatile");
        assert_eq!(setting(OsStr::new("uuid=")).unwrap().value, Some(c"".to_owned()));
    }

    #[test]
    fn the_layers_are_not_set_behind_the_tools_back() {
        for typed in ["lowerdir=/", "upperdir=/u", "workdir", "datadir+=/d", "=x", "", "a,b"] {
            assert!(read(typed).unwrap_err().starts_with("-o "), "{typed}");
        }
    }
}
