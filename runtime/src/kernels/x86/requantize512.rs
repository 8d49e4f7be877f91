//! What is done to sums, in registers of 64 bytes: requantisation and activation.

use core::arch::x86_64::*;
use core::ops::Range;

use cic_model::quant::table_index;

use super::super::{Part, PartMut, Ratios, reference};

/// See [`reference::activate_s8`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn activate_s8(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    table: &[u8],
    levels: &mut PartMut<'_, u8>,
) {
    let Ok(table) = <&[u8; 256]>::try_from(table) else { return };
    for row in 0..sums.n_rows() {
        let levels = levels.row_mut(row);
        indices(sums.row(row), ratios, levels);
        for level in levels {
            *level = table[usize::from(*level)];
        }
    }
}

/// See [`reference::activate_s8`]: 64 outputs of all rows at a time, looked up in the table as in one of
/// four registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn activate_vbmi(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    table: &[u8],
    levels: &mut PartMut<'_, u8>,
) {
    let Ok(entries) = <&[u8; 256]>::try_from(table) else { return };
    let entries = entries.as_ptr();
    // SAFETY: the table has four registers.
    let entries = unsafe {
        [
            _mm512_loadu_si512(entries.cast()),
            _mm512_loadu_si512(entries.wrapping_add(64).cast()),
            _mm512_loadu_si512(entries.wrapping_add(128).cast()),
            _mm512_loadu_si512(entries.wrapping_add(192).cast()),
        ]
    };
    let n_whole = sums.width() / 64;
    for first in (0..n_whole).map(|n| 64 * n) {
        let floats = [
            some_ratios(ratios, first, 16),
            some_ratios(ratios, first + 16, 16),
            some_ratios(ratios, first + 32, 16),
            some_ratios(ratios, first + 48, 16),
        ];
        for row in 0..sums.n_rows() {
            let sums = sums.row(row)[first..].first_chunk::<64>();
            let levels = levels.row_mut(row)[first..].first_chunk_mut::<64>();
            let (Some(sums), Some(levels)) = (sums, levels) else { return };
            let (mut indices, near) = indices_of_64(sums, &floats);
            if near != 0 {
                let mut bytes = [0; 64];
                // SAFETY: 64 bytes.
                unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), indices) };
                correct(sums, ratios, first, near, &mut bytes);
                // SAFETY: as above.
                indices = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
            }
            // SAFETY: 64 bytes.
            unsafe { _mm512_storeu_si512(levels.as_mut_ptr().cast(), look_up(entries, indices)) };
        }
    }
    let done = 64 * n_whole;
    if done == sums.width() {
        return;
    }
    let ratios = ratios.from(done);
    for row in 0..sums.n_rows() {
        let levels = &mut levels.row_mut(row)[done..];
        indices(&sums.row(row)[done..], &ratios, levels);
        let mask = u64::MAX >> (64 - levels.len());
        // SAFETY: the mask leaves out what is past the end.
        unsafe {
            let indices = _mm512_maskz_loadu_epi8(mask, levels.as_ptr().cast());
            _mm512_mask_storeu_epi8(levels.as_mut_ptr().cast(), mask, look_up(entries, indices));
        }
    }
}

/// Entries of a table in four registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn look_up([a, b, c, d]: [__m512i; 4], indices: __m512i) -> __m512i {
    let low = _mm512_permutex2var_epi8(a, indices, b);
    let high = _mm512_permutex2var_epi8(c, indices, d);
    _mm512_mask_blend_epi8(_mm512_movepi8_mask(indices), low, high)
}

/// The indices of 64 sums, see [`indices`], and which of them are near a tie.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn indices_of_64(sums: &[i32; 64], ratios: &[__m512; 4]) -> (__m512i, u64) {
    let sums = sums.as_ptr();
    // SAFETY: 64 sums.
    let (a, b, c, d) = unsafe {
        (
            products(_mm512_loadu_epi32(sums), ratios[0]),
            products(_mm512_loadu_epi32(sums.add(16)), ratios[1]),
            products(_mm512_loadu_epi32(sums.add(32)), ratios[2]),
            products(_mm512_loadu_epi32(sums.add(48)), ratios[3]),
        )
    };
    let bytes = narrowed(a.0, b.0, c.0, d.0);
    (_mm512_xor_si512(bytes, _mm512_set1_epi8(i8::MIN)), of_64(a.1, b.1, c.1, d.1))
}

