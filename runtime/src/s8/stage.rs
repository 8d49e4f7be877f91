//! A chain of dense layers, for all cells of a tile at once.
//!
//! Outputs are summed, requantised and activated in chunks, so that sums never leave the nearest
//! memory.

use core::ops::Range;

use cic_model::layer::{S8Epilogue, Weights};
use cic_model::quant::requantize_i32;

use crate::kernels::{Kernels, LevelRows, Part, PartMut, Ratios, SumRows, sum_stride};

use super::memory::{row, row_mut};
use super::operand::{Chain, Operand, Step};

/// Levels of all cells of a tile.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) levels: &'a [u8],
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) n_rows: usize,
}

/// Where the carried sums of a stage come from.
pub(super) enum Carry<'c, 'm> {
    None,
    /// From the sums of the first layer, rows `[first ..]` of each cell.
    Sums {
        sums: &'c [i32],
        stride: usize,
        first: usize,
        epilogue: S8Epilogue<'m>,
    },
    /// Computed when needed, from the first layer and its inputs.
    Layer {
        step: &'c Step<'m>,
        inputs: &'c Inputs<'c>,
    },
}

/// Memory of a stage.
pub(super) struct Work<'w> {
    pub(super) levels: [&'w mut [u8]; 2],
    pub(super) level_stride: usize,
    pub(super) sums: Sums<'w>,
}

/// Memory of the sums of a chunk of outputs.
pub(super) struct Sums<'w> {
    /// One row, padded for kernels.
    bias: &'w mut [i32],
    chunk: Chunk<'w>,
    carried: Chunk<'w>,
}

impl<'w> Sums<'w> {
    /// Chunks have `stride` sums for every cell.
    pub(super) fn new(
        bias: &'w mut [i32],
        chunk: &'w mut [i32],
        carried: &'w mut [i32],
        stride: usize,
    ) -> Self {
        Self {
            bias,
            chunk: Chunk { sums: chunk, stride },
            carried: Chunk { sums: carried, stride },
        }
    }
}

/// Sums of a few outputs of every cell.
struct Chunk<'w> {
    sums: &'w mut [i32],
    stride: usize,
}

impl Chunk<'_> {
    fn cell(&mut self, cell: usize) -> &mut [i32] {
        row_mut(self.sums, cell, self.stride)
    }
}

/// What a stage hands over: outputs, their sums for every cell, and ratios.
pub(super) trait Put: FnMut(Range<usize>, &Part<'_, i32>, &Ratios<'_>) {}
impl<F: FnMut(Range<usize>, &Part<'_, i32>, &Ratios<'_>)> Put for F {}

/// All layers of a stage whose inputs are levels. The sums of its last layer, carry included, go to
/// `put`.
pub(super) fn run(
    kernels: &Kernels,
    mut chain: Chain<'_>,
    inputs: &Inputs<'_>,
    work: &mut Work<'_>,
    put: impl Put,
) {
    // Matched in its place: a copy would double what it takes of a small stack.
    let first = chain.next();
    let Some(first) = &first else { return };
    if chain.len() == 0 {
        return last(kernels, first, inputs, &Carry::None, &mut work.sums, put);
    }
    let [a, _] = &mut work.levels;
    hidden(kernels, first, inputs, &mut work.sums, a, work.level_stride);
    let carry = match first.layer.carry() {
        0 => Carry::None,
        _ => Carry::Layer { step: first, inputs },
    };
    rest(kernels, first.layer.activated_dim(), chain, &carry, inputs.n_rows, work, put);
}

/// The layers after the first, whose levels are in the first buffer.
pub(super) fn rest(
    kernels: &Kernels,
    in_dim: usize,
    mut chain: Chain<'_>,
    carry: &Carry<'_, '_>,
    n_rows: usize,
    work: &mut Work<'_>,
    put: impl Put,
) {
    let stride = work.level_stride;
    let [from, to] = &mut work.levels;
    let (mut from, mut to) = (&mut **from, &mut **to);
    let mut width = in_dim;
    while chain.len() > 1 {
        let step = chain.next();
        let Some(step) = &step else { return };
        let inputs = Inputs { levels: from, stride, width, n_rows };
        hidden(kernels, step, &inputs, &mut work.sums, to, stride);
        width = step.layer.activated_dim();
        core::mem::swap(&mut from, &mut to);
    }
    let step = chain.next();
    let Some(step) = &step else { return };
    let inputs = Inputs { levels: from, stride, width, n_rows };
    last(kernels, step, &inputs, carry, &mut work.sums, put);
}

