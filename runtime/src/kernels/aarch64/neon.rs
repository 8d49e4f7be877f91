//! NEON: registers of 16 bytes. Levels of 7 bits are valid signed bytes, and a sum of two products
//! with weights of 8 bits lies within ±32512, so 16 bits hold it.
//!
//! Over listed inputs no byte changes place: a row of weights is multiplied by its one level, and
//! sums of 16 bits are in the order of the outputs already.

use core::arch::aarch64::*;
use core::arch::asm;
use core::marker::PhantomData;

use cic_model::quant::softmax_q16;

use super::super::vector::Vector;
use super::super::{LevelRows, Listed, Panels, SumRows, Table, dense, reference, sparse};
use super::requantize128;

pub(crate) static TABLE: Table = Table {
    sparse_s8,
    panels_s8,
    fours_s8: super::super::plain::fours_s8,
    rows_s8,
    activate_s8: requantize128::activate_s8,
    requantize_i16s: requantize128::requantize_i16s,
    requantize_i32s: requantize128::requantize_i32s,
    code_levels: reference::code_levels,
    read_values: requantize128::read_values,
    read_counts: reference::read_counts,
    softmax_q16,
    are_increasing: reference::are_increasing,
    measure_counts: reference::measure_counts,
    measure_values: reference::measure_values,
};

#[target_feature(enable = "neon")]
fn sparse_s8(weights: &[i8], listed: &Listed<'_>, bias: Option<&[i32]>, sums: &mut [i32]) -> bool {
    // SAFETY: the instruction set is enabled here; the rest is what `Table` asks of its callers.
    unsafe { sparse::sparse::<V16<Widen>>(weights, listed, bias, sums) }
}

#[target_feature(enable = "neon")]
fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::panels::<V16<Widen>, 2, 4, 2, 4>(panels, first, levels, bias, sums) }
}

#[target_feature(enable = "neon")]
fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V16<Widen>>(weights, levels, sums) }
}

/// How products become sums.
pub(super) trait Products: Copy {
    /// `sums[j] + Σ_b levels[4j + b] · weights[4j + b]`
    ///
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn dot(sums: int32x4_t, levels: int8x16_t, weights: int8x16_t) -> int32x4_t;

    /// See [`Vector::accumulate`]; sums stay in the order of the outputs.
    ///
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn accumulate(sums: &mut [int32x4_t; 4], rows: [int8x16_t; 4], levels: u32);
}

/// By way of 16-bit sums of two.
#[derive(Clone, Copy)]
struct Widen;

impl Products for Widen {
    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, levels: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's.
        unsafe {
            let low = vmull_s8(vget_low_s8(levels), vget_low_s8(weights));
            let high = vmull_high_s8(levels, weights);
            vpadalq_s16(sums, vpaddq_s16(low, high))
        }
    }

    #[inline(always)]
    unsafe fn accumulate(sums: &mut [int32x4_t; 4], rows: [int8x16_t; 4], levels: u32) {
        // SAFETY: the caller's.
        unsafe {
            let four = vreinterpret_s8_u32(vdup_n_u32(levels));
            let [a, b, c, d] = rows;
            for (first, second, level, next) in [
                (a, b, vdupq_lane_s8::<0>(four), vdupq_lane_s8::<1>(four)),
                (c, d, vdupq_lane_s8::<2>(four), vdupq_lane_s8::<3>(four)),
            ] {
                let low = vmull_s8(vget_low_s8(first), vget_low_s8(level));
                let low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(next));
                let high = vmlal_high_s8(vmull_high_s8(first, level), second, next);
                sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
                sums[1] = vaddw_high_s16(sums[1], low);
                sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
                sums[3] = vaddw_high_s16(sums[3], high);
            }
        }
    }
}

/// A register of 16 bytes.
#[derive(Clone, Copy)]
pub(super) struct V16<P>(int32x4_t, PhantomData<P>);

/// A register.
#[inline(always)]
fn v<P>(register: int32x4_t) -> V16<P> {
    V16(register, PhantomData)
}

impl<P> V16<P> {
    /// Its bytes.
    #[inline(always)]
    fn bytes(self) -> int8x16_t {
        // SAFETY: every processor of the family has NEON; a register has no invalid bits.
        unsafe { vreinterpretq_s8_s32(self.0) }
    }
}

// SAFETY of every function: NEON is there, and memory is what the trait asks of its callers.
impl<P: Products> Vector for V16<P> {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see the impl.
        unsafe { v(vdupq_n_s32(0)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: see the impl.
        unsafe { v(vreinterpretq_s32_u8(vld1q_u8(from))) }
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
        unsafe { vst1q_s32(to, vaddq_s32(vld1q_s32(start), self.0)) }
    }

    #[inline(always)]
    unsafe fn splat(bytes: u32) -> Self {
        // SAFETY: see the impl.
        unsafe { v(vreinterpretq_s32_u32(vdupq_n_u32(bytes))) }
    }

    #[inline(always)]
    unsafe fn dot(self, levels: Self, weights: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { v(P::dot(self.0, levels.bytes(), weights.bytes())) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { v(vaddq_s32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn total(self) -> i32 {
        // SAFETY: see the impl.
        unsafe { vaddvq_s32(self.0) }
    }

    #[inline(always)]
    unsafe fn accumulate(sums: &mut [Self; 4], rows: [Self; 4], levels: u32) {
        let [a, b, c, d] = rows;
        let mut four = [sums[0].0, sums[1].0, sums[2].0, sums[3].0];
        // SAFETY: see the impl.
        unsafe { P::accumulate(&mut four, [a.bytes(), b.bytes(), c.bytes(), d.bytes()], levels) };
        let [a, b, c, d] = four;
        *sums = [v(a), v(b), v(c), v(d)];
    }

    #[inline(always)]
    unsafe fn in_order(sums: [Self; 4]) -> [Self; 4] {
        sums
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: a hint; it neither faults nor changes memory or registers.
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) at.addr(), options(nomem, nostack, preserves_flags));
        }
    }
}
