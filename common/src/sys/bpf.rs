//! bpf(2), as far as device rules of a cgroup need it: a program of typed instructions,
//! loaded, and attached to a cgroup v2 directory (BPF_PROG_TYPE_CGROUP_DEVICE, Linux 4.15).

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::{check, check_fd};

/// A register. The kernel passes the context in [`CONTEXT`] and takes the verdict from [`RESULT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The program's result.
    R0,
    /// The context, at the start.
    R1,
    /// Free.
    R2,
    /// Free.
    R3,
    /// Free.
    R4,
    /// Free.
    R5,
}

/// Where the program's result is at its end.
pub const RESULT: Register = Register::R0;
/// Where the context is at its start.
pub const CONTEXT: Register = Register::R1;

/// One instruction (Documentation/bpf/standardization/instruction-set.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `to = *(u32 *)(CONTEXT + offset)`
    Load {
        /// Where the word goes.
        to: Register,
        /// Where it is in the context, in bytes.
        offset: i16,
    },
    /// `to = value`
    Set {
        /// The register.
        to: Register,
        /// Its new value.
        value: i32,
    },
    /// `to = from`
    Copy {
        /// The register that changes.
        to: Register,
        /// The other.
        from: Register,
    },
    /// `to &= mask`
    And {
        /// The register.
        to: Register,
        /// The bits that stay.
        mask: i32,
    },
    /// `to >>= bits`
    ShiftRight {
        /// The register.
        to: Register,
        /// How far.
        bits: i32,
    },
    /// `if register != value, skip the next instructions`
    SkipUnless {
        /// The register.
        register: Register,
        /// What it must be to go on.
        value: i32,
        /// How many are skipped.
        skip: i16,
    },
    /// `if a != b, skip the next instructions`
    SkipUnlessSame {
        /// A register.
        a: Register,
        /// Another.
        b: Register,
        /// How many are skipped.
        skip: i16,
    },
    /// The end; the result is in [`RESULT`].
    Exit,
}

impl Instruction {
    /// `struct bpf_insn`: opcode, registers, offset, immediate.
    fn encoded(self) -> [u8; 8] {
        let (code, to, from, offset, value) = match self {
            Self::Load { to, offset } => (0x61, to, CONTEXT, offset, 0), // LDX | MEM | W
            Self::Set { to, value } => (0xb7, to, RESULT, 0, value),     // ALU64 | MOV | K
            Self::Copy { to, from } => (0xbf, to, from, 0, 0),           // ALU64 | MOV | X
            Self::And { to, mask } => (0x57, to, RESULT, 0, mask),       // ALU64 | AND | K
            Self::ShiftRight { to, bits } => (0x77, to, RESULT, 0, bits), // ALU64 | RSH | K
            Self::SkipUnless { register, value, skip } => (0x55, register, RESULT, skip, value), // JMP | JNE | K
            Self::SkipUnlessSame { a, b, skip } => (0x5d, a, b, skip, 0), // JMP | JNE | X
            Self::Exit => (0x95, RESULT, RESULT, 0, 0),                   // JMP | EXIT
        };
        let registers = if cfg!(target_endian = "little") {
            (from as u8) << 4 | to as u8
        } else {
            (to as u8) << 4 | from as u8
        };
        let [o0, o1] = offset.to_ne_bytes();
        let [v0, v1, v2, v3] = value.to_ne_bytes();
        [code, registers, o0, o1, v0, v1, v2, v3]
    }
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// bpf(2) with a command's part of `union bpf_attr`; the kernel takes what is missing for zero.
///
/// # Safety
/// The pointers in `attr` must be valid for what `command` does with them.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> libc::c_long {
    // SAFETY: `attr` is valid for its size; the rest the caller promises.
    unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<T>()) }
}

/// Loads a device program under `name` (at most 15 bytes). The kernel checks that it is safe.
pub fn load(instructions: &[Instruction], name: &CStr) -> nix::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; 16],
        prog_ifindex: u32,
        expected_attach_type: u32,
    }
    let code: Vec<[u8; 8]> = instructions.iter().map(|instruction| instruction.encoded()).collect();
    let mut prog_name = [0; 16];
    let name = name.to_bytes();
    prog_name
        .get_mut(..name.len())
        .filter(|place| place.len() < 16)
        .ok_or(Errno::EINVAL)?
        .copy_from_slice(name);
    let mut attr = Attr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(code.len()).map_err(|_| Errno::E2BIG)?,
        insns: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name,
        prog_ifindex: 0,
        expected_attach_type: CGROUP_DEVICE,
    };
    // SAFETY: `insns` points to `insn_cnt` instructions, `license` to a NUL-terminated constant;
    // both outlive the call, which only reads them.
    check_fd(unsafe { bpf(PROG_LOAD, &mut attr) })
}

