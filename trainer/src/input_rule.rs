//! From values to what a network reads, while there is no model yet.

use cic_model::profile::{Scaling, limited};

/// How values become network inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputRule<'a> {
    pub(crate) scaling: Scaling,
    /// What the inputs are at most, `[n_genes]`, or empty.
    pub(crate) limits: &'a [f32],
}

impl InputRule<'_> {
    /// Network input of a value of `gene`; see [`Scaling::input`].
    pub(crate) fn input(&self, gene: usize, value: f32, factor: f32) -> f32 {
        limited(self.limits, gene, self.scaling.input(value, factor))
    }
}
