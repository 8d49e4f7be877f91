//! Serial lines, polled: no interrupt, no buffer beyond the device's own.

mod cmsdk;
mod nrf51;
mod ns16550;
mod stm32f4;

pub use cmsdk::Cmsdk;
pub use nrf51::Nrf51;
pub use ns16550::Ns16550;
pub use stm32f4::Stm32f4;

/// A serial line.
pub trait Uart {
    /// The next byte, if one has come.
    fn read(&mut self) -> Option<u8>;

    /// Sends a byte, waiting until the device takes it.
    fn write(&mut self, byte: u8);
}
