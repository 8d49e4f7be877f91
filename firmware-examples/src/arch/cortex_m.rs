//! Arm Cortex-M, started by cortex-m-rt.

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

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

/// The processor's own timer.
pub struct Clock {
    last: u32,
}

impl Clock {
    /// Starts it.
    ///
    /// # Safety
    /// - Nothing else uses SysTick.
    pub unsafe fn start() -> Self {
        // SAFETY: no other code here uses a peripheral of the processor.
        let mut timer = unsafe { cortex_m::Peripherals::steal() }.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(WRAP);
        timer.clear_current();
        timer.enable_counter();
        Self { last: SYST::get_current() }
    }

    /// Ticks since the last call, which is less than 2²⁴ ticks ago.
    pub fn elapsed(&mut self) -> u32 {
        let now = SYST::get_current();
        // It counts down.
        let ticks = self.last.wrapping_sub(now) & WRAP;
        self.last = now;
        ticks
    }
}

const WRAP: u32 = (1 << 24) - 1;
