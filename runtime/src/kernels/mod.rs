//! Sums of products and what surrounds them: the only loops over weights.
//!
//! [`mod@reference`] defines every operator in plain Rust. The other modules do the same on one
//! instruction set each, chosen once per session by [`Kernels::best`]; int8 results are equal to
//! the bit, whatever is chosen, of all values that are numbers. A kernel file holds what is
//! particular to its instruction set: the vocabulary of `vector`, or a loop of its own where that
//! pays. The loops shared by all are in `sparse` and `dense`.
//!
//! | operator | computes | weights |
//! |---|---|---|
//! | `sparse_s8` | sums of all outputs over listed inputs | gene-major |
//! | `panels_s8` | sums of all outputs over a range of inputs, for one or many cells | B4·P16 … B4·P64, or B4·P4 |
//! | `rows_s8` | sums of all outputs over all inputs | plain rows |
//! | `activate_s8` | levels of sums | |
//! | `requantize_i16s`, `_i32s` | codes and logits of sums | |
//! | `code_levels` | the 7-bit code | |
//! | `read_values` | levels of values, and their extent | |
//! | `read_counts` | levels of counts | |
//! | `softmax_q16` | probabilities of logits | |
//! | `are_increasing`, `measure_counts`, `measure_values` | order, depth and range of a sample | |
//!
//! Those of f32 and f16 models are in [`float`].

mod crossover;
#[cfg(feature = "floats")]
pub mod float;
mod isa;
mod operands;
mod plain;
pub mod reference;

#[cfg(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "neon"),
    all(target_arch = "wasm32", target_feature = "simd128")
))]
mod dense;
#[cfg(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "neon"),
    all(target_arch = "wasm32", target_feature = "simd128")
))]
mod sparse;
#[cfg(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "neon"),
    all(target_arch = "wasm32", target_feature = "simd128")
))]
mod vector;

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64;
#[cfg(all(target_arch = "arm", any(feature = "thumb", feature = "dsp", feature = "helium")))]
mod arm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use isa::Isa;
pub use operands::{
    Extent, LevelRows, Line, Listed, Panels, Part, PartMut, Ratios, SumRows, ValueLevels, panel_of,
    stored_len, sum_stride,
};

use cic_model::profile::CountLevels;
use cic_model::quant::softmax_q16;

use crate::outcome::Depth;
use crate::sample::HAS_FLOATS;

/// The operators of one instruction set. It exists only for one that this processor has.
#[derive(Clone, Copy)]
pub struct Kernels {
    isa: Isa,
    table: &'static Table,
}

