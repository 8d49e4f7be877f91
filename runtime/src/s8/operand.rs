//! In which of the layouts that kernels know a layer's weights are at hand.

use cic_model::layer::{Layer, Weights};

use crate::kernels::{Panels, panel_of, stored_len};

/// Weights as a kernel reads them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'m> {
    GeneMajor,
    Panels(Panels<'m>),
    Rows(&'m [i8]),
    /// A layout of another processor: read one weight at a time.
    Other,
}

impl<'m> Operand<'m> {
    /// As they are stored.
    pub(super) fn stored(layer: &Layer<'m>) -> Self {
        let Weights::S8(weights) = layer.weights() else { return Self::Other };
        let layout = layer.layout();
        let (block, panel) = (layout.block as usize, layout.panel as usize);
        let (in_dim, out_dim) = (layer.in_dim(), layer.out_dim());
        if panel == 1 && block == in_dim {
            return Self::Rows(weights);
        }
        if block == 4
            && let Some(panels) = Panels::new_checked(weights, in_dim, out_dim, panel)
        {
            return Self::Panels(panels);
        }
        match block == 1 && panel == out_dim {
            true => Self::GeneMajor,
            false => Self::Other,
        }
    }
}

/// Bytes that a layer takes in panels when it is not stored so.
pub(super) fn packed_len(layer: &Layer<'_>) -> usize {
    match Operand::stored(layer) {
        Operand::Panels(_) => 0,
        _ => {
            let out_dim = layer.out_dim();
            stored_len(layer.in_dim(), out_dim, panel_of(out_dim)).unwrap_or(0)
        }
    }
}

/// Writes a layer in panels.
pub(super) fn pack(layer: &Layer<'_>, to: &mut [i8]) {
    let Weights::S8(weights) = layer.weights() else { return };
    let (in_dim, out_dim) = (layer.in_dim(), layer.out_dim());
    let panel = panel_of(out_dim);
    let panel_len = in_dim.next_multiple_of(4) * panel;
    for (n, to) in to.chunks_exact_mut(panel_len.max(1)).enumerate() {
        for (group, to) in to.chunks_exact_mut(4 * panel).enumerate() {
            for (row, to) in to.chunks_exact_mut(4).enumerate() {
                for (column, to) in to.iter_mut().enumerate() {
                    let (row, column) = (n * panel + row, 4 * group + column);
                    let is_weight = row < out_dim && column < in_dim;
                    let at = layer.layout().index(row, column, in_dim);
                    *to = weights.get(at).copied().filter(|_| is_weight).unwrap_or(0);
                }
            }
        }
    }
}

/// The layer in the panels that [`pack`] wrote.
pub(super) fn packed<'p>(layer: &Layer<'_>, bytes: &'p [i8]) -> Option<Panels<'p>> {
    let out_dim = layer.out_dim();
    Panels::new_checked(bytes, layer.in_dim(), out_dim, panel_of(out_dim))
}
