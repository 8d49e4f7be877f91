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

/// The machine timer.
pub struct Clock {
    last: u32,
}

impl Clock {
    /// Starts it: it always runs.
    ///
    /// # Safety
    /// - The processor has the timer where QEMU's machine `virt` has it.
    pub unsafe fn start() -> Self {
        Self { last: machine_time() }
    }

    /// Ticks since the last call, which is less than 2³² ticks ago.
    pub fn elapsed(&mut self) -> u32 {
        let now = machine_time();
        let ticks = now.wrapping_sub(self.last);
        self.last = now;
        ticks
    }
}

/// The low word of `mtime`.
fn machine_time() -> u32 {
    // SAFETY: the core-local interruptor of every board here has this register at this address, and
    // reading it changes nothing.
    unsafe { MTIME.read_volatile() }
}

/// The place of `mtime` in the core-local interruptor that SiFive, and QEMU's machine `virt`, have.
const MTIME: *const u32 = 0x0200_BFF8 as *const u32;
