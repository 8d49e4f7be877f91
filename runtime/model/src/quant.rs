//! The arithmetic of int8 models. Every rounding rule of the project is defined here and nowhere
//! else; `docs/numerics.md` states the same with worked examples.
//!
//! - levels: unsigned 7-bit activations, `0..=127`; level 0 of an input means "zero";
//! - weights: signed 8-bit, `-127..=127`, one scale per output row;
//! - accumulators: `i32`, bias included, wrapping where a file that was not verified lets them;
//! - [`requantize`] takes an accumulator to an index, a code, a logit or another accumulator;
//! - [`softmax_q16`] takes logits to probabilities without floating point.

use core::hint::black_box;

/// Largest activation level.
pub const LEVEL_MAX: u8 = 127;

/// Largest magnitude of a weight.
pub const WEIGHT_MAX: i8 = 127;

/// Largest number of inputs of an int8 layer: 127 · 127 · 131,071 < 2³¹.
pub const MAX_INPUTS: usize = 131_071;

/// Entries of an activation table: one for each signed 8-bit index.
pub const TABLE_LEN: usize = 256;

/// Fraction bits of logits.
pub const LOGIT_FRACTION_BITS: u32 = 16;

/// One, as a probability or a ratio in Q16.
pub const ONE_Q16: u32 = 1 << 16;

/// One, as a share of the library in Q30.
pub const ONE_Q30: u32 = 1 << 30;

/// A positive ratio as `multiplier · 2^-shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// Zero, or normalised: `2³⁰ ..= 2³¹ − 1`.
    pub multiplier: i32,
    /// `0 ..= 62`
    pub shift: u8,
}

impl Ratio {
    /// The nearest representable ratio. `None` for what is negative, not finite or at least 2³¹;
    /// ratios below 2⁻³³ become zero, which maps every accumulator to zero.
    pub fn from_f64(ratio: f64) -> Option<Self> {
        if !(0.0..2_147_483_648.0).contains(&ratio) {
            return None;
        }
        let (fraction, exponent) = libm::frexp(ratio); // fraction in [0.5, 1), or 0
        let mut multiplier = libm::round(fraction * 2_147_483_648.0) as i64;
        let mut shift = 31 - exponent;
        if multiplier == 1 << 31 {
            multiplier >>= 1;
            shift -= 1;
        }
        if multiplier == 0 || shift > MAX_SHIFT {
            return Some(Self { multiplier: 0, shift: 0 });
        }
        // In range: `multiplier` < 2³¹ and 0 ≤ `shift` ≤ 62 because `ratio` < 2³¹.
        u8::try_from(shift).ok().map(|shift| Self { multiplier: multiplier as i32, shift })
    }

    /// The ratio as a real number.
    pub fn to_f64(self) -> f64 {
        libm::ldexp(f64::from(self.multiplier), -i32::from(self.shift))
    }

    /// Whether this is a value that [`Ratio::from_f64`] gives.
    pub fn is_valid(self) -> bool {
        i32::from(self.shift) <= MAX_SHIFT
            && (self.multiplier >= 1 << 30 || (self.multiplier == 0 && self.shift == 0))
    }
}

/// `value · ratio`, rounded to the nearest integer, ties toward +∞:
/// `(value · multiplier + 2^(shift − 1)) >> shift` in 64 bits.
///
/// With `|value| ≤ 2³²` and a valid ratio nothing overflows.
#[inline]
pub fn requantize(value: i64, ratio: Ratio) -> i64 {
    let shift = u32::from(ratio.shift) & 63;
    let half = (1_i64 << shift) >> 1;
    value.wrapping_mul(i64::from(ratio.multiplier)).wrapping_add(half) >> shift
}

/// [`requantize`], clamped to `i32`.
#[inline]
pub fn requantize_i32(value: i32, ratio: Ratio) -> i32 {
    requantize_clamped(value.into(), ratio, i32::MIN, i32::MAX)
}

