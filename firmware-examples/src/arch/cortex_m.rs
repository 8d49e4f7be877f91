//! Arm Cortex-M, started by cortex-m-rt.

pub use cortex_m_rt::entry;

unsafe extern "C" {
    // Lowest address of the stack, from cortex-m-rt's link.x. Its value is its address.
    static mut _stack_end: u32;
}

/// The main stack's pointer. Programs here run in thread mode on the main stack, and there is no other.
#[inline(always)]
pub fn stack_pointer() -> u32 {
    cortex_m::register::msp::read()
}

/// Where the stack ends, a multiple of 4.
pub fn lowest_stack_address() -> u32 {
    // Addresses are 32 bits here; link.x asserts the alignment.
    &raw const _stack_end as u32
}
