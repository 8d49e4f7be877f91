//! What surrounds the sums, in registers of 32 bytes: requantisation, activation, levels of values.
//!
//! `(sum · multiplier + half) >> shift` in 64 bits, even and odd sums apart. AVX2 has no arithmetic
//! shift of 64 bits: `x >> s` is `(x + 2⁶³) >>> s` less `2⁶³ >>> s`.

use core::arch::x86_64::*;

use cic_model::profile::CountLevels;

use super::super::{Extent, Part, PartMut, Ratios, ValueLevels, reference};

/// See [`reference::activate_s8`].
#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
fn activate_row(sums: &[i32], ratios: &Ratios<'_>, table: &[u8], levels: &mut [u8]) {
    let Ok(table) = <&[u8; 256]>::try_from(table) else { return };
    let (eights, rest) = sums.as_chunks::<8>();
    for ((n, sums), levels) in eights.iter().enumerate().zip(levels.as_chunks_mut::<8>().0) {
        let rounded = requantize(sums, ratios, 8 * n);
        let mut indices = [0_i32; 8];
        // SAFETY: eight words of 32 bits.
        unsafe { _mm256_storeu_si256(indices.as_mut_ptr().cast(), rounded.clamp(-128, 127)) };
        for (level, index) in levels.iter_mut().zip(indices) {
            // −128 ..= 127, hence 0 ..= 255 after the sum.
            *level = table[usize::from((index + 128) as u8)];
        }
    }
    let done = 8 * eights.len();
    reference::activate_row(rest, &ratios.from(done), table, &mut levels[done..]);
}

/// See [`reference::requantize_i16s`].
#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
fn requantize_row_i16(sums: &[i32], ratios: &Ratios<'_>, out: &mut [i16]) {
    let (eights, rest) = sums.as_chunks::<8>();
    for ((n, sums), out) in eights.iter().enumerate().zip(out.as_chunks_mut::<8>().0) {
        let rounded = requantize(sums, ratios, 8 * n).clamp(i16::MIN.into(), i16::MAX.into());
        let (low, high) = (_mm256_castsi256_si128(rounded), _mm256_extracti128_si256::<1>(rounded));
        // SAFETY: eight words of 16 bits.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_packs_epi32(low, high)) };
    }
    let done = 8 * eights.len();
    reference::requantize_row_i16(rest, &ratios.from(done), &mut out[done..]);
}

/// See [`reference::requantize_i32s`].
#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
fn requantize_row_i32(sums: &[i32], ratios: &Ratios<'_>, out: &mut [i32]) {
    let (eights, rest) = sums.as_chunks::<8>();
    for ((n, sums), out) in eights.iter().enumerate().zip(out.as_chunks_mut::<8>().0) {
        let rounded = requantize(sums, ratios, 8 * n).clamp(i32::MIN.into(), i32::MAX.into());
        // SAFETY: eight words of 32 bits.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), rounded) };
    }
    let done = 8 * eights.len();
    reference::requantize_row_i32(rest, &ratios.from(done), &mut out[done..]);
}

/// Requantised sums of 64 bits: 0, 2, 4, 6 and 1, 3, 5, 7.
struct Rounded {
    even: __m256i,
    odd: __m256i,
}