/// Levels of a layer's activated outputs.
fn hidden(
    kernels: &Kernels,
    step: &Step<'_>,
    inputs: &Inputs<'_>,
    memory: &mut Sums<'_>,
    to: &mut [u8],
    stride: usize,
) {
    let width = step.layer.activated_dim();
    for outputs in chunks(step, 0..width, memory.chunk.stride) {
        sums(kernels, step, outputs.clone(), inputs, memory.bias, &mut memory.chunk);
        let n_rows = inputs.n_rows;
        let chunk = &memory.chunk;
        let sums = Part::new_checked(chunk.sums, chunk.stride, outputs.len(), n_rows);
        let levels = PartMut::new_checked(to, stride, width, n_rows);
        if let (Some(sums), Some(mut levels)) = (sums, levels) {
            activate(kernels, step, outputs, &sums, &mut levels);
        }
    }
    pad(to, stride, width);
}

/// Makes the levels after the first `width` of every row zero, as kernels require.
pub(super) fn pad(levels: &mut [u8], stride: usize, width: usize) {
    if width.is_multiple_of(4) {
        return;
    }
    for row in levels.chunks_exact_mut(stride.max(1)) {
        let padding = row.get_mut(width..width.next_multiple_of(4)).unwrap_or(&mut []);
        padding.fill(0);
    }
}

/// Levels of some activated outputs of all cells, in their places in `levels`. `sums` has a row of these
/// outputs for each.
pub(super) fn activate(
    kernels: &Kernels,
    step: &Step<'_>,
    outputs: Range<usize>,
    sums: &Part<'_, i32>,
    levels: &mut PartMut<'_, u8>,
) {
    let mut end = 0;
    for (len, table) in step.layer.segment_tables() {
        let begin = end;
        end += len;
        let (from, to) = (begin.max(outputs.start), end.min(outputs.end));
        if from >= to {
            continue;
        }
        let ratios = Ratios::of(&step.epilogue, from, to - from);
        let sums = sums.columns(from - outputs.start..to - outputs.start);
        kernels.activate_s8(&sums, &ratios, table, &mut levels.columns_mut(from..to));
    }
}

/// Sums of a stage's last layer, with what is carried.
// A frame less on a small stack.
#[cfg_attr(target_os = "none", inline(always))]
fn last(
    kernels: &Kernels,
    step: &Step<'_>,
    inputs: &Inputs<'_>,
    carry: &Carry<'_, '_>,
    memory: &mut Sums<'_>,
    mut put: impl Put,
) {
    for outputs in chunks(step, 0..step.layer.activated_dim(), memory.chunk.stride) {
        sums(kernels, step, outputs.clone(), inputs, memory.bias, &mut memory.chunk);
        add_carried(kernels, carry, outputs.clone(), inputs.n_rows, memory);
        let ratios = Ratios::of(&step.epilogue, outputs.start, outputs.len());
        let Chunk { sums, stride } = &memory.chunk;
        if let Some(sums) = Part::new_checked(sums, *stride, outputs.len(), inputs.n_rows) {
            put(outputs, &sums, &ratios);
        }
    }
}

