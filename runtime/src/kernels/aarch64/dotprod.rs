//! The byte dot product: as NEON, with the four products of a sum in one instruction (`sdot`). Its
//! intrinsic is not stable yet, hence the `asm!`.

use core::arch::aarch64::*;
use core::arch::asm;

use super::super::{LevelRows, Listed, Panels, SumRows, Table, dense, sparse};
use super::neon::{self, Products, V16};

pub(crate) static TABLE: Table = Table { sparse_s8, panels_s8, rows_s8, ..neon::TABLE };

#[target_feature(enable = "neon,dotprod")]
fn sparse_s8(weights: &[i8], listed: &Listed<'_>, bias: Option<&[i32]>, sums: &mut [i32]) -> bool {
    // SAFETY: the instruction set is enabled here; the rest is what `Table` asks of its callers.
    unsafe { sparse::sparse::<V16<Sdot>>(weights, listed, bias, sums) }
}

#[target_feature(enable = "neon,dotprod")]
pub(super) fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::panels::<V16<Sdot>, 6, 4, 6, 4>(panels, first, levels, bias, sums) }
}

#[target_feature(enable = "neon,dotprod")]
fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V16<Sdot>>(weights, levels, sums) }
}

#[derive(Clone, Copy)]
struct Sdot;

impl Products for Sdot {
    #[inline(always)]
    unsafe fn dot(mut sums: int32x4_t, levels: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: the processor has the instruction; it changes the one register only.
        unsafe {
            asm!(
                "sdot {sums:v}.4s, {levels:v}.16b, {weights:v}.16b",
                sums = inout(vreg) sums,
                levels = in(vreg) levels,
                weights = in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }

    #[inline(always)]
    unsafe fn accumulate(sums: &mut [int32x4_t; 4], rows: [int8x16_t; 4], levels: u32) {
        // Bytes, then pairs of bytes of the four rows change places until four weights of one
        // output stand together, outputs in their order.
        // SAFETY: the caller's.
        unsafe {
            let [a, b, c, d] = rows;
            let ab = vreinterpretq_s16_s8(vzip1q_s8(a, b));
            let cd = vreinterpretq_s16_s8(vzip1q_s8(c, d));
            let ab_high = vreinterpretq_s16_s8(vzip2q_s8(a, b));
            let cd_high = vreinterpretq_s16_s8(vzip2q_s8(c, d));
            let levels = vreinterpretq_s8_u32(vdupq_n_u32(levels));
            let [s, t, u, v] = sums;
            *s = Self::dot(*s, levels, vreinterpretq_s8_s16(vzip1q_s16(ab, cd)));
            *t = Self::dot(*t, levels, vreinterpretq_s8_s16(vzip2q_s16(ab, cd)));
            *u = Self::dot(*u, levels, vreinterpretq_s8_s16(vzip1q_s16(ab_high, cd_high)));
            *v = Self::dot(*v, levels, vreinterpretq_s8_s16(vzip2q_s16(ab_high, cd_high)));
        }
    }
}
