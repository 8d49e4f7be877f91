//! Cell identity code models: everything that is needed to read a `.cic` file and to interpret it.
//!
//! Bottom-up:
//!
//! - [`vocabulary`](ValueKind): the closed lists of the format.
//! - [`quant`]: the integer arithmetic of int8 models. The only place where rounding is defined.
//! - [`profile`]: preprocessing, from counts or values to levels or network inputs.
//! - [`ranks`]: what models read that take values of every scale.
//! - [`container`]: bytes on disk, the section table, digests.
//! - [`genes`], [`labels`], [`rules`], [`confidence`], [`novelty`], [`golden`], [`provenance`], [`layer`]: views of the
//!   sections.
//! - [`Model`]: all of them, checked once by [`Model::open`] or [`Model::open_verified`].
//! - `spec` and the writer (feature `alloc`): an owned model and its bytes.
//!
//! `docs/format.md` and `docs/numerics.md` are the normative descriptions.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("model files are little-endian and executed in place");

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod confidence;
pub mod container;
mod error;
pub mod genes;
pub mod golden;
pub mod labels;
pub mod layer;
mod model;
#[cfg(feature = "alloc")]
mod network;
pub mod novelty;
#[cfg(feature = "alloc")]
mod novelty_spec;
pub mod profile;
pub mod provenance;
pub mod quant;
pub mod ranks;
pub mod rules;
#[cfg(feature = "alloc")]
pub mod spec;
mod strings;
mod vocabulary;
#[cfg(feature = "alloc")]
mod writer;

pub use error::ModelError;
pub use model::{MAX_LAYERS, MAX_PROFILES, Model, ModelId, StageKind};
#[cfg(feature = "alloc")]
pub use network::{DenseLayer, Network, Segment};
pub use strings::StringTable;
pub use vocabulary::{Activation, Dtype, IdKind, SOFT_SHRINK_LAMBDA, ValueKind};
#[cfg(feature = "alloc")]
pub use writer::AlignedBytes;
