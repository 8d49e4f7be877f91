//! The APB UART of Arm's Cortex-M System Design Kit (DDI 0479, chapter 4.3), as on the MPS2 boards.

use super::Uart;

/// A UART at its base address.
pub struct Cmsdk {
    base: usize,
}

impl Cmsdk {
    /// Switches the UART on.
    ///
    /// # Safety
    /// - `base` is the address of such a UART.
    /// - Nothing else uses it.
    pub unsafe fn new(base: usize) -> Self {
        let mut uart = Self { base };
        uart.store(BAUD_DIVIDER, SMALLEST_DIVIDER);
        uart.store(CONTROL, ENABLE_SEND | ENABLE_RECEIVE);
        uart
    }

    fn load(&self, register: usize) -> u32 {
        // SAFETY: the caller of `new` vouches for the base; the registers are 32-bit words at
        // multiples of 4 from it.
        unsafe { ((self.base + register) as *const u32).read_volatile() }
    }

    fn store(&mut self, register: usize, value: u32) {
        // SAFETY: as in `load`; these registers may be written at any time.
        unsafe { ((self.base + register) as *mut u32).write_volatile(value) };
    }
}

impl Uart for Cmsdk {
    fn read(&mut self) -> Option<u8> {
        // The register holds a byte.
        (self.load(STATE) & RECEIVE_FULL != 0).then(|| self.load(DATA) as u8)
    }

    fn write(&mut self, byte: u8) {
        while self.load(STATE) & SEND_FULL != 0 {}
        self.store(DATA, byte.into());
    }
}

const DATA: usize = 0x00;
const STATE: usize = 0x04;
const SEND_FULL: u32 = 1 << 0;
const RECEIVE_FULL: u32 = 1 << 1;
const CONTROL: usize = 0x08;
const ENABLE_SEND: u32 = 1 << 0;
const ENABLE_RECEIVE: u32 = 1 << 1;
const BAUD_DIVIDER: usize = 0x10;
const SMALLEST_DIVIDER: u32 = 16;
