//! What overlayfs says in the kernel's log, for all that it does not say in the fs context.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::fcntl::OFlag;

/// The log from now on, where we may read it (/dev/kmsg; see kernel.dmesg_restrict).
#[derive(Debug)]
pub struct KernelLog(Option<File>);

impl KernelLog {
    /// Begins to listen.
    pub fn from_now() -> Self {
        let open = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open("/dev/kmsg");
        Self(open.and_then(|mut log| log.seek(SeekFrom::End(0)).map(|_| log)).ok())
    }

    /// What overlayfs has said since. It does not say to whom: another mount may be meant.
    pub fn of_overlayfs(&mut self) -> Vec<String> {
        let mut messages = Vec::new();
        let Some(log) = &mut self.0 else { return messages };
        let mut record = [0; 8192];
        // One read(2) returns one record; EAGAIN: no more.
        while let Ok(length) = log.read(&mut record) {
            if length == 0 {
                break;
            }
            messages.extend(message(&String::from_utf8_lossy(&record[..length])));
        }
        messages
    }
}

/// The message of a record, `PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE` (Documentation/ABI/testing/dev-kmsg).
fn message(record: &str) -> Option<String> {
    let text = record.split_once(';')?.1.lines().next()?;
    text.strip_prefix("overlayfs: ").map(|text| text.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_overlayfss_messages_are_taken() {
        let record = "3,1,2,-;overlayfs: upper fs missing required features.\n SUBSYSTEM=x\n";
        assert_eq!(message(record).as_deref(), Some("upper fs missing required features"));
        assert_eq!(message("6,1,2,-;EXT4-fs: mounted"), None);
        assert_eq!(message("nonsense"), None);
    }
}
