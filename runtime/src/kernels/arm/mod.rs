//! Kernels for Cortex-M.

mod columns;
#[cfg(feature = "dsp")]
pub(super) mod dsp;
#[cfg(feature = "helium")]
pub(super) mod helium;
#[cfg(feature = "helium")]
mod helium_requantize;
#[cfg(feature = "thumb")]
pub(super) mod thumb;