/// The ratios of up to 16 rows as floats; zero after them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn some_ratios(ratios: &Ratios<'_>, first: usize, len: usize) -> __m512 {
    let multipliers = load(&ratios.multipliers()[first..first + len]);
    let shifts = load_shifts(&ratios.shifts()[first..first + len]);
    // 2^-shift, shift 0 ..= 62.
    let power = _mm512_slli_epi32::<23>(_mm512_sub_epi32(_mm512_set1_epi32(127), shifts));
    _mm512_mul_ps(_mm512_cvtepi32_ps(multipliers), _mm512_castsi512_ps(power))
}

/// Replaces the indices near a tie by exact ones.
#[cold]
fn correct(sums: &[i32], ratios: &Ratios<'_>, first: usize, mut near: u64, indices: &mut [u8]) {
    while near != 0 {
        let lane = near.trailing_zeros() as usize;
        indices[lane] = table_index(sums[lane], ratios.get(first + lane));
        near &= near - 1;
    }
}

/// See [`reference::requantize_i16s`]: 16 outputs of all rows at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn requantize_i16s(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    out: &mut PartMut<'_, i16>,
) {
    for columns in sixteens(sums.width()) {
        let mask = u16::MAX >> (16 - columns.len());
        let exact = Exact::of(ratios, columns.clone());
        for row in 0..sums.n_rows() {
            let rounded = exact.requantize(load(&sums.row(row)[columns.clone()]));
            let halves = _mm512_cvtepi32_epi16(rounded.clamp(i16::MIN.into(), i16::MAX.into()));
            let out = &mut out.row_mut(row)[columns.clone()];
            // SAFETY: the mask leaves out what is past the end.
            unsafe { _mm256_mask_storeu_epi16(out.as_mut_ptr(), mask, halves) };
        }
    }
}

/// See [`reference::requantize_i32s`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn requantize_i32s(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    out: &mut PartMut<'_, i32>,
) {
    for columns in sixteens(sums.width()) {
        let mask = u16::MAX >> (16 - columns.len());
        let exact = Exact::of(ratios, columns.clone());
        for row in 0..sums.n_rows() {
            let rounded = exact.requantize(load(&sums.row(row)[columns.clone()]));
            let words = rounded.clamp(i32::MIN.into(), i32::MAX.into());
            let out = &mut out.row_mut(row)[columns.clone()];
            // SAFETY: the mask leaves out what is past the end.
            unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr(), mask, words) };
        }
    }
}

/// See [`reference::code_levels`]; in single precision where that is far enough from a tie, see
/// [`indices`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn code_levels(
    codes: &Part<'_, i16>,
    offsets: &[i32],
    ratios: &Ratios<'_>,
    levels: &mut PartMut<'_, u8>,
) {
    for columns in sixteens(codes.width()) {
        let mask = u16::MAX >> (16 - columns.len());
        let offset = load(&offsets[columns.clone()]);
        let floats = some_ratios(ratios, columns.start, columns.len());
        for row in 0..codes.n_rows() {
            let codes = &codes.row(row)[columns.clone()];
            let levels = &mut levels.row_mut(row)[columns.clone()];
            // SAFETY: the mask leaves out what is past the end.
            let code = unsafe { _mm256_maskz_loadu_epi16(mask, codes.as_ptr()) };
            let code = _mm512_cvtepi16_epi32(code);
            let sum = _mm512_add_epi32(code, offset);
            // Both of one sign, and the sum of the other: it needs 33 bits.
            let has_overflown =
                _mm512_and_si512(_mm512_xor_si512(sum, code), _mm512_xor_si512(sum, offset));
            let (level, near) = products(sum, floats);
            let unsure = (near | _mm512_movepi32_mask(has_overflown)) & mask;
            let level = _mm512_max_epi32(level, _mm512_setzero_si512());
            // SAFETY: as above.
            unsafe {
                let level = _mm512_cvtepi32_epi8(level);
                _mm_mask_storeu_epi8(levels.as_mut_ptr().cast(), mask, level);
            }
            if unsure != 0 {
                let (offsets, ratios) = (&offsets[columns.clone()], ratios.from(columns.start));
                reference::code_levels_row(codes, offsets, &ratios, levels);
            }
        }
    }
}

/// `0..len` in sixteens, the last one shorter.
#[inline]
fn sixteens(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(16).map(move |first| first..len.min(first + 16))
}

