//! The programs as a stranger meets them: run as processes on small files.

mod cell_faults;
mod comparing;
mod evaluating;
mod explaining;
mod file_faults;
mod fine_tuning;
mod formats;
mod input_matrix;
mod label_trees;
mod leaving_out;
mod model_faults;
mod outputs;
mod quantising;
mod reporting;
mod reproducing;
mod results;
mod round_trip;
mod sandbox;
mod scales;
mod spoiling;
mod streaming;
mod training;
mod usage;
mod verifying;
mod voting;
mod writers;
