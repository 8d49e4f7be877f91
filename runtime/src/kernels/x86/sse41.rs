//! SSE4.1: registers of 16 bytes; sums of two products in 16 bits (`maddubs`), which levels of 7
//! bits and weights of 8 cannot overflow, then of two of these in 32 (`madd`).

use core::arch::x86_64::*;

use cic_model::quant::softmax_q16;

use crate::outcome::Depth;

use super::super::vector::Vector;
use super::super::{Extent, LevelRows, Listed, Panels, SumRows, Table, dense, reference, sparse};

pub(crate) static TABLE: Table = Table {
    sparse_s8,
    panels_s8,
    fours_s8: super::super::plain::fours_s8,
    rows_s8,
    activate_s8: reference::activate_s8,
    requantize_i16s: reference::requantize_i16s,
    requantize_i32s: reference::requantize_i32s,
    code_levels: reference::code_levels,
    read_values: reference::read_values,
    read_counts: reference::read_counts,
    softmax_q16,
    are_increasing,
    measure_counts,
    measure_values,
};

#[target_feature(enable = "sse4.1")]
fn sparse_s8(weights: &[i8], listed: &Listed<'_>, bias: Option<&[i32]>, sums: &mut [i32]) -> bool {
    // SAFETY: the instruction set is enabled here; the rest is what `Table` asks of its callers.
    unsafe { sparse::sparse::<V16>(weights, listed, bias, sums) }
}

#[target_feature(enable = "sse4.1")]
fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::panels::<V16, 2, 4, 2, 4>(panels, first, levels, bias, sums) }
}

#[target_feature(enable = "sse4.1")]
fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V16>(weights, levels, sums) }
}

#[target_feature(enable = "sse4.1")]
fn are_increasing(genes: &[u32]) -> bool {
    reference::are_increasing(genes)
}

#[target_feature(enable = "sse4.1")]
fn measure_counts(counts: &[u32]) -> Depth {
    reference::measure_counts(counts)
}

#[target_feature(enable = "sse4.1")]
fn measure_values(values: &[f32]) -> Extent {
    reference::measure_values(values)
}

#[derive(Clone, Copy)]
struct V16(__m128i);

// SAFETY of every function: SSE4.1 is there, and memory is what the trait asks of its callers.
impl Vector for V16 {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm_setzero_si128()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const u8, len: usize) -> Self {
        let mut bytes = [0_u8; 16];
        // SAFETY: see the impl; `len` is below 16.
        unsafe {
            core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), len);
            Self::load(bytes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn add_to(self, start: *const i32, to: *mut i32) {
        // SAFETY: see the impl.
        unsafe {
            let sum = _mm_add_epi32(_mm_loadu_si128(start.cast()), self.0);
            _mm_storeu_si128(to.cast(), sum);
        }
    }

    #[inline(always)]
    unsafe fn splat(bytes: u32) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm_set1_epi32(bytes as i32)) }
    }

    #[inline(always)]
    unsafe fn dot(self, levels: Self, weights: Self) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let pairs = _mm_maddubs_epi16(levels.0, weights.0);
            Self(_mm_add_epi32(self.0, _mm_madd_epi16(pairs, _mm_set1_epi16(1))))
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn total(self) -> i32 {
        // SAFETY: see the impl.
        unsafe {
            let halves = _mm_add_epi32(self.0, _mm_shuffle_epi32::<0b01_00_11_10>(self.0));
            let all = _mm_add_epi32(halves, _mm_shuffle_epi32::<0b10_11_00_01>(halves));
            _mm_cvtsi128_si32(all)
        }
    }

    #[inline(always)]
    unsafe fn accumulate(sums: &mut [Self; 4], rows: [Self; 4], levels: u32) {
        // Bytes, then pairs of bytes of the four rows change places until four weights of one
        // output stand together, outputs in their order.
        // SAFETY: see the impl.
        unsafe {
            let [V16(a), V16(b), V16(c), V16(d)] = rows;
            let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
            let (ab_high, cd_high) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
            let levels = Self::splat(levels);
            let [s, t, u, v] = sums;
            *s = s.dot(levels, Self(_mm_unpacklo_epi16(ab, cd)));
            *t = t.dot(levels, Self(_mm_unpackhi_epi16(ab, cd)));
            *u = u.dot(levels, Self(_mm_unpacklo_epi16(ab_high, cd_high)));
            *v = v.dot(levels, Self(_mm_unpackhi_epi16(ab_high, cd_high)));
        }
    }

    #[inline(always)]
    unsafe fn in_order(sums: [Self; 4]) -> [Self; 4] {
        sums
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: see the impl.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
