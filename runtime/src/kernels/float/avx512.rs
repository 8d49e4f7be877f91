//! AVX-512: registers of 16 numbers, masks for what is shorter.

use core::arch::x86_64::*;

use super::avx2::V8;
use super::vector::{FloatVector, SQRT_HALF, TO_SPLIT};
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

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn sparse_f32(weights: &[f32], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    // SAFETY: the instruction set is enabled here; the rest is what `FloatTable` asks of its callers.
    unsafe { sparse::sparse::<V16, f32, 16>(weights, genes, values, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn sparse_f16(weights: &[u16], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { sparse::sparse::<V16, u16, 16>(weights, genes, values, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn sparse_i8(weights: &[i8], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { sparse::sparse::<V16, i8, 16>(weights, genes, values, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn columns_f32(
    columns: &Columns<'_, f32>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::columns::<V16, f32, 6, 4, 16>(columns, first, inputs, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn columns_f16(
    columns: &Columns<'_, u16>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::columns::<V16, u16, 6, 4, 16>(columns, first, inputs, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn columns_i8(
    columns: &Columns<'_, i8>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::columns::<V16, i8, 6, 4, 16>(columns, first, inputs, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn rows_f32(weights: &[f32], inputs: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V16, f32>(weights, inputs, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn rows_f16(weights: &[u16], inputs: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V16, u16>(weights, inputs, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn rows_i8(weights: &[i8], inputs: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V16, i8>(weights, inputs, sums) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn log1p_f32(factor: f32, values: &mut [f32]) {
    // SAFETY: as above.
    unsafe { log1p::log1p::<V16>(factor, values) }
}

#[derive(Clone, Copy)]
struct V16(__m512);

/// The first `len` lanes, fewer than 16.
#[inline(always)]
fn mask(len: usize) -> u16 {
    (1 << len) - 1
}

// SAFETY of every function: AVX-512 F, BW and VL are there, and memory is what the trait asks of its
// callers; what a mask leaves out is not touched.
impl FloatVector for V16 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_set1_ps(x)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, len: usize) -> Self {
        // SAFETY: see the impl; `len` is below 16.
        unsafe { Self(_mm512_maskz_loadu_ps(mask(len), from)) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_f16_partial(from: *const u16, len: usize) -> Self {
        // SAFETY: see the impl; `len` is below 16.
        unsafe { Self(_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(len), from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            Self(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn load_i8_partial(from: *const i8, len: usize) -> Self {
        // SAFETY: see the impl; `len` is below 16.
        unsafe {
            let bytes = _mm_maskz_loadu_epi8(mask(len), from);
            Self(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see the impl.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, len: usize) {
        // SAFETY: see the impl; `len` is below 16.
        unsafe { _mm512_mask_storeu_ps(to, mask(len), self.0) }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm512_div_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn totals(of: [Self; 4]) -> [f32; 4] {
        // SAFETY: see the impl; AVX-512 includes AVX2.
        unsafe {
            let mut halves = [V8::splat(0.0); 4];
            for (half, whole) in halves.iter_mut().zip(of) {
                let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(whole.0));
                let low = _mm512_castps512_ps256(whole.0);
                *half = V8(_mm256_add_ps(low, _mm256_castpd_ps(high)));
            }
            V8::totals(halves)
        }
    }

    #[inline(always)]
    unsafe fn split(self) -> (Self, Self) {
        // SAFETY: see the impl.
        unsafe {
            let bits = _mm512_add_epi32(_mm512_castps_si512(self.0), _mm512_set1_epi32(TO_SPLIT));
            let k = _mm512_sub_epi32(_mm512_srli_epi32::<23>(bits), _mm512_set1_epi32(127));
            let fraction = _mm512_and_si512(bits, _mm512_set1_epi32(0x007f_ffff));
            let m = _mm512_add_epi32(fraction, _mm512_set1_epi32(SQRT_HALF));
            (Self(_mm512_cvtepi32_ps(k)), Self(_mm512_castsi512_ps(m)))
        }
    }

    #[inline(always)]
    unsafe fn if_less(self, limit: Self, below: Self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let is_less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, limit.0);
            Self(_mm512_mask_blend_ps(is_less, other.0, below.0))
        }
    }

    #[inline(always)]
    unsafe fn is_finite_and_not_negative(self) -> bool {
        // SAFETY: see the impl.
        unsafe {
            let least = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.0, _mm512_setzero_ps());
            let most = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(self.0, _mm512_set1_ps(f32::MAX));
            least & most == u16::MAX
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: see the impl.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
