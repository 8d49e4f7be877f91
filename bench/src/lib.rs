//! The runtime on networks of any shape, for comparison with other runtimes.

mod case;

pub use case::Chain;
