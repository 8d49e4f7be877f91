//! The runtime on networks of any shape, for comparison with other runtimes.

pub mod abi;
mod case;
mod engine;
pub mod limits;

pub use case::Chain;
pub use engine::{BatchError, Engine, Opening, Outputs, Rows, run_rows};
