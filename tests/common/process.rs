//! Processes below another.

/// The PIDs of a process's children, with spaces between them.
pub fn children(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

/// The last of a process's descendants, one below the other: COMMAND, where it is a tool's.
pub fn last_below(mut pid: i32) -> i32 {
    while let Some(child) = children(pid).split_whitespace().next() {
        pid = child.parse().unwrap();
    }
    pid
}
