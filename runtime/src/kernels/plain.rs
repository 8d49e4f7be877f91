//! Kernels for any processor, above all small ones: what registers hold is used more than once.
//!
//! Panels of four outputs: four levels are multiplied with four weights of each. Listed inputs: eight outputs at a
//! time, over all inputs that are listed.

use super::reference::axpy_s8;
use super::{LevelRows, Listed, Panels, SumRows};

/// Outputs whose sums stay in registers while listed inputs pass.
const WIDTH: usize = 8;

/// See [`super::reference::panels_s8`]; panels of four.
pub(super) fn fours_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    let len = panels.in_dim().next_multiple_of(4) * 4;
    for row in 0..levels.n_rows() {
        let (fours, rest) = levels.row(row).as_chunks::<4>();
        let outputs = sums.row_mut(row).as_chunks_mut::<4>().0;
        for (n, (panel, sums)) in panels.weights().chunks_exact(len.max(1)).zip(outputs).enumerate()
        {
            if let Some(bias) = bias.and_then(|bias| bias.as_chunks::<4>().0.get(n)) {
                *sums = *bias;
            }
            let weights = panel.as_chunks::<16>().0.get(first / 4..).unwrap_or(&[]);
            for (weights, levels) in weights.iter().zip(fours) {
                add_group(sums, weights, levels);
            }
            if let (Some(weights), false) = (weights.get(fours.len()), rest.is_empty()) {
                let mut levels = [0; 4];
                for (to, &from) in levels.iter_mut().zip(rest) {
                    *to = from;
                }
                add_group(sums, weights, &levels);
            }
        }
    }
}

/// `sums[r] += Σ_c levels[c] · weights[4 r + c]`
#[inline(always)]
fn add_group(sums: &mut [i32; 4], weights: &[i8; 16], levels: &[u8; 4]) {
    let levels = levels.map(i32::from);
    for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<4>().0) {
        for (&weight, level) in weights.iter().zip(levels) {
            *sum = sum.wrapping_add(level * i32::from(weight));
        }
    }
}

/// See [`super::reference::sparse_s8`]; `false` where a column does not lie in the weights.
pub(super) fn sparse_s8(
    weights: &[i8],
    listed: &Listed<'_>,
    bias: Option<&[i32]>,
    sums: &mut [i32],
) -> bool {
    let out_dim = sums.len();
    let Some(n_genes) = weights.len().checked_div(out_dim) else { return false };
    if listed.genes.iter().any(|&gene| gene as usize >= n_genes) {
        return false;
    }
    for (sum, &bias) in sums.iter_mut().zip(bias.unwrap_or(&[])) {
        *sum = bias;
    }
    // In the weights, as was checked.
    let column = |gene: u32, from| weights.get(gene as usize * out_dim + from..).unwrap_or(&[]);
    let (eights, rest) = sums.as_chunks_mut::<WIDTH>();
    for (n, sums) in eights.iter_mut().enumerate() {
        for (&gene, &level) in listed.genes.iter().zip(listed.levels) {
            let Some(weights) = column(gene, n * WIDTH).first_chunk::<WIDTH>() else { continue };
            for (sum, &weight) in sums.iter_mut().zip(weights) {
                *sum = sum.wrapping_add(i32::from(level) * i32::from(weight));
            }
        }
    }
    if !rest.is_empty() {
        for (&gene, &level) in listed.genes.iter().zip(listed.levels) {
            axpy_s8(rest, level, column(gene, eights.len() * WIDTH));
        }
    }
    true
}
