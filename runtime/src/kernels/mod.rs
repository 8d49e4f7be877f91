//! Sums of products: the only loops over weights.

pub mod reference;
