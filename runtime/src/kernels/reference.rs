//! The definition of every kernel: plain loops that other implementations are compared with.
//!
//! None is inlined: the table of a processor without kernels and the checks before it share one copy.
//!
//! Int8 sums wrap: a verified model cannot overflow, and one that was not verified must not trap.

use cic_model::layer::Layout;
use cic_model::profile::CountLevels;
use cic_model::quant::{code_level, requantize_i16, requantize_i32, table_index};

use crate::outcome::Depth;

use super::{Extent, LevelRows, Listed, Panels, Part, PartMut, Ratios, SumRows, ValueLevels};

/// `sums[r] = start + Σ_i levels[i] · weights[genes[i]][r]`, the start being `bias[r]` where there is one, else
/// `sums[r]`; weights gene-major `[n_genes × sums.len()]`.
#[inline(never)]
pub fn sparse_s8(weights: &[i8], listed: &Listed<'_>, bias: Option<&[i32]>, sums: &mut [i32]) {
    let out_dim = sums.len();
    for (sum, &bias) in sums.iter_mut().zip(bias.unwrap_or(&[])) {
        *sum = bias;
    }
    for (&gene, &level) in listed.genes.iter().zip(listed.levels) {
        let column = (gene as usize).saturating_mul(out_dim);
        let end = column.saturating_add(out_dim);
        axpy_s8(sums, level, weights.get(column..end).unwrap_or(&[]));
    }
}

/// `sums[m][r] = start + Σ_c levels[m][c] · w[r][first + c]`, the start being `bias[r]` where there is one,
/// else `sums[m][r]`.
#[inline(never)]
pub fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    let layout = Layout { block: 4, panel: panels.panel() as u32 };
    for row in 0..levels.n_rows() {
        let input = levels.row(row);
        if let Some(bias) = bias {
            for (sum, &bias) in sums.row_mut(row).iter_mut().zip(bias).take(panels.out_dim()) {
                *sum = bias;
            }
        }
        for (out, sum) in sums.row_mut(row).iter_mut().take(panels.out_dim()).enumerate() {
            for (column, &level) in input.iter().enumerate() {
                let at = layout.index(out, first + column, panels.in_dim());
                let weight = panels.weights().get(at).copied().unwrap_or(0);
                *sum = sum.wrapping_add(i32::from(level) * i32::from(weight));
            }
        }
    }
}

/// `sums[r] += Σ_c levels[c] · weights[r][c]`, weights `[sums.len() × levels.len()]`, row-major.
#[inline(never)]
pub fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    for (row, sum) in weights.chunks_exact(levels.len().max(1)).zip(sums) {
        *sum = sum.wrapping_add(dot_s8(levels, row));
    }
}

/// `levels[m][r] = table[index of sums[m][r]]`, see [`table_index`].
#[inline(never)]
pub fn activate_s8(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    table: &[u8],
    levels: &mut PartMut<'_, u8>,
) {
    for row in 0..sums.n_rows() {
        activate_row(sums.row(row), ratios, table, levels.row_mut(row));
    }
}

/// `levels[r] = table[index of sums[r]]`
pub fn activate_row(sums: &[i32], ratios: &Ratios<'_>, table: &[u8], levels: &mut [u8]) {
    for ((&sum, ratio), level) in sums.iter().zip(ratios.iter()).zip(levels) {
        *level = table.get(usize::from(table_index(sum, ratio))).copied().unwrap_or(0);
    }
}

/// `out[m][r] = requantize_i16(sums[m][r])`
#[inline(never)]
pub fn requantize_i16s(sums: &Part<'_, i32>, ratios: &Ratios<'_>, out: &mut PartMut<'_, i16>) {
    for row in 0..sums.n_rows() {
        requantize_row_i16(sums.row(row), ratios, out.row_mut(row));
    }
}

/// `out[r] = requantize_i16(sums[r])`
pub fn requantize_row_i16(sums: &[i32], ratios: &Ratios<'_>, out: &mut [i16]) {
    for ((&sum, ratio), out) in sums.iter().zip(ratios.iter()).zip(out) {
        *out = requantize_i16(sum, ratio);
    }
}

