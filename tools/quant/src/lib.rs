//! Calibration and quantisation of cell identity code models.
//!
//! - [`CellRunner`]: a session with its memory, for programs that run many cells.
//! - [`CalibrationSet`]: the cells that ranges are taken from.
//! - [`quantize`]: an f32 model and a calibration set to an f16, int8 or mixed model; [`quantize_reported`] also says what that did
//!   to each layer.
//! - [`quantize_fine_tuned`]: the same, with classifier and decoder fitted to int8 codes.
//! - [`compare`]: what quantisation did to labels and codes.
//! - [`celltypist`]: models of CellTypist, read without Python.
//! - `onnx`, behind the feature `onnx`: networks from ONNX files.
//! - [`emit`]: a model as Rust or C.
#![forbid(unsafe_code)]

mod activation_range;
mod aware;
mod calibration;
pub mod celltypist;
mod compare;
mod emit;
mod error;
mod fine_tuned;
mod fitted_rounding;
mod input_levels;
mod layer_report;
mod matrix;
mod mixed;
#[cfg(feature = "onnx")]
pub mod onnx;
mod quantize;
mod range_method;
mod rounding;
mod runner;
mod scores;
mod stage;

pub use aware::{AwareReport, AwareSettings, tune_aware};
pub use calibration::{
    CalibrationSet, MAX_CALIBRATION_ROWS, calibration_rows, fitted_parts, rows_of,
};
pub use compare::{Comparison, Flip, MOST_NEIGHBOURED, N_NEIGHBOURS, Side, compare, compare_sides};
pub use emit::{Language, emit};
pub use error::QuantError;
pub use fine_tuned::{FineTunedHeads, quantize_fine_tuned};
pub use layer_report::{LayerReport, OutputReport};
pub use quantize::{Int8Options, QuantizeOptions, quantize, quantize_reported};
pub use range_method::{RangeMethod, RangePlan};
pub use rounding::Rounding;
pub use runner::{CellRunner, CodeCopy, TileRunner};
