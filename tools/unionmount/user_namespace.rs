//! Whether we are the machine's root or that of a user namespace.

use common::{During as _, Result};

/// Whether this process is in a user namespace other than the first. There we have no privilege
/// over `trusted.*` extended attributes, and overlayfs needs `userxattr`.
pub fn is_inner() -> Result<bool> {
    let path = "/proc/self/uid_map";
    let map = std::fs::read_to_string(path).during("read", path)?;
    // The first one maps all ids to themselves (user_namespaces(7)).
    Ok(map.split_ascii_whitespace().ne(["0", "0", "4294967295"]))
}
