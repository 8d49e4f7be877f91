//! Probabilities of logits, in registers of 64 bytes.

use core::arch::x86_64::*;

use cic_model::quant::{EXP_FRACTION_Q16, EXP_INTEGER_Q31, ONE_Q16};

use super::requantize512::load;

/// See [`cic_model::quant::softmax_q16`], 16 classes at a time; products of 64 bits of even and odd ones
/// apart.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn softmax_q16(
    logits: &[i32],
    inv_temperature_q16: u32,
    probabilities: &mut [u32],
) -> u32 {
    if logits.is_empty() {
        return ONE_Q16;
    }
    let mut max = _mm512_set1_epi32(i32::MIN);
    for logits in logits.chunks(16) {
        let mask = u16::MAX >> (16 - logits.len());
        max = _mm512_mask_max_epi32(max, mask, max, load(logits));
    }
    let max = _mm512_set1_epi32(_mm512_reduce_max_epi32(max));
    let inv_temperature = _mm512_set1_epi64(inv_temperature_q16.into());
    if logits.len() <= 16 {
        // Nothing has to wait for memory.
        let mask = u16::MAX >> (16 - logits.len());
        let exponentials = exponentials_q31(load(logits), mask, max, inv_temperature);
        let total = Total::of(pairs(exponentials));
        let quotients = total.quotients_q16(exponentials);
        // SAFETY: the mask leaves out what is past the end.
        unsafe {
            _mm512_mask_storeu_epi32(probabilities.as_mut_ptr().cast(), mask, quotients);
        }
        return total.largest;
    }
    let mut sums = _mm512_setzero_si512();
    for (logits, probabilities) in logits.chunks(16).zip(probabilities.chunks_mut(16)) {
        let mask = u16::MAX >> (16 - probabilities.len());
        let exponentials = exponentials_q31(load(logits), mask, max, inv_temperature);
        sums = _mm512_add_epi64(sums, pairs(exponentials));
        // SAFETY: as above.
        unsafe {
            _mm512_mask_storeu_epi32(probabilities.as_mut_ptr().cast(), mask, exponentials);
        }
    }
    let total = Total::of(sums);
    for probabilities in probabilities.chunks_mut(16) {
        let mask = u16::MAX >> (16 - probabilities.len());
        // SAFETY: as above.
        unsafe {
            let exponentials = _mm512_maskz_loadu_epi32(mask, probabilities.as_ptr().cast());
            let quotients = total.quotients_q16(exponentials);
            _mm512_mask_storeu_epi32(probabilities.as_mut_ptr().cast(), mask, quotients);
        }
    }
    total.largest
}

/// `exp(−(max − logit) · inv_temperature)` in Q31, of 16 logits; zero where the mask has no bit.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn exponentials_q31(logits: __m512i, mask: u16, max: __m512i, inv_temperature: __m512i) -> __m512i {
    // Of 32 bits without a sign.
    let distances = _mm512_sub_epi32(max, logits);
    let to_q8 = |distances| {
        let distances_q16 = _mm512_srli_epi64::<16>(_mm512_mul_epu32(distances, inv_temperature));
        let rounded = _mm512_add_epi64(distances_q16, _mm512_set1_epi64(128));
        _mm512_min_epu64(_mm512_srli_epi64::<8>(rounded), _mm512_set1_epi64(16 << 8))
    };
    let distances_q8 = joined(to_q8(distances), to_q8(_mm512_srli_epi64::<32>(distances)));
    let mask = _mm512_mask_cmplt_epu32_mask(mask, distances_q8, _mm512_set1_epi32(16 << 8));
    // SAFETY: 16 entries.
    let integers = unsafe { _mm512_loadu_si512(EXP_INTEGER_Q31.as_ptr().cast()) };
    // Of an index the lowest four bits count.
    let integers = _mm512_permutexvar_epi32(_mm512_srli_epi32::<8>(distances_q8), integers);
    let fractions = fractions_q16(distances_q8);
    let product = |integers, fractions| {
        let product = _mm512_mul_epu32(integers, fractions);
        _mm512_srli_epi64::<16>(_mm512_add_epi64(product, _mm512_set1_epi64(1 << 15)))
    };
    let odd = product(_mm512_srli_epi64::<32>(integers), _mm512_srli_epi64::<32>(fractions));
    _mm512_maskz_mov_epi32(mask, joined(product(integers, fractions), odd))
}

