//! Sums over listed inputs, weights gene-major.
//!
//! ```text
//! for every block of outputs:                    one or two registers wide
//!     for every four listed inputs:
//!         load their weights for the block       four rows, anywhere in memory
//!         add their products to the block's sums four multiplications per byte of sum
//!     add the block's sums to those of the caller
//! ```
//!
//! Rows are asked for ahead of time: they lie far apart, where no processor expects them.

use super::Listed;
use super::crossover::LARGE;
use super::vector::Vector;

/// How many fours of inputs ahead weights are asked for; of a layer that lies far away.
const AHEAD: usize = 4;
const FAR_AHEAD: usize = 8;

/// `sums[r] = start + Σ_i levels[i] · weights[genes[i]][r]`, the start being `bias[r]` or the sum itself.
/// Nothing and `false` where a gene's column does not lie in the weights.
///
/// # Safety
/// - The processor has the instruction set of `V`.
/// - There are as many levels as genes, as many entries of the bias as sums, and at least one.
#[inline(always)]
pub(super) unsafe fn sparse<V: Vector>(
    weights: &[i8],
    listed: &Listed<'_>,
    bias: Option<&[i32]>,
    sums: &mut [i32],
) -> bool {
    let Listed { genes, levels, next } = *listed;
    let n_genes = weights.len() / sums.len();
    // Without a branch for each.
    let largest = genes.iter().fold(0, |largest, &gene| largest.max(gene));
    if largest as usize >= n_genes {
        return false;
    }
    let (fours, rest) = genes.as_chunks::<4>();
    let (level_fours, level_rest) = levels.as_chunks::<4>();
    let rows = Rows {
        weights: weights.as_ptr().cast(),
        out_dim: sums.len(),
        fours,
        level_fours,
        last: last_four(rest, level_rest),
        next: next.as_chunks::<4>().0,
        ahead: if weights.len() < LARGE { AHEAD } else { FAR_AHEAD },
    };
    let (len, to) = (sums.len(), sums.as_mut_ptr());
    let start = bias.map_or(to.cast_const(), <[i32]>::as_ptr);
    let mut done = 0;
    // SAFETY: blocks lie within the outputs, a last one may be narrower than a register; every gene's
    // column lies in the weights, as was checked; the rest is the caller's.
    unsafe {
        while done + 4 * V::WIDTH <= len && V::WIDTH == 64 {
            block::<V, 4>(&rows, done, 4 * V::WIDTH, start.add(done), to.add(done));
            done += 4 * V::WIDTH;
        }
        while done + 2 * V::WIDTH <= len {
            block::<V, 2>(&rows, done, 2 * V::WIDTH, start.add(done), to.add(done));
            done += 2 * V::WIDTH;
        }
        while done < len {
            block::<V, 1>(&rows, done, V::WIDTH.min(len - done), start.add(done), to.add(done));
            done += V::WIDTH;
        }
    }
    true
}

struct Rows<'a> {
    weights: *const u8,
    out_dim: usize,
    fours: &'a [[u32; 4]],
    level_fours: &'a [[u8; 4]],
    /// The inputs after the last four, filled up with one of them at level 0.
    last: Option<([u32; 4], [u8; 4])>,
    next: &'a [[u32; 4]],
    /// How many fours ahead weights are asked for.
    ahead: usize,
}

/// Up to three inputs as four.
#[inline(always)]
fn last_four(genes: &[u32], levels: &[u8]) -> Option<([u32; 4], [u8; 4])> {
    let (mut four, mut level) = ([*genes.first()?; 4], [0; 4]);
    for (n, (&gene, &of)) in genes.iter().zip(levels).enumerate().take(3) {
        (four[n], level[n]) = (gene, of);
    }
    Some((four, level))
}

