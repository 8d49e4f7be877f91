//! Listed inputs as the assembly of this family takes them: where the weights of each are, and its level.

use super::super::{Listed, reference::axpy_s8};

/// The weights of a listed input that are still to be used, and its level.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Column {
    weights: *const i8,
    level: u32,
}

/// Adds the products of the columns from `start` to `end`, a multiple of two and at least these, to the sums from
/// `sums` to `end_of_sums`, a multiple of the `WIDTH` of [`sparse_s8`] and at least so many. Columns are moved on by
/// as many weights.
pub(super) type Add = unsafe extern "C" fn(
    sums: *mut i32,
    start: *mut Column,
    end: *const Column,
    end_of_sums: *const i32,
);

/// Listed inputs that pass together, on the stack: eight bytes each.
const LISTED: usize = 16;

/// See [`super::super::reference::sparse_s8`]; `false` where a column does not lie in the weights. `add` takes
/// `WIDTH` sums or a multiple of them.
///
/// # Safety
/// - The processor has the instruction set of `add`.
/// - There are as many levels as genes, and at least one sum.
pub(super) unsafe fn sparse_s8<const WIDTH: usize>(
    weights: &[i8],
    listed: &Listed<'_>,
    bias: Option<&[i32]>,
    sums: &mut [i32],
    add: Add,
) -> bool {
    let out_dim = sums.len();
    let Some(n_genes) = weights.len().checked_div(out_dim) else { return false };
    if listed.genes.iter().any(|&gene| gene as usize >= n_genes) {
        return false;
    }
    for (sum, &bias) in sums.iter_mut().zip(bias.unwrap_or(&[])) {
        *sum = bias;
    }
    let (whole, rest) = sums.split_at_mut(out_dim - out_dim % WIDTH);
    for (genes, levels) in listed.genes.chunks(LISTED).zip(listed.levels.chunks(LISTED)) {
        let mut columns = [Column { weights: weights.as_ptr(), level: 0 }; LISTED];
        for (column, (&gene, &level)) in columns.iter_mut().zip(genes.iter().zip(levels)) {
            // In the weights, as was checked.
            let start = gene as usize * out_dim;
            *column = Column { weights: weights.as_ptr().wrapping_add(start), level: level.into() };
            if !rest.is_empty() {
                axpy_s8(rest, level, weights.get(start + whole.len()..).unwrap_or(&[]));
            }
        }
        // Two at a time, the last one at level zero where their number is odd.
        let Some(columns) = columns.get_mut(..genes.len().next_multiple_of(2)) else { continue };
        if !whole.is_empty() {
            let (columns, sums) = (columns.as_mut_ptr_range(), whole.as_mut_ptr_range());
            // SAFETY: there are two columns at least, and in each as many weights as there are sums or more, a
            // multiple of `WIDTH`.
            unsafe { add(sums.start, columns.start, columns.end, sums.end) };
        }
    }
    true
}
