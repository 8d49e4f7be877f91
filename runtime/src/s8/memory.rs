//! How the scratch of a session is divided among the cells that run together.

use cic_model::layer::Layer;
use cic_model::{Model, StageKind};

use crate::kernels::sum_stride;

use super::operand::Operand;
use super::verdict::Words;

/// Outputs of a layer that are summed and requantised together, where no panel is wider.
const NARROWEST_CHUNK: usize = 16;

/// Bytes of a cache line. Panels and rows of sums are whole ones.
pub(super) const LINE: usize = 64;

/// Lengths that follow from the model: what one cell needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Sums of the first layer, padded for kernels.
    pub(super) sum_stride: usize,
    /// Levels between layers, padded to a multiple of 4.
    pub(super) level_stride: usize,
    /// Levels of the inputs that are laid out together, padded to a multiple of 4; 0 where they never
    /// are.
    pub(super) input_stride: usize,
    pub(super) code_dim: usize,
    /// The 7-bit code, padded to a multiple of 4.
    pub(super) code_stride: usize,
    pub(super) n_leaves: usize,
    /// Outputs that are summed and requantised together: the widest panel.
    pub(super) chunk: usize,
    /// Whether some layer is in panels, whose kernels read a padded bias.
    pub(super) has_panels: bool,
}

impl Shape {
    pub(super) fn of(model: &Model<'_>, input_stride: usize) -> Self {
        let stages = [StageKind::Encoder, StageKind::Classifier, StageKind::Decoder];
        let hidden = stages.iter().filter_map(|&kind| model.stage(kind).split_last());
        let widest = hidden.flat_map(|(_, hidden)| hidden.iter().map(Layer::activated_dim)).max();
        let first = model.stage(StageKind::Encoder).first();
        let widest_panel = model.layers().iter().filter_map(|layer| match Operand::stored(layer) {
            Operand::Panels(panels) => Some(panels.panel()),
            _ => None,
        });
        let widest_panel = widest_panel.max();
        Self {
            sum_stride: sum_stride(first.map_or(0, Layer::out_dim)),
            level_stride: widest.unwrap_or(0).next_multiple_of(4),
            input_stride,
            code_dim: model.code_dim(),
            code_stride: model.code_dim().next_multiple_of(4),
            n_leaves: model.n_leaves(),
            chunk: widest_panel.unwrap_or(0).max(NARROWEST_CHUNK),
            has_panels: widest_panel.is_some(),
        }
    }

    /// Words of 4 bytes for so many cells.
    pub(super) fn words(&self, n_rows: usize) -> usize {
        let words: usize = self.parts(n_rows).into_iter().sum();
        if self.is_aligned() { words + LINE / 4 - 1 } else { words }
    }

    /// Whether rows begin where cache lines do: where inputs are laid out in parts.
    fn is_aligned(&self) -> bool {
        self.input_stride > 0 && self.input_stride.is_multiple_of(LINE)
    }

    /// Words of the parts, in their order.
    fn parts(&self, n_rows: usize) -> [usize; 12] {
        [
            match (self.has_panels, self.input_stride) {
                (false, _) => 0,
                (true, 0) => self.chunk,
                (true, _) => self.chunk.max(self.sum_stride),
            },
            n_rows * self.input_stride / 4,
            n_rows * self.sum_stride,
            n_rows * self.chunk,
            n_rows * self.chunk,
            n_rows * self.level_stride / 4,
            n_rows * self.level_stride / 4,
            n_rows * size_of::<Words>() / 4,
            (n_rows * self.code_dim).div_ceil(2),
            n_rows * self.code_stride / 4,
            n_rows * self.n_leaves,
            n_rows * self.n_leaves,
        ]
    }
}

/// The scratch, divided. Every part but the bias holds one row per cell.
pub(super) struct Memory<'s> {
    pub(super) verdicts: &'s mut [Words],
    /// One row, padded for kernels.
    pub(super) bias: &'s mut [i32],
    pub(super) inputs: &'s mut [u8],
    pub(super) sums: &'s mut [i32],
    pub(super) levels: [&'s mut [u8]; 2],
    pub(super) chunk: &'s mut [i32],
    pub(super) carried: &'s mut [i32],
    pub(super) code: &'s mut [i16],
    pub(super) code_levels: &'s mut [u8],
    pub(super) logits: &'s mut [i32],
    pub(super) probabilities: &'s mut [u32],
}

impl<'s> Memory<'s> {
    /// `None` where the scratch is too short.
    pub(super) fn divide(shape: &Shape, n_rows: usize, scratch: &'s mut [u32]) -> Option<Self> {
        let start = if shape.is_aligned() { scratch.as_ptr().align_offset(LINE) } else { 0 };
        let mut rest = scratch.get_mut(start..)?;
        let mut parts: [&'s mut [u32]; 12] = Default::default();
        for (part, words) in parts.iter_mut().zip(shape.parts(n_rows)) {
            let (head, tail) = rest.split_at_mut_checked(words)?;
            (*part, rest) = (head, tail);
        }
        let [bias, inputs, sums, chunk, carried, a, b, verdicts, code, code_levels, logits, last] =
            parts;
        Some(Self {
            verdicts: verdicts.as_chunks_mut().0,
            bias: bytemuck::must_cast_slice_mut(bias),
            inputs: bytemuck::must_cast_slice_mut(inputs),
            sums: bytemuck::must_cast_slice_mut(sums),
            levels: [bytemuck::must_cast_slice_mut(a), bytemuck::must_cast_slice_mut(b)],
            chunk: bytemuck::must_cast_slice_mut(chunk),
            carried: bytemuck::must_cast_slice_mut(carried),
            code: bytemuck::must_cast_slice_mut(code),
            code_levels: bytemuck::must_cast_slice_mut(code_levels),
            logits: bytemuck::must_cast_slice_mut(logits),
            probabilities: last,
        })
    }
}

/// An odd number of cache lines for so many bytes, so that rows do not compete for the same places of a
/// cache.
pub(super) fn odd_lines(len: usize) -> usize {
    (len.div_ceil(LINE) | 1) * LINE
}

/// Row `row` of a part whose rows have `stride` entries; empty past the end.
pub(super) fn row<T>(part: &[T], row: usize, stride: usize) -> &[T] {
    part.get(row * stride..(row + 1) * stride).unwrap_or(&[])
}

/// See [`row`].
pub(super) fn row_mut<T>(part: &mut [T], row: usize, stride: usize) -> &mut [T] {
    part.get_mut(row * stride..(row + 1) * stride).unwrap_or(&mut [])
}
