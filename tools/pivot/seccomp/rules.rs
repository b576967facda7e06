//! What is decided about system calls, apart from how it was written and how it is compiled.

use std::collections::BTreeMap;
use std::str::FromStr as _;

/// What happens to a system call: a SECCOMP_RET_* value (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(pub u32);

impl Action {
    /// The process dies.
    pub const KILL_PROCESS: Self = Self(0x8000_0000);
    /// The thread dies.
    pub const KILL_THREAD: Self = Self(0);
    /// SIGSYS.
    pub const TRAP: Self = Self(0x0003_0000);
    /// It fails with this errno.
    pub const fn errno(errno: u16) -> Self {
        Self(0x0005_0000 | errno as u32)
    }
    /// A tracer is asked, which gets this number.
    pub const fn trace(number: u16) -> Self {
        Self(0x7ff0_0000 | number as u32)
    }
    /// It is made, and logged.
    pub const LOG: Self = Self(0x7ffc_0000);
    /// It is made.
    pub const ALLOW: Self = Self(0x7fff_0000);

    /// The kernel's order: of two, the lower one rules.
    pub fn severity(self) -> i32 {
        (self.0 & 0xffff_0000) as i32
    }
}

/// How an argument is compared, as unsigned 64-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    /// `argument & mask == value`
    Masked {
        mask: u64,
        value: u64,
    },
}

/// A condition on one argument of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    pub comparison: Comparison,
}

/// What is decided about one system call: the first whose conditions all hold, else the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub if_all: Vec<(Vec<Condition>, Action)>,
    pub otherwise: Action,
}

impl Decision {
    /// One that looks at no argument.
    pub fn always(action: Action) -> Self {
        Self { if_all: Vec::new(), otherwise: action }
    }
}

/// The decisions for one architecture, by system call number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub architecture: Architecture,
    pub decisions: BTreeMap<u32, Decision>,
    pub default: Action,
}

/// A set of system call numbers; 64-bit kernels have a 32-bit one besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    X86_64,
    X86,
    Aarch64,
    Arm,
}

impl Architecture {
    /// The one that this program is built for.
    pub fn native() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// By libseccomp's name. `None`: one that no filter here can meet.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "SCMP_ARCH_X86_64" => Some(Self::X86_64),
            "SCMP_ARCH_X86" => Some(Self::X86),
            "SCMP_ARCH_AARCH64" => Some(Self::Aarch64),
            "SCMP_ARCH_ARM" => Some(Self::Arm),
            _ => None,
        }
    }

    /// Go's name, which profiles use in includes and excludes.
    pub fn go_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// The 32-bit one that the same kernel may run.
    pub fn is_compat_of(self, native: Self) -> bool {
        matches!((self, native), (Self::X86, Self::X86_64) | (Self::Arm, Self::Aarch64))
    }

    /// AUDIT_ARCH_* (linux/audit.h).
    pub fn audit_number(self) -> u32 {
        match self {
            Self::X86_64 => 0xC000_003E,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xC000_00B7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// The number of the system call `name`, if this architecture has it.
    pub fn number_of(self, name: &str) -> Option<u32> {
        match self {
            Self::X86_64 => syscalls::x86_64::Sysno::from_str(name).ok().map(|call| call.id() as u32),
            Self::X86 => syscalls::x86::Sysno::from_str(name).ok().map(|call| call.id() as u32),
            Self::Aarch64 => syscalls::aarch64::Sysno::from_str(name).ok().map(|call| call.id() as u32),
            Self::Arm => syscalls::arm::Sysno::from_str(name).ok().map(|call| call.id() as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(Architecture::X86_64.number_of("clone3"), Some(435));
        assert_eq!(Architecture::X86.number_of("_llseek"), Some(140));
        assert_eq!(Architecture::X86_64.number_of("_llseek"), None);
        assert_eq!(Architecture::Aarch64.number_of("openat"), Some(56));
        assert_eq!(Architecture::X86_64.number_of("mkdir"), Some(libc_number()));
    }

    fn libc_number() -> u32 {
        83
    }

    #[test]
    fn the_kernels_order_of_actions() {
        let order = [
            Action::KILL_PROCESS,
            Action::KILL_THREAD,
            Action::TRAP,
            Action::errno(1),
            Action::LOG,
            Action::ALLOW,
        ];
        assert!(order.is_sorted_by_key(|action| action.severity()));
    }
}
