//! Regions whose executed instructions `cargo xtask count` counts.
//!
//! The emulator's plugin sees addresses only, so it reports regions without their names, in the order in
//! which they close. The console has a line `# region NAME` for each, in the same order.

use core::arch::asm;

use crate::println;

/// Runs `work` as a counted region called `name`, which has no spaces, and says so afterwards.
#[inline(always)]
pub fn region<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let result = counted(work);
    say(name);
    result
}

/// Runs `work` as a counted region. The caller must [`say`] its name before the next one.
#[inline(always)]
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    bench_start();
    let result = work();
    bench_end();
    result
}

/// Says how the region is called that closed last.
pub fn say(name: &str) {
    println!("# region {name}");
}

/// Opens a counted region. The bodies of this and of `bench_end` differ because equal functions are
/// merged into one, and the region between them would then be empty.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bench_start() {
    // SAFETY: does nothing. Without `nomem` the compiler keeps memory accesses on their side of it.
    unsafe { asm!("nop", options(nostack, preserves_flags)) };
}

/// Closes the region opened last.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bench_end() {
    // SAFETY: as in `bench_start`.
    unsafe { asm!("nop", "nop", options(nostack, preserves_flags)) };
}
