//! The 16550 with byte-wide registers, as on QEMU's RISC-V machine `virt`.

use super::Uart;

/// A UART at its base address, set up by whoever made the machine.
pub struct Ns16550 {
    base: usize,
}

impl Ns16550 {
    /// Takes the UART as it is.
    ///
    /// # Safety
    /// - `base` is the address of such a UART.
    /// - Nothing else uses it.
    pub unsafe fn new(base: usize) -> Self {
        Self { base }
    }

    fn load(&self, register: usize) -> u8 {
        // SAFETY: the caller of `new` vouches for the base; the registers are bytes behind it.
        unsafe { ((self.base + register) as *const u8).read_volatile() }
    }
}

impl Uart for Ns16550 {
    fn read(&mut self) -> Option<u8> {
        (self.load(LINE_STATUS) & DATA_READY != 0).then(|| self.load(DATA))
    }

    fn write(&mut self, byte: u8) {
        while self.load(LINE_STATUS) & SEND_EMPTY == 0 {}
        // SAFETY: as in `load`; the device said that it takes a byte.
        unsafe { ((self.base + DATA) as *mut u8).write_volatile(byte) };
    }
}

const DATA: usize = 0;
const LINE_STATUS: usize = 5;
const DATA_READY: u8 = 1 << 0;
const SEND_EMPTY: u8 = 1 << 5;
