//! The APB UART of Arm's Cortex-M System Design Kit (DDI 0479, chapter 4.3), as on the MPS2 and MPS3 boards.

use super::Uart;
use crate::registers::Registers;

/// A UART at its base address.
pub struct Cmsdk {
    uart: Registers,
}

impl Cmsdk {
    /// Switches the UART on.
    ///
    /// # Safety
    /// - `base` is the address of such a UART.
    /// - Nothing else uses it.
    pub unsafe fn new(base: usize) -> Self {
        // SAFETY: the caller vouches for the base; all offsets below are this device's.
        let mut uart = unsafe { Registers::new(base) };
        uart.store(BAUD_DIVIDER, SMALLEST_DIVIDER);
        uart.store(CONTROL, ENABLE_SEND | ENABLE_RECEIVE);
        Self { uart }
    }
}

impl Uart for Cmsdk {
    fn read(&mut self) -> Option<u8> {
        // The register holds a byte.
        (self.uart.load(STATE) & RECEIVE_FULL != 0).then(|| self.uart.load(DATA) as u8)
    }

    fn write(&mut self, byte: u8) {
        while self.uart.load(STATE) & SEND_FULL != 0 {}
        self.uart.store(DATA, byte.into());
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
