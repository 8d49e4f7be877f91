//! The arithmetic of training: batches, layers forward and backward, losses, optimiser.
//!
//! Bottom-up: [`simd`] and [`matmul`] multiply, [`parameter`] holds and updates a trained matrix,
//! [`layer`] puts product, normalisation and activation together, [`sparse`] is the first layer on
//! compressed rows, [`losses`] closes the two branches, [`batch`] fills the inputs. Everything is
//! written out for one family of networks: no graph, no tape, no allocation in a step.
//!
//! Numbers depend on the seed and the shapes only. Work is cut into pieces of fixed bounds, each
//! summed by one thread, and pieces are added in order.

pub(crate) mod activation;
pub(crate) mod batch;
pub(crate) mod batch_norm;
pub(crate) mod drawn_genes;
#[cfg(test)]
mod gradient_check;
pub(crate) mod layer;
pub(crate) mod losses;
pub(crate) mod matmul;
pub(crate) mod parameter;
pub(crate) mod rng;
pub(crate) mod simd;
pub(crate) mod sparse;
pub(crate) mod standardiser;
pub(crate) mod thinning;
pub(crate) mod training_data;