/// The index of every sum in its activation table.
///
/// A product in single precision is off by at most 128 · 4 · 2⁻²⁴, half of what counts as near, within
/// the table's range. Where it is further than that from a tie it rounds to the same whole number as
/// the exact one; where it is not, the exact one decides.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn indices(sums: &[i32], ratios: &Ratios<'_>, out: &mut [u8]) {
    for (n, (sums, out)) in sums.chunks(16).zip(out.chunks_mut(16)).enumerate() {
        let mask = u16::MAX >> (16 - sums.len());
        let (rounded, near) = products(load(sums), some_ratios(ratios, 16 * n, sums.len()));
        let near = near & mask;
        let index = _mm_xor_si128(_mm512_cvtsepi32_epi8(rounded), _mm_set1_epi8(i8::MIN));
        match <&mut [u8; 16]>::try_from(&mut *out) {
            // SAFETY: 16 bytes.
            Ok(out) => unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), index) },
            // SAFETY: the mask leaves out what is past the end.
            Err(_) => unsafe { _mm_mask_storeu_epi8(out.as_mut_ptr().cast(), mask, index) },
        }
        if near != 0 {
            correct(sums, ratios, 16 * n, near.into(), out);
        }
    }
}

/// 16 sums by their ratios, limited to 127 above and rounded, and which of them are near a tie. Below
/// −128 some may be called near that are far.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn products(sums: __m512i, ratios: __m512) -> (__m512i, u16) {
    let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), ratios);
    let product = _mm512_min_ps(product, _mm512_set1_ps(127.0));
    let distance = _mm512_abs_ps(_mm512_reduce_ps::<0>(product));
    let limit = _mm512_set1_ps(0.5 - 1.0 / 16_384.0);
    let near = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(distance, limit);
    (_mm512_cvtps_epi32(product), near)
}

/// Ratios of up to 16 rows, those of even and of odd ones: `(sum · multiplier + half) >> shift` in 64 bits.
struct Exact {
    multipliers: [__m512i; 2],
    halves: [__m512i; 2],
    shifts: [__m512i; 2],
}

impl Exact {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn of(ratios: &Ratios<'_>, rows: Range<usize>) -> Self {
        let multipliers = load(&ratios.multipliers()[rows.clone()]);
        let shifts = load_shifts(&ratios.shifts()[rows]);
        let shifts = [_mm512_maskz_mov_epi32(0x5555, shifts), _mm512_srli_epi64::<32>(shifts)];
        let half = |shifts| _mm512_srli_epi64::<1>(_mm512_sllv_epi64(_mm512_set1_epi64(1), shifts));
        Self {
            multipliers: [multipliers, _mm512_srli_epi64::<32>(multipliers)],
            halves: [half(shifts[0]), half(shifts[1])],
            shifts,
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn requantize(&self, sums: __m512i) -> Rounded {
        let (even, odd) = (sums, _mm512_srli_epi64::<32>(sums));
        let even = _mm512_mul_epi32(even, self.multipliers[0]);
        let odd = _mm512_mul_epi32(odd, self.multipliers[1]);
        Rounded {
            even: _mm512_srav_epi64(_mm512_add_epi64(even, self.halves[0]), self.shifts[0]),
            odd: _mm512_srav_epi64(_mm512_add_epi64(odd, self.halves[1]), self.shifts[1]),
        }
    }
}

/// Up to 16 numbers, and zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn load(numbers: &[i32]) -> __m512i {
    // SAFETY: the mask leaves out what is past the end.
    unsafe { _mm512_maskz_loadu_epi32(u16::MAX >> (16 - numbers.len()), numbers.as_ptr()) }
}

/// Up to 16 shifts, and zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn load_shifts(shifts: &[u8]) -> __m512i {
    let mask = u16::MAX >> (16 - shifts.len());
    // SAFETY: the mask leaves out what is past the end.
    _mm512_cvtepu8_epi32(unsafe { _mm_maskz_loadu_epi8(mask, shifts.as_ptr().cast()) })
}

/// Requantised sums of 64 bits.
struct Rounded {
    even: __m512i,
    odd: __m512i,
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

/// 64 words as bytes, limited to −128 ..= 127. Narrowing brings four words of each register in turn.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn narrowed(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    let (ab, cd) = (_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_epi32(order, _mm512_packs_epi16(ab, cd))
}

/// Masks of four registers as one.
#[inline]
pub(super) fn of_64(a: u16, b: u16, c: u16, d: u16) -> u64 {
    u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48
}