/// `EXP_FRACTION_Q16[distance & 255]` of 16 distances, looked up in eight registers: a gather would take
/// an entry at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn fractions_q16(distances_q8: __m512i) -> __m512i {
    // SAFETY: eight registers of 32 entries each.
    let part = |n: usize| unsafe { _mm512_loadu_si512(LESS_ONE.as_ptr().add(32 * n).cast()) };
    // Of an index the lowest six bits count.
    let sixty_four = |n| _mm512_permutex2var_epi16(part(n), distances_q8, part(n + 1));
    let is_second = _mm512_test_epi32_mask(distances_q8, _mm512_set1_epi32(64));
    let is_high = _mm512_test_epi32_mask(distances_q8, _mm512_set1_epi32(128));
    let low = _mm512_mask_mov_epi32(sixty_four(0), is_second, sixty_four(2));
    let high = _mm512_mask_mov_epi32(sixty_four(4), is_second, sixty_four(6));
    let found = _mm512_mask_mov_epi32(low, is_high, high);
    let found = _mm512_and_si512(found, _mm512_set1_epi32(0xffff));
    _mm512_add_epi32(found, _mm512_set1_epi32(1))
}

/// The table less one, which fits 16 bits.
static LESS_ONE: [u16; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        table[n] = (EXP_FRACTION_Q16[n] - 1) as u16;
        n += 1;
    }
    table
};

/// Even words of 32 bits, whose upper halves are zero, and odd ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn joined(even: __m512i, odd: __m512i) -> __m512i {
    _mm512_or_si512(even, _mm512_slli_epi64::<32>(odd))
}

/// Sums of neighbours in 64 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pairs(words: __m512i) -> __m512i {
    let even = _mm512_and_si512(words, _mm512_set1_epi64(u32::MAX.into()));
    _mm512_add_epi64(even, _mm512_srli_epi64::<32>(words))
}

/// What exponentials are divided by.
struct Total {
    sum: __m512i,
    reciprocal: __m512i,
    /// The quotient of 2³¹, at most 2¹⁶.
    largest: u32,
}

impl Total {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn of(sums: __m512i) -> Self {
        let sum = (_mm512_reduce_add_epi64(sums) as u64).max(1 << 31);
        let largest = ((1 << 47) / sum) as u32;
        Self {
            sum: _mm512_set1_epi64(sum as i64),
            reciprocal: _mm512_set1_epi64(largest.into()),
            largest,
        }
    }

    /// The quotients of 16 exponentials, see `quotient_q16` beside the definition.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn quotients_q16(&self, exponentials: __m512i) -> __m512i {
        let quotient = |exponentials: __m512i| {
            let product = _mm512_mul_epu32(exponentials, self.reciprocal);
            let quotient = _mm512_srli_epi64::<31>(product);
            let rest = _mm512_sub_epi64(
                _mm512_slli_epi64::<16>(exponentials),
                _mm512_mullo_epi64(quotient, self.sum),
            );
            let is_short = _mm512_cmpge_epu64_mask(rest, self.sum);
            _mm512_mask_add_epi64(quotient, is_short, quotient, _mm512_set1_epi64(1))
        };
        let even = _mm512_and_si512(exponentials, _mm512_set1_epi64(u32::MAX.into()));
        joined(quotient(even), quotient(_mm512_srli_epi64::<32>(exponentials)))
    }
}
