//! Names as JSON values. Linux names are bytes; JSON strings are not.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use serde_json::Value;

/// A name as JSON: a string where it is UTF-8, else an array of its bytes.
#[must_use]
pub fn from_name(name: impl AsRef<OsStr>) -> Value {
    match name.as_ref().to_str() {
        Some(text) => Value::from(text),
        None => Value::from(name.as_ref().as_bytes().to_vec()),
    }
}

/// The name that [`from_name`] wrote; `None` for any other value, a NUL byte
/// included, which no name in Linux has.
#[must_use]
pub fn to_name(value: &Value) -> Option<OsString> {
    let bytes = match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(bytes) => bytes
            .iter()
            .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
            .collect::<Option<Vec<u8>>>()?,
        _ => return None,
    };
    (!bytes.contains(&0)).then(|| OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn any_name_comes_back_as_it_was() {
        for bytes in [&b"plain"[..], b"new\nline", b"\xff\xfe", "\u{e9}".as_bytes()] {
            let name = OsStr::from_bytes(bytes);
            assert_eq!(to_name(&from_name(name)).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for value in [json!(1), json!([256]), json!(["a"]), json!("a\0b"), json!({}), json!(null)] {
            assert_eq!(to_name(&value), None, "{value}");
        }
    }
}
