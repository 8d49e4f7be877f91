//! AVX-VNNI: as AVX2, with the four products of a sum in one instruction (`vpdpbusd`).

use core::arch::x86_64::*;

use super::super::{LevelRows, Listed, Panels, SumRows, Table, dense, sparse};
use super::avx2::{self, Products, V32};

pub(crate) static TABLE: Table = Table { sparse_s8, panels_s8, rows_s8, ..avx2::TABLE };

#[target_feature(enable = "avx2,fma,avxvnni")]
fn sparse_s8(weights: &[i8], listed: &Listed<'_>, bias: Option<&[i32]>, sums: &mut [i32]) -> bool {
    // SAFETY: the instruction set is enabled here; the rest is what `Table` asks of its callers.
    unsafe { sparse::sparse::<V32<Vnni>>(weights, listed, bias, sums) }
}

#[target_feature(enable = "avx2,fma,avxvnni")]
fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    // SAFETY: as above.
    unsafe { dense::panels::<V32<Vnni>, 2, 4, 4, 2>(panels, first, levels, bias, sums) }
}

#[target_feature(enable = "avx2,fma,avxvnni")]
fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    // SAFETY: as above.
    unsafe { dense::rows::<V32<Vnni>>(weights, levels, sums) }
}

#[derive(Clone, Copy)]
struct Vnni;

impl Products for Vnni {
    #[inline(always)]
    unsafe fn dot(sums: __m256i, levels: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_dpbusd_avx_epi32(sums, levels, weights) }
    }
}