/// `out[m][r] = requantize_i32(sums[m][r])`
#[inline(never)]
pub fn requantize_i32s(sums: &Part<'_, i32>, ratios: &Ratios<'_>, out: &mut PartMut<'_, i32>) {
    for row in 0..sums.n_rows() {
        requantize_row_i32(sums.row(row), ratios, out.row_mut(row));
    }
}

/// `out[r] = requantize_i32(sums[r])`
pub fn requantize_row_i32(sums: &[i32], ratios: &Ratios<'_>, out: &mut [i32]) {
    for ((&sum, ratio), out) in sums.iter().zip(ratios.iter()).zip(out) {
        *out = requantize_i32(sum, ratio);
    }
}

/// `levels[m][d] = code_level(codes[m][d])`
#[inline(never)]
pub fn code_levels(
    codes: &Part<'_, i16>,
    offsets: &[i32],
    ratios: &Ratios<'_>,
    levels: &mut PartMut<'_, u8>,
) {
    for row in 0..codes.n_rows() {
        code_levels_row(codes.row(row), offsets, ratios, levels.row_mut(row));
    }
}

/// `levels[d] = code_level(codes[d])`
pub fn code_levels_row(codes: &[i16], offsets: &[i32], ratios: &Ratios<'_>, levels: &mut [u8]) {
    for (((&code, &offset), ratio), level) in
        codes.iter().zip(offsets).zip(ratios.iter()).zip(levels)
    {
        *level = code_level(code, offset, ratio);
    }
}

/// `levels[i] = #{k : values[i] · factor ≥ t_k}`, and [`measure_values`]. The level of what is not a number
/// depends on the instruction set: sessions refuse it. `next` are those that are read after
/// these, for who can ask for them; nothing depends on them.
#[inline(never)]
pub fn read_values(
    rule: &ValueLevels<'_>,
    values: &[f32],
    _next: &[f32],
    levels: &mut [u8],
) -> Extent {
    for (&value, level) in values.iter().zip(levels) {
        *level = rule.level(value);
    }
    measure_values(values)
}

/// `levels[i] = rule.level(counts[i])`
#[inline(never)]
pub fn read_counts(rule: &mut CountLevels<'_>, counts: &[u32], levels: &mut [u8]) {
    for (&count, level) in counts.iter().zip(levels) {
        *level = if count == 0 { 0 } else { rule.level(count) };
    }
}

/// Sum of the counts, and how many are above zero.
#[inline(always)]
pub fn measure_counts(counts: &[u32]) -> Depth {
    Depth {
        n_counts: counts.iter().map(|&count| u64::from(count)).sum(),
        n_genes: counts.iter().map(|&count| u32::from(count > 0)).sum(),
    }
}

/// Whether every gene is above the one before it.
#[inline(always)]
pub fn are_increasing(genes: &[u32]) -> bool {
    // Without a branch for each.
    let above = genes.get(1..).unwrap_or(&[]);
    genes.iter().zip(above).fold(true, |ok, (gene, above)| ok & (gene < above))
}

/// The largest bits of the values, and how many are not zero.
#[inline(always)]
pub fn measure_values(values: &[f32]) -> Extent {
    values.iter().fold(Extent::default(), |extent, value| Extent {
        largest_bits: extent.largest_bits.max(value.to_bits()),
        n_set: extent.n_set + u32::from(*value != 0.0),
    })
}

/// `sums[r] += level · column[r]`
#[inline]
pub fn axpy_s8(sums: &mut [i32], level: u8, column: &[i8]) {
    let level = i32::from(level);
    for (sum, &weight) in sums.iter_mut().zip(column) {
        *sum = sum.wrapping_add(level * i32::from(weight));
    }
}

/// `Σ levels[c] · row[c]`
#[inline]
pub fn dot_s8(levels: &[u8], row: &[i8]) -> i32 {
    levels.iter().zip(row).fold(0, |sum: i32, (&level, &weight)| {
        sum.wrapping_add(i32::from(level) * i32::from(weight))
    })
}
