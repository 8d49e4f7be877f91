//! Sums over a range of inputs, for one cell or many, weights in panels; and over all inputs,
//! weights in plain rows.
//!
//! ```text
//! for every panel, and every N registers of it:     N · WIDTH / 4 outputs
//!     for every part of the inputs that stays near, every M cells, then 2:
//!         for every four inputs:
//!             load the N registers of weights       consecutive in the panel
//!             for each cell: repeat its four levels over a register, and add N products
//!         add the N · M registers to the bias or the cells' sums
//! ```
//!
//! A single cell has no second use for a weight; there the loop runs over four times four inputs with
//! a set of sums each, so that no sum waits for the one before.

use super::operands::{COLUMN, LevelRows, Panels, SumRows};
use super::vector::Vector;

/// `sums[m][r] = start + Σ_c levels[m][c] · w[r][first + c]`, the start being `bias[r]` or the sum
/// itself: `M` cells and `N` registers at a time; `MORE` cells and `ONE` register, or two, where no more
/// outputs are left. `N` registers hold 16, 32 or 64 outputs, `ONE` hold 16.
///
/// # Safety
/// - The processor has the instruction set of `V`.
/// - `first` is a multiple of 4, and `first + levels.width()` at most `panels.in_dim()`.
/// - Sums have at least as many rows as levels, each [`super::sum_stride`] long; so is the bias.
#[inline(always)]
pub(super) unsafe fn panels<
    V: Vector,
    const M: usize,
    const N: usize,
    const MORE: usize,
    const ONE: usize,
>(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    let groups = panels.in_dim().div_ceil(4);
    let width = panels.panel() * 4;
    let work = Work {
        levels: levels.data().as_ptr(),
        level_stride: levels.stride(),
        n_groups: levels.width().div_ceil(4),
        width,
        sum_stride: sums.stride(),
        start_stride: if bias.is_some() { 0 } else { sums.stride() },
        n_rows: levels.n_rows(),
    };
    let to = sums.data().as_mut_ptr();
    let start = bias.map_or(to.cast_const(), <[i32]>::as_ptr);
    let lanes = V::WIDTH / 4;
    // Past the end where no inputs are left, and then not read.
    let at = |panel: usize, within: usize, group: usize| {
        let weights = panels.weights().as_ptr().cast::<u8>();
        weights.wrapping_add((panel * groups + group) * width + 4 * within)
    };
    let (mut out, mut panel, mut within) = (0, 0, 0);
    while out < panels.out_dim() {
        // The columns of 16 outputs that this panel still has.
        let end = panels.out_dim().next_multiple_of(COLUMN).min((panel + 1) * panels.panel());
        let registers = match (end - out) / lanes {
            left if left >= N => N,
            2.. if ONE == 1 => 2,
            _ => ONE,
        };
        let weights = at(panel, within, first / 4);
        let from = out;
        (out, within) = (out + registers * lanes, within + registers * lanes);
        if within == panels.panel() {
            (panel, within) = (panel + 1, 0);
        }
        // What is read after these: more outputs, or of the next inputs the first ones.
        let next = match out < panels.out_dim() {
            true => at(panel, within, first / 4),
            false => at(0, 0, first / 4 + work.n_groups),
        };
        // SAFETY: the panel has `groups` groups of `width` bytes, `first / 4 + n_groups` of them at
        // most are read; 16 outputs from `from` on lie in every row of sums, and as many registers as
        // `end` allows.
        unsafe {
            let (start, to) = (start.add(from), to.add(from));
            if registers == N {
                all_rows::<V, M, N>(&work, weights, next, start, to);
            } else if ONE == 1 && registers == 2 {
                all_rows::<V, MORE, 2>(&work, weights, next, start, to);
            } else {
                all_rows::<V, MORE, ONE>(&work, weights, next, start, to);
            }
        }
    }
}

/// Bytes of a panel that stay in the nearest memory while all cells pass.
const NEAR: usize = 16 << 10;

#[derive(Clone, Copy)]
struct Work {
    levels: *const u8,
    level_stride: usize,
    n_groups: usize,
    /// Bytes of a group of four inputs.
    width: usize,
    sum_stride: usize,
    /// From the start of one row's sums to the next: none where it is the bias of all.
    start_stride: usize,
    n_rows: usize,
}

