//! In which of the layouts that kernels know a layer's weights are at hand.

use cic_model::layer::{Epilogue, Layer, S8Epilogue, Weights};
use cic_model::{Model, StageKind};

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
    #[inline]
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

/// All layers that are not stored in wide panels, in such; or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Packed<'p> {
    weights: &'p [i8],
    /// Where those of the classifier and of the decoder begin.
    starts: [usize; 2],
}

impl<'p> Packed<'p> {
    /// Weights that [`Packed::write`] needs.
    pub(super) fn len(model: &Model<'_>) -> usize {
        total_len(model.layers())
    }

    /// Writes the layers of a model.
    pub(super) fn write(model: &Model<'_>, memory: &'p mut [i8]) -> Self {
        let mut rest = &mut *memory;
        for layer in model.layers() {
            let len = packed_len(layer).min(rest.len());
            let (head, tail) = rest.split_at_mut(len);
            pack(layer, head);
            rest = tail;
        }
        let classifier = total_len(model.stage(StageKind::Encoder));
        let decoder = classifier + total_len(model.stage(StageKind::Classifier));
        Self { weights: memory, starts: [classifier, decoder] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The layers of a stage.
    #[inline]
    pub(super) fn chain<'m>(self, model: &'m Model<'m>, kind: StageKind) -> Chain<'m>
    where
        'p: 'm,
    {
        let [classifier, decoder] = self.starts;
        let start = match kind {
            StageKind::Encoder => 0,
            StageKind::Classifier => classifier,
            StageKind::Decoder => decoder,
        };
        Chain { layers: model.stage(kind), packed: self.weights.get(start..).unwrap_or(&[]) }
    }
}

/// The first layer of the encoder, which is asked for several times a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct First<'m> {
    /// With the epilogue of the session's profile.
    pub(super) step: Step<'m>,
    pub(super) stored: Operand<'m>,
    /// The layers after it.
    pub(super) rest: Chain<'m>,
}

impl<'m> First<'m> {
    /// `None` where the encoder has no int8 layer.
    pub(super) fn of(
        model: &'m Model<'m>,
        packed: Packed<'m>,
        epilogue: S8Epilogue<'m>,
    ) -> Option<Self> {
        let mut rest = packed.chain(model, StageKind::Encoder);
        let step = Step { epilogue, ..rest.next()? };
        Some(Self { step, stored: Operand::stored(step.layer), rest })
    }
}

/// Layers of a stage that are still to be run, and the packed weights from theirs on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain<'m> {
    layers: &'m [Layer<'m>],
    packed: &'m [i8],
}

impl<'m> Chain<'m> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.layers.len()
    }

    /// The first layer, taken off.
    // Inlined, as all that it calls: moved through memory in parts of another size than they were
    // written, its fields would have to wait for the stores.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn next(&mut self) -> Option<Step<'m>> {
        let (layer, rest) = self.layers.split_first()?;
        self.layers = rest;
        let Epilogue::S8(epilogue) = layer.epilogue() else { return None };
        let stored = Operand::stored(layer);
        let operand = match stored {
            Operand::Panels(panels) if !panels.is_narrow() => stored,
            _ if self.packed.is_empty() => stored,
            _ => {
                let (in_dim, out_dim) = (layer.in_dim(), layer.out_dim());
                let len = panels_len(layer);
                let (weights, rest) = self.packed.split_at_checked(len).unwrap_or_default();
                self.packed = rest;
                match Panels::new_checked(weights, in_dim, out_dim, panel_of(out_dim)) {
                    Some(panels) => Operand::Panels(panels),
                    None => stored,
                }
            }
        };
        Some(Step { layer, epilogue, operand })
    }
}

/// A layer, its bias and ratios, and its weights as kernels read them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'m> {
    pub(super) layer: &'m Layer<'m>,
    pub(super) epilogue: S8Epilogue<'m>,
    pub(super) operand: Operand<'m>,
}

fn total_len(layers: &[Layer<'_>]) -> usize {
    layers.iter().map(packed_len).sum()
}

/// Bytes that a layer takes in panels when it is not stored so.
fn packed_len(layer: &Layer<'_>) -> usize {
    match Operand::stored(layer) {
        Operand::Panels(panels) if !panels.is_narrow() => 0,
        _ => panels_len(layer),
    }
}

/// Bytes of a layer in panels.
#[inline]
fn panels_len(layer: &Layer<'_>) -> usize {
    let out_dim = layer.out_dim();
    stored_len(layer.in_dim(), out_dim, panel_of(out_dim)).unwrap_or(0)
}

/// Writes a layer in panels.
fn pack(layer: &Layer<'_>, to: &mut [i8]) {
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
