//! Matrix products in tiles whose bounds follow from the shape alone: whichever thread computes a
//! tile, and however many threads there are, every element is summed in the same order.
//!
//! Tiles go to rayon one by one, each computed by faer on one thread. faer's own threading waits
//! in spinning barriers, which collapses when another process holds a core.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// `n_rows × n_cols` row-major values, rows `stride` apart, as a matrix.
pub(crate) fn matrix(
    values: &[f32],
    n_rows: usize,
    n_cols: usize,
    stride: usize,
) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice_with_stride(&values[..n_rows * stride], n_rows, n_cols, stride)
}

/// [`matrix`], to write to.
pub(crate) fn matrix_mut(
    values: &mut [f32],
    n_rows: usize,
    n_cols: usize,
    stride: usize,
) -> MatMut<'_, f32> {
    let values = &mut values[..n_rows * stride];
    // faer 0.24's `from_row_major_slice_with_stride_mut` confuses the strides and writes outside.
    MatMut::from_column_major_slice_with_stride_mut(values, n_cols, n_rows, stride).transpose_mut()
}

/// `dst = lhs · rhs`, or `dst += lhs · rhs`.
pub(crate) fn multiply(
    dst: MatMut<'_, f32>,
    accum: Accum,
    lhs: MatRef<'_, f32>,
    rhs: MatRef<'_, f32>,
) {
    let (m, n, k) = (dst.nrows(), dst.ncols(), lhs.ncols());
    if m * n * k < SMALL {
        matmul(dst, accum, lhs, rhs, 1.0, Par::Seq);
    } else if n >= m {
        let width = tile_width(n);
        dst.par_col_chunks_mut(width).enumerate().for_each(|(i, tile)| {
            let rhs = rhs.subcols(i * width, tile.ncols());
            matmul(tile, accum, lhs, rhs, 1.0, Par::Seq);
        });
    } else {
        let height = m.div_ceil(16).next_multiple_of(16).clamp(128, 512);
        dst.par_row_chunks_mut(height).enumerate().for_each(|(i, tile)| {
            let lhs = lhs.subrows(i * height, tile.nrows());
            matmul(tile, accum, lhs, rhs, 1.0, Par::Seq);
        });
    }
}

/// Columns of a tile: about sixteen tiles, a multiple of the columns that the product's inner loop holds in registers,
/// large enough that packing the other operand again for each tile stays cheap.
pub(crate) fn tile_width(n: usize) -> usize {
    n.div_ceil(16).next_multiple_of(96).clamp(192, 480)
}

/// Multiply-adds below which splitting costs more than it gives.
const SMALL: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::{Purpose, Rng};

    #[test]
    fn tiled_products_equal_plain_loops_with_strides_and_transposes() {
        let mut rng = Rng::stream(1, Purpose::Initialise, 0, 0);
        for (m, n, k) in [(3, 5, 7), (130, 300, 60), (700, 33, 90), (1, 1, 1)] {
            let stride = k + 3;
            let a: Vec<f32> = (0..m * stride).map(|_| rng.normal()).collect();
            let b: Vec<f32> = (0..n * k).map(|_| rng.normal()).collect();
            let mut c = vec![1.0; m * n];
            multiply(
                matrix_mut(&mut c, m, n, n),
                Accum::Add,
                matrix(&a, m, k, stride),
                matrix(&b, n, k, k).transpose(),
            );
            for i in 0..m {
                for j in 0..n {
                    let dot: f64 = (0..k)
                        .map(|l| f64::from(a[i * stride + l]) * f64::from(b[j * k + l]))
                        .sum();
                    assert!((f64::from(c[i * n + j]) - 1.0 - dot).abs() < 1e-4, "{m} {n} {k}");
                }
            }
        }
    }

    #[test]
    fn products_are_the_same_bytes_for_every_thread_count() {
        let mut rng = Rng::stream(2, Purpose::Initialise, 0, 0);
        let (m, n, k) = (200, 700, 130);
        let a: Vec<f32> = (0..m * k).map(|_| rng.normal()).collect();
        let b: Vec<f32> = (0..n * k).map(|_| rng.normal()).collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut c = vec![0.0; m * n];
            let (lhs, rhs) = (matrix(&a, m, k, k), matrix(&b, k, n, n));
            pool.install(|| {
                multiply(matrix_mut(&mut c, m, n, n), Accum::Replace, lhs, rhs);
            });
            c
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
    }
}
