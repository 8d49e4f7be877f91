//! The definition of every kernel: plain loops that other implementations are compared with.
//!
//! Two operators, each in three number formats:
//!
//! - `axpy`: `sums[r] += x · column[r]` for one input and all outputs of a gene-major column;
//! - `dot`: `Σ inputs[c] · row[c]` for one output over a plain row.
//!
//! Int8 sums wrap: a verified model cannot overflow, and one that was not verified must not trap.

use half::f16;

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

/// `sums[r] += x · column[r]`
#[inline]
pub fn axpy_f32(sums: &mut [f32], x: f32, column: &[f32]) {
    for (sum, &weight) in sums.iter_mut().zip(column) {
        *sum += x * weight;
    }
}

/// `Σ x[c] · row[c]`, in the order of the columns.
#[inline]
pub fn dot_f32(x: &[f32], row: &[f32]) -> f32 {
    x.iter().zip(row).fold(0.0, |sum, (&x, &weight)| sum + x * weight)
}

/// `sums[r] += x · column[r]`, weights in half precision.
#[inline]
pub fn axpy_f16(sums: &mut [f32], x: f32, column: &[u16]) {
    for (sum, &bits) in sums.iter_mut().zip(column) {
        *sum += x * f16::from_bits(bits).to_f32();
    }
}

/// `Σ x[c] · row[c]`, weights in half precision, in the order of the columns.
#[inline]
pub fn dot_f16(x: &[f32], row: &[u16]) -> f32 {
    x.iter().zip(row).fold(0.0, |sum, (&x, &bits)| sum + x * f16::from_bits(bits).to_f32())
}
