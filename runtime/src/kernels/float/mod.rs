//! Sums of products in single precision, of weights in single or half precision, or of signed bytes.
//!
//! A table of its own beside that of the int8 operators: what runs int8 models only never asks for it,
//! so that firmware links no float code. Results of different instruction sets differ by rounding;
//! [`log1p_f32`](FloatKernels::log1p_f32) is the same everywhere, because it is the same operations.
//!
//! | operator | computes | weights | AVX2, AVX-512, NEON | others |
//! |---|---|---|---|---|
//! | `sparse_f32`, `_f16`, `_i8` | sums of all outputs over listed inputs | gene-major | own | reference |
//! | `columns_f32`, `_f16`, `_i8` | sums of some outputs over a range of inputs, for one or many cells | gene-major | own | reference |
//! | `rows_f32`, `_f16`, `_i8` | sums of all outputs over all inputs | plain rows | own | reference |
//! | `log1p_f32` | network inputs of scaled values | | own | reference |

mod operands;
pub mod reference;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod dense;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod log1p;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod sparse;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub use operands::{Columns, FloatSumRows, InputRows};

use super::{Isa, Kernels};

/// Listed inputs that are summed before they join the sums of the caller: few enough that the weights
/// of a block stay near while their outputs are gone through, and that rounding errors stay small.
pub const BLOCK: usize = 128;

/// The float operators of one instruction set. It exists only for one that this processor has.
#[derive(Clone, Copy)]
pub struct FloatKernels {
    isa: Isa,
    table: &'static FloatTable,
}

/// What an instruction set provides.
///
/// # Safety
/// The processor must have the instruction set. Operands fit one another, as [`FloatKernels`] checks:
/// - `sparse_*`: as many values as genes, and every gene's column of `sums.len()` weights lies in
///   the weights;
/// - `columns_*`: `first` and the width of the inputs lie within the columns, sums have a row for
///   every row of inputs, with a place for every output;
/// - `rows_*`: `sums.len() · inputs.len()` weights, at least one.
struct FloatTable {
    sparse_f32: Sparse<f32>,
    sparse_f16: Sparse<u16>,
    sparse_i8: Sparse<i8>,
    columns_f32: OfColumns<f32>,
    columns_f16: OfColumns<u16>,
    columns_i8: OfColumns<i8>,
    rows_f32: Rows<f32>,
    rows_f16: Rows<u16>,
    rows_i8: Rows<i8>,
    log1p_f32: unsafe fn(f32, &mut [f32]),
}

type Sparse<W> = unsafe fn(&[W], &[u32], &[f32], &mut [f32]);
type OfColumns<W> = unsafe fn(&Columns<'_, W>, usize, InputRows<'_>, &mut FloatSumRows<'_>);
type Rows<W> = unsafe fn(&[W], &[f32], &mut [f32]);

impl Kernels {
    /// The float operators of the same instruction set; the reference where it has none.
    pub fn float(&self) -> FloatKernels {
        let table = match self.isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => &avx2::TABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Amx => &avx512::TABLE,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::Dotprod | Isa::I8mm => &neon::TABLE,
            _ => &SCALAR,
        };
        FloatKernels { isa: self.isa(), table }
    }
}

impl FloatKernels {
    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// See [`reference::sparse_f32`]. Genes whose column is not in `weights` add nothing.
    pub fn sparse_f32(&self, weights: &[f32], genes: &[u32], values: &[f32], sums: &mut [f32]) {
        if !is_listed(weights.len(), genes, values, sums) {
            return reference::sparse_f32(weights, genes, values, sums);
        }
        // SAFETY: the instruction set is there, or this value would not exist; every column lies in
        // the weights, and there are as many values as genes.
        unsafe { (self.table.sparse_f32)(weights, genes, values, sums) }
    }

    /// See [`reference::sparse_f16`]. Genes whose column is not in `weights` add nothing.
    pub fn sparse_f16(&self, weights: &[u16], genes: &[u32], values: &[f32], sums: &mut [f32]) {
        if !is_listed(weights.len(), genes, values, sums) {
            return reference::sparse_f16(weights, genes, values, sums);
        }
        // SAFETY: as above.
        unsafe { (self.table.sparse_f16)(weights, genes, values, sums) }
    }

    /// See [`reference::sparse_i8`]. Genes whose column is not in `weights` add nothing.
    pub fn sparse_i8(&self, weights: &[i8], genes: &[u32], values: &[f32], sums: &mut [f32]) {
        if !is_listed(weights.len(), genes, values, sums) {
            return reference::sparse_i8(weights, genes, values, sums);
        }
        // SAFETY: as above.
        unsafe { (self.table.sparse_i8)(weights, genes, values, sums) }
    }

