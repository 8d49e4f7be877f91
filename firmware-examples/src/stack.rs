//! Depth of the stack, by painting the free part and looking how far the paint is gone.

use crate::arch::{lowest_stack_address, stack_pointer};

const PAINT: u32 = 0xA5A5_A5A5;

/// Left unpainted below the stack pointer: room for the frames of the functions that paint and
/// read. Depths below it read as 0.
const MARGIN: u32 = 64;

/// No more than this is painted: boards have megabytes, which take the emulator long.
const DEEPEST: u32 = 64 << 10;

/// Runs `work` and returns its result with the bytes of stack that it used below the caller's
/// frame, in steps of 4.
#[inline(always)]
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, u32) {
    let paint = Paint::spread();
    let result = work();
    (result, paint.depth())
}

/// A painted stack. The program must have no interrupt enabled while it is looked at, since a
/// handler's frames would be counted too, and must not overflow the stack: on boards without stack
/// protection that corrupts `.bss`.
pub struct Paint {
    top: u32,
}

impl Paint {
    /// Paints what lies below the caller's frame.
    #[inline(always)]
    pub fn spread() -> Self {
        let top = stack_pointer();
        paint(top);
        Self { top }
    }

    /// Bytes below the frame, in steps of 4, that were written to since.
    pub fn depth(&self) -> u32 {
        self.top - deepest_touched(self.top)
    }
}

#[inline(never)]
fn paint(top: u32) {
    let mut address = lowest(top);
    while address < top - MARGIN {
        // SAFETY: `lowest(top)..top - MARGIN` lies in the free part of the stack: link.x
        // reserves it for the stack alone, aligned to 4, and the stack pointer is above it by the
        // margin, which holds the frame of this function. No second stack lies there, as
        // `stack_pointer` says.
        unsafe { (address as *mut u32).write_volatile(PAINT) };
        address += 4;
    }
}

#[inline(never)]
fn deepest_touched(top: u32) -> u32 {
    let mut address = lowest(top);
    // SAFETY: as in `paint`; the words were written there, so they are initialised.
    while address < top - MARGIN && unsafe { (address as *const u32).read_volatile() } == PAINT {
        address += 4;
    }
    if address < top - MARGIN { address } else { top }
}

/// Where paint begins.
fn lowest(top: u32) -> u32 {
    lowest_stack_address().max(top.saturating_sub(DEEPEST))
}
