//! What the operators of one layer read: weights in every form, inputs, sums and their epilogue.

use cic_model::ValueKind;
use cic_model::profile::{N_THRESHOLDS, fit_value_thresholds};
use cic_model::quant::LEVEL_MAX;
use cic_runtime::kernels::{panel_of, stored_len};

use crate::Random;
use crate::array::Array;

/// A layer and its inputs.
#[derive(Debug)]
pub struct Operands {
    /// Inputs.
    pub in_dim: usize,
    /// Outputs.
    pub out_dim: usize,
    /// `[in_dim × out_dim]`; gene-major or rows, random numbers are as good for either.
    pub(crate) s8: Array<i8>,
    pub(crate) f32: Array<f32>,
    pub(crate) f16: Array<u16>,
    /// In panels of [`panel_of`] outputs.
    pub(crate) panels: Array<i8>,
    pub(crate) cells: Vec<ListedCell>,
    /// `[N_CELLS × in_dim]`
    pub(crate) inputs: Array<f32>,
    /// `[N_CELLS × in_dim, padded to a multiple of 4]`
    pub(crate) levels: Array<u8>,
    /// `[in_dim]`, within the range of the thresholds.
    pub(crate) values: Array<f32>,
    /// `[in_dim]`
    pub(crate) counts: Array<u32>,
    /// `[out_dim]`
    pub(crate) sums: Array<i32>,
    /// `[out_dim]`
    pub(crate) codes: Array<i16>,
    /// `[out_dim]`
    pub(crate) multipliers: Array<i32>,
    /// `[out_dim]`
    pub(crate) shifts: Array<u8>,
    /// `[N_CLASSES]`
    pub(crate) logits: Array<i32>,
    /// `[256]`
    pub(crate) table: Array<u8>,
    pub(crate) thresholds: [f32; N_THRESHOLDS],
    /// For counts per 10,000, without fraction bits.
    pub(crate) count_thresholds: [u32; N_THRESHOLDS],
}

/// Inputs that a sparse cell lists.
#[derive(Debug)]
pub(crate) struct ListedCell {
    pub genes: Vec<u32>,
    pub values: Array<f32>,
    pub levels: Array<u8>,
}

impl Operands {
    /// Cells of the cases with many.
    pub const N_CELLS: usize = 32;

    /// Logits of a cell.
    pub const N_CLASSES: usize = 40;

    /// The operands of a shape, the same in every run.
    ///
    /// # Panics
    ///
    /// Where the system has no memory for them.
    pub fn new(in_dim: usize, out_dim: usize) -> Self {
        let n = in_dim * out_dim;
        let n_stored = stored_len(in_dim, out_dim, panel_of(out_dim)).expect("it fits memory");
        let stride = in_dim.next_multiple_of(4);
        let mut random = Random::new(1);
        let mut bits = || random.bits();
        let s8 = Array::with(n, || (bits() as i8).max(-127));
        let panels = Array::with(n_stored, || (bits() as i8).max(-127));
        // Normal numbers below 1 in half precision.
        let f16 = Array::with(n, || bits() as u16 & 0x37ff);
        let mut levels = Array::with(Self::N_CELLS * stride, || bits() as u8 & LEVEL_MAX);
        levels.chunks_mut(stride).for_each(|row| row[in_dim..].fill(0));
        let counts = Array::with(in_dim, || bits() as u32 & 15);
        let sums = Array::with(out_dim, || bits() as i32 >> SUM_SHIFT);
        let codes = Array::with(out_dim, || bits() as i16 >> CODE_SHIFT);
        let multipliers = Array::with(out_dim, || 1 << 30 | (bits() as i32 & ((1 << 30) - 1)));
        let logits = Array::with(Self::N_CLASSES, || bits() as i32 >> LOGIT_SHIFT);
        let mut index = 0..256_i32;
        let table = Array::with(256, || index.next().map_or(0, |n| (n - 128).max(0) as u8));
        Self {
            in_dim,
            out_dim,
            s8,
            f32: Array::with(n, || random.uniform() - 0.5),
            f16,
            panels,
            cells: (0..N_LISTED_CELLS).map(|_| ListedCell::new(in_dim, &mut random)).collect(),
            inputs: Array::with(Self::N_CELLS * in_dim, || random.uniform() - 0.5),
            levels,
            values: Array::with(in_dim, || LARGEST_VALUE * random.uniform()),
            counts,
            count_thresholds: std::array::from_fn(|k| {
                (((k as f64 + 0.5) * 0.06).exp_m1().ceil() as u32).max(1)
            }),
            sums,
            codes,
            multipliers,
            shifts: Array::with(out_dim, || RATIO_SHIFT),
            logits,
            table,
            thresholds: fit_value_thresholds(ValueKind::Log1p, VALUE_SCALE.into(), 0.0),
        }
    }

    /// Listed inputs of a cell, the mean of all.
    pub(crate) fn mean_n_listed(&self) -> f64 {
        let n_listed: usize = self.cells.iter().map(|cell| cell.genes.len()).sum();
        n_listed as f64 / self.cells.len() as f64
    }
}

impl ListedCell {
    fn new(in_dim: usize, random: &mut Random) -> Self {
        let is_listed = |_: &u32| random.uniform() < SHARE_LISTED;
        let genes: Vec<u32> = (0..in_dim as u32).filter(is_listed).collect();
        let values = Array::with(genes.len(), || LARGEST_VALUE * random.uniform());
        let levels = Array::with(genes.len(), || (random.bits() as u8 & LEVEL_MAX).max(1));
        Self { genes, values, levels }
    }
}

/// Different cells that the sparse cases take in turn.
const N_LISTED_CELLS: usize = 8;

/// Of all inputs.
const SHARE_LISTED: f32 = 0.07;

/// From one level of values to the next.
pub(crate) const VALUE_SCALE: f32 = 1.0 / 32.0;

const LARGEST_VALUE: f32 = LEVEL_MAX as f32 * VALUE_SCALE;

/// Sums within ±2¹⁵ with ratios from 2⁻⁹ to 2⁻⁸: indices within ±127.
const SUM_SHIFT: u32 = 16;
const RATIO_SHIFT: u8 = 39;

/// Codes within ±2¹³.
const CODE_SHIFT: u32 = 2;

/// Logits within ±8.
const LOGIT_SHIFT: u32 = 12;
