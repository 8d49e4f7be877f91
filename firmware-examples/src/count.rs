//! Marks between which `cargo xtask count` counts executed instructions.
//!
//! The two functions differ in their bodies, because equal functions are merged into one and the
//! region between them would then be empty.

/// Opens a counted region.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn bench_start() {
    cortex_m::asm::nop();
}

/// Closes the region opened last.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn bench_end() {
    cortex_m::asm::nop();
    cortex_m::asm::nop();
}
