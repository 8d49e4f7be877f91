//! 128-bit vectors. Even and odd bytes become words apart, and `i32x4.dot_i16x8` adds two products of
//! words: one instruction on x86 hosts. Lanes are not shifted by different numbers, so what surrounds
//! the sums stays with the reference. Relaxed SIMD, whose byte dot product would do all of this in one
//! instruction, is left out: engines without it refuse the module, and where it has to be asked for it may be
//! wrong. Node 20 (V8 11.3) gives twice the products on a processor with AVX-VNNI.

use core::arch::wasm32::*;

use cic_model::quant::softmax_q16;

use super::super::vector::Vector;
use super::super::{LevelRows, Listed, Panels, SumRows, Table, dense, reference, sparse};

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
    are_increasing: reference::are_increasing,
    measure_counts: reference::measure_counts,
    measure_values: reference::measure_values,
};

/// # Safety
/// What `Table` asks of its callers.
unsafe fn sparse_s8(
    weights: &[i8],
    listed: &Listed<'_>,
    bias: Option<&[i32]>,
    sums: &mut [i32],
) -> bool {
    // SAFETY: the whole build has the instruction set; the rest is the caller's.
    unsafe { sparse::sparse::<V16>(weights, listed, bias, sums) }
}

/// # Safety
/// What `Table` asks of its callers.
unsafe fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::panels::<V16, 2, 4, 2, 4>(panels, first, levels, bias, sums) }
}

/// # Safety
/// What `Table` asks of its callers.
unsafe fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V16>(weights, levels, sums) }
}

#[derive(Clone, Copy)]
struct V16(v128);

impl V16 {
    /// Adds to `sums` the products of two rows with their levels, repeated as words.
    #[inline(always)]
    fn add_two(sums: &mut [Self; 4], first: Self, second: Self, levels: v128) {
        let low = i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(
            first.0, second.0,
        );
        let high = i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(
            first.0, second.0,
        );
        let [s, t, u, v] = sums;
        s.0 = i32x4_add(s.0, i32x4_dot_i16x8(i16x8_extend_low_i8x16(low), levels));
        t.0 = i32x4_add(t.0, i32x4_dot_i16x8(i16x8_extend_high_i8x16(low), levels));
        u.0 = i32x4_add(u.0, i32x4_dot_i16x8(i16x8_extend_low_i8x16(high), levels));
        v.0 = i32x4_add(v.0, i32x4_dot_i16x8(i16x8_extend_high_i8x16(high), levels));
    }
}

// SAFETY of every function: memory is what the trait asks of its callers.
impl Vector for V16 {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self(i32x4_splat(0))
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(v128_load(from.cast())) }
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
        unsafe { v128_store(to.cast(), i32x4_add(v128_load(start.cast()), self.0)) }
    }

    #[inline(always)]
    unsafe fn splat(bytes: u32) -> Self {
        Self(u32x4_splat(bytes))
    }

    #[inline(always)]
    unsafe fn dot(self, levels: Self, weights: Self) -> Self {
        let even = i16x8_shr(i16x8_shl(weights.0, 8), 8);
        let odd = i16x8_shr(weights.0, 8);
        let even_levels = v128_and(levels.0, u16x8_splat(0xff));
        let odd_levels = u16x8_shr(levels.0, 8);
        let sums = i32x4_add(self.0, i32x4_dot_i16x8(even, even_levels));
        Self(i32x4_add(sums, i32x4_dot_i16x8(odd, odd_levels)))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(i32x4_add(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn total(self) -> i32 {
        let halves = i32x4_add(self.0, i32x4_shuffle::<2, 3, 0, 1>(self.0, self.0));
        i32x4_extract_lane::<0>(halves).wrapping_add(i32x4_extract_lane::<1>(halves))
    }

    #[inline(always)]
    unsafe fn accumulate(sums: &mut [Self; 4], rows: [Self; 4], levels: u32) {
        let [a, b, c, d] = rows;
        let words = u16x8_extend_low_u8x16(u32x4_splat(levels));
        let ab = i32x4_shuffle::<0, 0, 0, 0>(words, words);
        let cd = i32x4_shuffle::<1, 1, 1, 1>(words, words);
        Self::add_two(sums, a, b, ab);
        Self::add_two(sums, c, d, cd);
    }

    #[inline(always)]
    unsafe fn in_order(sums: [Self; 4]) -> [Self; 4] {
        sums
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {
        // There is no such instruction.
    }
}