/// # Safety
/// `weights` has `n_groups` groups of `N` registers, `start` and `to` as many sums in every row. `next` need
/// not be readable.
#[inline(always)]
unsafe fn all_rows<V: Vector, const M: usize, const N: usize>(
    work: &Work,
    weights: *const u8,
    next: *const u8,
    start: *const i32,
    to: *mut i32,
) {
    let many = if work.n_rows > M { NEAR / work.width } else { work.n_groups };
    let mut group = 0;
    // SAFETY: parts of the groups, the first from the start and the others from the sums.
    unsafe {
        loop {
            let is_first = group == 0;
            let part = Work {
                levels: work.levels.add(4 * group),
                n_groups: many.min(work.n_groups - group),
                start_stride: if is_first { work.start_stride } else { work.sum_stride },
                ..*work
            };
            let start = if is_first { start } else { to.cast_const() };
            let now = weights.add(group * work.width);
            group += part.n_groups;
            let is_last = group >= work.n_groups;
            let next = if is_last { next } else { weights.add(group * work.width) };
            all_rows_of_part::<V, M, N>(&part, now, next, start, to);
            if is_last {
                return;
            }
        }
    }
}

/// # Safety
/// As [`all_rows`].
#[inline(always)]
unsafe fn all_rows_of_part<V: Vector, const M: usize, const N: usize>(
    work: &Work,
    weights: *const u8,
    next: *const u8,
    start: *const i32,
    to: *mut i32,
) {
    let mut row = 0;
    // SAFETY: rows below `n_rows` lie in levels, starts and sums.
    unsafe {
        // The next weights come a line for every group of these.
        let (mut ask, asked) = (next, next.wrapping_add(work.n_groups * work.width));
        while row + M <= work.n_rows {
            let levels = work.levels.add(row * work.level_stride);
            let start = start.add(row * work.start_stride);
            tile::<V, M, N>(work, weights, ask, levels, start, to.add(row * work.sum_stride));
            ask = ask.wrapping_add(64 * work.n_groups);
            if ask >= asked {
                ask = weights;
            }
            row += M;
        }
        while M > 2 && row + 2 <= work.n_rows {
            let levels = work.levels.add(row * work.level_stride);
            let start = start.add(row * work.start_stride);
            tile::<V, 2, N>(work, weights, ask, levels, start, to.add(row * work.sum_stride));
            row += 2;
        }
        while row < work.n_rows {
            let levels = work.levels.add(row * work.level_stride);
            let start = start.add(row * work.start_stride);
            let to = to.add(row * work.sum_stride);
            single::<V, N>(work, weights, levels, start, to);
            row += 1;
        }
    }
}

/// # Safety
/// As [`all_rows`], for the `M` rows at `levels`, `start` and `to`.
#[inline(always)]
unsafe fn tile<V: Vector, const M: usize, const N: usize>(
    work: &Work,
    weights: *const u8,
    ask: *const u8,
    levels: *const u8,
    start: *const i32,
    to: *mut i32,
) {
    // SAFETY: group `g` of weights and of every row's levels is there by the contract.
    unsafe {
        let mut acc = [[V::zero(); N]; M];
        for group in 0..work.n_groups {
            V::prefetch(ask.wrapping_add(64 * group));
            let weights = load::<V, N>(weights.add(group * work.width));
            for (m, acc) in acc.iter_mut().enumerate() {
                let four = levels.add(m * work.level_stride + 4 * group);
                let four = V::splat(four.cast::<u32>().read_unaligned());
                for (acc, &weights) in acc.iter_mut().zip(&weights) {
                    *acc = acc.dot(four, weights);
                }
            }
        }
        for (m, acc) in acc.into_iter().enumerate() {
            for (n, acc) in acc.into_iter().enumerate() {
                let start = start.add(m * work.start_stride + n * V::WIDTH / 4);
                acc.add_to(start, to.add(m * work.sum_stride + n * V::WIDTH / 4));
            }
        }
    }
}

