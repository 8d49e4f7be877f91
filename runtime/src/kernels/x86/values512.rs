//! What is done to the values of a sample, in registers of 64 bytes: levels, order, depth and range.

use core::arch::x86_64::*;

use cic_model::profile::CountLevels;

use crate::outcome::Depth;

use super::super::{Extent, Line, ValueLevels, reference};
use super::requantize512::of_64;

/// See [`reference::read_values`] and [`super::super::Line`]: the position on the line, rounded down, where
/// that tells the level; the thresholds themselves elsewhere.
///
/// What lies outside the levels is put half-way into the first or the last one.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn read_values(
    rule: &ValueLevels<'_>,
    values: &[f32],
    next: &[f32],
    levels: &mut [u8],
) -> Extent {
    let Some(line) = rule.line() else {
        return reference::read_values(rule, values, next, levels);
    };
    let line = ScaledLine::of(line);
    let mut measured = Measured::new();
    let (whole, rest) = values.as_chunks::<64>();
    // Those that come next are elsewhere, where no processor expects them.
    let mut ahead = if next.len() < values.len() { values.as_ptr() } else { next.as_ptr() };
    for (values, levels) in whole.iter().zip(levels.as_chunks_mut::<64>().0) {
        let at = values.as_ptr();
        for line in 0..4 {
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(16 * line).cast());
        }
        ahead = ahead.wrapping_add(64);
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
        let (a, near_a) = line.positions(a);
        let (b, near_b) = line.positions(b);
        let (c, near_c) = line.positions(c);
        let (d, near_d) = line.positions(d);
        // SAFETY: 64 bytes.
        unsafe { _mm512_storeu_si512(levels.as_mut_ptr().cast(), whole_parts([a, b, c, d])) };
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
        let (positions, near) = line.positions(loaded);
        let whole = _mm512_srli_epi32::<16>(positions);
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

/// A line whose positions are in 65,536ths. The factor is exact.
struct ScaledLine {
    slope: __m512,
    intercept: __m512,
    /// The bits of a fraction that are all zero where it does not tell the level.
    above_near: __m512i,
}

impl ScaledLine {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn of(line: Line) -> Self {
        // A power of two, 4 to 32.
        let near = (65_536.0 * line.near()) as i32;
        Self {
            slope: _mm512_set1_ps(65_536.0 * line.slope),
            intercept: _mm512_set1_ps(65_536.0 * line.intercept),
            above_near: _mm512_set1_epi32(0x1_0000 - near),
        }
    }

    /// Positions of 16 values, limited to half-way levels 0 and 127, and which of them do not tell the level.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn positions(&self, values: __m512) -> (__m512i, u16) {
        let positions = _mm512_fmadd_ps(values, self.slope, self.intercept);
        let positions = _mm512_min_ps(positions, _mm512_set1_ps(127.5 * 65_536.0));
        let positions = _mm512_max_ps(positions, _mm512_set1_ps(0.5 * 65_536.0));
        let positions = _mm512_cvttps_epi32(positions);
        (positions, _mm512_testn_epi32_mask(positions, self.above_near))
    }
}

/// Whole parts of 64 positions as bytes: the upper words of 32, then of two times 32 the lower bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn whole_parts([a, b, c, d]: [__m512i; 4]) -> __m512i {
    // Bytes come from quarters of both registers in turn: eight words of `a`, `b`, `c`, `d` each.
    // SAFETY: 32 words.
    let order = unsafe { _mm512_loadu_si512(UPPER_WORDS.as_ptr().cast()) };
    let low = _mm512_permutex2var_epi16(a, order, b);
    let high = _mm512_permutex2var_epi16(c, order, d);
    _mm512_permutexvar_epi64(
        _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7),
        _mm512_packus_epi16(low, high),
    )
}

/// Where the upper words of two registers of 16 double words are.
static UPPER_WORDS: [u16; 32] = {
    let mut words = [0; 32];
    let mut n = 0;
    while n < 32 {
        words[n] = 2 * n as u16 + 1;
        n += 1;
    }
    words
};

/// Replaces levels by those of the thresholds.
#[cold]
fn look_closer(rule: &ValueLevels<'_>, values: &[f32], mut near: u64, levels: &mut [u8]) {
    while near != 0 {
        let lane = near.trailing_zeros() as usize;
        levels[lane] = rule.level(values[lane]);
        near &= near - 1;
    }
}

/// See [`reference::read_counts`]: counts below 16 are looked up in a register, 16 at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn read_counts(rule: &mut CountLevels<'_>, counts: &[u32], levels: &mut [u8]) {
    let first = rule.first_levels();
    // SAFETY: 16 bytes.
    let first = unsafe { _mm_loadu_si128(first.as_ptr().cast()) };
    for (counts, levels) in counts.chunks(16).zip(levels.chunks_mut(16)) {
        let mask = u16::MAX >> (16 - counts.len());
        // SAFETY: the mask leaves out what is past the end.
        let loaded = unsafe { _mm512_maskz_loadu_epi32(mask, counts.as_ptr().cast()) };
        let found = _mm_shuffle_epi8(first, _mm512_cvtusepi32_epi8(loaded));
        // SAFETY: as above.
        unsafe { _mm_mask_storeu_epi8(levels.as_mut_ptr().cast(), mask, found) };
        let mut large = _mm512_cmpgt_epu32_mask(loaded, _mm512_set1_epi32(15));
        while large != 0 {
            let lane = large.trailing_zeros() as usize;
            levels[lane] = rule.level(counts[lane]);
            large &= large - 1;
        }
    }
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
