//! seccomp(2) filters: programs of the classic BPF machine.

use super::check;

/// One instruction, as the kernel has it (struct sock_filter).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do: BPF_* bits.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub jt: u8,
    /// How many to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const Instruction,
}

/// SECCOMP_SET_MODE_FILTER: from now on, and for good, each system call of this process and
/// its children is asked of `program`. EACCES without no_new_privs and without CAP_SYS_ADMIN.
pub fn install(program: &[Instruction], flags: u32) -> nix::Result<()> {
    let length = program.len().try_into().map_err(|_| nix::errno::Errno::EINVAL)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: the struct is laid out as sock_fprog is, and its pointer is valid for its length
    // during the call, in which the kernel checks the program and copies it.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })?;
    Ok(())
}
