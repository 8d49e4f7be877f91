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

use super::vector::Vector;

/// How many fours of inputs ahead weights are asked for.
const AHEAD: usize = 4;

/// `sums[r] += Σ_i levels[i] · weights[genes[i]][r]`
///
/// # Safety
/// - The processor has the instruction set of `V`.
/// - There are as many levels as genes.
/// - For every gene, `gene · sums.len() .. (gene + 1) · sums.len()` lies in `weights`.
#[inline(always)]
pub(super) unsafe fn sparse<V: Vector>(
    weights: &[i8],
    genes: &[u32],
    levels: &[u8],
    sums: &mut [i32],
) {
    let (fours, rest) = genes.as_chunks::<4>();
    let (level_fours, level_rest) = levels.as_chunks::<4>();
    let rows = Rows {
        weights: weights.as_ptr().cast(),
        out_dim: sums.len(),
        fours,
        level_fours,
        last: last_four(rest, level_rest),
    };
    let mut done = 0;
    while done + 4 * V::WIDTH <= sums.len() && V::WIDTH == 64 {
        // SAFETY: as below.
        unsafe { block::<V, 4>(&rows, done, &mut sums[done..done + 4 * V::WIDTH]) };
        done += 4 * V::WIDTH;
    }
    while done + 2 * V::WIDTH <= sums.len() {
        // SAFETY: the block lies within the outputs, and the caller vouches for the rest.
        unsafe { block::<V, 2>(&rows, done, &mut sums[done..done + 2 * V::WIDTH]) };
        done += 2 * V::WIDTH;
    }
    while done < sums.len() {
        let end = (done + V::WIDTH).min(sums.len());
        // SAFETY: as above; a last block may be narrower than a register.
        unsafe { block::<V, 1>(&rows, done, &mut sums[done..end]) };
        done = end;
    }
}

struct Rows<'a> {
    weights: *const u8,
    out_dim: usize,
    fours: &'a [[u32; 4]],
    level_fours: &'a [[u8; 4]],
    /// The inputs after the last four, filled up with one of them at level 0.
    last: Option<([u32; 4], [u8; 4])>,
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

/// The outputs `first .. first + sums.len()`: `N` registers, or less than one.
///
/// # Safety
/// As [`sparse`]; `sums.len()` is `N · WIDTH`, or `N` is 1 and it is less.
#[inline(always)]
unsafe fn block<V: Vector, const N: usize>(rows: &Rows<'_>, first: usize, sums: &mut [i32]) {
    let lines = (N * V::WIDTH).div_ceil(64);
    // SAFETY: the instruction set is there; rows and block lie in the weights by the contract.
    unsafe {
        let mut acc = [[V::zero(); 4]; N];
        for (i, (four, level)) in rows.fours.iter().zip(rows.level_fours).enumerate() {
            if let Some(ahead) = rows.fours.get(i + AHEAD) {
                for &gene in ahead {
                    for line in 0..lines {
                        V::prefetch(rows.at(gene, first).wrapping_add(64 * line));
                    }
                }
            }
            add_four::<V, N>(rows, &mut acc, first, four, *level, sums.len());
        }
        if let Some((four, level)) = &rows.last {
            add_four::<V, N>(rows, &mut acc, first, four, *level, sums.len());
        }
        for (acc, sums) in acc.into_iter().zip(sums.chunks_mut(V::WIDTH)) {
            put(V::in_order(acc), sums);
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
        self.weights.wrapping_add(gene as usize * self.out_dim + first)
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

/// Adds `WIDTH` sums to the caller's, or as many as there are.
///
/// # Safety
/// The processor has the instruction set of `V`; `sums.len()` is at most `WIDTH`.
#[inline(always)]
unsafe fn put<V: Vector>(acc: [V; 4], sums: &mut [i32]) {
    let lanes = V::WIDTH / 4;
    // SAFETY: four registers hold `WIDTH` sums; those that are short go by way of the stack.
    unsafe {
        if sums.len() == V::WIDTH {
            for (n, acc) in acc.into_iter().enumerate() {
                let to = sums.as_mut_ptr().add(n * lanes);
                acc.add_to(to, to);
            }
            return;
        }
        let mut whole = [0; 64];
        whole[..sums.len()].copy_from_slice(sums);
        for (n, acc) in acc.into_iter().enumerate() {
            let to = whole.as_mut_ptr().add(n * lanes);
            acc.add_to(to, to);
        }
        sums.copy_from_slice(&whole[..sums.len()]);
    }
}
