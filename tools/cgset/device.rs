//! Which devices a group's processes may use: the rules, and the program that they become.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use common::sys::bpf::{Instruction, RESULT, Register};
use common::{During as _, Error, Result};
use nix::sys::stat::{major, minor};

/// What may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What these rules do not name.
    pub default: Access,
    /// What is allowed.
    pub rules: Vec<Rule>,
}

/// Whether what no rule names may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Access {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// One allowance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    kind: Kind,
    /// `None`: any.
    major: Option<u32>,
    minor: Option<u32>,
    /// Of [`MKNOD`], [`READ`] and [`WRITE`].
    access: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Block,
    Char,
}

// linux/bpf.h: BPF_DEVCG_ACC_*, BPF_DEVCG_DEV_*.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

impl Policy {
    /// From `--device` and `--device-default`; `None` where neither was given.
    pub fn parse(rules: &[String], default: Option<Access>) -> Result<Option<Self>> {
        if rules.is_empty() && default.is_none() {
            return Ok(None);
        }
        if default == Some(Access::Allow) && !rules.is_empty() {
            return Err(Error::usage(
                "--device allows what --device-default denies: it makes no sense beside 'allow'",
            ));
        }
        let mut merged: Vec<Rule> = Vec::new();
        for rule in rules {
            let rule = Rule::parse(rule)?;
            // As v1 does: 'r' and 'w' for one device are 'rw' together.
            match merged.iter_mut().find(|have| have.names_the_same(&rule)) {
                Some(have) => have.access |= rule.access,
                None => merged.push(rule),
            }
        }
        Ok(Some(Self { default: default.unwrap_or(Access::Deny), rules: merged }))
    }

    /// The program: each rule skips to the next where it does not fit, else allows; the end is the default.
    pub fn program(&self) -> Vec<Instruction> {
        // struct bpf_cgroup_dev_ctx: u32 access_type (access << 16 | type), u32 major, u32 minor.
        let mut program = vec![
            Instruction::Load { to: TYPE, offset: 0 },
            Instruction::Copy { to: ACCESS, from: TYPE },
            Instruction::And { to: TYPE, mask: 0xffff },
            Instruction::ShiftRight { to: ACCESS, bits: 16 },
            Instruction::Load { to: MAJOR, offset: 4 },
            Instruction::Load { to: MINOR, offset: 8 },
        ];
        self.rules.iter().for_each(|rule| program.extend(rule.instructions()));
        program.push(Instruction::Set { to: RESULT, value: i32::from(self.default == Access::Allow) });
        program.push(Instruction::Exit);
        program
    }
}

const SCRATCH: Register = Register::R1; // the context, which is read before the first rule
const TYPE: Register = Register::R2;
const ACCESS: Register = Register::R3;
const MAJOR: Register = Register::R4;
const MINOR: Register = Register::R5;

