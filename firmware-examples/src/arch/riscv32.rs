//! 32-bit RISC-V, started by riscv-rt in machine mode.

use core::arch::asm;

pub use riscv_rt::entry;

unsafe extern "C" {
    // Lowest address of the stack, from riscv-rt's link.x. Its value is its address.
    static mut __estack: u32;
}

/// The stack pointer. One hart runs, and it has one stack.
#[inline(always)]
pub fn stack_pointer() -> u32 {
    let pointer: u32;
    // SAFETY: copies a register and touches no memory, stack or flags.
    unsafe { asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// Where the stack ends, a multiple of 4.
pub fn lowest_stack_address() -> u32 {
    // Addresses are 32 bits here; the sections below the stack end at a multiple of 4.
    &raw const __estack as u32
}
