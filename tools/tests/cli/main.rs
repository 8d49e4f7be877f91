//! The programs as a stranger meets them: run as processes on small files.

mod cell_faults;
mod checking;
mod comparing;
mod evaluating;
mod explaining;
mod file_faults;
mod fine_tuning;
mod formats;
mod gene_names;
mod input_matrix;
mod leaving_out;
mod model_faults;
mod quantising;
mod reporting;
mod reproducing;
mod results;
mod sandbox;
mod scales;
mod spoiling;
mod streaming;
mod training;
mod usage;
mod writers;
