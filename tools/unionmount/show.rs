//! `--show`: the stack that is mounted.

use std::path::Path;

use common::error::printable;
use common::record::Rootfs;
use common::{Error, Result, output};

use crate::mounted::Mounted;

/// Prints it.
pub fn show(merged: &Path, json: bool) -> Result<()> {
    let union = Mounted::at(merged)?;
    if union.mount.fs_type != "overlay" {
        return Err(Error::new(
            "show",
            merged,
            "the layers of a FUSE filesystem are known to its server alone",
        ));
    }
    let rootfs = union.rootfs();
    if json { output::write_json(&rootfs.to_json()) } else { output::write(text(&rootfs)) }
}

/// A line for each directory, the stack from its bottom up.
fn text(rootfs: &Rootfs) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &Path| text += &format!("{name:<9} {}\n", printable(value));
    line("merged", &rootfs.merged);
    for (name, layers) in [("data", &rootfs.data), ("lower", &rootfs.lower)] {
        layers.iter().for_each(|layer| line(name, layer));
    }
    let rest = [("init", &rootfs.init), ("upper", &rootfs.upper), ("work", &rootfs.work)];
    for (name, path) in rest {
        if let Some(path) = path {
            line(name, path);
        }
    }
    if rootfs.ephemeral {
        line("upper", Path::new("(ephemeral)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_is_shown_from_its_bottom_up() {
        let rootfs = Rootfs {
            merged: "/m".into(),
            lower: vec!["/a".into(), "/b\n".into()],
            data: vec!["/d".into()],
            init: Some("/i".into()),
            ephemeral: true,
            ..Rootfs::default()
        };
        let expected = "merged    /m\ndata      /d\nlower     /a\nlower     /b\\n\ninit      /i\nupper     (ephemeral)\n";
        assert_eq!(text(&rootfs), expected);
    }
}