/// Eight sums and the ratios from `first` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn requantize(sums: &[i32; 8], ratios: &Ratios<'_>, first: usize) -> Rounded {
    let multipliers: &[i32] = &ratios.multipliers()[first..first + 8];
    let shifts: &[u8] = &ratios.shifts()[first..first + 8];
    // SAFETY: eight words each, and eight bytes.
    let (sums, multipliers, shifts) = unsafe {
        (
            _mm256_loadu_si256(sums.as_ptr().cast()),
            _mm256_loadu_si256(multipliers.as_ptr().cast()),
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(shifts.as_ptr().cast())),
        )
    };
    let low = _mm256_set1_epi64x(0xffff_ffff);
    Rounded {
        even: requantize_four(sums, multipliers, _mm256_and_si256(shifts, low)),
        odd: requantize_four(
            _mm256_srli_epi64::<32>(sums),
            _mm256_srli_epi64::<32>(multipliers),
            _mm256_srli_epi64::<32>(shifts),
        ),
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn requantize_four(sums: __m256i, multipliers: __m256i, shifts: __m256i) -> __m256i {
    let half = _mm256_srli_epi64::<1>(_mm256_sllv_epi64(_mm256_set1_epi64x(1), shifts));
    let product = _mm256_add_epi64(_mm256_mul_epi32(sums, multipliers), half);
    let sign = _mm256_set1_epi64x(i64::MIN);
    let shifted = _mm256_srlv_epi64(_mm256_xor_si256(product, sign), shifts);
    _mm256_sub_epi64(shifted, _mm256_srlv_epi64(sign, shifts))
}

impl Rounded {
    /// In the order of the sums, limited to what 32 bits hold.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn clamp(self, least: i64, most: i64) -> __m256i {
        let even = clamp(self.even, least, most);
        let odd = clamp(self.odd, least, most);
        _mm256_blend_epi32::<0b1010_1010>(even, _mm256_slli_epi64::<32>(odd))
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn clamp(values: __m256i, least: i64, most: i64) -> __m256i {
    let (least, most) = (_mm256_set1_epi64x(least), _mm256_set1_epi64x(most));
    let values = _mm256_blendv_epi8(values, most, _mm256_cmpgt_epi64(values, most));
    _mm256_blendv_epi8(values, least, _mm256_cmpgt_epi64(least, values))
}

/// See [`reference::read_counts`]: counts below 16 are looked up in a register, 16 at a time.
#[target_feature(enable = "avx2,fma")]
pub(super) fn read_counts(rule: &mut CountLevels<'_>, counts: &[u32], levels: &mut [u8]) {
    let first = rule.first_levels();
    // SAFETY: 16 bytes.
    let first = unsafe { _mm_loadu_si128(first.as_ptr().cast()) };
    let (sixteens, rest) = counts.as_chunks::<16>();
    for (counts, levels) in sixteens.iter().zip(levels.as_chunks_mut::<16>().0) {
        // SAFETY: two times eight words.
        let (low, high) = unsafe {
            (
                _mm256_loadu_si256(counts.as_ptr().cast()),
                _mm256_loadu_si256(counts.as_ptr().add(8).cast()),
            )
        };
        // Limited to 16, so that they may be narrowed, whose quarters come in turn.
        let most = _mm256_set1_epi32(16);
        let words = _mm256_packus_epi32(_mm256_min_epu32(low, most), _mm256_min_epu32(high, most));
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
        let bytes =
            _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        // SAFETY: 16 bytes.
        unsafe {
            _mm_storeu_si128(levels.as_mut_ptr().cast(), _mm_shuffle_epi8(first, bytes));
        }
        let mut large = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(16))) as u32;
        while large != 0 {
            let lane = large.trailing_zeros() as usize;
            levels[lane] = rule.level(counts[lane]);
            large &= large - 1;
        }
    }
    reference::read_counts(rule, rest, &mut levels[16 * sixteens.len()..]);
}

/// See [`reference::read_values`] and [`super::super::Line`]: the position on the line, rounded down, where
/// that tells the level; the thresholds themselves elsewhere.
#[target_feature(enable = "avx2,fma")]
pub(super) fn read_values(
    rule: &ValueLevels<'_>,
    values: &[f32],
    next: &[f32],
    levels: &mut [u8],
) -> Extent {
    let Some(line) = rule.line() else {
        return reference::read_values(rule, values, next, levels);
    };
    let (slope, intercept) = (_mm256_set1_ps(line.slope), _mm256_set1_ps(line.intercept));
    let near = _mm256_set1_ps(line.near());
    let (eights, rest) = values.as_chunks::<8>();
    for (values, levels) in eights.iter().zip(levels.as_chunks_mut::<8>().0) {
        // SAFETY: eight floats.
        let loaded = unsafe { _mm256_loadu_ps(values.as_ptr()) };
        let position = _mm256_add_ps(_mm256_mul_ps(loaded, slope), intercept);
        // Positions outside become half-way ones, of level 0 or 127.
        let position = _mm256_min_ps(position, _mm256_set1_ps(127.5));
        let position = _mm256_max_ps(position, _mm256_set1_ps(0.5));
        let whole = _mm256_cvttps_epi32(position);
        let fraction = _mm256_sub_ps(position, _mm256_cvtepi32_ps(whole));
        let is_near = _mm256_cmp_ps::<_CMP_LT_OQ>(fraction, near);
        let words =
            _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
        let bytes = _mm_cvtsi128_si64(_mm_packus_epi16(words, words)) as u64;
        *levels = bytes.to_le_bytes();
        let mut near = _mm256_movemask_ps(is_near) as u32;
        while near != 0 {
            let lane = near.trailing_zeros() as usize;
            levels[lane] = rule.level(values[lane]);
            near &= near - 1;
        }
    }
    let done = 8 * eights.len();
    reference::read_values(rule, rest, next, &mut levels[done..]);
    reference::measure_values(values)
}