/// [`requantize`], clamped to `i16`: codes and reconstructions.
#[inline]
pub fn requantize_i16(value: i32, ratio: Ratio) -> i16 {
    // Clamped to the range, so nothing is cut off.
    requantize_clamped(value.into(), ratio, i16::MIN.into(), i16::MAX.into()) as i16
}

/// The position in an activation table: [`requantize`], clamped to `−128 ..= 127`, plus 128.
#[inline]
pub fn table_index(value: i32, ratio: Ratio) -> u8 {
    // In 0..=255 after the clamp.
    (requantize_clamped(value.into(), ratio, -128, 127) + 128) as u8
}

#[inline]
fn requantize_clamped(value: i64, ratio: Ratio, low: i32, high: i32) -> i32 {
    // Shifts of two words take small processors long.
    if cfg!(target_pointer_width = "32") && ratio.shift > 32 {
        return clamp(requantize_upper(value, ratio), low, high);
    }
    clamp_wide(requantize(value, ratio), low, high)
}

/// Whether the processor (Cortex-M0, RISC-V) has neither conditional moves nor saturation, so that compilers clamp by
/// branches, and a cell would take more or fewer instructions by what it holds.
const LACKS_CONDITIONS: bool =
    cfg!(any(target_arch = "riscv32", all(target_arch = "arm", not(target_has_atomic = "32"))));

/// [`Ord::clamp`] for what [`requantize_upper`] gives, to the range of the type or to one of 16 bits.
#[inline]
fn clamp(value: i32, low: i32, high: i32) -> i32 {
    if !LACKS_CONDITIONS || (low, high) == (i32::MIN, i32::MAX) {
        return value.clamp(low, high);
    }
    // The compiler would find the maximum in this, and make a branch of it.
    let positive = |x: i32| x & !black_box(x >> 31);
    let value = low + positive(value - low);
    high - positive(high - value)
}

/// The same for what [`requantize`] gives, at most 2⁶³ − 2³².
#[inline]
fn clamp_wide(value: i64, low: i32, high: i32) -> i32 {
    let (low, high) = (i64::from(low), i64::from(high));
    if !LACKS_CONDITIONS {
        return value.clamp(low, high) as i32;
    }
    let positive = |x: i64| x & !black_box(x >> 63);
    let value = low + positive(value.wrapping_sub(low));
    // In the range of the bounds.
    (high - positive(high - value)) as i32
}

/// [`requantize`] where the shift is above 32: the upper word of the product is all that counts, because the
/// half that is added has no bits in the lower one, and what that has is less than one.
#[inline]
fn requantize_upper(value: i64, ratio: Ratio) -> i32 {
    let upper = (value.wrapping_mul(i64::from(ratio.multiplier)) >> 32) as i32;
    let shift = (ratio.shift - 32) & 31;
    let half = (1_i32 << shift) >> 1;
    // At most 2³⁰ + 2²⁹.
    upper.wrapping_add(half) >> shift
}

/// The 7-bit level of a code dimension: `(code + offset) · ratio`, clamped to `0 ..= 127`.
#[inline]
pub fn code_level(code: i16, offset: i32, ratio: Ratio) -> u8 {
    // In 0..=127 after the clamp.
    requantize_clamped(i64::from(code) + i64::from(offset), ratio, 0, LEVEL_MAX.into()) as u8
}

