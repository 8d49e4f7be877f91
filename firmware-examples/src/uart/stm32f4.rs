//! USART1 of the STM32F4 family (RM0383, RM0090: chapters RCC, GPIO, USART), on pins PA9 (out) and PA10 (in).

use super::Uart;
use crate::registers::Registers;

/// The USART.
pub struct Stm32f4 {
    usart: Registers,
}

impl Stm32f4 {
    /// Connects the pins and switches the USART on: 115,200 baud, 8 bits, no parity. `clock_hz` is the clock of its bus,
    /// after reset that of the processor.
    ///
    /// # Safety
    /// - `base` is the address of USART1 of an STM32F4.
    /// - Nothing else uses it, port A or the clock controller meanwhile.
    pub unsafe fn new(base: usize, clock_hz: u32) -> Self {
        // SAFETY: every STM32F4 has these devices at these addresses, and the caller vouches for the base; all
        // offsets below are those of the device that they are used with.
        let [mut clocks, mut port_a, mut usart] =
            unsafe { [RCC, GPIOA, base].map(|base| Registers::new(base)) };
        clocks.change(AHB1ENR, GPIOA_ON, GPIOA_ON);
        clocks.change(APB2ENR, USART1_ON, USART1_ON);
        // A device answers two cycles after its clock was switched on: no sooner than this.
        clocks.load(APB2ENR);

        port_a.change(AFRH, 0xFF << 4, USART1_FUNCTION << 4 | USART1_FUNCTION << 8);
        // A line that nobody drives is idle, not noise.
        port_a.change(PUPDR, 0b11 << 20, PULL_UP << 20);
        port_a.change(MODER, 0b1111 << 18, ALTERNATE << 18 | ALTERNATE << 20);

        usart.store(BRR, (clock_hz + BAUD / 2) / BAUD);
        usart.store(CR1, USART_ON | SENDER_ON | RECEIVER_ON);
        Self { usart }
    }
}

impl Uart for Stm32f4 {
    fn read(&mut self) -> Option<u8> {
        // Without parity the register holds a byte. Reading both clears an overrun, too.
        (self.usart.load(SR) & RECEIVED != 0).then(|| self.usart.load(DR) as u8)
    }

    fn write(&mut self, byte: u8) {
        while self.usart.load(SR) & SEND_EMPTY == 0 {}
        self.usart.store(DR, byte.into());
    }
}

const BAUD: u32 = 115_200;

const RCC: usize = 0x4002_3800;
const AHB1ENR: usize = 0x30;
const GPIOA_ON: u32 = 1 << 0;
const APB2ENR: usize = 0x44;
const USART1_ON: u32 = 1 << 4;

const GPIOA: usize = 0x4002_0000;
const MODER: usize = 0x00;
const ALTERNATE: u32 = 0b10;
const PUPDR: usize = 0x0C;
const PULL_UP: u32 = 0b01;
const AFRH: usize = 0x24;
const USART1_FUNCTION: u32 = 7;

const SR: usize = 0x00;
const RECEIVED: u32 = 1 << 5;
const SEND_EMPTY: u32 = 1 << 7;
const DR: usize = 0x04;
const BRR: usize = 0x08;
const CR1: usize = 0x0C;
const RECEIVER_ON: u32 = 1 << 2;
const SENDER_ON: u32 = 1 << 3;
const USART_ON: u32 = 1 << 13;
