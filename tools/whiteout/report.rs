//! Results as text, with NUL between them, or as JSON.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use common::error::printable;
use common::{Result, json, output};
use serde_json::{Value, json};

use crate::diff::Change;
use crate::list::Mark;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line each, in which control characters, and what is not UTF-8, are escaped.
    Text,
    /// The bytes as they are, a NUL after each.
    Nul,
    /// One array.
    Json,
}

/// Prints changes.
pub fn changes(changes: &[Change], style: Style) -> Result<()> {
    let rows = changes.iter().map(|change| Row {
        word: change.kind.letter().to_string(),
        path: change.path.as_os_str(),
        json: json!({ "kind": change.kind.letter().to_string(), "path": json::from_name(&change.path) }),
    });
    print(rows, style)
}

/// Prints marks.
pub fn marks(marks: &[Mark], style: Style) -> Result<()> {
    let rows = marks.iter().map(|mark| Row {
        word: mark.kind.name().to_owned(),
        path: mark.path.as_os_str(),
        json: json!({
            "kind": mark.kind.name(),
            "path": json::from_name(&mark.path),
            "format": mark.format.name(),
        }),
    });
    print(rows, style)
}

struct Row<'a> {
    word: String,
    path: &'a OsStr,
    json: Value,
}

fn print<'a>(rows: impl Iterator<Item = Row<'a>>, style: Style) -> Result<()> {
    match style {
        Style::Json => output::write_json(&Value::Array(rows.map(|row| row.json).collect())),
        Style::Text => output::write(
            rows.map(|row| format!("{} {}\n", row.word, printable(row.path))).collect::<String>(),
        ),
        Style::Nul => {
            let lines = rows.map(|row| [row.word.as_bytes(), b" ", row.path.as_bytes(), b"\0"].concat());
            output::write(lines.collect::<Vec<_>>().concat())
        }
    }
}
