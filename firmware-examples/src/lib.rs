//! What every program here needs around its own work: a console, an exit code, a panic that is
//! seen, the depth of the stack, and regions in which instructions are counted.
//!
//! A console line that starts with `#` is a measurement and may differ between boards and
//! compilers; every other line must be the same everywhere and is compared with `IMAGE.out` or with what the
//! host prints.
#![no_std]

mod arch;
pub mod bounds;
pub mod console;
pub mod count;
pub mod flash;
pub mod meter;
mod nrf51_timer;
pub mod profiles;
pub mod reference_net;
mod registers;
pub mod report;
#[cfg(feature = "stream")]
pub mod serial;
pub mod stack;
pub mod stream;
pub mod tally;
pub mod uart;

pub use arch::{Clock, entry};
pub use console::{Ending, exit};
pub use nrf51_timer::Nrf51Timer;

use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    println!("{info}");
    exit(Ending::Failed)
}