impl Rule {
    /// Reads `TYPE MAJOR:MINOR [ACCESS]` or `PATH [ACCESS]`; `*` is any number, ACCESS of `rwm`.
    fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::new("read the device", text, why)
                .hint("write it as 'c 1:3 rwm', 'b *:* m' or '/dev/null rw'")
        };
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let access = |text| access_of(text).ok_or_else(|| bad("the access is of r, w and m"));
        let (kind, numbers, access) = match words[..] {
            [path] if path.starts_with('/') => return Self::of_node(path, READ | WRITE | MKNOD),
            [path, how] if path.starts_with('/') => return Self::of_node(path, access(how)?),
            ["a"] => ("a", "*:*", READ | WRITE | MKNOD),
            [kind, numbers] => (kind, numbers, READ | WRITE | MKNOD),
            [kind, numbers, how] => (kind, numbers, access(how)?),
            _ => return Err(bad("not a type, numbers and an access")),
        };
        let kind = match kind {
            "a" => Kind::Any,
            "b" => Kind::Block,
            "c" => Kind::Char,
            _ => return Err(bad("the type is b, c or a")),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(|| bad("the numbers are MAJOR:MINOR"))?;
        let (major, minor) = number(major).zip(number(minor)).ok_or_else(|| bad("not a device number"))?;
        if kind == Kind::Any && (major.is_some() || minor.is_some()) {
            return Err(bad("'a' is all devices: it takes no numbers"));
        }
        Ok(Self { kind, major, minor, access })
    }

    /// The device that the node at `path` is.
    fn of_node(path: &str, access: u8) -> Result<Self> {
        let metadata = Path::new(path).metadata().during("look at the device", path)?;
        let kind = match metadata.file_type() {
            kind if kind.is_char_device() => Kind::Char,
            kind if kind.is_block_device() => Kind::Block,
            _ => return Err(Error::new("look at the device", path, "not a device")),
        };
        let device = metadata.rdev();
        Ok(Self { kind, major: Some(major(device) as u32), minor: Some(minor(device) as u32), access })
    }

    /// Whether it is about the same devices.
    fn names_the_same(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    /// As v1's files take and show it. `a` there means all access; less is written for each type.
    pub fn written(&self) -> Vec<String> {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let access: String = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
            .iter()
            .filter(|(bit, _)| self.access & bit != 0)
            .map(|(_, c)| c)
            .collect();
        let kinds = match self.kind {
            Kind::Any if self.access == READ | WRITE | MKNOD => &["a"][..],
            Kind::Any => &["b", "c"],
            Kind::Block => &["b"],
            Kind::Char => &["c"],
        };
        kinds
            .iter()
            .map(|kind| format!("{kind} {}:{} {access}", number(self.major), number(self.minor)))
            .collect()
    }

    /// Allows what fits; skips to what follows it otherwise.
    fn instructions(&self) -> Vec<Instruction> {
        let mut checks = Vec::new();
        let mut must_be = |register, value| checks.push(Instruction::SkipUnless { register, value, skip: 0 });
        match self.kind {
            Kind::Any => {}
            Kind::Block => must_be(TYPE, BLOCK),
            Kind::Char => must_be(TYPE, CHAR),
        }
        for (register, number) in [(MAJOR, self.major), (MINOR, self.minor)] {
            if let Some(number) = number {
                must_be(register, number as i32);
            }
        }
        if self.access != READ | WRITE | MKNOD {
            // Everything that is asked for must be allowed.
            checks.push(Instruction::Copy { to: SCRATCH, from: ACCESS });
            checks.push(Instruction::And { to: SCRATCH, mask: self.access.into() });
            checks.push(Instruction::SkipUnlessSame { a: SCRATCH, b: ACCESS, skip: 0 });
        }
        checks.push(Instruction::Set { to: RESULT, value: 1 });
        checks.push(Instruction::Exit);
        let length = checks.len();
        for (index, instruction) in checks.iter_mut().enumerate() {
            if let Instruction::SkipUnless { skip, .. } | Instruction::SkipUnlessSame { skip, .. } =
                instruction
            {
                *skip = (length - index - 1) as i16; // a rule is seven instructions at most
            }
        }
        checks
    }
}

/// `*` is any; a number as the kernel has them, 12 bits of major and 20 of minor.
fn number(text: &str) -> Option<Option<u32>> {
    match text {
        "*" => Some(None),
        digits => {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u32>().ok())?.filter(|number| *number < 1 << 20).map(Some)
        }
    }
}