/// Softmax of Q16 logits into Q16 probabilities, by tables, the same on every processor.
///
/// For each logit, `d = (max − logit) · inv_temperature` in Q16, rounded to Q8; its exponential is
/// `EXP_INTEGER[d ≫ 8] · EXP_FRACTION[d & 255]` (Q31 · Q16 → Q31), zero from d = 16 on; the
/// probability is that over the sum of all, rounded down, in Q16. Probabilities therefore sum to
/// at most one, and fall short of it by less than one Q16 unit per class.
///
/// `logits` and `probabilities` have the same length (the shorter counts). Gives the largest
/// probability, that of the largest logit; one where there are none.
pub fn softmax_q16(logits: &[i32], inv_temperature_q16: u32, probabilities: &mut [u32]) -> u32 {
    let Some(max) = logits.iter().copied().max() else { return ONE_Q16 };
    let mut sum = 0_u64;
    for (&logit, probability) in logits.iter().zip(probabilities.iter_mut()) {
        let exponential = exp_neg_q31(max, logit, inv_temperature_q16);
        *probability = exponential;
        sum += u64::from(exponential);
    }
    // The largest logit contributes 2³¹, so the sum is at least that, and the reciprocal at most 2¹⁶.
    let sum = sum.max(1 << 31);
    let reciprocal = (1 << 47) / sum;
    for probability in probabilities.iter_mut().take(logits.len()) {
        *probability = quotient_q16(*probability, sum, reciprocal);
    }
    // The quotient of 2³¹, and at most 2¹⁶.
    reciprocal as u32
}

/// `⌊exponential · 2¹⁶ / sum⌋` without a division: the product with the reciprocal, which is too small
/// by less than one, falls short of the quotient by at most one. `exponential` is at most 2³¹.
#[inline]
fn quotient_q16(exponential: u32, sum: u64, reciprocal: u64) -> u32 {
    let quotient = (u64::from(exponential) * reciprocal) >> 31;
    let is_short = (u64::from(exponential) << 16) - quotient * sum >= sum;
    // At most 2¹⁶.
    quotient as u32 + u32::from(is_short)
}

/// `exp(−(max − logit) · inv_temperature)` in Q31.
fn exp_neg_q31(max: i32, logit: i32, inv_temperature_q16: u32) -> u32 {
    // Both factors below 2³², so the product fits.
    let distance_q16 = ((i64::from(max) - i64::from(logit)) as u64)
        .saturating_mul(u64::from(inv_temperature_q16))
        >> 16;
    let distance_q8 = distance_q16.saturating_add(128) >> 8;
    let integer = EXP_INTEGER_Q31.get((distance_q8 >> 8) as usize).copied().unwrap_or(0);
    let fraction = EXP_FRACTION_Q16.get((distance_q8 & 255) as usize).copied().unwrap_or(0);
    // At most 2³¹ · 2¹⁶ / 2¹⁶.
    ((u64::from(integer) * u64::from(fraction) + (1 << 15)) >> 16) as u32
}

const MAX_SHIFT: i32 = 62;

/// `round(exp(−i) · 2³¹)`
pub const EXP_INTEGER_Q31: [u32; 16] = [
    2_147_483_648,
    790_015_084,
    290_630_308,
    106_916_915,
    39_332_535,
    14_469_631,
    5_323_080,
    1_958_252,
    720_401,
    265_021,
    97_496,
    35_867,
    13_195,
    4_854,
    1_786,
    657,
];

