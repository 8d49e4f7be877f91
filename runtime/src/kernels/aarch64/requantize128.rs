//! What surrounds the sums, in registers of 16 bytes: requantisation, activation, levels of values.
//!
//! `(sum · multiplier + half) >> shift` in 64 bits is one instruction, a rounding shift by a negative
//! number; limiting to fewer bits is part of narrowing.

use core::arch::aarch64::*;

use super::super::{Extent, Part, PartMut, Ratios, ValueLevels, reference};

/// See [`reference::activate_s8`].
#[target_feature(enable = "neon")]
pub(super) fn activate_s8(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    table: &[u8],
    levels: &mut PartMut<'_, u8>,
) {
    for row in 0..sums.n_rows() {
        activate_row(sums.row(row), ratios, table, levels.row_mut(row));
    }
}

/// See [`reference::activate_row`].
#[target_feature(enable = "neon")]
fn activate_row(sums: &[i32], ratios: &Ratios<'_>, table: &[u8], levels: &mut [u8]) {
    let Ok(entries) = <&[u8; 256]>::try_from(table) else { return };
    // SAFETY: 64 entries from each of the four places on.
    let [a, b, c, d] =
        unsafe { [0, 64, 128, 192].map(|at| vld1q_u8_x4(entries.as_ptr().wrapping_add(at))) };
    let quarter = vdup_n_u8(64);
    let (eights, rest) = sums.as_chunks::<8>();
    for ((n, sums), levels) in eights.iter().enumerate().zip(levels.as_chunks_mut::<8>().0) {
        let (low, high) = requantize(sums, ratios, 8 * n);
        let bytes = vqmovn_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)));
        // Plus 128. A table of 64 leaves out indices past its end.
        let index = veor_u8(vreinterpret_u8_s8(bytes), vdup_n_u8(128));
        let found = vqtbl4_u8(a, index);
        let index = vsub_u8(index, quarter);
        let found = vqtbx4_u8(found, b, index);
        let index = vsub_u8(index, quarter);
        let found = vqtbx4_u8(found, c, index);
        let found = vqtbx4_u8(found, d, vsub_u8(index, quarter));
        // SAFETY: eight bytes.
        unsafe { vst1_u8(levels.as_mut_ptr(), found) };
    }
    let done = 8 * eights.len();
    reference::activate_row(rest, &ratios.from(done), table, &mut levels[done..]);
}

/// See [`reference::requantize_i16s`].
#[target_feature(enable = "neon")]
pub(super) fn requantize_i16s(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    out: &mut PartMut<'_, i16>,
) {
    for row in 0..sums.n_rows() {
        requantize_row_i16(sums.row(row), ratios, out.row_mut(row));
    }
}

/// See [`reference::requantize_row_i16`].
#[target_feature(enable = "neon")]
fn requantize_row_i16(sums: &[i32], ratios: &Ratios<'_>, out: &mut [i16]) {
    let (eights, rest) = sums.as_chunks::<8>();
    for ((n, sums), out) in eights.iter().enumerate().zip(out.as_chunks_mut::<8>().0) {
        let (low, high) = requantize(sums, ratios, 8 * n);
        // SAFETY: eight words of 16 bits.
        unsafe {
            vst1q_s16(out.as_mut_ptr(), vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)));
        }
    }
    let done = 8 * eights.len();
    reference::requantize_row_i16(rest, &ratios.from(done), &mut out[done..]);
}

/// See [`reference::requantize_i32s`].
#[target_feature(enable = "neon")]
pub(super) fn requantize_i32s(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    out: &mut PartMut<'_, i32>,
) {
    for row in 0..sums.n_rows() {
        requantize_row_i32(sums.row(row), ratios, out.row_mut(row));
    }
}

