//! What /proc says of a process (proc_pid_stat(5), proc_pid_status(5)).

use crate::error::{During as _, Error, Result};

/// The fields of /proc/PID/stat that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 3: R, S, D, Z, T, …
    pub state: u8,
    /// Field 9: the kernel's PF_* bits.
    pub flags: u32,
    /// Field 22: clock ticks from boot to the process's start.
    pub start_time: u64,
    /// Field 51: where its environment ends in memory, 0 while it executes another program (and for
    /// whoever may not look).
    pub environment_end: u64,
}

/// Reads /proc/PID/stat.
pub fn stat(pid: i32) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read(&path).during("read", &path)?;
    parse_stat(&text).ok_or_else(|| Error::new("read", &path, "not in the format of proc_pid_stat(5)"))
}

/// The command name may hold spaces and parentheses: fields count from the last `)`.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end_of_name = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&text[end_of_name + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?; // field 3
    let flags = fields.nth(5)?.parse().ok()?; // field 9
    let start_time = fields.nth(12)?.parse().ok()?; // field 22
    let environment_end = fields.nth(28).and_then(|field| field.parse().ok()).unwrap_or(0); // field 51
    Some(Stat { state, flags, start_time, environment_end })
}

/// The value of `key` in /proc/WHO/status (a PID or `self`), without the white space around it.
pub fn status(who: impl std::fmt::Display, key: &str) -> Result<String> {
    let path = format!("/proc/{who}/status");
    let text = String::from_utf8_lossy(&std::fs::read(&path).during("read", &path)?).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| Error::new("read", &path, format!("no line {key}")))
}

/// This process's PID as /proc shows it. In a new PID namespace that is another than getpid(2)'s,
/// until /proc is mounted anew (pid_namespaces(7)).
pub fn own_pid() -> Result<i32> {
    let pid = status("self", "Pid")?;
    pid.parse().map_err(|_| Error::new("read", "/proc/self/status", format!("{pid:?} is no PID")))
}

/// Fails where a PID is another process's in /proc than it is to the kernel when it comes from us.
pub fn must_be_of_our_pid_namespace() -> Result<()> {
    // From the namespace that /proc belongs to down to our own.
    if status("self", "NSpid")?.split_ascii_whitespace().count() == 1 {
        return Ok(());
    }
    Err(Error::new("look up a PID in", "/proc", "it is an outer PID namespace's").hint(
        "mount this PID namespace's own: 'mount -t proc proc /proc', or 'unshare-lite --pid --mount-proc'",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = b"7 (a) S 9 (b) T 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(
            parse_stat(text),
            Some(Stat { state: b'T', flags: 4_194_560, start_time: 4242, environment_end: 0 })
        );
    }

    #[test]
    fn our_own_entry_is_read() {
        let pid = std::process::id() as i32;
        assert!(stat(pid).unwrap().start_time > 0);
        assert_eq!(status(pid, "Tgid").unwrap(), pid.to_string());
        assert_eq!(own_pid().unwrap(), pid);
        must_be_of_our_pid_namespace().unwrap();
    }
}
