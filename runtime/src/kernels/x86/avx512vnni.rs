//! AVX-512 with VNNI: registers of 64 bytes, masks for what is shorter.
//!
//! Over listed inputs, bytes change places once instead of twice: two rows are interleaved, and the
//! levels are multiplied in two steps, `[a, b, 0, 0]` with even outputs and `[0, 0, a, b]` with odd
//! ones. Interleaving is confined to one execution port on several processors, products are not.

use core::arch::x86_64::*;

use cic_model::quant::table_index;

use crate::outcome::Depth;

use super::super::vector::Vector;
use super::super::{
    LevelRows, Line, Panels, Ratios, SumRows, Table, ValueLevels, dense, reference, sparse,
};

pub(crate) static TABLE: Table = Table {
    sparse_s8,
    panels_s8,
    rows_s8,
    activate_s8,
    requantize_rows_i16,
    requantize_rows_i32,
    code_levels,
    value_levels,
    measure_counts,
    measure_values,
};

/// With the byte permutations of VBMI.
pub(crate) static TABLE_VBMI: Table = Table { activate_s8: activate_vbmi, ..TABLE };

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn sparse_s8(weights: &[i8], genes: &[u32], levels: &[u8], sums: &mut [i32]) {
    // SAFETY: the instruction set is enabled here; the rest is what `Table` asks of its callers.
    unsafe { sparse::sparse::<V64>(weights, genes, levels, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: LevelRows<'_>,
    sums: &mut SumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::panels::<V64, 4, 4, 1>(panels, first, levels, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V64>(weights, levels, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn measure_counts(counts: &[u32]) -> Depth {
    reference::measure_counts(counts)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn measure_values(values: &[f32]) -> (u32, u32) {
    let (mut largest, mut n_set) = (_mm512_setzero_si512(), 0);
    for values in values.chunks(16) {
        let mask = u16::MAX >> (16 - values.len());
        // SAFETY: the mask leaves out what is past the end.
        let values = unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) };
        largest = _mm512_max_epu32(largest, _mm512_castps_si512(values));
        n_set += _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(values, _mm512_setzero_ps()).count_ones();
    }
    (_mm512_reduce_max_epu32(largest), n_set)
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
    unsafe fn add_to(self, to: *mut i32) {
        // SAFETY: see the impl.
        unsafe {
            let sum = _mm512_add_epi32(_mm512_loadu_si512(to.cast()), self.0);
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

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn activate_s8(sums: &[i32], ratios: Ratios<'_>, table: &[u8], levels: &mut [u8]) {
    let Ok(table) = <&[u8; 256]>::try_from(table) else { return };
    indices(sums, &ratios, levels);
    for level in levels {
        *level = table[usize::from(*level)];
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn activate_vbmi(sums: &[i32], ratios: Ratios<'_>, table: &[u8], levels: &mut [u8]) {
    let Ok(table) = <&[u8; 256]>::try_from(table) else { return };
    indices(sums, &ratios, levels);
    // SAFETY: the table has four registers.
    let [a, b, c, d] = unsafe {
        [0, 64, 128, 192].map(|at| _mm512_loadu_si512(table.as_ptr().wrapping_add(at).cast()))
    };
    for levels in levels.chunks_mut(64) {
        let mask = u64::MAX >> (64 - levels.len());
        // SAFETY: the mask leaves out what is past the end.
        let index = unsafe { _mm512_maskz_loadu_epi8(mask, levels.as_ptr().cast()) };
        let low = _mm512_permutex2var_epi8(a, index, b);
        let high = _mm512_permutex2var_epi8(c, index, d);
        let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_epi8(levels.as_mut_ptr().cast(), mask, found) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn requantize_rows_i16(sums: &[i32], ratios: Ratios<'_>, out: &mut [i16]) {
    for (n, (sums, out)) in sums.chunks(16).zip(out.chunks_mut(16)).enumerate() {
        let rounded = requantize(sums, &ratios, 16 * n).clamp(i16::MIN.into(), i16::MAX.into());
        let mask = u16::MAX >> (16 - out.len());
        // SAFETY: the mask leaves out what is past the end.
        unsafe {
            let halves = _mm512_cvtepi32_epi16(rounded);
            _mm256_mask_storeu_epi16(out.as_mut_ptr(), mask, halves);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn requantize_rows_i32(sums: &[i32], ratios: Ratios<'_>, out: &mut [i32]) {
    for (n, (sums, out)) in sums.chunks(16).zip(out.chunks_mut(16)).enumerate() {
        let rounded = requantize(sums, &ratios, 16 * n).clamp(i32::MIN.into(), i32::MAX.into());
        let mask = u16::MAX >> (16 - out.len());
        // SAFETY: the mask leaves out what is past the end.
        unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr(), mask, rounded) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn code_levels(codes: &[i16], offsets: &[i32], ratios: Ratios<'_>, levels: &mut [u8]) {
    let (multipliers, shifts) = (ratios.multipliers(), ratios.shifts());
    for (n, levels) in levels.chunks_mut(8).enumerate() {
        let mask = u8::MAX >> (8 - levels.len());
        let at = 8 * n;
        // SAFETY: `levels` is as long as the others, and the mask leaves out what is past the end.
        let (codes, offsets, multipliers, shifts) = unsafe {
            (
                _mm_maskz_loadu_epi16(mask, codes[at..].as_ptr()),
                _mm256_maskz_loadu_epi32(mask, offsets[at..].as_ptr()),
                _mm256_maskz_loadu_epi32(mask, multipliers[at..].as_ptr()),
                _mm_maskz_loadu_epi8(mask.into(), shifts[at..].as_ptr().cast()),
            )
        };
        // Code and offset together may need 33 bits, hence all in 64.
        let sums = _mm512_add_epi64(_mm512_cvtepi16_epi64(codes), _mm512_cvtepi32_epi64(offsets));
        let shifts = _mm512_cvtepu8_epi64(shifts);
        let half = _mm512_srli_epi64::<1>(_mm512_sllv_epi64(_mm512_set1_epi64(1), shifts));
        let product = _mm512_mullo_epi64(sums, _mm512_cvtepi32_epi64(multipliers));
        let rounded = _mm512_srav_epi64(_mm512_add_epi64(product, half), shifts);
        let level = _mm512_min_epi64(rounded, _mm512_set1_epi64(127));
        let level = _mm512_cvtepi64_epi8(_mm512_max_epi64(level, _mm512_setzero_si512()));
        // SAFETY: the mask leaves out what is past the end.
        unsafe { _mm_mask_storeu_epi8(levels.as_mut_ptr().cast(), mask.into(), level) };
    }
}

/// The index of every sum in its activation table.
///
/// A product in single precision is off by at most 128 · 3 · 2⁻²⁴ within the table's range. Where it
/// is further than that from a tie it rounds to the same whole number as the exact one; where it is
/// not, the exact one decides.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn indices(sums: &[i32], ratios: &Ratios<'_>, out: &mut [u8]) {
    for (n, (sums, out)) in sums.chunks(16).zip(out.chunks_mut(16)).enumerate() {
        let mask = u16::MAX >> (16 - sums.len());
        let (products, is_near_tie) = products(sums, ratios, 16 * n, mask);
        let index = _mm_xor_si128(
            _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(products)),
            _mm_set1_epi8(i8::MIN),
        );
        match <&mut [u8; 16]>::try_from(&mut *out) {
            // SAFETY: 16 bytes.
            Ok(out) => unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), index) },
            // SAFETY: the mask leaves out what is past the end.
            Err(_) => unsafe { _mm_mask_storeu_epi8(out.as_mut_ptr().cast(), mask, index) },
        }
        let mut near = u32::from(is_near_tie);
        while near != 0 {
            let lane = near.trailing_zeros() as usize;
            out[lane] = table_index(sums[lane], ratios.get(16 * n + lane));
            near &= near - 1;
        }
    }
}

/// Up to 16 sums by their ratios, limited to −128 ..= 127, and which of them are near a tie.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn products(sums: &[i32], ratios: &Ratios<'_>, first: usize, mask: u16) -> (__m512, u16) {
    let multipliers = &ratios.multipliers()[first..first + sums.len()];
    let shifts = &ratios.shifts()[first..first + sums.len()];
    // SAFETY: the mask leaves out what is past the end.
    let (sums, multipliers, shifts) = unsafe {
        (
            _mm512_maskz_loadu_epi32(mask, sums.as_ptr()),
            _mm512_maskz_loadu_epi32(mask, multipliers.as_ptr()),
            _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, shifts.as_ptr().cast())),
        )
    };
    // 2^−shift, shift 0 ..= 62.
    let power = _mm512_slli_epi32::<23>(_mm512_sub_epi32(_mm512_set1_epi32(127), shifts));
    let ratio = _mm512_mul_ps(_mm512_cvtepi32_ps(multipliers), _mm512_castsi512_ps(power));
    let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), ratio);
    let product = _mm512_min_ps(product, _mm512_set1_ps(127.0));
    let product = _mm512_max_ps(product, _mm512_set1_ps(-128.0));
    let distance = _mm512_abs_ps(_mm512_reduce_ps::<0>(product));
    let limit = _mm512_set1_ps(0.5 - 1.0 / 1024.0);
    (product, _mm512_mask_cmp_ps_mask::<_CMP_GT_OQ>(mask, distance, limit))
}

/// Requantised sums of 64 bits, even and odd ones.
struct Rounded {
    even: __m512i,
    odd: __m512i,
}

/// Up to 16 sums and the ratios from `first` on: `(sum · multiplier + half) >> shift`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn requantize(sums: &[i32], ratios: &Ratios<'_>, first: usize) -> Rounded {
    let mask = u16::MAX >> (16 - sums.len());
    let multipliers = &ratios.multipliers()[first..first + sums.len()];
    let shifts = &ratios.shifts()[first..first + sums.len()];
    // SAFETY: the mask leaves out what is past the end.
    let (sums, multipliers, shifts) = unsafe {
        (
            _mm512_maskz_loadu_epi32(mask, sums.as_ptr()),
            _mm512_maskz_loadu_epi32(mask, multipliers.as_ptr()),
            _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, shifts.as_ptr().cast())),
        )
    };
    Rounded {
        even: requantize_eight(sums, multipliers, _mm512_maskz_mov_epi32(0x5555, shifts)),
        odd: requantize_eight(
            _mm512_srli_epi64::<32>(sums),
            _mm512_srli_epi64::<32>(multipliers),
            _mm512_srli_epi64::<32>(shifts),
        ),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn requantize_eight(sums: __m512i, multipliers: __m512i, shifts: __m512i) -> __m512i {
    let half = _mm512_srli_epi64::<1>(_mm512_sllv_epi64(_mm512_set1_epi64(1), shifts));
    let product = _mm512_add_epi64(_mm512_mul_epi32(sums, multipliers), half);
    _mm512_srav_epi64(product, shifts)
}

impl Rounded {
    /// In the order of the sums, limited to what 32 bits hold.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn clamp(self, least: i64, most: i64) -> __m512i {
        let (least, most) = (_mm512_set1_epi64(least), _mm512_set1_epi64(most));
        let even = _mm512_max_epi64(_mm512_min_epi64(self.even, most), least);
        let odd = _mm512_max_epi64(_mm512_min_epi64(self.odd, most), least);
        _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64::<32>(odd))
    }
}

/// See [`Line`]: the position on the line, rounded down, where it is far from a whole number; the
/// thresholds themselves where it is near one.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn value_levels(rule: &ValueLevels<'_>, values: &[f32], levels: &mut [u8]) {
    let Some(line) = rule.line() else {
        return reference::value_levels(rule, values, levels);
    };
    let (slope, intercept) = (_mm512_set1_ps(line.slope), _mm512_set1_ps(line.intercept));
    for (values, levels) in values.chunks(16).zip(levels.chunks_mut(16)) {
        let mask = u16::MAX >> (16 - values.len());
        // SAFETY: the mask leaves out what is past the end.
        let loaded = unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) };
        let position = _mm512_fmadd_ps(loaded, slope, intercept);
        // Positions outside become some that are far from a whole number, with level 0 or 127.
        let position = _mm512_min_ps(position, _mm512_set1_ps(127.5));
        let position = _mm512_max_ps(position, _mm512_set1_ps(0.5));
        let whole = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(position));
        match <&mut [u8; 16]>::try_from(&mut *levels) {
            // SAFETY: 16 bytes.
            Ok(levels) => unsafe { _mm_storeu_si128(levels.as_mut_ptr().cast(), whole) },
            // SAFETY: the mask leaves out what is past the end.
            Err(_) => unsafe { _mm_mask_storeu_epi8(levels.as_mut_ptr().cast(), mask, whole) },
        }
        let distance = _mm512_abs_ps(_mm512_reduce_ps::<0>(position));
        let slack = _mm512_set1_ps(2.0 * Line::SLACK);
        let mut near = u32::from(_mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(mask, distance, slack));
        while near != 0 {
            let lane = near.trailing_zeros() as usize;
            levels[lane] = rule.level(values[lane]);
            near &= near - 1;
        }
    }
}
