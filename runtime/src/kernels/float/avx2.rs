//! AVX2 with FMA and F16C: registers of 8 numbers.

use core::arch::x86_64::*;

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

#[target_feature(enable = "avx2,fma,f16c")]
fn sparse_f32(weights: &[f32], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    // SAFETY: the instruction set is enabled here; the rest is what `FloatTable` asks of its callers.
    unsafe { sparse::sparse::<V8, f32, 8>(weights, genes, values, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn sparse_f16(weights: &[u16], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { sparse::sparse::<V8, u16, 8>(weights, genes, values, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn sparse_i8(weights: &[i8], genes: &[u32], values: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { sparse::sparse::<V8, i8, 8>(weights, genes, values, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn columns_f32(
    columns: &Columns<'_, f32>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::columns::<V8, f32, 6, 2, 8>(columns, first, inputs, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn columns_f16(
    columns: &Columns<'_, u16>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::columns::<V8, u16, 6, 2, 8>(columns, first, inputs, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn columns_i8(
    columns: &Columns<'_, i8>,
    first: usize,
    inputs: InputRows<'_>,
    sums: &mut FloatSumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::columns::<V8, i8, 6, 2, 8>(columns, first, inputs, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rows_f32(weights: &[f32], inputs: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V8, f32>(weights, inputs, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rows_f16(weights: &[u16], inputs: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V8, u16>(weights, inputs, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rows_i8(weights: &[i8], inputs: &[f32], sums: &mut [f32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V8, i8>(weights, inputs, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn log1p_f32(factor: f32, values: &mut [f32]) {
    // SAFETY: as above.
    unsafe { log1p::log1p::<V8>(factor, values) }
}

/// A register of 8 numbers.
#[derive(Clone, Copy)]
pub(super) struct V8(pub(super) __m256);

/// Lanes that `maskload` and `maskstore` touch: from `8 − len` on, `len` are set.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// The first `len` lanes.
///
/// # Safety
/// The processor has AVX2; `len` is at most 8.
#[inline(always)]
unsafe fn mask(len: usize) -> __m256i {
    // SAFETY: `8 − len .. 16 − len` lies within the masks.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - len).cast()) }
}

// SAFETY of every function: AVX2, FMA and F16C are there, and memory is what the trait asks of its
// callers; what a mask leaves out is not touched.
impl FloatVector for V8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm256_set1_ps(x)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm256_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, len: usize) -> Self {
        // SAFETY: see the impl; `len` is below 8.
        unsafe { Self(_mm256_maskload_ps(from, mask(len))) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm256_cvtph_ps(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_f16_partial(from: *const u16, len: usize) -> Self {
        // Four, two and one as the bits of `len` say: no loop, no way through memory.
        // SAFETY: see the impl; what is read adds up to `len`, which is below 8.
        unsafe {
            let fours = from.add(len & 4);
            let pair = if len & 2 == 0 { 0 } else { fours.cast::<u32>().read_unaligned() };
            let last = if len & 1 == 0 { 0 } else { fours.add(len & 2).read() };
            let rest = u64::from(pair) | u64::from(last) << (16 * (len & 2));
            let halves = if len & 4 == 0 {
                _mm_cvtsi64_si128(rest.cast_signed())
            } else {
                let four = from.cast::<u64>().read_unaligned();
                _mm_set_epi64x(rest.cast_signed(), four.cast_signed())
            };
            Self(_mm256_cvtph_ps(halves))
        }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: see the impl; eight integers are 8 bytes.
        unsafe {
            let bytes = _mm_loadl_epi64(from.cast());
            Self(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn load_i8_partial(from: *const i8, len: usize) -> Self {
        // SAFETY: see the impl; `len` is below 8.
        unsafe {
            let bytes = _mm_cvtsi64_si128(few_bytes(from, len).cast_signed());
            Self(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see the impl.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, len: usize) {
        // SAFETY: see the impl; `len` is below 8.
        unsafe { _mm256_maskstore_ps(to, mask(len), self.0) }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm256_add_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm256_sub_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm256_mul_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe { Self(_mm256_div_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn totals(of: [Self; 4]) -> [f32; 4] {
        // Sums of neighbours twice leave the four totals of the lower and of the upper halves.
        // SAFETY: see the impl; the array has 16 bytes.
        unsafe {
            let [a, b, c, d] = of;
            let halves = _mm256_hadd_ps(_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0));
            let high = _mm256_extractf128_ps::<1>(halves);
            let mut totals = [0.0; 4];
            let sum = _mm_add_ps(_mm256_castps256_ps128(halves), high);
            _mm_storeu_ps(totals.as_mut_ptr(), sum);
            totals
        }
    }

    #[inline(always)]
    unsafe fn split(self) -> (Self, Self) {
        // SAFETY: see the impl.
        unsafe {
            let bits = _mm256_add_epi32(_mm256_castps_si256(self.0), _mm256_set1_epi32(TO_SPLIT));
            let k = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(127));
            let fraction = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
            let m = _mm256_add_epi32(fraction, _mm256_set1_epi32(SQRT_HALF));
            (Self(_mm256_cvtepi32_ps(k)), Self(_mm256_castsi256_ps(m)))
        }
    }

    #[inline(always)]
    unsafe fn if_less(self, limit: Self, below: Self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let is_less = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, limit.0);
            Self(_mm256_blendv_ps(other.0, below.0, is_less))
        }
    }

    #[inline(always)]
    unsafe fn is_finite_and_not_negative(self) -> bool {
        // SAFETY: see the impl.
        unsafe {
            let least = _mm256_cmp_ps::<_CMP_GE_OQ>(self.0, _mm256_setzero_ps());
            let most = _mm256_cmp_ps::<_CMP_LE_OQ>(self.0, _mm256_set1_ps(f32::MAX));
            _mm256_movemask_ps(_mm256_and_ps(least, most)) == 0xff
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: see the impl.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
