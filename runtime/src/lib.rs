//! `no_std` inference of cell identity codes and cell types.
//!
//! The caller owns all memory: model bytes, scratch and outputs. Nothing here allocates, but for what the
//! features `threads` and `pages` add; nothing recurses or panics, and int8 results are the same bits on
//! every processor.
//!
//! Bottom-up:
//!
//! - [`kernels`]: the only loops over weights and values, an instruction set each.
//! - [`Sample`] and [`Presence`]: what one cell holds, and which genes its file has.
//! - [`S8Session`] for int8 models, all integers from counts to probabilities; [`FloatSession`] for
//!   f16, mixed and f32 models. Each states the scratch that it needs, exactly.
//! - [`Session`]: either of them, for programs that take any model.
//!
//! ```no_run
//! use cic_model::Model;
//! use cic_runtime::{S8Session, Sample};
//!
//! # fn example(bytes: &[u8], genes: &[u32], counts: &[u32]) -> Option<()> {
//! let model = Model::open_verified(bytes).ok()?;
//! let session = S8Session::new(&model, 0).ok()?;
//! let mut scratch = [0_u32; 512]; // at least session.scratch_len() bytes
//! let sample = Sample::Counts { genes, counts, total: None };
//! let outcome = session.run(&sample, None, &mut scratch).ok()?;
//! if outcome.reject.is_none() {
//!     let best = outcome.numbers?.best()?;
//!     let _name = model.labels().leaf_name(best.leaf as usize);
//! }
//! # Some(())
//! # }
//! ```
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

mod error;
#[cfg(feature = "floats")]
mod float;
#[cfg(feature = "floats")]
mod float_layers;
#[allow(unsafe_code)]
pub mod kernels;
mod outcome;
#[cfg(feature = "pages")]
mod pages;
mod presence;
mod s8;
mod sample;
#[cfg(feature = "floats")]
mod session;
#[cfg(feature = "threads")]
pub mod threads;

pub use error::RunError;
#[cfg(feature = "floats")]
pub use float::FloatSession;
pub use outcome::{Candidate, Depth, FloatNumbers, Numbers, Outcome, S8Numbers};
#[cfg(feature = "pages")]
pub use pages::Pages;
pub use presence::Presence;
pub use s8::{S8Session, S8Tile, TileError};
pub use sample::Sample;
#[cfg(feature = "floats")]
pub use session::Session;
