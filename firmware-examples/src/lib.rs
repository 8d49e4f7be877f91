//! What every program here needs around its own work: a console, an exit code, a panic that is
//! seen, the depth of the stack, and marks between which instructions are counted.
//!
//! A console line that starts with `#` is a measurement and may differ between boards and
//! compilers; every other line must be the same everywhere and is compared with `NAME.out`.
#![no_std]

pub mod count;
pub mod report;
pub mod stack;

pub use cortex_m_rt::entry;
pub use cortex_m_semihosting::hprintln;

use core::panic::PanicInfo;

use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};

/// How a program ended, as the emulator's exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Passed,
    /// Exit code 1.
    Failed,
}

/// Ends the emulator's run. On real hardware without a debugger it stays here.
pub fn exit(outcome: Outcome) -> ! {
    loop {
        debug::exit(match outcome {
            Outcome::Passed => EXIT_SUCCESS,
            Outcome::Failed => EXIT_FAILURE,
        });
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    hprintln!("{}", info);
    exit(Outcome::Failed)
}
