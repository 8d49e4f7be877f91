//! Network inputs of scaled values.
//!
//! The operations of `libm::log1pf` (FreeBSD's `s_log1pf.c`) in their order, all branches computed and
//! the right one chosen, none fused: every instruction set gives its bits. With `u = 1 + x` and `c` what
//! rounding took from it, `ln(1 + x) = ln u + c / u`; with `u = 2^k · m`, `ln u = k · ln 2 + ln m`; and
//! `ln m` is a series in `(m − 1) / (m + 1)`. Where `1 + x` is below √2, `k` and `c` are 0 and `m − 1` is
//! `x`, which rounds nothing away.

use super::reference;
use super::vector::FloatVector;

/// `values[i] = ln(1 + values[i] · factor)`
///
/// # Safety
/// The processor has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn log1p<V: FloatVector>(factor: f32, values: &mut [f32]) {
    for values in values.chunks_mut(V::LANES) {
        let len = values.len();
        // SAFETY: the register, or the part of it that is asked for, lies within the values.
        unsafe {
            let is_whole = len == V::LANES;
            let value = if is_whole {
                V::load(values.as_ptr())
            } else {
                V::load_partial(values.as_ptr(), len)
            };
            let x = value.mul(V::splat(factor));
            if !x.is_finite_and_not_negative() {
                reference::log1p_f32(factor, values);
            } else if is_whole {
                log1p_of(x).store(values.as_mut_ptr());
            } else {
                log1p_of(x).store_partial(values.as_mut_ptr(), len);
            }
        }
    }
}

/// Below it `1 + x` is taken to be below √2.
const SMALL: f32 = f32::from_bits(0x3ed4_13d0);
const LN2_HIGH: f32 = f32::from_bits(0x3f31_7180);
const LN2_LOW: f32 = f32::from_bits(0x3717_f7d1);
/// The series.
const L1: f32 = 0.666_666_6;
const L2: f32 = 0.400_009_72;
const L3: f32 = 0.284_987_87;
const L4: f32 = 0.242_790_79;

/// # Safety
/// The processor has the instruction set of `V`.
#[inline(always)]
unsafe fn log1p_of<V: FloatVector>(x: V) -> V {
    // SAFETY: the caller's.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let u = one.add(x);
        let (k, m) = u.split();
        let lost_of_large = one.sub(u.sub(x));
        let lost = k.if_less(V::splat(2.0), x.sub(u.sub(one)), lost_of_large);
        let c = k.if_less(V::splat(25.0), lost.div(u), zero);
        let small = V::splat(SMALL);
        let f = x.if_less(small, x, m.sub(one));
        let c = x.if_less(small, zero, c);
        let k = x.if_less(small, zero, k);

        let s = f.div(V::splat(2.0).add(f));
        let z = s.mul(s);
        let w = z.mul(z);
        let even = w.mul(V::splat(L2).add(w.mul(V::splat(L4))));
        let odd = z.mul(V::splat(L1).add(w.mul(V::splat(L3))));
        let r = odd.add(even);
        let half_square = V::splat(0.5).mul(f).mul(f);
        s.mul(half_square.add(r))
            .add(k.mul(V::splat(LN2_LOW)).add(c))
            .sub(half_square)
            .add(f)
            .add(k.mul(V::splat(LN2_HIGH)))
    }
}
