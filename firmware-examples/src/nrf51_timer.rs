//! The clock of a chip whose processor has no timer of its own: TIMER0 of the nRF51 (Reference Manual 3.0,
//! chapter 18).

use crate::registers::Registers;

/// A timer of 32 bits, a tick each microsecond.
pub struct Nrf51Timer {
    timer: Registers,
    last: u32,
}

impl Nrf51Timer {
    /// Starts it.
    ///
    /// # Safety
    /// - The chip is an nRF51, and nothing else uses its TIMER0.
    pub unsafe fn start() -> Self {
        // SAFETY: every nRF51 has the timer at this address, nothing else uses it by the caller's promise, and all offsets
        // below are the timer's.
        let mut timer = unsafe { Registers::new(TIMER0) };
        timer.store(MODE, 0);
        timer.store(BITMODE, BITS_32);
        timer.store(PRESCALER, SIXTEENTH);
        timer.store(START, 1);
        let mut clock = Self { timer, last: 0 };
        clock.elapsed();
        clock
    }

    /// Ticks since the last call, which is less than 2³² ticks ago.
    pub fn elapsed(&mut self) -> u32 {
        self.timer.store(CAPTURE, 1);
        let now = self.timer.load(CAPTURED);
        let ticks = now.wrapping_sub(self.last);
        self.last = now;
        ticks
    }
}

const TIMER0: usize = 0x4000_8000;
const START: usize = 0x000;
const CAPTURE: usize = 0x040;
const MODE: usize = 0x504;
const BITMODE: usize = 0x508;
const BITS_32: u32 = 3;
const PRESCALER: usize = 0x510;
/// Of 16 MHz, as an exponent of two.
const SIXTEENTH: u32 = 4;
const CAPTURED: usize = 0x540;
