//! What the programs `cic` and `cic-quantize` do, behind their command lines.
//!
//! Standard output is data, standard error is talk. Every failure carries its exit code: see
//! [`Failure`].
#![forbid(unsafe_code)]

mod adopted;
pub mod budget;
mod celltypist_in;
pub mod check;
pub mod compare;
mod console;
mod countdown;
mod coverage;
mod dataset;
pub mod demo;
mod denoise;
pub mod diff;
mod digests;
pub mod evaluate;
pub mod explain;
mod failure;
mod fine_tune;
mod gene_args;
mod gene_notes;
pub mod help;
mod hierarchy;
mod in_order;
pub mod inspect;
mod label_tree;
mod model_file;
pub mod noise;
mod notes;
#[cfg(feature = "onnx")]
mod onnx_in;
mod onnx_out;
mod output;
mod outputs;
pub mod plots;
mod profiles;
mod progress;
mod promises;
pub mod quantize;
pub mod report;
pub mod reproduce;
mod reproducer;
mod results;
mod same_scale;
mod seen;
mod sheet;
mod study;
pub mod sweep;
mod threads;
mod totals;
pub mod train;
pub mod type_cells;
mod typed;
mod typing;
mod typing_options;
pub mod unseen;
pub mod verify;
mod vote;

pub use console::check_environment;
pub use dataset::{DataArgs, LabelArgs, SplitArgs};
pub use failure::{EXIT_CODES, Failure, exit_with};