/// Adds the requantised carried rows of the outputs to their sums.
fn add_carried(
    kernels: &Kernels,
    carry: &Carry<'_, '_>,
    outputs: Range<usize>,
    n_rows: usize,
    memory: &mut Sums<'_>,
) {
    let Sums { bias, chunk, carried } = memory;
    match carry {
        Carry::None => return,
        Carry::Sums { sums, stride, first, epilogue } => {
            let sums = sums.get(first + outputs.start..).unwrap_or(&[]);
            let ratios = Ratios::of(epilogue, first + outputs.start, outputs.len());
            let to = PartMut::new_checked(carried.sums, carried.stride, outputs.len(), n_rows);
            let sums = Part::new_checked(sums, *stride, outputs.len(), n_rows);
            if let (Some(sums), Some(mut to)) = (sums, to) {
                kernels.requantize_i32s(&sums, &ratios, &mut to);
            }
        }
        Carry::Layer { step, inputs } => {
            let first = step.layer.activated_dim();
            let rows = first + outputs.start..first + outputs.end;
            sums(kernels, step, rows.clone(), inputs, bias, carried);
            for cell in 0..n_rows {
                for (sum, row) in carried.cell(cell).iter_mut().zip(rows.clone()) {
                    *sum = requantize_i32(*sum, step.epilogue.ratio(row));
                }
            }
        }
    }
    for cell in 0..n_rows {
        let carried = carried.cell(cell).get(..outputs.len()).unwrap_or(&[]);
        for (sum, &carried) in chunk.cell(cell).iter_mut().zip(carried) {
            *sum = sum.wrapping_add(carried);
        }
    }
}

/// Outputs in chunks: whole panels where weights lie in panels.
fn chunks(
    step: &Step<'_>,
    outputs: Range<usize>,
    most: usize,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let len = match &step.operand {
        // Never 0, which no panel is.
        Operand::Panels(panels) => (most - most % panels.panel().max(1)).max(panels.panel()).max(1),
        _ => most.max(1),
    };
    let end = outputs.end;
    outputs.step_by(len).map(move |start| start..(start + len).min(end))
}

/// Bias and products of the outputs of a chunk, for every cell. `padded` has room for the bias of a chunk.
fn sums(
    kernels: &Kernels,
    step: &Step<'_>,
    outputs: Range<usize>,
    inputs: &Inputs<'_>,
    padded: &mut [i32],
    chunk: &mut Chunk<'_>,
) {
    let bias = step.epilogue.bias.get(outputs.clone()).unwrap_or(&[]);
    let in_dim = step.layer.in_dim();
    // A chunk of another layer's panels need not be one of this layer's.
    if let Operand::Panels(panels) = step.operand
        && let Some(panels) = panels.outputs(&outputs)
    {
        // Kernels read the bias of whole columns.
        let mut bias = bias;
        if !bias.len().is_multiple_of(sum_stride(1)) {
            for (padded, &bias) in padded.iter_mut().zip(bias) {
                *padded = bias;
            }
            bias = padded;
        }
        let Inputs { levels, stride, width, n_rows } = *inputs;
        let levels = LevelRows::new_checked(levels, stride, width, n_rows);
        let sums = SumRows::new_checked(chunk.sums, chunk.stride, n_rows);
        if let (Some(levels), Some(mut sums)) = (levels, sums) {
            kernels.panels_s8(&panels, 0, &levels, Some(bias), &mut sums);
        }
        return;
    }
    for cell in 0..inputs.n_rows {
        for (sum, &bias) in chunk.cell(cell).iter_mut().zip(bias) {
            *sum = bias;
        }
    }
    match step.operand {
        Operand::Rows(weights) => {
            let range = outputs.start * in_dim..outputs.end * in_dim;
            let weights = weights.get(range).unwrap_or(&[]);
            for cell in 0..inputs.n_rows {
                let levels = row(inputs.levels, cell, inputs.stride).get(..in_dim).unwrap_or(&[]);
                let sums = chunk.cell(cell).get_mut(..outputs.len()).unwrap_or(&mut []);
                kernels.rows_s8(weights, levels, sums);
            }
        }
        _ => {
            let Weights::S8(weights) = step.layer.weights() else { return };
            for cell in 0..inputs.n_rows {
                let levels = row(inputs.levels, cell, inputs.stride).get(..in_dim).unwrap_or(&[]);
                for (sum, output) in chunk.cell(cell).iter_mut().zip(outputs.clone()) {
                    for (column, &level) in levels.iter().enumerate() {
                        let at = step.layer.layout().index(output, column, in_dim);
                        let weight = weights.get(at).copied().unwrap_or(0);
                        *sum = sum.wrapping_add(i32::from(level) * i32::from(weight));
                    }
                }
            }
        }
    }
}