    /// See [`reference::columns_f32`]: adds the products of inputs `first .. first + width` of every
    /// row of inputs to the sums of the row.
    pub fn columns_f32(
        &self,
        columns: &Columns<'_, f32>,
        first: usize,
        inputs: InputRows<'_>,
        sums: &mut FloatSumRows<'_>,
    ) {
        if !are_columns(columns, first, &inputs, sums) {
            return reference::columns_f32(columns, first, inputs, sums);
        }
        // SAFETY: the instruction set is there, and the shapes were checked above.
        unsafe { (self.table.columns_f32)(columns, first, inputs, sums) }
    }

    /// See [`reference::columns_f16`] and [`FloatKernels::columns_f32`].
    pub fn columns_f16(
        &self,
        columns: &Columns<'_, u16>,
        first: usize,
        inputs: InputRows<'_>,
        sums: &mut FloatSumRows<'_>,
    ) {
        if !are_columns(columns, first, &inputs, sums) {
            return reference::columns_f16(columns, first, inputs, sums);
        }
        // SAFETY: as above.
        unsafe { (self.table.columns_f16)(columns, first, inputs, sums) }
    }

    /// See [`reference::columns_i8`] and [`FloatKernels::columns_f32`].
    pub fn columns_i8(
        &self,
        columns: &Columns<'_, i8>,
        first: usize,
        inputs: InputRows<'_>,
        sums: &mut FloatSumRows<'_>,
    ) {
        if !are_columns(columns, first, &inputs, sums) {
            return reference::columns_i8(columns, first, inputs, sums);
        }
        // SAFETY: as above.
        unsafe { (self.table.columns_i8)(columns, first, inputs, sums) }
    }

    /// See [`reference::rows_f32`].
    pub fn rows_f32(&self, weights: &[f32], inputs: &[f32], sums: &mut [f32]) {
        if !are_rows(weights.len(), inputs, sums) {
            return reference::rows_f32(weights, inputs, sums);
        }
        // SAFETY: the instruction set is there, and the shapes were checked above.
        unsafe { (self.table.rows_f32)(weights, inputs, sums) }
    }

    /// See [`reference::rows_f16`].
    pub fn rows_f16(&self, weights: &[u16], inputs: &[f32], sums: &mut [f32]) {
        if !are_rows(weights.len(), inputs, sums) {
            return reference::rows_f16(weights, inputs, sums);
        }
        // SAFETY: as above.
        unsafe { (self.table.rows_f16)(weights, inputs, sums) }
    }

    /// See [`reference::rows_i8`].
    pub fn rows_i8(&self, weights: &[i8], inputs: &[f32], sums: &mut [f32]) {
        if !are_rows(weights.len(), inputs, sums) {
            return reference::rows_i8(weights, inputs, sums);
        }
        // SAFETY: as above.
        unsafe { (self.table.rows_i8)(weights, inputs, sums) }
    }

    /// See [`reference::log1p_f32`], which every instruction set gives to the bit, but for the sign
    /// of zero.
    pub fn log1p_f32(&self, factor: f32, values: &mut [f32]) {
        // SAFETY: the instruction set is there; any values will do.
        unsafe { (self.table.log1p_f32)(factor, values) }
    }
}

/// Whether every gene has a column and a value.
fn is_listed(n_weights: usize, genes: &[u32], values: &[f32], sums: &[f32]) -> bool {
    let n_genes = n_weights.checked_div(sums.len()).unwrap_or(0);
    // Without a branch per gene.
    let largest = genes.iter().fold(0, |largest, &gene| largest.max(gene));
    genes.len() == values.len() && !genes.is_empty() && (largest as usize) < n_genes
}

fn are_columns<W>(
    columns: &Columns<'_, W>,
    first: usize,
    inputs: &InputRows<'_>,
    sums: &FloatSumRows<'_>,
) -> bool {
    first.checked_add(inputs.width()).is_some_and(|end| end <= columns.in_dim())
        && sums.stride() >= columns.n_outputs()
        && sums.n_rows() >= inputs.n_rows()
}

fn are_rows(n_weights: usize, inputs: &[f32], sums: &[f32]) -> bool {
    inputs.len().checked_mul(sums.len()) == Some(n_weights) && n_weights > 0
}

impl core::fmt::Debug for FloatKernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FloatKernels({})", self.isa.name())
    }
}

static SCALAR: FloatTable = FloatTable {
    sparse_f32: reference::sparse_f32,
    sparse_f16: reference::sparse_f16,
    sparse_i8: reference::sparse_i8,
    columns_f32: reference::columns_f32,
    columns_f16: reference::columns_f16,
    columns_i8: reference::columns_i8,
    rows_f32: reference::rows_f32,
    rows_f16: reference::rows_f16,
    rows_i8: reference::rows_i8,
    log1p_f32: reference::log1p_f32,
};
