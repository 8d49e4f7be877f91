//! What surrounds the sums, in registers of 64 bytes: requantisation, activation, levels of values,
//! probabilities.

use core::arch::x86_64::*;
use core::ops::Range;

use cic_model::quant::{EXP_FRACTION_Q16, EXP_INTEGER_Q31, ONE_Q16, table_index};

use crate::outcome::Depth;

use super::super::{Extent, Part, PartMut, Ratios, ValueLevels, reference};

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
fn load(numbers: &[i32]) -> __m512i {
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

/// How many values ahead memory is asked for.
const AHEAD: usize = 1024;

/// See [`reference::read_values`] and [`super::super::Line`]: the position on the line, rounded down, where
/// that tells the level; the thresholds themselves elsewhere.
///
/// What lies outside the levels is put half-way into the first or the last one.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn read_values(rule: &ValueLevels<'_>, values: &[f32], levels: &mut [u8]) -> Extent {
    let Some(line) = rule.line() else {
        return reference::read_values(rule, values, levels);
    };
    let near = _mm512_set1_ps(line.near);
    let line = (_mm512_set1_ps(line.slope), _mm512_set1_ps(line.intercept), near);
    let mut measured = Measured::new();
    let (whole, rest) = values.as_chunks::<64>();
    for (values, levels) in whole.iter().zip(levels.as_chunks_mut::<64>().0) {
        let at = values.as_ptr();
        // Rows of a batch often follow one another; no processor looks beyond the end of a page.
        for line in 0..4 {
            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD + 16 * line).cast());
        }
        // SAFETY: 64 floats.
        let [a, b, c, d] = unsafe {
            [
                _mm512_loadu_ps(at),
                _mm512_loadu_ps(at.add(16)),
                _mm512_loadu_ps(at.add(32)),
                _mm512_loadu_ps(at.add(48)),
            ]
        };
        measured.add(a);
        measured.add(b);
        measured.add(c);
        measured.add(d);
        let (a, near_a) = position(a, line);
        let (b, near_b) = position(b, line);
        let (c, near_c) = position(c, line);
        let (d, near_d) = position(d, line);
        // SAFETY: 64 bytes.
        unsafe { _mm512_storeu_si512(levels.as_mut_ptr().cast(), narrowed(a, b, c, d)) };
        let near = of_64(near_a, near_b, near_c, near_d);
        if near != 0 {
            look_closer(rule, values, near, levels);
        }
    }
    let levels = levels.get_mut(64 * whole.len()..).unwrap_or_default();
    for (values, levels) in rest.chunks(16).zip(levels.chunks_mut(16)) {
        let mask = u16::MAX >> (16 - values.len());
        // SAFETY: the mask leaves out what is past the end.
        let loaded = unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) };
        measured.add(loaded);
        let (whole, near) = position(loaded, line);
        // SAFETY: as above.
        unsafe {
            _mm_mask_storeu_epi8(levels.as_mut_ptr().cast(), mask, _mm512_cvtepi32_epi8(whole));
        }
        if near & mask != 0 {
            look_closer(rule, values, (near & mask).into(), levels);
        }
    }
    measured.extent()
}

/// Positions on a line, rounded down to 0 ..= 127, and which of them do not tell the level.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn position(values: __m512, (slope, intercept, near): (__m512, __m512, __m512)) -> (__m512i, u16) {
    // Rounded twice, as the line was checked: rounded once it could be elsewhere.
    let position = _mm512_add_ps(_mm512_mul_ps(values, slope), intercept);
    let position = _mm512_min_ps(position, _mm512_set1_ps(127.5));
    let position = _mm512_max_ps(position, _mm512_set1_ps(0.5));
    // What is above the next whole number below.
    let fraction = _mm512_reduce_ps::<1>(position);
    let near = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(fraction, near);
    (_mm512_cvttps_epi32(position), near)
}

/// Replaces levels by those of the thresholds.
#[cold]
fn look_closer(rule: &ValueLevels<'_>, values: &[f32], mut near: u64, levels: &mut [u8]) {
    while near != 0 {
        let lane = near.trailing_zeros() as usize;
        levels[lane] = rule.level(values[lane]);
        near &= near - 1;
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
fn of_64(a: u16, b: u16, c: u16, d: u16) -> u64 {
    u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48
}

/// See [`reference::are_increasing`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn are_increasing(genes: &[u32]) -> bool {
    reference::are_increasing(genes)
}

/// See [`reference::measure_counts`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn measure_counts(counts: &[u32]) -> Depth {
    reference::measure_counts(counts)
}

/// See [`reference::measure_values`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn measure_values(values: &[f32]) -> Extent {
    let mut measured = Measured::new();
    for values in values.chunks(16) {
        let mask = u16::MAX >> (16 - values.len());
        // SAFETY: the mask leaves out what is past the end.
        measured.add(unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) });
    }
    measured.extent()
}

/// The extent of values so far, lane by lane.
struct Measured {
    largest: __m512i,
    n_set: __m512i,
}

impl Measured {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn new() -> Self {
        Self { largest: _mm512_setzero_si512(), n_set: _mm512_setzero_si512() }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn add(&mut self, values: __m512) {
        self.largest = _mm512_max_epu32(self.largest, _mm512_castps_si512(values));
        let is_set = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(values, _mm512_setzero_ps());
        let one = _mm512_set1_epi32(1);
        self.n_set = _mm512_mask_add_epi32(self.n_set, is_set, self.n_set, one);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn extent(self) -> Extent {
        Extent {
            largest_bits: _mm512_reduce_max_epu32(self.largest),
            // As many as there are values, which is less than 2³².
            n_set: _mm512_reduce_add_epi32(self.n_set) as u32,
        }
    }
}

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
