//! Cell identity code models.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
mod network;
mod vocabulary;

#[cfg(feature = "alloc")]
pub use network::{DenseLayer, Network, Segment};
pub use vocabulary::{Activation, IdKind, ValueKind};
