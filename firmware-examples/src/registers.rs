//! Registers of a device, 32-bit words behind a base address.

/// The registers of one device.
pub(crate) struct Registers {
    base: usize,
}

impl Registers {
    /// Those behind `base`.
    ///
    /// # Safety
    /// - At every offset that `load` and `store` are called with, a multiple of 4, the device has a register,
    ///   and reading or writing it touches no memory of this program.
    pub(crate) unsafe fn new(base: usize) -> Self {
        Self { base }
    }

    /// Reads the register at `offset`.
    pub(crate) fn load(&self, offset: usize) -> u32 {
        // SAFETY: the caller of `new` vouches for the address and that it is a multiple of 4.
        unsafe { ((self.base + offset) as *const u32).read_volatile() }
    }

    /// Writes the register at `offset`.
    pub(crate) fn store(&mut self, offset: usize, value: u32) {
        // SAFETY: as in `load`.
        unsafe { ((self.base + offset) as *mut u32).write_volatile(value) };
    }

    /// Writes `value` to those bits of the register at `offset` that `mask` has, and leaves the others.
    pub(crate) fn change(&mut self, offset: usize, mask: u32, value: u32) {
        self.store(offset, (self.load(offset) & !mask) | value);
    }
}