/// What an instruction set provides.
///
/// # Safety
/// The processor must have the instruction set. Operands fit one another, as [`Kernels`] checks:
/// - `sparse_s8`: as many levels as genes, as many entries of the bias as sums, and at least one. It does
///   nothing and returns `false` where some gene's column of `sums.len()` weights does not lie in the weights;
/// - `panels_s8` for wide panels, `fours_s8` for panels of four: `first` is a multiple of 4, `first` and the width of the levels lie within the
///   inputs, sums have a row for every row of levels and are as long as [`sum_stride`], as is the bias;
/// - `rows_s8`: `sums.len() · levels.len()` weights, at least one;
/// - `activate_s8`, `requantize_i16s`, `requantize_i32s`, `code_levels`: inputs, ratios, offsets and outputs
///   have the same width, outputs a row for every row of inputs, the table 256 entries;
/// - the others: inputs, ratios and outputs have the same length.
#[allow(clippy::type_complexity, reason = "each type stands once; an alias would only hide it")]
pub(crate) struct Table {
    sparse_s8: unsafe fn(&[i8], &Listed<'_>, Option<&[i32]>, &mut [i32]) -> bool,
    panels_s8: unsafe fn(&Panels<'_>, usize, &LevelRows<'_>, Option<&[i32]>, &mut SumRows<'_>),
    fours_s8: unsafe fn(&Panels<'_>, usize, &LevelRows<'_>, Option<&[i32]>, &mut SumRows<'_>),
    rows_s8: unsafe fn(&[i8], &[u8], &mut [i32]),
    activate_s8: unsafe fn(&Part<'_, i32>, &Ratios<'_>, &[u8], &mut PartMut<'_, u8>),
    requantize_i16s: unsafe fn(&Part<'_, i32>, &Ratios<'_>, &mut PartMut<'_, i16>),
    requantize_i32s: unsafe fn(&Part<'_, i32>, &Ratios<'_>, &mut PartMut<'_, i32>),
    code_levels: unsafe fn(&Part<'_, i16>, &[i32], &Ratios<'_>, &mut PartMut<'_, u8>),
    read_values: unsafe fn(&ValueLevels<'_>, &[f32], &[f32], &mut [u8]) -> Extent,
    read_counts: unsafe fn(&mut CountLevels<'_>, &[u32], &mut [u8]),
    softmax_q16: unsafe fn(&[i32], u32, &mut [u32]) -> u32,
    are_increasing: unsafe fn(&[u32]) -> bool,
    measure_counts: unsafe fn(&[u32]) -> Depth,
    measure_values: unsafe fn(&[f32]) -> Extent,
}

impl Kernels {
    /// Those of the most capable instruction set, see [`Isa::best`].
    pub fn best() -> Self {
        Self::of(Isa::best()).unwrap_or(Self::SCALAR)
    }

    /// Those of an instruction set; `None` where this processor lacks it.
    pub fn of(isa: Isa) -> Option<Self> {
        if !isa.is_available() {
            return None;
        }
        let table = match isa {
            Isa::Scalar => &SCALAR,
            #[cfg(target_arch = "x86_64")]
            isa => x86::table(isa)?,
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            isa => aarch64::table(isa)?,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => &wasm::simd128::TABLE,
            #[cfg(all(target_arch = "arm", feature = "thumb"))]
            Isa::Thumb => &arm::thumb::TABLE,
            #[cfg(all(target_arch = "arm", feature = "dsp"))]
            Isa::Dsp => &arm::dsp::TABLE,
            #[cfg(all(target_arch = "arm", feature = "helium"))]
            Isa::Helium => &arm::helium::TABLE,
            #[cfg(not(any(
                target_arch = "x86_64",
                all(target_arch = "aarch64", target_feature = "neon")
            )))]
            _ => return None,
        };
        Some(Self { isa, table })
    }

    /// Those for any processor.
    pub const SCALAR: Self = Self { isa: Isa::Scalar, table: &SCALAR };

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// See [`reference::sparse_s8`]. Genes whose column is not in `weights` add nothing; a bias of another
    /// length than the sums is as good as its beginning.
    #[inline]
    pub fn sparse_s8(
        &self,
        weights: &[i8],
        listed: &Listed<'_>,
        bias: Option<&[i32]>,
        sums: &mut [i32],
    ) {
        let fits = listed.genes.len() == listed.levels.len()
            && !sums.is_empty()
            && bias.is_none_or(|bias| bias.len() == sums.len());
        // SAFETY: the instruction set is there, and the lengths are checked first.
        if !fits || !unsafe { (self.table.sparse_s8)(weights, listed, bias, sums) } {
            reference::sparse_s8(weights, listed, bias, sums);
        }
    }

    /// See [`reference::panels_s8`]: adds the products of inputs `first .. first + width` of every
    /// row of levels, to the bias where there is one, else to the sums. `first` is a multiple of 4.
    /// Rows of sums and the bias are at least [`sum_stride`] long; what lies in sums past `out_dim` may
    /// change.
    #[inline]
    pub fn panels_s8(
        &self,
        panels: &Panels<'_>,
        first: usize,
        levels: &LevelRows<'_>,
        bias: Option<&[i32]>,
        sums: &mut SumRows<'_>,
    ) {
        let fits = first.is_multiple_of(4)
            && first.checked_add(levels.width()).is_some_and(|end| end <= panels.in_dim())
            && sums.stride() >= sum_stride(panels.out_dim())
            && bias.is_none_or(|bias| bias.len() >= sum_stride(panels.out_dim()))
            && sums.n_rows() >= levels.n_rows();
        if !fits {
            return reference::panels_s8(panels, first, levels, bias, sums);
        }
        let kernel = match panels.is_narrow() {
            true => self.table.fours_s8,
            false => self.table.panels_s8,
        };
        // SAFETY: the instruction set is there, and the shapes were checked above.
        unsafe { kernel(panels, first, levels, bias, sums) }
    }

    /// See [`reference::rows_s8`].
    #[inline]
    pub fn rows_s8(&self, weights: &[i8], levels: &[u8], sums: &mut [i32]) {
        if levels.len().checked_mul(sums.len()) != Some(weights.len()) || weights.is_empty() {
            return reference::rows_s8(weights, levels, sums);
        }
        // SAFETY: the instruction set is there, and the shapes were checked above.
        unsafe { (self.table.rows_s8)(weights, levels, sums) }
    }

    /// See [`reference::activate_s8`]. The shortest of sums, ratios and levels counts.
    #[inline]
    pub fn activate_s8(
        &self,
        sums: &Part<'_, i32>,
        ratios: &Ratios<'_>,
        table: &[u8],
        levels: &mut PartMut<'_, u8>,
    ) {
        if !fit(sums, ratios, levels) || table.len() != 256 {
            return reference::activate_s8(sums, ratios, table, levels);
        }
        // SAFETY: the instruction set is there, and the lengths were checked above.
        unsafe { (self.table.activate_s8)(sums, ratios, table, levels) }
    }

    /// See [`reference::requantize_i16s`]. The shortest of sums, ratios and outputs counts.
    #[inline]
    pub fn requantize_i16s(
        &self,
        sums: &Part<'_, i32>,
        ratios: &Ratios<'_>,
        out: &mut PartMut<'_, i16>,
    ) {
        if !fit(sums, ratios, out) {
            return reference::requantize_i16s(sums, ratios, out);
        }
        // SAFETY: the instruction set is there, and the lengths were checked above.
        unsafe { (self.table.requantize_i16s)(sums, ratios, out) }
    }

    /// See [`reference::requantize_i32s`]. The shortest of sums, ratios and outputs counts.
    #[inline]
    pub fn requantize_i32s(
        &self,
        sums: &Part<'_, i32>,
        ratios: &Ratios<'_>,
        out: &mut PartMut<'_, i32>,
    ) {
        if !fit(sums, ratios, out) {
            return reference::requantize_i32s(sums, ratios, out);
        }
        // SAFETY: the instruction set is there, and the lengths were checked above.
        unsafe { (self.table.requantize_i32s)(sums, ratios, out) }
    }

    /// See [`reference::code_levels`]. The shortest of all counts.
    #[inline]
    pub fn code_levels(
        &self,
        codes: &Part<'_, i16>,
        offsets: &[i32],
        ratios: &Ratios<'_>,
        levels: &mut PartMut<'_, u8>,
    ) {
        if !fit(codes, ratios, levels) || offsets.len() != codes.width() {
            return reference::code_levels(codes, offsets, ratios, levels);
        }
        // SAFETY: the instruction set is there, and the lengths were checked above.
        unsafe { (self.table.code_levels)(codes, offsets, ratios, levels) }
    }

    /// See [`reference::read_values`]. The shorter of values and levels counts.
    #[inline]
    pub fn read_values(
        &self,
        rule: &ValueLevels<'_>,
        values: &[f32],
        next: &[f32],
        levels: &mut [u8],
    ) -> Extent {
        if HAS_FLOATS && (values.len() != levels.len() || rule.line().is_none()) {
            return reference::read_values(rule, values, next, levels);
        }
        // SAFETY: the instruction set is there, and the lengths were checked above.
        unsafe { (self.table.read_values)(rule, values, next, levels) }
    }

    /// See [`reference::read_counts`]. The shorter of counts and levels counts.
    #[inline]
    pub fn read_counts(&self, rule: &mut CountLevels<'_>, counts: &[u32], levels: &mut [u8]) {
        if counts.len() != levels.len() {
            return reference::read_counts(rule, counts, levels);
        }
        // SAFETY: the instruction set is there, and the lengths were checked above.
        unsafe { (self.table.read_counts)(rule, counts, levels) }
    }

    /// See [`cic_model::quant::softmax_q16`]. The shorter of logits and probabilities counts.
    #[inline]
    pub fn softmax_q16(
        &self,
        logits: &[i32],
        inv_temperature_q16: u32,
        probabilities: &mut [u32],
    ) -> u32 {
        if logits.len() != probabilities.len() {
            return softmax_q16(logits, inv_temperature_q16, probabilities);
        }
        // SAFETY: the instruction set is there, and the lengths were checked above.
        unsafe { (self.table.softmax_q16)(logits, inv_temperature_q16, probabilities) }
    }
}

impl Kernels {
    /// See [`reference::are_increasing`].
    pub fn are_increasing(&self, genes: &[u32]) -> bool {
        // SAFETY: the instruction set is there.
        unsafe { (self.table.are_increasing)(genes) }
    }

    /// See [`reference::measure_counts`].
    pub fn measure_counts(&self, counts: &[u32]) -> Depth {
        // SAFETY: the instruction set is there.
        unsafe { (self.table.measure_counts)(counts) }
    }

    /// See [`reference::measure_values`].
    pub fn measure_values(&self, values: &[f32]) -> Extent {
        // SAFETY: the instruction set is there.
        unsafe { (self.table.measure_values)(values) }
    }
}

/// Whether rows, their ratios and the rows that are written have the same shape.
fn fit<T, U>(from: &Part<'_, T>, ratios: &Ratios<'_>, to: &PartMut<'_, U>) -> bool {
    from.width() == ratios.len() && to.width() == from.width() && to.n_rows() >= from.n_rows()
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Kernels({})", self.isa.name())
    }
}

static SCALAR: Table = Table {
    // Of the definition compilers make vectors, where there are some.
    sparse_s8: if cfg!(target_os = "none") { plain::sparse_s8 } else { |_, _, _, _| false },
    panels_s8: reference::panels_s8,
    fours_s8: plain::fours_s8,
    rows_s8: reference::rows_s8,
    activate_s8: reference::activate_s8,
    requantize_i16s: reference::requantize_i16s,
    requantize_i32s: reference::requantize_i32s,
    code_levels: reference::code_levels,
    read_values: if HAS_FLOATS { reference::read_values } else { |_, _, _, _| Extent::default() },
    read_counts: reference::read_counts,
    softmax_q16,
    are_increasing: reference::are_increasing,
    measure_counts: reference::measure_counts,
    measure_values: if HAS_FLOATS { reference::measure_values } else { |_| Extent::default() },
};
