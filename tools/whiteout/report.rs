//! Results as text, with NUL between them, or as JSON.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use common::error::printable;
use common::{Result, json, output};
use serde_json::{Value, json};

use crate::diff::Change;
use crate::list::{Kind, Mark};

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

/// Prints changes: the kind's letter and the path.
pub fn changes(changes: &[Change], style: Style) -> Result<()> {
    let rows = changes.iter().map(|change| {
        let kind = change.kind.letter().to_string();
        let line = [kind.as_bytes(), b" ", change.path.as_os_str().as_bytes()].concat();
        Row { line, json: json!({ "kind": kind, "path": json::from_name(&change.path) }) }
    });
    print(rows, style)
}

/// Prints marks: the path, with a slash after an opaque directory.
pub fn marks(marks: &[Mark], style: Style) -> Result<()> {
    let rows = marks.iter().map(|mark| {
        let top = mark.path.as_os_str().is_empty();
        let path = if top { Path::new(".") } else { &mark.path };
        let slash: &[u8] = if mark.kind == Kind::Opaque { b"/" } else { b"" };
        let json = json!({
            "kind": mark.kind.name(),
            "path": json::from_name(path),
            "format": mark.format.name(),
        });
        Row { line: [path.as_os_str().as_bytes(), slash].concat(), json }
    });
    print(rows, style)
}

struct Row {
    line: Vec<u8>,
    json: Value,
}

fn print(rows: impl Iterator<Item = Row>, style: Style) -> Result<()> {
    match style {
        Style::Json => output::write_json(&Value::Array(rows.map(|row| row.json).collect())),
        Style::Text => {
            let lines = rows.map(|row| printable(OsStr::from_bytes(&row.line)) + "\n");
            output::write(lines.collect::<String>())
        }
        Style::Nul => {
            let lines = rows.map(|row| [&row.line[..], b"\0"].concat());
            output::write(lines.collect::<Vec<_>>().concat())
        }
    }
}
