//! The UART of the nRF51 (Reference Manual 3.0, chapter 29), which the nRF52 has, too, beside a newer one.

use super::Uart;
use crate::registers::Registers;

/// The UART.
pub struct Nrf51 {
    uart: Registers,
}

impl Nrf51 {
    /// Starts the crystal, connects the pins and switches the UART on: 115,200 baud, 8 bits, no parity. Pins
    /// are numbers of port 0, that on which the chip sends first.
    ///
    /// # Safety
    /// - `base` is the address of the UART of an nRF51 or nRF52, and both pins are below 32.
    /// - Nothing else uses it, these two pins or the clock controller meanwhile.
    pub unsafe fn new(base: usize, send_pin: u8, receive_pin: u8) -> Self {
        // SAFETY: every such chip has these devices at these addresses, and the caller vouches for the base and for
        // the pins; all offsets below are those of the device that they are used with.
        let [mut clock, mut port, mut uart] =
            unsafe { [CLOCK, GPIO, base].map(|base| Registers::new(base)) };
        // The oscillator that runs after reset is too far off for a serial line.
        clock.store(START_CRYSTAL, 1);
        while clock.load(CRYSTAL_STARTED) == 0 {}

        // An idle line is high.
        port.store(OUTSET, 1 << send_pin);
        port.store(PIN_CNF + 4 * usize::from(send_pin), OUTPUT);
        port.store(PIN_CNF + 4 * usize::from(receive_pin), INPUT_PULLED_UP);
        uart.store(PSELTXD, send_pin.into());
        uart.store(PSELRXD, receive_pin.into());

        uart.store(BAUDRATE, BAUD_115200);
        uart.store(ENABLE, ENABLED);
        uart.store(START_RECEIVER, 1);
        uart.store(START_SENDER, 1);
        Self { uart }
    }
}

impl Uart for Nrf51 {
    fn read(&mut self) -> Option<u8> {
        if self.uart.load(RECEIVED) == 0 {
            return None;
        }
        // Before the byte is taken, since the next one behind it sets this anew.
        self.uart.store(RECEIVED, 0);
        // The register holds a byte.
        Some(self.uart.load(RXD) as u8)
    }

    fn write(&mut self, byte: u8) {
        self.uart.store(SENT, 0);
        self.uart.store(TXD, byte.into());
        while self.uart.load(SENT) == 0 {}
    }
}

const CLOCK: usize = 0x4000_0000;
const START_CRYSTAL: usize = 0x000;
const CRYSTAL_STARTED: usize = 0x100;

const GPIO: usize = 0x5000_0000;
const OUTSET: usize = 0x508;
const PIN_CNF: usize = 0x700;
const OUTPUT: u32 = 0b11;
const INPUT_PULLED_UP: u32 = 0b11 << 2;

const START_RECEIVER: usize = 0x000;
const START_SENDER: usize = 0x008;
const RECEIVED: usize = 0x108;
const SENT: usize = 0x11C;
const ENABLE: usize = 0x500;
const ENABLED: u32 = 4;
const PSELTXD: usize = 0x50C;
const PSELRXD: usize = 0x514;
const RXD: usize = 0x518;
const TXD: usize = 0x51C;
const BAUDRATE: usize = 0x524;
const BAUD_115200: u32 = 0x01D7_E000;