/// `round(exp(−i / 256) · 2¹⁶)`
pub const EXP_FRACTION_Q16: [u32; 256] = [
    65_536, 65_280, 65_026, 64_772, 64_520, 64_268, 64_018, 63_768, 63_520, 63_272, 63_025, 62_780,
    62_535, 62_291, 62_048, 61_806, 61_565, 61_325, 61_086, 60_848, 60_611, 60_375, 60_139, 59_905,
    59_671, 59_439, 59_207, 58_976, 58_746, 58_517, 58_289, 58_062, 57_835, 57_610, 57_385, 57_162,
    56_939, 56_717, 56_496, 56_275, 56_056, 55_837, 55_620, 55_403, 55_187, 54_972, 54_757, 54_544,
    54_331, 54_119, 53_908, 53_698, 53_489, 53_280, 53_073, 52_866, 52_660, 52_454, 52_250, 52_046,
    51_843, 51_641, 51_440, 51_239, 51_039, 50_841, 50_642, 50_445, 50_248, 50_052, 49_857, 49_663,
    49_469, 49_276, 49_084, 48_893, 48_702, 48_512, 48_323, 48_135, 47_947, 47_760, 47_574, 47_389,
    47_204, 47_020, 46_836, 46_654, 46_472, 46_291, 46_110, 45_931, 45_752, 45_573, 45_395, 45_218,
    45_042, 44_867, 44_692, 44_517, 44_344, 44_171, 43_999, 43_827, 43_656, 43_486, 43_317, 43_148,
    42_980, 42_812, 42_645, 42_479, 42_313, 42_148, 41_984, 41_820, 41_657, 41_495, 41_333, 41_172,
    41_011, 40_851, 40_692, 40_534, 40_376, 40_218, 40_061, 39_905, 39_750, 39_595, 39_440, 39_286,
    39_133, 38_981, 38_829, 38_677, 38_527, 38_376, 38_227, 38_078, 37_929, 37_781, 37_634, 37_487,
    37_341, 37_196, 37_051, 36_906, 36_762, 36_619, 36_476, 36_334, 36_192, 36_051, 35_911, 35_771,
    35_631, 35_492, 35_354, 35_216, 35_079, 34_942, 34_806, 34_670, 34_535, 34_400, 34_266, 34_133,
    34_000, 33_867, 33_735, 33_604, 33_473, 33_342, 33_212, 33_083, 32_954, 32_825, 32_697, 32_570,
    32_443, 32_316, 32_190, 32_065, 31_940, 31_815, 31_691, 31_568, 31_445, 31_322, 31_200, 31_078,
    30_957, 30_836, 30_716, 30_596, 30_477, 30_358, 30_240, 30_122, 30_005, 29_888, 29_771, 29_655,
    29_539, 29_424, 29_310, 29_195, 29_081, 28_968, 28_855, 28_743, 28_631, 28_519, 28_408, 28_297,
    28_187, 28_077, 27_967, 27_858, 27_750, 27_642, 27_534, 27_426, 27_319, 27_213, 27_107, 27_001,
    26_896, 26_791, 26_687, 26_583, 26_479, 26_376, 26_273, 26_170, 26_068, 25_967, 25_866, 25_765,
    25_664, 25_564, 25_465, 25_365, 25_266, 25_168, 25_070, 24_972, 24_875, 24_778, 24_681, 24_585,
    24_489, 24_394, 24_298, 24_204,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn requantize_rounds_ties_toward_plus_infinity() {
        let half = Ratio::from_f64(0.5).unwrap();
        assert_eq!(half, Ratio { multiplier: 1 << 30, shift: 31 });
        let rounded: Vec<i32> = [-5, -4, -3, -1, 0, 1, 3, 4, 5]
            .into_iter()
            .map(|value| requantize_i32(value, half))
            .collect();
        assert_eq!(rounded, [-2, -2, -1, 0, 0, 1, 2, 2, 3]);
    }

    #[test]
    fn the_upper_word_is_enough_where_shifts_are_above_a_word() {
        let mut bits = 1_u64;
        for n in 0..200_000_i32 {
            bits = bits.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            let multiplier = (1 << 30) | (bits >> 33) as i32 & ((1 << 30) - 1);
            let shift = 33 + (bits >> 8) as u8 % 30;
            let value = match n % 4 {
                0 => i32::MIN,
                1 => i32::MAX,
                _ => (bits >> 20) as i32,
            };
            let ratio = Ratio { multiplier, shift };
            let expected = requantize(value.into(), ratio);
            assert_eq!(
                i64::from(requantize_upper(value.into(), ratio)),
                expected,
                "{value} {ratio:?}"
            );
        }
    }

    #[test]
    fn requantize_saturates_at_the_extremes() {
        let large = Ratio::from_f64(2_147_483_647.0).unwrap();
        assert_eq!(requantize_i32(i32::MAX, large), i32::MAX);
        assert_eq!(requantize_i32(i32::MIN, large), i32::MIN);
        assert_eq!(requantize_i16(i32::MIN, Ratio::from_f64(1.0).unwrap()), i16::MIN);
        assert_eq!(table_index(i32::MAX, Ratio::from_f64(1.0).unwrap()), 255);
        assert_eq!(table_index(i32::MIN, Ratio::from_f64(1.0).unwrap()), 0);
        assert_eq!(code_level(i16::MIN, 0, Ratio::from_f64(1.0).unwrap()), 0);
        assert_eq!(code_level(i16::MAX, 5, Ratio::from_f64(1.0).unwrap()), 127);
    }

    #[test]
    fn ratios_are_normalised_and_close() {
        for ratio in [1e-9, 3.3e-5, 0.1, 0.999_999_999_9, 1.0, 1.5, 12_345.678, 2e9] {
            let approximation = Ratio::from_f64(ratio).unwrap();
            assert!(approximation.is_valid());
            assert!((approximation.to_f64() / ratio - 1.0).abs() < 1e-9, "{ratio}");
        }
        assert_eq!(Ratio::from_f64(0.0), Some(Ratio { multiplier: 0, shift: 0 }));
        assert_eq!(Ratio::from_f64(1e-30), Some(Ratio { multiplier: 0, shift: 0 }));
        assert_eq!(Ratio::from_f64(2_147_483_648.0), None);
        assert_eq!(Ratio::from_f64(f64::NAN), None);
        assert_eq!(Ratio::from_f64(-1.0), None);
    }

    #[test]
    fn softmax_is_close_to_the_real_one() {
        let logits = [3.25_f64, -1.0, 2.875, 0.0, -20.0];
        let q16: Vec<i32> = logits.iter().map(|x| (x * 65_536.0).round() as i32).collect();
        let mut probabilities = [0; 5];
        softmax_q16(&q16, ONE_Q16, &mut probabilities);
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        for (logit, probability) in logits.iter().zip(probabilities) {
            let expected = logit.exp() / sum;
            assert!((f64::from(probability) / 65_536.0 - expected).abs() < 0.001, "{logit}");
        }
        assert!(probabilities.iter().sum::<u32>() <= ONE_Q16);
        assert_eq!(probabilities[4], 0);
    }

    #[test]
    fn quotients_are_those_of_a_division() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 32
        };
        for n in 0..200_000 {
            let sum = (1_u64 << 31) + (next() & 0x7fff_ffff) * (next() % 300);
            let exponential = match n % 4 {
                0 => (next() & 0x7fff_ffff) as u32,
                1 => 1 << 31,
                // Near a whole quotient, on both sides.
                2 => (((next() % 65_536) * sum) >> 16).min(1 << 31) as u32,
                _ => ((((next() % 65_536) * sum) >> 16) + 1).min(1 << 31) as u32,
            };
            let expected = (u64::from(exponential) << 16) / sum;
            let found = quotient_q16(exponential, sum, (1 << 47) / sum);
            assert_eq!(u64::from(found), expected, "{exponential} / {sum}");
        }
    }

    #[test]
    fn softmax_of_extreme_logits_stays_in_range() {
        let mut probabilities = [7; 3];
        let largest = softmax_q16(&[i32::MAX, i32::MIN, i32::MIN], u32::MAX, &mut probabilities);
        assert_eq!((largest, probabilities), (ONE_Q16, [ONE_Q16, 0, 0]));
        let largest = softmax_q16(&[i32::MIN; 3], ONE_Q16, &mut probabilities);
        assert_eq!((largest, probabilities), (21_845, [21_845; 3]));
        assert_eq!(softmax_q16(&[], ONE_Q16, &mut []), ONE_Q16);
    }
}
