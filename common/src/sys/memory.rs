//! What a process that has little left to do need not keep in memory.

use super::check;

unsafe extern "C" {
    // Symbols that the linker puts at the beginning of the program and at the end of its code (end(3)).
    static __executable_start: u8;
    static etext: u8;
}

/// Where pages are larger the calls fail with EINVAL, and nothing is lost.
const PAGE: usize = 4096;

/// madvise(2) with MADV_DONTNEED on this program's own code: what runs is read again from its
/// file, and what only ran before is not kept.
pub fn let_go_of_code() -> nix::Result<()> {
    let start = (&raw const __executable_start).addr().next_multiple_of(PAGE);
    let end = (&raw const etext).addr() / PAGE * PAGE;
    let at = (&raw const __executable_start).with_addr(start).cast_mut();
    // SAFETY: these pages are mapped privately from the program's file and were never written to: a
    // position-independent static program has its relocations behind the code. So the next access
    // finds the same bytes.
    check(unsafe { libc::madvise(at.cast(), end.saturating_sub(start), libc::MADV_DONTNEED) }.into())?;
    Ok(())
}
