//! Sums of one cell over listed inputs or a range of them, weights gene-major.
//!
//! ```text
//! for every BLOCK inputs:
//!     for every block of outputs:                       N registers
//!         for every K inputs:
//!             for each: repeat its value over a register, and add N products to its own N sums
//!         add the K sums of a register, and those to the sums of the caller
//! ```
//!
//! Narrow blocks take several inputs at a time, so that no sum waits for the one before. Columns are
//! asked for ahead of time: they lie far apart, where no processor expects them.

use super::BLOCK;
use super::vector::{FloatVector, Weight, add_to};

/// How many inputs ahead weights are asked for.
const AHEAD: usize = 4;

/// `sums[r] += Σ_i values[i] · weights[genes[i]][r]`; `N` registers at a time, a multiple of 4.
///
/// # Safety
/// - The processor has the instruction set of `V`.
/// - There are as many values as genes.
/// - For every gene, `gene · sums.len() .. (gene + 1) · sums.len()` lies in `weights`.
#[inline(always)]
pub(super) unsafe fn sparse<V: FloatVector, W: Weight, const N: usize>(
    weights: &[W],
    genes: &[u32],
    values: &[f32],
    sums: &mut [f32],
) {
    let stride = sums.len();
    for (genes, values) in genes.chunks(BLOCK).zip(values.chunks(BLOCK)) {
        let work = Work { weights: weights.as_ptr(), stride, inputs: Listed(genes), values };
        // SAFETY: the columns of all genes lie in the weights, and are as long as the sums.
        unsafe { outputs::<V, W, Listed<'_>, N>(&work, sums) };
    }
}

/// `sums[r] += Σ_i values[i] · weights[i][r]`, columns `stride` weights apart.
///
/// # Safety
/// - The processor has the instruction set of `V`.
/// - At `i · stride` from `weights`, for every `i` below `values.len()`, lie `sums.len()` weights.
#[inline(always)]
pub(super) unsafe fn range<V: FloatVector, W: Weight, const N: usize>(
    weights: *const W,
    stride: usize,
    values: &[f32],
    sums: &mut [f32],
) {
    for (n, values) in values.chunks(BLOCK).enumerate() {
        let weights = weights.wrapping_add(n * BLOCK * stride);
        let work = Work { weights, stride, inputs: All, values };
        // SAFETY: the caller vouches for the columns of all values.
        unsafe { outputs::<V, W, All, N>(&work, sums) };
    }
}

/// Which columns of weights the values belong to.
trait Inputs {
    /// The column of value `i`.
    ///
    /// # Safety
    /// There is a value `i`.
    unsafe fn column(&self, i: usize) -> usize;
}

/// Those of a list, one for every value.
struct Listed<'a>(&'a [u32]);

impl Inputs for Listed<'_> {
    #[inline(always)]
    unsafe fn column(&self, i: usize) -> usize {
        // SAFETY: there are as many columns as values.
        unsafe { *self.0.get_unchecked(i) as usize }
    }
}

/// The first ones.
struct All;

impl Inputs for All {
    #[inline(always)]
    unsafe fn column(&self, i: usize) -> usize {
        i
    }
}

struct Work<'a, W, I> {
    weights: *const W,
    stride: usize,
    inputs: I,
    values: &'a [f32],
}

impl<W, I: Inputs> Work<'_, W, I> {
    /// Where the weights of value `i` for the outputs from `first` on lie.
    ///
    /// # Safety
    /// There is a value `i`.
    #[inline(always)]
    unsafe fn at(&self, i: usize, first: usize) -> *const W {
        // SAFETY: the caller's.
        let column = unsafe { self.inputs.column(i) };
        self.weights.wrapping_add(column * self.stride + first)
    }
}

/// # Safety
/// The processor has the instruction set of `V`; every value has a column of `sums.len()` weights.
#[inline(always)]
unsafe fn outputs<V: FloatVector, W: Weight, I: Inputs, const N: usize>(
    work: &Work<'_, W, I>,
    sums: &mut [f32],
) {
    let (len, lanes) = (sums.len(), V::LANES);
    let to = sums.as_mut_ptr();
    let mut done = 0;
    // SAFETY: blocks lie within the outputs; only the last may be narrower than its register.
    unsafe {
        while done + N * lanes <= len {
            block::<V, W, I, N, 1>(work, done, to.add(done), lanes);
            done += N * lanes;
        }
        while done + 4 * lanes <= len {
            block::<V, W, I, 4, 2>(work, done, to.add(done), lanes);
            done += 4 * lanes;
        }
        while done + lanes <= len {
            block::<V, W, I, 1, 4>(work, done, to.add(done), lanes);
            done += lanes;
        }
        if done < len {
            block::<V, W, I, 1, 4>(work, done, to.add(done), len - done);
        }
    }
}

/// `N` registers of outputs from `first` on, `K` inputs at a time.
///
/// # Safety
/// As [`outputs`]; `to` has `N · LANES` sums, and so has every column of weights from `first` on, or
/// `N` is 1 and they have `len`.
#[inline(always)]
unsafe fn block<V: FloatVector, W: Weight, I: Inputs, const N: usize, const K: usize>(
    work: &Work<'_, W, I>,
    first: usize,
    to: *mut f32,
    len: usize,
) {
    let n_values = work.values.len();
    // SAFETY: `i + k`, and what is asked for ahead, are below the number of values; the rest is the
    // caller's.
    unsafe {
        let mut acc = [[V::splat(0.0); N]; K];
        let mut i = 0;
        while i + K <= n_values {
            for (k, acc) in acc.iter_mut().enumerate() {
                prefetch::<V, W, N>(work.at((i + k + AHEAD).min(n_values - 1), first));
                let value = *work.values.get_unchecked(i + k);
                add_products::<V, W, N>(acc, value, work.at(i + k, first), len);
            }
            i += K;
        }
        while i < n_values {
            let value = *work.values.get_unchecked(i);
            add_products::<V, W, N>(&mut acc[0], value, work.at(i, first), len);
            i += 1;
        }
        for n in 0..N {
            let mut sum = acc[0][n];
            for acc in &acc[1..] {
                sum = sum.add(acc[n]);
            }
            add_to(sum, to.add(n * V::LANES), len);
        }
    }
}

/// # Safety
/// The processor has the instruction set of `V`; `N` registers of weights can be read, or `N` is 1 and
/// `len` weights can be.
#[inline(always)]
unsafe fn add_products<V: FloatVector, W: Weight, const N: usize>(
    acc: &mut [V; N],
    value: f32,
    weights: *const W,
    len: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let value = V::splat(value);
        for (n, acc) in acc.iter_mut().enumerate() {
            *acc = acc.fma(value, W::load::<V>(weights.add(n * V::LANES), len));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn prefetch<V: FloatVector, W: Weight, const N: usize>(at: *const W) {
    let lines = (N * V::LANES * size_of::<W>()).div_ceil(64);
    for line in 0..lines {
        // SAFETY: the address need not be readable.
        unsafe { V::prefetch(at.cast::<u8>().wrapping_add(64 * line)) };
    }
}
