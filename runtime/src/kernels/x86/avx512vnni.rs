//! AVX-512 with VNNI: registers of 64 bytes, masks for what is shorter.
//!
//! Over listed inputs, bytes change places once instead of twice: two rows are interleaved, and the
//! levels are multiplied in two steps, `[a, b, 0, 0]` with even outputs and `[0, 0, a, b]` with odd
//! ones. Interleaving is confined to one execution port on several processors, products are not.

use core::arch::x86_64::*;

use super::super::vector::Vector;
use super::super::{LevelRows, Listed, Panels, SumRows, Table, dense, sparse};
use super::{requantize512, softmax512, values512};

pub(crate) static TABLE: Table = Table {
    sparse_s8,
    panels_s8,
    fours_s8: super::super::plain::fours_s8,
    rows_s8,
    activate_s8: requantize512::activate_s8,
    requantize_i16s: requantize512::requantize_i16s,
    requantize_i32s: requantize512::requantize_i32s,
    code_levels: requantize512::code_levels,
    read_values: values512::read_values,
    read_counts: values512::read_counts,
    softmax_q16: softmax512::softmax_q16,
    are_increasing: values512::are_increasing,
    measure_counts: values512::measure_counts,
    measure_values: values512::measure_values,
};

/// With the byte permutations of VBMI.
pub(crate) static TABLE_VBMI: Table = Table { activate_s8: requantize512::activate_vbmi, ..TABLE };

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn sparse_s8(
    weights: &[i8],
    listed: &Listed<'_>,
    bias: Option<&[i32]>,
    sums: &mut [i32],
) -> bool {
    // SAFETY: the instruction set is enabled here; the rest is what `Table` asks of its callers.
    unsafe { sparse::sparse::<V64>(weights, listed, bias, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::panels::<V64, 4, 4, 8, 1>(panels, first, levels, bias, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V64>(weights, levels, sums) }
}

#[derive(Clone, Copy)]
struct V64(__m512i);

// SAFETY of every function: the instruction set is there, and memory is what the trait asks of its
// callers; what a mask leaves out is not touched.
impl Vector for V64 {
    const WIDTH: usize = 64;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_setzero_si512()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_loadu_si512(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const u8, len: usize) -> Self {
        // SAFETY: see the impl; `len` is below 64.
        unsafe { Self(_mm512_maskz_loadu_epi8((1 << len) - 1, from.cast())) }
    }

    #[inline(always)]
    unsafe fn add_to(self, start: *const i32, to: *mut i32) {
        // SAFETY: see the impl.
        unsafe {
            let sum = _mm512_add_epi32(_mm512_loadu_si512(start.cast()), self.0);
            _mm512_storeu_si512(to.cast(), sum);
        }
    }

    #[inline(always)]
    unsafe fn splat(bytes: u32) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_set1_epi32(bytes as i32)) }
    }

    #[inline(always)]
    unsafe fn dot(self, levels: Self, weights: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_dpbusd_epi32(self.0, levels.0, weights.0)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn total(self) -> i32 {
        // SAFETY: see the impl.
        unsafe { _mm512_reduce_add_epi32(self.0) }
    }

    #[inline(always)]
    unsafe fn accumulate(sums: &mut [Self; 4], rows: [Self; 4], levels: u32) {
        // SAFETY: see the impl.
        unsafe {
            let [Self(a), Self(b), Self(c), Self(d)] = rows;
            let (ab_even, ab_odd) = (Self::splat(levels & 0xffff), Self::splat(levels << 16));
            let (cd_even, cd_odd) = (Self::splat(levels >> 16), Self::splat(levels & 0xffff_0000));
            let ab = Self(_mm512_unpacklo_epi8(a, b));
            let ab_high = Self(_mm512_unpackhi_epi8(a, b));
            let cd = Self(_mm512_unpacklo_epi8(c, d));
            let cd_high = Self(_mm512_unpackhi_epi8(c, d));
            let [even, odd, even_high, odd_high] = sums;
            *even = even.dot(ab_even, ab).dot(cd_even, cd);
            *odd = odd.dot(ab_odd, ab).dot(cd_odd, cd);
            *even_high = even_high.dot(ab_even, ab_high).dot(cd_even, cd_high);
            *odd_high = odd_high.dot(ab_odd, ab_high).dot(cd_odd, cd_high);
        }
    }

    #[inline(always)]
    unsafe fn in_order(sums: [Self; 4]) -> [Self; 4] {
        // A quarter of `even` holds outputs 0, 2, 4, 6 of 16, of `odd` 1, 3, 5, 7, then the same
        // for 8 .. 16. Interleaved, quarters of four registers change places as in a transposition.
        // SAFETY: see the impl.
        unsafe {
            let [Self(even), Self(odd), Self(even_high), Self(odd_high)] = sums;
            let a = _mm512_unpacklo_epi32(even, odd);
            let b = _mm512_unpackhi_epi32(even, odd);
            let c = _mm512_unpacklo_epi32(even_high, odd_high);
            let d = _mm512_unpackhi_epi32(even_high, odd_high);
            let ab_low = _mm512_shuffle_i32x4::<0b01_00_01_00>(a, b);
            let ab_high = _mm512_shuffle_i32x4::<0b11_10_11_10>(a, b);
            let cd_low = _mm512_shuffle_i32x4::<0b01_00_01_00>(c, d);
            let cd_high = _mm512_shuffle_i32x4::<0b11_10_11_10>(c, d);
            [
                Self(_mm512_shuffle_i32x4::<0b10_00_10_00>(ab_low, cd_low)),
                Self(_mm512_shuffle_i32x4::<0b11_01_11_01>(ab_low, cd_low)),
                Self(_mm512_shuffle_i32x4::<0b10_00_10_00>(ab_high, cd_high)),
                Self(_mm512_shuffle_i32x4::<0b11_01_11_01>(ab_high, cd_high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: see the impl.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