/// See [`reference::requantize_row_i32`].
#[target_feature(enable = "neon")]
fn requantize_row_i32(sums: &[i32], ratios: &Ratios<'_>, out: &mut [i32]) {
    let (eights, rest) = sums.as_chunks::<8>();
    for ((n, sums), out) in eights.iter().enumerate().zip(out.as_chunks_mut::<8>().0) {
        let (low, high) = requantize(sums, ratios, 8 * n);
        // SAFETY: two times four words of 32 bits.
        unsafe {
            vst1q_s32(out.as_mut_ptr(), low);
            vst1q_s32(out.as_mut_ptr().add(4), high);
        }
    }
    let done = 8 * eights.len();
    reference::requantize_row_i32(rest, &ratios.from(done), &mut out[done..]);
}

/// Eight sums with the ratios from `first` on, limited to 32 bits.
#[inline]
#[target_feature(enable = "neon")]
fn requantize(sums: &[i32; 8], ratios: &Ratios<'_>, first: usize) -> (int32x4_t, int32x4_t) {
    let multipliers: &[i32] = &ratios.multipliers()[first..first + 8];
    let shifts: &[u8] = &ratios.shifts()[first..first + 8];
    // SAFETY: eight words each, and eight bytes.
    let (sums, multipliers, shifts) = unsafe {
        (
            [vld1q_s32(sums.as_ptr()), vld1q_s32(sums.as_ptr().add(4))],
            [vld1q_s32(multipliers.as_ptr()), vld1q_s32(multipliers.as_ptr().add(4))],
            vmovl_s8(vneg_s8(vreinterpret_s8_u8(vld1_u8(shifts.as_ptr())))),
        )
    };
    (
        requantize_four(sums[0], multipliers[0], vmovl_s16(vget_low_s16(shifts))),
        requantize_four(sums[1], multipliers[1], vmovl_high_s16(shifts)),
    )
}

#[inline]
#[target_feature(enable = "neon")]
fn requantize_four(sums: int32x4_t, multipliers: int32x4_t, shifts: int32x4_t) -> int32x4_t {
    let low = vmull_s32(vget_low_s32(sums), vget_low_s32(multipliers));
    let high = vmull_high_s32(sums, multipliers);
    let low = vrshlq_s64(low, vmovl_s32(vget_low_s32(shifts)));
    let high = vrshlq_s64(high, vmovl_high_s32(shifts));
    vcombine_s32(vqmovn_s64(low), vqmovn_s64(high))
}

/// See [`reference::read_values`] and [`super::super::Line`]: the position on the line, rounded down, where
/// that tells the level; the thresholds themselves elsewhere.
#[target_feature(enable = "neon")]
pub(super) fn read_values(
    rule: &ValueLevels<'_>,
    values: &[f32],
    next: &[f32],
    levels: &mut [u8],
) -> Extent {
    let Some(line) = rule.line() else {
        return reference::read_values(rule, values, next, levels);
    };
    let (fours, rest) = values.as_chunks::<4>();
    for (values, levels) in fours.iter().zip(levels.as_chunks_mut::<4>().0) {
        // SAFETY: four floats.
        let loaded = unsafe { vld1q_f32(values.as_ptr()) };
        let position = vmulq_n_f32(loaded, line.slope);
        let position = vaddq_f32(position, vdupq_n_f32(line.intercept));
        // Positions outside become half-way ones, of level 0 or 127.
        let position = vminq_f32(position, vdupq_n_f32(127.5));
        let position = vmaxq_f32(position, vdupq_n_f32(0.5));
        let whole = vcvtq_u32_f32(position);
        let fraction = vsubq_f32(position, vcvtq_f32_u32(whole));
        let is_near = vcltq_f32(fraction, vdupq_n_f32(line.near()));
        let halves = vmovn_u32(whole);
        let bytes = vmovn_u16(vcombine_u16(halves, halves));
        *levels = vget_lane_u32::<0>(vreinterpret_u32_u8(bytes)).to_le_bytes();
        // One bit of 16 a lane.
        let mut near = vget_lane_u64::<0>(vreinterpret_u64_u16(vmovn_u32(is_near)));
        near &= 0x0001_0001_0001_0001;
        while near != 0 {
            let lane = near.trailing_zeros() as usize / 16;
            levels[lane] = rule.level(values[lane]);
            near &= near - 1;
        }
    }
    let done = 4 * fours.len();
    reference::read_values(rule, rest, next, &mut levels[done..]);
    reference::measure_values(values)
}