fn access_of(text: &str) -> Option<u8> {
    let mut access = 0;
    for letter in text.chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => return None,
        };
    }
    (access != 0).then_some(access)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn policy(rules: &[&str]) -> Policy {
        let rules: Vec<_> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        Policy::parse(&rules, Some(Access::Deny)).unwrap().unwrap()
    }

    /// Runs the program as the kernel would; the answer to one access.
    pub fn allows(policy: &Policy, kind: i32, major: i32, minor: i32, access: u8) -> bool {
        let context = [(i32::from(access) << 16) | kind, major, minor];
        let program = policy.program();
        let mut registers = [0i32; 6];
        let mut at = 0;
        loop {
            match program[at] {
                Instruction::Load { to, offset } => registers[to as usize] = context[offset as usize / 4],
                Instruction::Set { to, value } => registers[to as usize] = value,
                Instruction::Copy { to, from } => registers[to as usize] = registers[from as usize],
                Instruction::And { to, mask } => registers[to as usize] &= mask,
                Instruction::ShiftRight { to, bits } => registers[to as usize] >>= bits,
                Instruction::SkipUnless { register, value, skip } => {
                    at += if registers[register as usize] == value { 0 } else { skip as usize };
                }
                Instruction::SkipUnlessSame { a, b, skip } => {
                    at += if registers[a as usize] == registers[b as usize] { 0 } else { skip as usize };
                }
                Instruction::Exit => return registers[0] == 1,
            }
            at += 1;
        }
    }

    #[test]
    fn a_rule_for_one_device_allows_no_other() {
        let policy = policy(&["c 1:3 rwm"]);
        assert!(allows(&policy, CHAR, 1, 3, READ | WRITE | MKNOD));
        assert!(!allows(&policy, CHAR, 1, 5, READ));
        assert!(!allows(&policy, CHAR, 2, 3, READ));
        assert!(!allows(&policy, BLOCK, 1, 3, READ));
    }

    #[test]
    fn an_access_must_be_allowed_whole() {
        let policy = policy(&["b 8:0 r"]);
        assert!(allows(&policy, BLOCK, 8, 0, READ));
        assert!(!allows(&policy, BLOCK, 8, 0, READ | WRITE));
        assert!(!allows(&policy, BLOCK, 8, 0, MKNOD));
    }

    #[test]
    fn a_star_is_any_number() {
        let policy = policy(&["c 136:* rw", "b *:7 m"]);
        assert!(allows(&policy, CHAR, 136, 4711, WRITE));
        assert!(!allows(&policy, CHAR, 137, 0, WRITE));
        assert!(allows(&policy, BLOCK, 99, 7, MKNOD));
        assert!(!allows(&policy, BLOCK, 99, 8, MKNOD));
    }

    #[test]
    fn all_devices_of_a_type_or_of_both() {
        assert!(allows(&policy(&["c *:* m"]), CHAR, 5, 5, MKNOD));
        assert!(!allows(&policy(&["c *:* m"]), BLOCK, 5, 5, MKNOD));
        assert!(allows(&policy(&["a"]), BLOCK, 5, 5, READ | MKNOD));
        assert!(!allows(&policy(&["a *:* r"]), BLOCK, 5, 5, WRITE));
    }

    #[test]
    fn what_no_rule_names_is_the_default() {
        assert!(!allows(&policy(&[]), CHAR, 1, 3, READ));
        let all = Policy { default: Access::Allow, rules: Vec::new() };
        assert!(allows(&all, BLOCK, 1, 1, WRITE));
    }

    #[test]
    fn the_second_rule_is_tried_where_the_first_does_not_fit() {
        let policy = policy(&["c 1:* r", "c 1:3 w", "c 1:5 rw"]);
        assert!(allows(&policy, CHAR, 1, 3, WRITE));
        assert!(allows(&policy, CHAR, 1, 5, READ | WRITE));
        assert!(!allows(&policy, CHAR, 1, 3, READ | WRITE), "no one rule allows both");
    }

    #[test]
    fn rules_for_one_device_add_up() {
        let policy = policy(&["c 1:3 r", "c 1:3 w"]);
        assert!(allows(&policy, CHAR, 1, 3, READ | WRITE));
        assert!(!allows(&policy, CHAR, 1, 3, MKNOD));
    }

    #[test]
    fn a_rule_is_read_as_it_was_meant_or_refused() {
        let written = |text| Rule::parse(text).map(|rule| rule.written()).unwrap();
        assert_eq!(written("c 1:3 rwm"), ["c 1:3 rwm"]);
        assert_eq!(written("c 1:3"), ["c 1:3 rwm"]);
        assert_eq!(written("b *:* mr"), ["b *:* rm"]);
        assert_eq!(written("/dev/null rw"), ["c 1:3 rw"]);
        assert_eq!(written("a *:* r"), ["b *:* r", "c *:* r"]);
        assert_eq!(written("a"), ["a *:* rwm"]);
        for text in [
            "",
            "c",
            "x 1:3 r",
            "c 1 r",
            "c 1:x r",
            "c 1:3 rx",
            "c 1:3 r w",
            "c -1:3 r",
            "a 1:3 r",
            "/dev r",
            "/no/such",
        ] {
            assert!(Rule::parse(text).is_err(), "{text:?}");
        }
    }
}
