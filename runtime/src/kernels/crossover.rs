//! When summing all inputs, in panels, is quicker than summing listed ones.

use super::{Isa, Kernels, Panels};

/// Bytes of a layer from which on its weights are not expected to stay in the nearest memory.
pub(super) const LARGE: usize = 1 << 20;

/// Bytes from which on they are expected to come from no cache.
const FAR: usize = 16 << 20;

impl Kernels {
    /// From what share of listed inputs on, in percent, panels are quicker, for so many cells at a time.
    /// One cell uses a weight once either way; more share those of panels, which counts the more the
    /// farther these come from.
    ///
    /// Measured: `cic-bench` with the default shape, `18000,512,128,30,64,40 3` and `3000,128,30,24 2` at
    /// shares of zeros from 0.3 to 0.97, lines `stored` against lines `packed` of
    /// a build in which this is 0; ADR 0013 has the tables. A step lies between what two processors gave.
    pub(crate) fn dense_from_percent(&self, panels: &Panels<'_>, n_rows: usize) -> usize {
        let is_large = panels.weights().len() >= LARGE;
        let is_far = panels.weights().len() >= FAR;
        // Ever more cells share a weight of a panel; but of so many, listed ones find most rows near too, where
        // a cache holds them all.
        let by_rows = match (self.isa(), is_large) {
            (Isa::Amx, false) => [35, 15, 10, 8],
            (Isa::Amx, true) => [25, 15, 9, 6],
            (Isa::AvxVnni | Isa::Avx512Vnni, false) => [35, 35, 35, 35],
            (Isa::AvxVnni | Isa::Avx512Vnni, true) if is_far => [25, 18, 13, 10],
            (Isa::AvxVnni | Isa::Avx512Vnni, true) => [25, 18, 13, 20],
            (_, false) => [70, 70, 70, 70],
            (_, true) => [30, 20, 18, 16],
        };
        match n_rows {
            0..4 => 80,
            4..8 => by_rows[0],
            8..16 => by_rows[1],
            16..32 => by_rows[2],
            _ => by_rows[3],
        }
    }

    /// Inputs whose weights for so many outputs stay near.
    pub(crate) fn near_len(out_dim: usize) -> usize {
        LARGE.div_ceil(2 * out_dim.max(1))
    }

    /// Cells that run together best where the first layer has so many weights: enough to share weights that
    /// come from afar and what is done once for a tile. Sums of more cells would drive parts of a large layer
    /// from the second cache.
    pub(crate) fn tile_len(n_weights: usize) -> usize {
        if n_weights < LARGE { 128 } else { 64 }
    }
}
