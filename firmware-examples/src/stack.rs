//! Depth of the stack, by painting the free part and looking how far the paint is gone.

use cortex_m::register::msp;

const PAINT: u32 = 0xA5A5_A5A5;

/// Left unpainted below the stack pointer: room for the frames of the functions that paint and
/// read. Depths below it read as 0.
const MARGIN: u32 = 64;

unsafe extern "C" {
    // Lowest address of the stack, from cortex-m-rt's link.x. Its value is its address.
    static mut _stack_end: u32;
}

/// Runs `work` and returns its result with the bytes of stack that it used below the caller's
/// frame, in steps of 4. The caller must have no interrupt enabled, since a handler's frames would
/// be counted too.
///
/// `work` must not overflow the stack: on boards without stack protection that corrupts `.bss`.
#[inline(never)]
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, u32) {
    let top = msp::read();
    paint(top);
    let result = work();
    (result, top - deepest_touched(top))
}

fn paint(top: u32) {
    let mut address = lowest();
    while address < top - MARGIN {
        // SAFETY: `lowest()..top - MARGIN` is the free part of the stack: link.x reserves it for
        // the stack alone, aligned to 4, and the stack pointer is above it by the margin, which
        // holds the frames of this function and its (inlined) callees. Thread mode uses the main
        // stack only, so no other stack lies there.
        unsafe { (address as *mut u32).write_volatile(PAINT) };
        address += 4;
    }
}

fn deepest_touched(top: u32) -> u32 {
    let mut address = lowest();
    // SAFETY: as in `paint`; the words were written there, so they are initialised.
    while address < top - MARGIN && unsafe { (address as *const u32).read_volatile() } == PAINT {
        address += 4;
    }
    if address < top - MARGIN { address } else { top }
}

fn lowest() -> u32 {
    // Addresses are 32 bits on every target here; link.x asserts the alignment to 4.
    &raw const _stack_end as u32
}