/// # Safety
/// As [`all_rows`], for the row at `levels`, `start` and `to`.
#[inline(always)]
unsafe fn single<V: Vector, const N: usize>(
    work: &Work,
    weights: *const u8,
    levels: *const u8,
    start: *const i32,
    to: *mut i32,
) {
    // SAFETY: as in `tile`.
    unsafe {
        let mut acc = [[V::zero(); N]; 4];
        let mut group = 0;
        while group + 4 <= work.n_groups {
            for (k, acc) in acc.iter_mut().enumerate() {
                step::<V, N>(work, weights, levels, group + k, acc);
            }
            group += 4;
        }
        while group < work.n_groups {
            step::<V, N>(work, weights, levels, group, &mut acc[0]);
            group += 1;
        }
        let [a, b, c, d] = acc;
        for n in 0..N {
            let at = n * V::WIDTH / 4;
            a[n].add(b[n]).add(c[n].add(d[n])).add_to(start.add(at), to.add(at));
        }
    }
}

/// # Safety
/// As [`single`], for one of the groups.
#[inline(always)]
unsafe fn step<V: Vector, const N: usize>(
    work: &Work,
    weights: *const u8,
    levels: *const u8,
    group: usize,
    acc: &mut [V; N],
) {
    // SAFETY: as in `tile`.
    unsafe {
        let weights = weights.add(group * work.width);
        // Layers of few outputs are near.
        if N > 2 {
            for n in 0..(N * V::WIDTH).div_ceil(64) {
                V::prefetch(weights.wrapping_add(AHEAD + 64 * n));
            }
        }
        let weights = load::<V, N>(weights);
        let four = V::splat(levels.add(4 * group).cast::<u32>().read_unaligned());
        for (acc, weights) in acc.iter_mut().zip(weights) {
            *acc = acc.dot(four, weights);
        }
    }
}

/// # Safety
/// `N` registers can be read at `from`.
#[inline(always)]
unsafe fn load<V: Vector, const N: usize>(from: *const u8) -> [V; N] {
    // SAFETY: the caller's.
    unsafe {
        let mut loaded = [V::zero(); N];
        for (n, loaded) in loaded.iter_mut().enumerate() {
            *loaded = V::load(from.add(n * V::WIDTH));
        }
        loaded
    }
}

/// How far ahead weights are asked for, in bytes.
const AHEAD: usize = 2048;

/// `sums[r] += Σ_c levels[c] · weights[r][c]`, four rows at a time.
///
/// # Safety
/// The processor has the instruction set of `V`; there are `sums.len() · levels.len()` weights, and
/// at least one.
#[inline(always)]
pub(super) unsafe fn rows<V: Vector>(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    let first = weights.as_ptr().cast::<u8>();
    let (fours, rest) = sums.as_chunks_mut::<4>();
    let done = 4 * fours.len();
    for (n, four) in fours.iter_mut().enumerate() {
        // SAFETY: each of the rows `4n .. 4n + 4` has `levels.len()` weights.
        unsafe { some_rows::<V, 4>(first.add(4 * n * levels.len()), levels, four) };
    }
    for (n, sum) in rest.iter_mut().enumerate() {
        // SAFETY: so has row `done + n`.
        unsafe {
            let row = first.add((done + n) * levels.len());
            some_rows::<V, 1>(row, levels, core::array::from_mut(sum));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `V`; there are `N · levels.len()` weights at `first`.
#[inline(always)]
unsafe fn some_rows<V: Vector, const N: usize>(
    first: *const u8,
    levels: &[u8],
    sums: &mut [i32; N],
) {
    let in_dim = levels.len();
    let (whole, rest) = (in_dim / V::WIDTH, in_dim % V::WIDTH);
    // SAFETY: row `r` has `in_dim` weights, and there are as many levels.
    unsafe {
        let mut acc = [V::zero(); N];
        for n in 0..whole {
            let at = n * V::WIDTH;
            let levels = V::load(levels.as_ptr().add(at));
            for (r, acc) in acc.iter_mut().enumerate() {
                *acc = acc.dot(levels, V::load(first.add(r * in_dim + at)));
            }
        }
        if rest > 0 {
            let at = whole * V::WIDTH;
            let levels = V::load_partial(levels.as_ptr().add(at), rest);
            for (r, acc) in acc.iter_mut().enumerate() {
                *acc = acc.dot(levels, V::load_partial(first.add(r * in_dim + at), rest));
            }
        }
        for (sum, acc) in sums.iter_mut().zip(acc) {
            *sum = sum.wrapping_add(acc.total());
        }
    }
}
