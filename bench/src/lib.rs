//! The runtime on networks of any shape, for comparison with other runtimes, and its operators alone.

pub mod abi;
mod array;
mod case;
mod engine;
pub mod limits;
mod operands;
mod operators;
mod random;
mod trial;

pub use case::Chain;
pub use engine::{BatchError, Engine, Opening, Outputs, Rows, run_rows};
pub use operands::Operands;
pub use operators::Case;
pub use random::Random;
pub use trial::{Trial, best_time};
