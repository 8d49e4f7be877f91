//! NEON: registers of 4 numbers; half precision is widened by `fcvtl`, which every 64-bit Arm has.

use core::arch::aarch64::*;
use core::arch::asm;

use super::vector::{FloatVector, SQRT_HALF, TO_SPLIT, few_bytes};
use super::{Columns, FloatSumRows, FloatTable, InputRows, dense, log1p, sparse};

pub(super) static TABLE: FloatTable = FloatTable {
    sparse_f32,
    sparse_f16,
    sparse_i8,
    columns_f32,
    columns_f16,
    columns_i8,
    rows_f32,
    rows_f16,
    rows_i8,
    log1p_f32,
};

#[target_feature(enable = "neon")]
fn sparse_f32(weights: &[f32], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    // SAFETY: the instruction set is enabled here; the rest is what `FloatTable` asks of its callers.
    unsafe { sparse::sparse::<V4, f32, 16>(weights, genes, values, sums) }
}

#[target_feature(enable = "neon")]
fn sparse_f16(weights: &[u16], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { sparse::sparse::<V4, u16, 16>(weights, genes, values, sums) }
}

#[target_feature(enable = "neon")]
fn sparse_i8(weights: &[i8], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { sparse::sparse::<V4, i8, 16>(weights, genes, values, sums) }
}

#[target_feature(enable = "neon")]
fn columns_f32(
    columns: &Columns<'_, f32>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::columns::<V4, f32, 6, 4, 16>(columns, first, inputs, sums) }
}

#[target_feature(enable = "neon")]
fn columns_f16(
    columns: &Columns<'_, u16>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::columns::<V4, u16, 6, 4, 16>(columns, first, inputs, sums) }
}

#[target_feature(enable = "neon")]
fn columns_i8(
    columns: &Columns<'_, i8>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::columns::<V4, i8, 6, 4, 16>(columns, first, inputs, sums) }
}

#[target_feature(enable = "neon")]
fn rows_f32(weights: &[f32], inputs: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V4, f32>(weights, inputs, sums) }
}

#[target_feature(enable = "neon")]
fn rows_f16(weights: &[u16], inputs: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V4, u16>(weights, inputs, sums) }
}

#[target_feature(enable = "neon")]
fn rows_i8(weights: &[i8], inputs: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V4, i8>(weights, inputs, sums) }
}

#[target_feature(enable = "neon")]
fn log1p_f32(factor: f32, values: &mut [f32]) {
    // SAFETY: as above.
    unsafe { log1p::log1p::<V4>(factor, values) }
}

#[derive(Clone, Copy)]
struct V4(float32x4_t);

/// Four numbers in half precision, the first in the lowest bits.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn widen(halves: u64) -> V4 {
    // SAFETY: the caller's; the instruction touches nothing but the two registers.
    unsafe {
        let halves = vcreate_u16(halves);
        let wide: float32x4_t;
        asm!(
            "fcvtl {wide:v}.4s, {halves:v}.4h",
            wide = lateout(vreg) wide,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags),
        );
        V4(wide)
    }
}

/// Four integers, the first in the lowest bits.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn widen_bytes(bytes: u64) -> V4 {
    // SAFETY: the caller's.
    unsafe {
        let halves = vget_low_s16(vmovl_s8(vcreate_s8(bytes)));
        V4(vcvtq_f32_s32(vmovl_s16(halves)))
    }
}

// SAFETY of every function: NEON is there, and memory is what the trait asks of its callers.
impl FloatVector for V4 {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(vdupq_n_f32(x)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(vld1q_f32(from)) }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, len: usize) -> Self {
        // SAFETY: see the impl; places 0, 1 and 2 are read where `len` is above them.
        unsafe {
            let mut numbers = [0.0; 4];
            if len > 0 {
                numbers[0] = from.read();
            }
            if len > 1 {
                numbers[1] = from.add(1).read();
            }
            if len > 2 {
                numbers[2] = from.add(2).read();
            }
            Self(vld1q_f32(numbers.as_ptr()))
        }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: see the impl; four numbers are 8 bytes.
        unsafe { widen(from.cast::<u64>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load_f16_partial(from: *const u16, len: usize) -> Self {
        // SAFETY: see the impl; places 0, 1 and 2 are read where `len` is above them.
        unsafe {
            let mut halves = 0;
            if len > 0 {
                halves = u64::from(from.read());
            }
            if len > 1 {
                halves |= u64::from(from.add(1).read()) << 16;
            }
            if len > 2 {
                halves |= u64::from(from.add(2).read()) << 32;
            }
            widen(halves)
        }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: see the impl; four integers are 4 bytes.
        unsafe { widen_bytes(from.cast::<u32>().read_unaligned().into()) }
    }

    #[inline(always)]
    unsafe fn load_i8_partial(from: *const i8, len: usize) -> Self {
        // SAFETY: see the impl; `len` is below 4.
        unsafe { widen_bytes(few_bytes(from, len)) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see the impl.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, len: usize) {
        // SAFETY: see the impl; places 0, 1 and 2 are written where `len` is above them.
        unsafe {
            if len > 0 {
                to.write(vgetq_lane_f32::<0>(self.0));
            }
            if len > 1 {
                to.add(1).write(vgetq_lane_f32::<1>(self.0));
            }
            if len > 2 {
                to.add(2).write(vgetq_lane_f32::<2>(self.0));
            }
        }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(vfmaq_f32(self.0, a.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(vaddq_f32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(vsubq_f32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(vmulq_f32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(vdivq_f32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn totals(of: [Self; 4]) -> [f32; 4] {
        // SAFETY: see the impl; the array has 16 bytes.
        unsafe {
            let [a, b, c, d] = of;
            let sums = vpaddq_f32(vpaddq_f32(a.0, b.0), vpaddq_f32(c.0, d.0));
            let mut totals = [0.0; 4];
            vst1q_f32(totals.as_mut_ptr(), sums);
            totals
        }
    }

    #[inline(always)]
    unsafe fn split(self) -> (Self, Self) {
        // SAFETY: see the impl.
        unsafe {
            let bits = vaddq_s32(vreinterpretq_s32_f32(self.0), vdupq_n_s32(TO_SPLIT));
            let k = vsubq_s32(vshrq_n_s32::<23>(bits), vdupq_n_s32(127));
            let fraction = vandq_s32(bits, vdupq_n_s32(0x007f_ffff));
            let m = vaddq_s32(fraction, vdupq_n_s32(SQRT_HALF));
            (Self(vcvtq_f32_s32(k)), Self(vreinterpretq_f32_s32(m)))
        }
    }

    #[inline(always)]
    unsafe fn if_less(self, limit: Self, below: Self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(vbslq_f32(vcltq_f32(self.0, limit.0), below.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn is_finite_and_not_negative(self) -> bool {
        // SAFETY: see the impl.
        unsafe {
            let least = vcgeq_f32(self.0, vdupq_n_f32(0.0));
            let most = vcleq_f32(self.0, vdupq_n_f32(f32::MAX));
            vminvq_u32(vandq_u32(least, most)) == u32::MAX
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: a hint: the address need not be readable.
        unsafe {
            asm!(
                "prfm pldl1keep, [{at}]",
                at = in(reg) at,
                options(readonly, nostack, preserves_flags),
            );
        }
    }
}
