//! What no program may hold. Built by `cargo xtask proofs` alone, which has to find it.

/// Panics where an index is not in the table.
#[unsafe(no_mangle)]
pub extern "C" fn cic_must_panic(at: usize) -> u8 {
    b"table"[at]
}

/// The name of an allocator.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(_len: usize) -> *mut u8 {
    core::ptr::null_mut()
}
