//! Sums over a range of inputs, weights gene-major, for one cell or many; and over all inputs, weights
//! in plain rows.
//!
//! ```text
//! for every INPUTS inputs:
//!     for every N registers of outputs:
//!         for every M cells:
//!             for every input:
//!                 load the N registers of weights
//!                 for each cell: repeat its input over a register, and add N products
//!             add the N · M registers to the cells' sums
//! ```
//!
//! A single cell has no second use for a weight; it takes the loop over listed inputs.

use super::sparse::{self, prefetch};
use super::vector::{FloatVector, Weight, add_to};
use super::{Columns, FloatSumRows, InputRows};

/// Inputs that are summed before they join the sums of the cells: their weights stay in the second
/// cache while all cells go by.
const INPUTS: usize = 256;

/// How many inputs ahead weights are asked for.
const AHEAD: usize = 8;

/// `sums[m][r] += Σ_c inputs[m][c] · w[first_output + r][first + c]`: `M` cells and `N` registers at a
/// time; single cells `ONE` registers, a multiple of 4.
///
/// # Safety
/// - The processor has the instruction set of `V`.
/// - `first + inputs.width()` is at most `columns.in_dim()`.
/// - Sums have at least as many rows as inputs, each at least `columns.n_outputs()` long.
#[inline(always)]
pub(super) unsafe fn columns<V, W, const M: usize, const N: usize, const ONE: usize>(
    columns: &Columns<'_, W>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) where
    V: FloatVector,
    W: Weight,
{
    let (stride, n_outputs) = (columns.out_dim(), columns.n_outputs());
    let weights = columns.weights().as_ptr().wrapping_add(first * stride + columns.first_output());
    if inputs.n_rows() == 1 {
        let sums = &mut sums.row_mut(0)[..n_outputs];
        // SAFETY: inputs `first ..` have columns, and each has the weights of all outputs.
        return unsafe { sparse::range::<V, W, ONE>(weights, stride, inputs.row(0), sums) };
    }
    let (sum_stride, to) = (sums.stride(), sums.data().as_mut_ptr());
    let mut done = 0;
    while done < inputs.width() {
        let work = Work {
            weights: weights.wrapping_add(done * stride),
            stride,
            inputs: inputs.data().as_ptr().wrapping_add(done),
            input_stride: inputs.stride(),
            n_inputs: INPUTS.min(inputs.width() - done),
            sum_stride,
            n_rows: inputs.n_rows(),
        };
        // SAFETY: inputs `done .. done + n_inputs` are there in every row, and so are their columns.
        unsafe { outputs::<V, W, M, N>(&work, to, n_outputs) };
        done += INPUTS;
    }
}

struct Work<W> {
    /// Those of the first input for the first output.
    weights: *const W,
    stride: usize,
    inputs: *const f32,
    input_stride: usize,
    n_inputs: usize,
    sum_stride: usize,
    n_rows: usize,
}

/// # Safety
/// The processor has the instruction set of `V`; `n_outputs` weights of every input and sums of every
/// row are there.
#[inline(always)]
unsafe fn outputs<V: FloatVector, W: Weight, const M: usize, const N: usize>(
    work: &Work<W>,
    to: *mut f32,
    n_outputs: usize,
) {
    let lanes = V::LANES;
    let mut done = 0;
    // SAFETY: blocks lie within the outputs; only the last may be narrower than its register.
    unsafe {
        while done + N * lanes <= n_outputs {
            all_rows::<V, W, M, N>(work, done, to.add(done), lanes);
            done += N * lanes;
        }
        while done < n_outputs {
            all_rows::<V, W, M, 1>(work, done, to.add(done), lanes.min(n_outputs - done));
            done += lanes;
        }
    }
}

/// # Safety
/// As [`outputs`], for the `N` registers of outputs from `first` on, or `len` outputs where `N` is 1.
#[inline(always)]
unsafe fn all_rows<V: FloatVector, W: Weight, const M: usize, const N: usize>(
    work: &Work<W>,
    first: usize,
    to: *mut f32,
    len: usize,
) {
    let mut row = 0;
    // SAFETY: rows below `n_rows` lie in inputs and sums.
    unsafe {
        while row + M <= work.n_rows {
            tile::<V, W, M, N>(work, first, row, to, len);
            row += M;
        }
        while row + 2 <= work.n_rows {
            tile::<V, W, 2, N>(work, first, row, to, len);
            row += 2;
        }
        if row < work.n_rows {
            tile::<V, W, 1, N>(work, first, row, to, len);
        }
    }
}

/// # Safety
/// As [`all_rows`], for the `M` rows from `row` on.
#[inline(always)]
unsafe fn tile<V: FloatVector, W: Weight, const M: usize, const N: usize>(
    work: &Work<W>,
    first: usize,
    row: usize,
    to: *mut f32,
    len: usize,
) {
    // SAFETY: every input has its weights, and every row its inputs, by the contract.
    unsafe {
        let inputs = work.inputs.add(row * work.input_stride);
        let mut weights = work.weights.add(first);
        let mut acc = [[V::splat(0.0); N]; M];
        for input in 0..work.n_inputs {
            prefetch::<V, W, N>(weights.wrapping_add(AHEAD * work.stride));
            let mut loaded = [V::splat(0.0); N];
            for (n, loaded) in loaded.iter_mut().enumerate() {
                *loaded = W::load::<V>(weights.add(n * V::LANES), len);
            }
            for (m, acc) in acc.iter_mut().enumerate() {
                let x = V::splat(*inputs.add(m * work.input_stride + input));
                for (acc, &weights) in acc.iter_mut().zip(&loaded) {
                    *acc = acc.fma(x, weights);
                }
            }
            weights = weights.wrapping_add(work.stride);
        }
        for (m, acc) in acc.into_iter().enumerate() {
            let to = to.add((row + m) * work.sum_stride);
            for (n, acc) in acc.into_iter().enumerate() {
                add_to(acc, to.add(n * V::LANES), len);
            }
        }
    }
}

/// `sums[r] += Σ_c inputs[c] · weights[r][c]`, eight rows at a time.
///
/// # Safety
/// The processor has the instruction set of `V`; there are `sums.len() · inputs.len()` weights, and
/// at least one.
#[inline(always)]
pub(super) unsafe fn rows<V: FloatVector, W: Weight>(
    weights: &[W],
    inputs: &[f32],
    sums: &mut [f32],
) {
    let in_dim = inputs.len();
    for (n, sums) in sums.chunks_mut(8).enumerate() {
        let weights = weights.as_ptr().wrapping_add(8 * n * in_dim);
        // SAFETY: each of the sums has a row of `in_dim` weights.
        unsafe {
            if sums.len() > 4 {
                row_group::<V, W, 8>(weights, inputs, sums);
            } else {
                row_group::<V, W, 4>(weights, inputs, sums);
            }
        }
    }
}

/// Up to `R` rows, 4 or 8. Where there are fewer, the last one is summed again instead.
///
/// # Safety
/// As [`rows`], with 1 to `R` sums.
#[inline(always)]
unsafe fn row_group<V: FloatVector, W: Weight, const R: usize>(
    weights: *const W,
    inputs: &[f32],
    sums: &mut [f32],
) {
    let in_dim = inputs.len();
    let mut rows = [weights; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = weights.wrapping_add(r.min(sums.len() - 1) * in_dim);
    }
    // SAFETY: every row has `in_dim` weights, of which `at .. at + LANES` or what is left are read.
    unsafe {
        let mut acc = [V::splat(0.0); R];
        let mut at = 0;
        while at + V::LANES <= in_dim {
            let x = V::load(inputs.as_ptr().add(at));
            for (acc, row) in acc.iter_mut().zip(&rows) {
                *acc = acc.fma(x, W::load::<V>(row.add(at), V::LANES));
            }
            at += V::LANES;
        }
        if at < in_dim {
            let rest = in_dim - at;
            let x = V::load_partial(inputs.as_ptr().add(at), rest);
            for (acc, row) in acc.iter_mut().zip(&rows) {
                *acc = acc.fma(x, W::load::<V>(row.add(at), rest));
            }
        }
        for (sums, acc) in sums.chunks_mut(4).zip(acc.as_chunks::<4>().0) {
            for (sum, total) in sums.iter_mut().zip(V::totals(*acc)) {
                *sum += total;
            }
        }
    }
}
