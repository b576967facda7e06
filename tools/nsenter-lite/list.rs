//! The target's namespaces beside the caller's.

use common::namespace::NamespaceKind;
use common::process::Process;
use common::{Result, output};
use serde_json::{Map, json};

/// Prints the table, or one JSON object.
pub(crate) fn print(target: &Process, as_json: bool) -> Result<()> {
    let kinds = NamespaceKind::ALL.into_iter().filter(|kind| kind.is_supported());
    let rows: Vec<(NamespaceKind, u64, u64)> = kinds
        .map(|kind| Ok((kind, kind.id_of(target.pid())?, kind.id_of("self")?)))
        .collect::<Result<_>>()?;
    target.still_running()?; // else the numbers may be another process's
    if as_json {
        let object: Map<_, _> = rows
            .iter()
            .map(|(kind, theirs, ours)| {
                (kind.name().to_owned(), json!({ "target": theirs, "caller": ours, "same": theirs == ours }))
            })
            .collect();
        return output::write_json(&json!({ "pid": target.pid(), "namespaces": object }));
    }
    let mut table = format!("{:<8}{:<12}{:<12}\n", "KIND", "TARGET", "CALLER");
    for (kind, theirs, ours) in rows {
        let verdict = if theirs == ours { "same" } else { "differs" };
        table.push_str(&format!("{:<8}{theirs:<12}{ours:<12}{verdict}\n", kind.name()));
    }
    output::write(table)
}
