//! AVX2: registers of 32 bytes, products by `maddubs` and `madd` as with SSE4.1. Bytes change places
//! within the halves of a register only, so sums of listed inputs are put in order at the end.

use core::arch::x86_64::*;

use cic_model::profile::CountLevels;
use cic_model::quant::softmax_q16;

use crate::outcome::Depth;

use super::super::vector::Vector;
use super::super::{
    Extent, LevelRows, Listed, Panels, Part, PartMut, Ratios, SumRows, Table, ValueLevels, dense,
    reference, sparse,
};
use super::requantize256;

pub(crate) static TABLE: Table = Table {
    sparse_s8,
    panels_s8,
    fours_s8: super::super::plain::fours_s8,
    rows_s8,
    activate_s8,
    requantize_i16s,
    requantize_i32s,
    code_levels: reference::code_levels,
    read_values,
    read_counts,
    softmax_q16,
    are_increasing,
    measure_counts,
    measure_values,
};

#[target_feature(enable = "avx2,fma")]
fn sparse_s8(weights: &[i8], listed: &Listed<'_>, bias: Option<&[i32]>, sums: &mut [i32]) -> bool {
    // SAFETY: the instruction set is enabled here; the rest is what `Table` asks of its callers.
    unsafe { sparse::sparse::<V32<Madd>>(weights, listed, bias, sums) }
}

#[target_feature(enable = "avx2,fma")]
fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::panels::<V32<Madd>, 2, 4, 4, 2>(panels, first, levels, bias, sums) }
}

#[target_feature(enable = "avx2,fma")]
fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V32<Madd>>(weights, levels, sums) }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn activate_s8(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    table: &[u8],
    levels: &mut PartMut<'_, u8>,
) {
    requantize256::activate_s8(sums, ratios, table, levels);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn requantize_i16s(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    out: &mut PartMut<'_, i16>,
) {
    requantize256::requantize_i16s(sums, ratios, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn requantize_i32s(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    out: &mut PartMut<'_, i32>,
) {
    requantize256::requantize_i32s(sums, ratios, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn read_values(
    rule: &ValueLevels<'_>,
    values: &[f32],
    next: &[f32],
    levels: &mut [u8],
) -> Extent {
    requantize256::read_values(rule, values, next, levels)
}

#[target_feature(enable = "avx2,fma")]
fn read_counts(rule: &mut CountLevels<'_>, counts: &[u32], levels: &mut [u8]) {
    requantize256::read_counts(rule, counts, levels);
}

#[target_feature(enable = "avx2,fma")]
fn are_increasing(genes: &[u32]) -> bool {
    reference::are_increasing(genes)
}

#[target_feature(enable = "avx2,fma")]
fn measure_counts(counts: &[u32]) -> Depth {
    reference::measure_counts(counts)
}

#[target_feature(enable = "avx2,fma")]
fn measure_values(values: &[f32]) -> Extent {
    reference::measure_values(values)
}

/// How 32 products become 8 sums.
pub(super) trait Products: Copy {
    /// `sums[j] + Σ_b levels[4j + b] · weights[4j + b]`
    ///
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn dot(sums: __m256i, levels: __m256i, weights: __m256i) -> __m256i;
}

/// By way of 16-bit sums of two.
#[derive(Clone, Copy)]
pub(super) struct Madd;

impl Products for Madd {
    #[inline(always)]
    unsafe fn dot(sums: __m256i, levels: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe {
            let pairs = _mm256_maddubs_epi16(levels, weights);
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
}

/// A register of 32 bytes.
#[derive(Clone, Copy)]
pub(super) struct V32<P>(__m256i, core::marker::PhantomData<P>);

/// A register.
#[inline(always)]
fn v<P>(register: __m256i) -> V32<P> {
    V32(register, core::marker::PhantomData)
}

// SAFETY of every function: AVX2 is there, and memory is what the trait asks of its callers.
impl<P: Products> Vector for V32<P> {
    const WIDTH: usize = 32;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see the impl.
        unsafe { v(_mm256_setzero_si256()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: see the impl.
        unsafe { v(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const u8, len: usize) -> Self {
        let mut bytes = [0_u8; 32];
        // SAFETY: see the impl; `len` is below 32.
        unsafe {
            core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), len);
            Self::load(bytes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn add_to(self, start: *const i32, to: *mut i32) {
        // SAFETY: see the impl.
        unsafe {
            let sum = _mm256_add_epi32(_mm256_loadu_si256(start.cast()), self.0);
            _mm256_storeu_si256(to.cast(), sum);
        }
    }

    #[inline(always)]
    unsafe fn splat(bytes: u32) -> Self {
        // SAFETY: see the impl.
        unsafe { v(_mm256_set1_epi32(bytes as i32)) }
    }

    #[inline(always)]
    unsafe fn dot(self, levels: Self, weights: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { v(P::dot(self.0, levels.0, weights.0)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { v(_mm256_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn total(self) -> i32 {
        // SAFETY: see the impl.
        unsafe {
            let high = _mm256_extracti128_si256::<1>(self.0);
            let four = _mm_add_epi32(_mm256_castsi256_si128(self.0), high);
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
            _mm_cvtsi128_si32(one)
        }
    }

    #[inline(always)]
    unsafe fn accumulate(sums: &mut [Self; 4], rows: [Self; 4], levels: u32) {
        // SAFETY: see the impl.
        unsafe {
            let [a, b, c, d] = rows;
            let ab = _mm256_unpacklo_epi8(a.0, b.0);
            let cd = _mm256_unpacklo_epi8(c.0, d.0);
            let ab_high = _mm256_unpackhi_epi8(a.0, b.0);
            let cd_high = _mm256_unpackhi_epi8(c.0, d.0);
            let levels = Self::splat(levels);
            let [s, t, u, w] = sums;
            *s = s.dot(levels, v(_mm256_unpacklo_epi16(ab, cd)));
            *t = t.dot(levels, v(_mm256_unpackhi_epi16(ab, cd)));
            *u = u.dot(levels, v(_mm256_unpacklo_epi16(ab_high, cd_high)));
            *w = w.dot(levels, v(_mm256_unpackhi_epi16(ab_high, cd_high)));
        }
    }

    #[inline(always)]
    unsafe fn in_order(sums: [Self; 4]) -> [Self; 4] {
        // Register `i` holds outputs 4i .. 4i + 4 and 16 + 4i .. 16 + 4i + 4.
        // SAFETY: see the impl.
        unsafe {
            let [a, b, c, d] = sums;
            [
                v(_mm256_permute2x128_si256::<0x20>(a.0, b.0)),
                v(_mm256_permute2x128_si256::<0x20>(c.0, d.0)),
                v(_mm256_permute2x128_si256::<0x31>(a.0, b.0)),
                v(_mm256_permute2x128_si256::<0x31>(c.0, d.0)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: see the impl.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