#[repr(C)]
struct Attachment {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

impl Attachment {
    fn new(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Self {
        Self {
            target_fd: cgroup.as_raw_fd() as u32,
            attach_bpf_fd: program.as_raw_fd() as u32,
            attach_type: CGROUP_DEVICE,
            attach_flags: 0,
            replace_bpf_fd: 0,
        }
    }
}

/// Attaches `program` to `cgroup` beside those of others, all of which must allow an access.
/// With `old` it takes that one's place, at once (Linux 5.6).
pub fn attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
) -> nix::Result<()> {
    let mut attr = Attachment::new(cgroup, program);
    attr.attach_flags = ALLOW_MULTI;
    if let Some(old) = old {
        attr.attach_flags |= REPLACE;
        attr.replace_bpf_fd = old.as_raw_fd() as u32;
    }
    // SAFETY: no pointer is passed.
    check(unsafe { bpf(PROG_ATTACH, &mut attr) })?;
    Ok(())
}

/// Takes `program` off `cgroup`.
pub fn detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    let mut attr = Attachment::new(cgroup, program);
    // SAFETY: no pointer is passed.
    check(unsafe { bpf(PROG_DETACH, &mut attr) })?;
    Ok(())
}

/// The device programs that are attached to `cgroup` itself, by id.
pub fn attached(cgroup: BorrowedFd<'_>) -> nix::Result<Vec<u32>> {
    #[repr(C)]
    struct Attr {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_cnt: u32,
        pad: u32,
    }
    let mut ids = vec![0u32; 64]; // the kernel's own limit (BPF_CGROUP_MAX_PROGS)
    let mut attr = Attr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: 64,
        pad: 0,
    };
    // SAFETY: `prog_ids` has room for `prog_cnt` ids, and the call writes no more.
    check(unsafe { bpf(PROG_QUERY, &mut attr) })?;
    ids.truncate(attr.prog_cnt as usize);
    Ok(ids)
}

/// The program with `id`.
pub fn open(id: u32) -> nix::Result<OwnedFd> {
    let mut attr = [id, 0, 0];
    // SAFETY: no pointer is passed.
    check_fd(unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) })
}

/// The name that a program was loaded under.
pub fn name_of(program: BorrowedFd<'_>) -> nix::Result<Vec<u8>> {
    /// The beginning of `struct bpf_prog_info`; a kernel fills in as much as there is room for.
    #[repr(C)]
    struct Info {
        other: [u64; 8],
        name: [u8; 16],
    }
    #[repr(C)]
    struct Attr {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = Info { other: [0; 8], name: [0; 16] };
    let mut attr = Attr {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: size_of::<Info>() as u32,
        info: ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: `info` is valid for `info_len` bytes. Its pointers and lengths (the jited and the
    // translated instructions, the maps) are zero, so nothing is written elsewhere.
    check(unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attr) })?;
    Ok(info.name.iter().copied().take_while(|byte| *byte != 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_encoded_as_the_kernel_reads_them() {
        // From the kernel's own assembler macros, little endian.
        let cases = [
            (Instruction::Load { to: Register::R4, offset: 4 }, [0x61, 0x14, 4, 0, 0, 0, 0, 0]),
            (Instruction::Set { to: RESULT, value: 1 }, [0xb7, 0, 0, 0, 1, 0, 0, 0]),
            (Instruction::Copy { to: Register::R1, from: Register::R3 }, [0xbf, 0x31, 0, 0, 0, 0, 0, 0]),
            (Instruction::And { to: Register::R2, mask: 0xffff }, [0x57, 2, 0, 0, 0xff, 0xff, 0, 0]),
            (Instruction::ShiftRight { to: Register::R3, bits: 16 }, [0x77, 3, 0, 0, 16, 0, 0, 0]),
            (
                Instruction::SkipUnless { register: Register::R2, value: 2, skip: 3 },
                [0x55, 2, 3, 0, 2, 0, 0, 0],
            ),
            (
                Instruction::SkipUnlessSame { a: Register::R1, b: Register::R3, skip: 1 },
                [0x5d, 0x31, 1, 0, 0, 0, 0, 0],
            ),
            (Instruction::Exit, [0x95, 0, 0, 0, 0, 0, 0, 0]),
        ];
        if cfg!(target_endian = "little") {
            for (instruction, code) in cases {
                assert_eq!(instruction.encoded(), code, "{instruction:?}");
            }
        }
    }
}
