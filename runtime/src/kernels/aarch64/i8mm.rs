//! The byte matrix product: `smmla` multiplies 2 cells × 8 inputs with 8 inputs × 2 outputs. In a panel,
//! the same four outputs of two consecutive groups of four inputs are two registers; interleaved by
//! words they are two outputs × 8 inputs, twice:
//!
//! ```text
//! for every 16 outputs:
//!     for every 4 cells, then 2:
//!         for every two groups:
//!             load 8 levels of each cell, two cells a register
//!             for every 4 outputs: load two registers, interleave, multiply with all pairs of cells
//!         put the sums of each cell together, and add them to the caller's
//! ```
//!
//! Interleaving pays from two cells on. A last odd cell, and everything but panels, are those of the dot
//! product.

use core::arch::aarch64::*;
use core::arch::asm;

use super::super::operands::COLUMN;
use super::super::{LevelRows, Panels, SumRows, Table};
use super::dotprod;

pub(crate) static TABLE: Table = Table { panels_s8, ..dotprod::TABLE };

#[target_feature(enable = "neon,dotprod,i8mm")]
fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    let (level_stride, sum_stride) = (levels.stride(), sums.stride());
    let paired = levels.n_rows() / 2 * 2;
    let work = Work {
        levels: levels.data().as_ptr(),
        level_stride,
        n_groups: levels.width().div_ceil(4),
        width: panels.panel() * 4,
        sum_stride,
        start_stride: if bias.is_some() { 0 } else { sum_stride },
        n_rows: paired,
    };
    let to = sums.data().as_mut_ptr();
    let start = bias.map_or(to.cast_const(), <[i32]>::as_ptr);
    let groups = panels.in_dim().div_ceil(4);
    let per_panel = panels.panel() / COLUMN;
    for column in 0..panels.out_dim().div_ceil(COLUMN) {
        let at = (column / per_panel) * groups * work.width
            + first / 4 * work.width
            + (column % per_panel) * 4 * COLUMN;
        // SAFETY: the column's panel has `groups` groups of `width` bytes, of which `first / 4 +
        // n_groups` at most are read; 16 outputs of the column lie in every row of sums.
        unsafe {
            let weights = panels.weights().as_ptr().cast::<i8>().wrapping_add(at);
            let at = column * COLUMN;
            work.column(weights, start.wrapping_add(at), to.wrapping_add(at));
        }
    }
    let (level_at, sum_at) = (paired * level_stride, paired * sum_stride);
    if let Some(data) = levels.data().get(level_at..).filter(|_| paired < levels.n_rows())
        && let Some(last) = LevelRows::new_checked(data, level_stride, levels.width(), 1)
        && let Some(to) = sums.data().get_mut(sum_at..)
        && let Some(mut to) = SumRows::new_checked(to, sum_stride, 1)
    {
        dotprod::panels_s8(panels, first, &last, bias, &mut to);
    }
}

struct Work {
    levels: *const u8,
    level_stride: usize,
    n_groups: usize,
    /// Bytes of a group of four inputs.
    width: usize,
    sum_stride: usize,
    /// From the start of one row's sums to the next: none where it is the bias of all.
    start_stride: usize,
    /// Even.
    n_rows: usize,
}

impl Work {
    /// # Safety
    /// The processor has the instruction set. `weights` has `n_groups` groups of four registers,
    /// `start` and `to` 16 sums in every row.
    #[inline(always)]
    unsafe fn column(&self, weights: *const i8, start: *const i32, to: *mut i32) {
        let mut row = 0;
        // SAFETY: rows below `n_rows` lie in levels and sums.
        unsafe {
            while row + 4 <= self.n_rows {
                self.tile::<2>(weights, row, start, to);
                row += 4;
            }
            if row < self.n_rows {
                self.tile::<1>(weights, row, start, to);
            }
        }
    }

