//! What the programs `cic` and `cic-quantize` do, behind their command lines.
//!
//! Standard output is data, standard error is talk. Every failure carries its exit code: see
//! [`Failure`].
#![forbid(unsafe_code)]

pub mod check;
mod dataset;
pub mod demo;
pub mod evaluate;
mod failure;
pub mod inspect;
mod model_file;
pub mod quantize;
mod results;
pub mod train;
pub mod type_cells;

pub use dataset::{DataArgs, LabelArgs, SplitArgs};
pub use failure::{Failure, exit_with};
