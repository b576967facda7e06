//! A compiled seccomp filter, which goes along with a container's record.

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::sys::seccomp::{Instruction, install};
use crate::trace;

/// A program that decides on each system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The BPF instructions; the kernel checks them.
    pub program: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_* bits.
    pub flags: u32,
}

/// The kernel's own limit (BPF_MAXINSNS).
pub const MAX_LENGTH: usize = 4096;

/// SECCOMP_FILTER_FLAG_LOG and SECCOMP_FILTER_FLAG_SPEC_ALLOW: those that change nothing for who installs it.
pub const KNOWN_FLAGS: u32 = 2 | 4;

impl Filter {
    /// As an object: `flags`, and `program` with an array of code, jt, jf and k for each instruction.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let program: Vec<_> =
            self.program.iter().map(|one| json!([one.code, one.jt, one.jf, one.k])).collect();
        json!({ "flags": self.flags, "program": program })
    }

    /// What [`to_json`](Self::to_json) wrote.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let flags = value.get("flags")?.as_u64().and_then(|flags| u32::try_from(flags).ok())?;
        let program = value.get("program")?.as_array()?;
        if flags & !KNOWN_FLAGS != 0 || program.is_empty() || program.len() > MAX_LENGTH {
            return None;
        }
        let program = program.iter().map(instruction).collect::<Option<_>>()?;
        Some(Self { program, flags })
    }

    /// Puts this process and all its children under it, for good.
    pub fn install(&self) -> Result<()> {
        trace::step(format_args!("install a seccomp filter of {} instructions", self.program.len()));
        install(&self.program, self.flags).map_err(|errno| {
            Error::new("install", "the seccomp filter", errno).or_hint(match errno {
                Errno::EACCES => Some("without CAP_SYS_ADMIN it takes --no-new-privs"),
                Errno::EINVAL => Some("the kernel lacks seccomp filters, or the program is malformed"),
                _ => None,
            })
        })
    }
}

fn instruction(value: &Value) -> Option<Instruction> {
    let fields = value.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()?;
    let [code, jt, jf, k] = fields[..] else { return None };
    Some(Instruction {
        code: code.try_into().ok()?,
        jt: jt.try_into().ok()?,
        jf: jf.try_into().ok()?,
        k: k.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_comes_back_from_json() {
        let filter =
            Filter { program: vec![Instruction { code: 6, jt: 1, jf: 2, k: 0x7fff_0000 }], flags: 2 };
        assert_eq!(Filter::from_json(&filter.to_json()), Some(filter));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for value in [
            json!({}),
            json!({ "flags": 0, "program": [] }),
            json!({ "flags": 8, "program": [[6, 0, 0, 0]] }),
            json!({ "flags": 0, "program": [[6, 0, 0]] }),
            json!({ "flags": 0, "program": [[6, 256, 0, 0]] }),
            json!({ "flags": 0, "program": vec![json!([6, 0, 0, 0]); 4097] }),
        ] {
            assert_eq!(Filter::from_json(&value), None);
        }
    }
}