/// The outputs `first .. first + len`: `N` registers, or less than one.
///
/// # Safety
/// The processor has the instruction set of `V`. Every gene's column, and these outputs of it, lie in the
/// weights. `len` is `N · WIDTH`, or `N` is 1 and it is less; so many sums lie at `start` and at `to`.
#[inline(always)]
unsafe fn block<V: Vector, const N: usize>(
    rows: &Rows<'_>,
    first: usize,
    len: usize,
    start: *const i32,
    to: *mut i32,
) {
    let lines = (N * V::WIDTH).div_ceil(64);
    // SAFETY: the instruction set is there; rows and block lie in the weights by the contract.
    unsafe {
        let mut acc = [[V::zero(); 4]; N];
        for (i, (four, level)) in rows.fours.iter().zip(rows.level_fours).enumerate() {
            let at = i + rows.ahead;
            let ahead = match at < rows.fours.len() {
                true => rows.fours.get(at),
                false => rows.next.get(at - rows.fours.len()),
            };
            if let Some(ahead) = ahead {
                for &gene in ahead {
                    for line in 0..lines {
                        V::prefetch(rows.at(gene, first).wrapping_add(64 * line));
                    }
                }
            }
            add_four::<V, N>(rows, &mut acc, first, four, *level, len);
        }
        if let Some((four, level)) = &rows.last {
            add_four::<V, N>(rows, &mut acc, first, four, *level, len);
        }
        for (n, acc) in acc.into_iter().enumerate() {
            put(V::in_order(acc), len, start.add(n * V::WIDTH), to.add(n * V::WIDTH));
        }
    }
}

/// Adds the products of four inputs to `N` registers' sums. The registers are written one by
/// one, because a loop over them is not always unrolled, and then sums live in memory.
///
/// # Safety
/// As [`block`]; `genes` are of the rows.
#[inline(always)]
unsafe fn add_four<V: Vector, const N: usize>(
    rows: &Rows<'_>,
    acc: &mut [[V; 4]; N],
    first: usize,
    genes: &[u32; 4],
    levels: [u8; 4],
    len: usize,
) {
    let levels = u32::from_le_bytes(levels);
    // SAFETY: the caller's.
    unsafe {
        if N > 0 {
            add_register::<V>(rows, &mut acc[0], first, genes, levels, len);
        }
        if N > 1 {
            add_register::<V>(rows, &mut acc[1], first + V::WIDTH, genes, levels, len);
        }
        if N > 2 {
            add_register::<V>(rows, &mut acc[2], first + 2 * V::WIDTH, genes, levels, len);
        }
        if N > 3 {
            add_register::<V>(rows, &mut acc[3], first + 3 * V::WIDTH, genes, levels, len);
        }
    }
}

/// # Safety
/// As [`add_four`].
#[inline(always)]
unsafe fn add_register<V: Vector>(
    rows: &Rows<'_>,
    acc: &mut [V; 4],
    first: usize,
    genes: &[u32; 4],
    levels: u32,
    len: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut columns = [V::zero(); 4];
        for (column, &gene) in columns.iter_mut().zip(genes) {
            *column = load::<V>(rows.at(gene, first), len);
        }
        V::accumulate(acc, columns, levels);
    }
}

impl Rows<'_> {
    /// Where the weights of a gene for the outputs from `first` on lie.
    #[inline(always)]
    fn at(&self, gene: u32, first: usize) -> *const u8 {
        self.weights.wrapping_add((gene as usize).wrapping_mul(self.out_dim).wrapping_add(first))
    }
}

/// A register of weights; of the first `len` where that is less.
///
/// # Safety
/// The processor has the instruction set of `V`; so many bytes can be read at `from`.
#[inline(always)]
unsafe fn load<V: Vector>(from: *const u8, len: usize) -> V {
    // SAFETY: the caller's.
    unsafe { if len < V::WIDTH { V::load_partial(from, len) } else { V::load(from) } }
}

/// Writes to `to` the sums at `start` plus these, `WIDTH` or as many as `len` has left.
///
/// # Safety
/// The processor has the instruction set of `V`; `WIDTH` sums lie at `start` and at `to`, or `len` if that
/// is less.
#[inline(always)]
unsafe fn put<V: Vector>(acc: [V; 4], len: usize, start: *const i32, to: *mut i32) {
    let lanes = V::WIDTH / 4;
    // SAFETY: four registers hold `WIDTH` sums; those that are short go by way of the stack.
    unsafe {
        if len >= V::WIDTH {
            for (n, acc) in acc.into_iter().enumerate() {
                acc.add_to(start.add(n * lanes), to.add(n * lanes));
            }
            return;
        }
        let mut whole = [0_i32; 64];
        start.copy_to_nonoverlapping(whole.as_mut_ptr(), len);
        for (n, acc) in acc.into_iter().enumerate() {
            let part = whole.as_mut_ptr().add(n * lanes);
            acc.add_to(part, part);
        }
        to.copy_from_nonoverlapping(whole.as_ptr(), len);
    }
}
