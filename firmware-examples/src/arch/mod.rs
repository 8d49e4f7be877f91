//! What differs between processors: how a program starts, where its stack lies, what counts the time. Everything else
//! here is the same on all of them.

#[cfg(target_arch = "arm")]
mod cortex_m;
#[cfg(target_arch = "riscv32")]
mod riscv32;

#[cfg(target_arch = "arm")]
pub use cortex_m::{Clock, entry, lowest_stack_address, stack_pointer};
#[cfg(target_arch = "riscv32")]
pub use riscv32::{Clock, entry, lowest_stack_address, stack_pointer};