    /// `P` pairs of rows from `row` on.
    ///
    /// # Safety
    /// As [`Work::column`]; the rows are there.
    #[inline(always)]
    unsafe fn tile<const P: usize>(
        &self,
        weights: *const i8,
        row: usize,
        start: *const i32,
        to: *mut i32,
    ) {
        let levels = self.levels.wrapping_add(row * self.level_stride).cast::<i8>();
        let start = start.wrapping_add(row * self.start_stride);
        let to = to.wrapping_add(row * self.sum_stride);
        // SAFETY: group `g` of weights and of every row's levels is there by the contract.
        unsafe {
            let zero = vdupq_n_s32(0);
            // Per pair of rows and four outputs: two by two sums of outputs 0 and 1, then of 2 and 3.
            let mut acc = [[[zero; 2]; 4]; P];
            let mut group = 0;
            while group + 2 <= self.n_groups {
                let mut pairs = [vdupq_n_s8(0); P];
                for (p, pair) in pairs.iter_mut().enumerate() {
                    let at = levels.add(2 * p * self.level_stride + 4 * group);
                    *pair = vcombine_s8(vld1_s8(at), vld1_s8(at.add(self.level_stride)));
                }
                let at = weights.add(group * self.width);
                for n in 0..4 {
                    let near = vreinterpretq_s32_s8(vld1q_s8(at.add(16 * n)));
                    let far = vreinterpretq_s32_s8(vld1q_s8(at.add(self.width + 16 * n)));
                    multiply(&mut acc, n, &pairs, near, far);
                }
                group += 2;
            }
            if group < self.n_groups {
                let mut pairs = [vdupq_n_s8(0); P];
                for (p, pair) in pairs.iter_mut().enumerate() {
                    let at = levels.add(2 * p * self.level_stride + 4 * group);
                    let below = at.add(self.level_stride);
                    let words = vsetq_lane_s32::<0>(at.cast::<i32>().read_unaligned(), zero);
                    let below = below.cast::<i32>().read_unaligned();
                    *pair = vreinterpretq_s8_s32(vsetq_lane_s32::<2>(below, words));
                }
                let at = weights.add(group * self.width);
                for n in 0..4 {
                    let near = vreinterpretq_s32_s8(vld1q_s8(at.add(16 * n)));
                    multiply(&mut acc, n, &pairs, near, zero);
                }
            }
            for (p, acc) in acc.into_iter().enumerate() {
                for (n, [left, right]) in acc.into_iter().enumerate() {
                    let left = vreinterpretq_s64_s32(left);
                    let right = vreinterpretq_s64_s32(right);
                    let start = start.add(2 * p * self.start_stride + 4 * n);
                    let to = to.add(2 * p * self.sum_stride + 4 * n);
                    add_to(start, to, vreinterpretq_s32_s64(vzip1q_s64(left, right)));
                    let (start, to) = (start.add(self.start_stride), to.add(self.sum_stride));
                    add_to(start, to, vreinterpretq_s32_s64(vzip2q_s64(left, right)));
                }
            }
        }
    }
}

/// Adds to the sums `n` of every pair of rows the products with two groups of weights.
///
/// # Safety
/// The processor has the instruction set.
#[inline(always)]
unsafe fn multiply<const P: usize>(
    acc: &mut [[[int32x4_t; 2]; 4]; P],
    n: usize,
    pairs: &[int8x16_t; P],
    near: int32x4_t,
    far: int32x4_t,
) {
    // SAFETY: the caller's.
    unsafe {
        let left = vreinterpretq_s8_s32(vzip1q_s32(near, far));
        let right = vreinterpretq_s8_s32(vzip2q_s32(near, far));
        for (acc, &pair) in acc.iter_mut().zip(pairs) {
            acc[n][0] = mmla(acc[n][0], pair, left);
            acc[n][1] = mmla(acc[n][1], pair, right);
        }
    }
}

/// `sums[2i + j] + Σ_k levels[8i + k] · weights[8j + k]`. Its intrinsic is not stable yet.
///
/// # Safety
/// The processor has the instruction set.
#[inline(always)]
unsafe fn mmla(mut sums: int32x4_t, levels: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the processor has the instruction; it changes the one register only.
    unsafe {
        asm!(
            "smmla {sums:v}.4s, {levels:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            levels = in(vreg) levels,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// # Safety
/// Four sums can be read at `start` and written at `to`.
#[inline(always)]
unsafe fn add_to(start: *const i32, to: *mut i32, sums: int32x4_t) {
    // SAFETY: the caller's.
    unsafe { vst1q_s32(to, vaddq_s32(vld1q_s32(start), sums)) }
}
