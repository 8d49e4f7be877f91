//! The definition of the float operators: plain loops, in the order of the inputs. Other
//! implementations add in another order and round products and sums together.

use half::f16;

use super::{Columns, FloatSumRows, InputRows};

/// `sums[r] += Σ_i values[i] · weights[genes[i]][r]`, weights gene-major `[n_genes × sums.len()]`.
pub fn sparse_f32(weights: &[f32], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    for (&gene, &value) in genes.iter().zip(values) {
        axpy_f32(sums, value, column(weights, gene, sums.len()));
    }
}

/// [`sparse_f32`] with weights in half precision.
pub fn sparse_f16(weights: &[u16], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    for (&gene, &value) in genes.iter().zip(values) {
        axpy_f16(sums, value, column(weights, gene, sums.len()));
    }
}

/// [`sparse_f32`] with signed bytes as weights.
pub fn sparse_i8(weights: &[i8], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    for (&gene, &value) in genes.iter().zip(values) {
        axpy_i8(sums, value, column(weights, gene, sums.len()));
    }
}

/// `sums[m][r] += Σ_c inputs[m][c] · w[first_output + r][first + c]`, weights gene-major.
pub fn columns_f32(
    columns: &Columns<'_, f32>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    for row in 0..inputs.n_rows() {
        for (input, &value) in (first..).zip(inputs.row(row)) {
            axpy_f32(sums.row_mut(row), value, columns.column(input));
        }
    }
}

/// [`columns_f32`] with weights in half precision.
pub fn columns_f16(
    columns: &Columns<'_, u16>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    for row in 0..inputs.n_rows() {
        for (input, &value) in (first..).zip(inputs.row(row)) {
            axpy_f16(sums.row_mut(row), value, columns.column(input));
        }
    }
}

/// [`columns_f32`] with signed bytes as weights.
pub fn columns_i8(
    columns: &Columns<'_, i8>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    for row in 0..inputs.n_rows() {
        for (input, &value) in (first..).zip(inputs.row(row)) {
            axpy_i8(sums.row_mut(row), value, columns.column(input));
        }
    }
}

/// `sums[r] += Σ_c inputs[c] · weights[r][c]`, weights `[sums.len() × inputs.len()]`, row-major.
pub fn rows_f32(weights: &[f32], inputs: &[f32], sums: &mut [f32]) {
    for (row, sum) in weights.chunks_exact(inputs.len().max(1)).zip(sums) {
        *sum += inputs.iter().zip(row).fold(0.0, |sum, (&x, &weight)| sum + x * weight);
    }
}

/// [`rows_f32`] with weights in half precision.
pub fn rows_f16(weights: &[u16], inputs: &[f32], sums: &mut [f32]) {
    for (row, sum) in weights.chunks_exact(inputs.len().max(1)).zip(sums) {
        *sum += inputs
            .iter()
            .zip(row)
            .fold(0.0, |sum, (&x, &bits)| sum + x * f16::from_bits(bits).to_f32());
    }
}

/// [`rows_f32`] with signed bytes as weights.
pub fn rows_i8(weights: &[i8], inputs: &[f32], sums: &mut [f32]) {
    for (row, sum) in weights.chunks_exact(inputs.len().max(1)).zip(sums) {
        *sum += inputs.iter().zip(row).fold(0.0, |sum, (&x, &weight)| sum + x * f32::from(weight));
    }
}

/// `values[i] = ln(1 + values[i] · factor)`
pub fn log1p_f32(factor: f32, values: &mut [f32]) {
    for value in values {
        *value = libm::log1pf(*value * factor);
    }
}

fn column<W>(weights: &[W], gene: u32, out_dim: usize) -> &[W] {
    let start = (gene as usize).saturating_mul(out_dim);
    weights.get(start..start.saturating_add(out_dim)).unwrap_or(&[])
}

/// `sums[r] += x · column[r]`
#[inline]
fn axpy_f32(sums: &mut [f32], x: f32, column: &[f32]) {
    for (sum, &weight) in sums.iter_mut().zip(column) {
        *sum += x * weight;
    }
}

/// `sums[r] += x · column[r]`, weights in half precision.
#[inline]
fn axpy_f16(sums: &mut [f32], x: f32, column: &[u16]) {
    for (sum, &bits) in sums.iter_mut().zip(column) {
        *sum += x * f16::from_bits(bits).to_f32();
    }
}

/// `sums[r] += x · column[r]`, signed bytes.
#[inline]
fn axpy_i8(sums: &mut [f32], x: f32, column: &[i8]) {
    for (sum, &weight) in sums.iter_mut().zip(column) {
        *sum += x * f32::from(weight);
    }
}
