//! An error on its way from a forked process to the one that reports it: its line, and its hint's.

use common::Error;

/// The error as bytes for a pipe.
pub(crate) fn pack(error: &Error) -> String {
    format!("{error}\n{}", error.hint_text().unwrap_or_default())
}

/// The error again, with the same words.
pub(crate) fn unpack(text: &str) -> Error {
    let (message, hint) = text.split_once('\n').unwrap_or((text, ""));
    Error::usage(message).or_hint((!hint.is_empty()).then_some(hint))
}
