//! Every operator of an instruction set on the operands of one layer, to be timed or counted.

use std::hint::black_box;

use cic_model::profile::CountLevels;
use cic_runtime::kernels::float::{Columns, FloatSumRows, InputRows};
use cic_runtime::kernels::{
    Kernels, LevelRows, Line, Listed, Panels, Part, PartMut, Ratios, SumRows, ValueLevels,
    panel_of, sum_stride,
};

use crate::Operands;
use crate::array::Array;
use crate::operands::VALUE_SCALE;

/// One operator, ready to be called.
pub struct Case<'a> {
    /// The operator, and for how many cells where it takes many.
    pub name: String,
    /// Bytes of weights that a call reads.
    pub weight_bytes: f64,
    /// Multiplications and additions of a call.
    pub operations: f64,
    /// Calls it.
    pub call: Box<dyn FnMut() + 'a>,
}

impl Operands {
    /// Sums over the inputs that a cell lists, and what is done to their values first.
    pub fn sparse_cases(&self, kernels: Kernels) -> Vec<Case<'_>> {
        let float = kernels.float();
        let n_products = self.mean_n_listed() * self.out_dim as f64;
        let mut s8_cells = self.cells.iter().cycle();
        let mut f32_cells = s8_cells.clone();
        let mut f16_cells = s8_cells.clone();
        let mut i8_cells = s8_cells.clone();
        let mut log1p_cells = s8_cells.clone();
        let mut sums = Array::zeros(self.out_dim);
        let mut f32_sums = Array::zeros(self.out_dim);
        let mut f16_sums = Array::zeros(f32_sums.len());
        let mut i8_sums = Array::zeros(f32_sums.len());
        let mut values = Vec::with_capacity(self.in_dim);
        vec![
            sum("sparse_s8", n_products, n_products, move || {
                let Some(cell) = s8_cells.next() else { return };
                let sums = black_box(&mut sums);
                let listed = Listed { genes: &cell.genes, levels: &cell.levels, next: &[] };
                kernels.sparse_s8(&self.s8, &listed, None, sums);
            }),
            sum("sparse_f32", 4.0 * n_products, n_products, move || {
                let Some(cell) = f32_cells.next() else { return };
                float.sparse_f32(&self.f32, &cell.genes, &cell.values, black_box(&mut f32_sums));
            }),
            sum("sparse_f16", 2.0 * n_products, n_products, move || {
                let Some(cell) = f16_cells.next() else { return };
                float.sparse_f16(&self.f16, &cell.genes, &cell.values, black_box(&mut f16_sums));
            }),
            sum("sparse_i8", n_products, n_products, move || {
                let Some(cell) = i8_cells.next() else { return };
                float.sparse_i8(&self.s8, &cell.genes, &cell.values, black_box(&mut i8_sums));
            }),
            other("log1p_f32", move || {
                let Some(cell) = log1p_cells.next() else { return };
                values.clear();
                values.extend_from_slice(&cell.values);
                float.log1p_f32(3.0, black_box(&mut values));
            }),
        ]
    }

    /// Sums over all inputs of `n` cells, at most [`Operands::N_CELLS`].
    pub fn dense_cases(&self, kernels: Kernels, n: usize) -> Vec<Case<'_>> {
        let float = kernels.float();
        let (in_dim, out_dim) = (self.in_dim, self.out_dim);
        let n_weights = (in_dim * out_dim) as f64;
        let n_products = n_weights * n as f64;
        let mut sums = Array::zeros(n * sum_stride(out_dim));
        let mut f32_sums = Array::zeros(n * out_dim);
        let mut f16_sums = Array::zeros(f32_sums.len());
        let mut i8_sums = Array::zeros(f32_sums.len());
        vec![
            sum(format!("panels_s8 × {n}"), n_weights, n_products, move || {
                let panels = Panels::new_checked(&self.panels, in_dim, out_dim, panel_of(out_dim));
                let stride = in_dim.next_multiple_of(4);
                let levels = LevelRows::new_checked(&self.levels, stride, in_dim, n);
                let sums = SumRows::new_checked(black_box(&mut sums), sum_stride(out_dim), n);
                kernels.panels_s8(
                    &panels.expect(FIT),
                    0,
                    &levels.expect(FIT),
                    None,
                    &mut sums.expect(FIT),
                );
            }),
            sum(format!("columns_f32 × {n}"), 4.0 * n_weights, n_products, move || {
                let columns = Columns::new_checked(&self.f32, in_dim, out_dim).expect(FIT);
                let inputs = InputRows::new_checked(&self.inputs, in_dim, in_dim, n).expect(FIT);
                let sums = FloatSumRows::new_checked(black_box(&mut f32_sums), out_dim, n);
                float.columns_f32(&columns, 0, inputs, &mut sums.expect(FIT));
            }),
            sum(format!("columns_f16 × {n}"), 2.0 * n_weights, n_products, move || {
                let columns = Columns::new_checked(&self.f16, in_dim, out_dim).expect(FIT);
                let inputs = InputRows::new_checked(&self.inputs, in_dim, in_dim, n).expect(FIT);
                let sums = FloatSumRows::new_checked(black_box(&mut f16_sums), out_dim, n);
                float.columns_f16(&columns, 0, inputs, &mut sums.expect(FIT));
            }),
            sum(format!("columns_i8 × {n}"), n_weights, n_products, move || {
                let columns = Columns::new_checked(&self.s8, in_dim, out_dim).expect(FIT);
                let inputs = InputRows::new_checked(&self.inputs, in_dim, in_dim, n).expect(FIT);
                let sums = FloatSumRows::new_checked(black_box(&mut i8_sums), out_dim, n);
                float.columns_i8(&columns, 0, inputs, &mut sums.expect(FIT));
            }),
        ]
    }

    /// Sums over all inputs of one cell, with weights in plain rows.
    pub fn row_cases(&self, kernels: Kernels) -> Vec<Case<'_>> {
        let float = kernels.float();
        let n_weights = (self.in_dim * self.out_dim) as f64;
        let inputs = &self.inputs[..self.in_dim];
        let levels = &self.levels[..self.in_dim];
        let mut sums = Array::zeros(self.out_dim);
        let mut f32_sums = Array::zeros(self.out_dim);
        let mut f16_sums = Array::zeros(f32_sums.len());
        let mut i8_sums = Array::zeros(f32_sums.len());
        vec![
            sum("rows_s8", n_weights, n_weights, move || {
                kernels.rows_s8(&self.s8, levels, black_box(&mut sums));
            }),
            sum("rows_f32", 4.0 * n_weights, n_weights, move || {
                float.rows_f32(&self.f32, inputs, black_box(&mut f32_sums));
            }),
            sum("rows_f16", 2.0 * n_weights, n_weights, move || {
                float.rows_f16(&self.f16, inputs, black_box(&mut f16_sums));
            }),
            sum("rows_i8", n_weights, n_weights, move || {
                float.rows_i8(&self.s8, inputs, black_box(&mut i8_sums));
            }),
        ]
    }

    /// What is done to the sums of one cell.
    pub fn epilogue_cases(&self, kernels: Kernels) -> Vec<Case<'_>> {
        let width = self.out_dim;
        let sums = &self.sums[..];
        let ratios = Ratios::new(&self.multipliers, &self.shifts);
        let mut activated = Array::zeros(width);
        let mut levels = Array::zeros(width);
        let mut codes = Array::zeros(width);
        let mut logits = Array::zeros(width);
        let mut probabilities = Array::zeros(Self::N_CLASSES);
        vec![
            other("activate_s8", move || {
                let to = PartMut::new_checked(black_box(&mut activated), width, width, 1);
                kernels.activate_s8(&part(sums), &ratios, &self.table, &mut to.expect(FIT));
            }),
            other("requantize_i16s", move || {
                let to = PartMut::new_checked(black_box(&mut codes), width, width, 1);
                kernels.requantize_i16s(&part(sums), &ratios, &mut to.expect(FIT));
            }),
            other("requantize_i32s", move || {
                let to = PartMut::new_checked(black_box(&mut logits), width, width, 1);
                kernels.requantize_i32s(&part(sums), &ratios, &mut to.expect(FIT));
            }),
            other("code_levels", move || {
                let to = PartMut::new_checked(black_box(&mut levels), width, width, 1);
                kernels.code_levels(&part(&self.codes), sums, &ratios, &mut to.expect(FIT));
            }),
            other("softmax_q16", move || {
                kernels.softmax_q16(&self.logits, 1 << 16, black_box(&mut probabilities));
            }),
        ]
    }

    /// What is done to the values or counts of one cell that lists all inputs.
    pub fn reading_cases(&self, kernels: Kernels) -> Vec<Case<'_>> {
        let line = Line::through(&self.thresholds, VALUE_SCALE, 0.0);
        let rule = ValueLevels::with_thresholds(&self.thresholds, line);
        let mut levels = Array::zeros(self.in_dim);
        let mut count_levels = Array::zeros(self.in_dim);
        vec![
            other("read_values", move || {
                black_box(kernels.read_values(&rule, &self.values, &[], black_box(&mut levels)));
            }),
            other("read_counts", move || {
                let mut rule = CountLevels::with_thresholds(&self.count_thresholds, 10_000, 2_000);
                kernels.read_counts(&mut rule, black_box(&self.counts), &mut count_levels);
            }),
            other("measure_values", move || {
                black_box(kernels.measure_values(black_box(&self.values)));
            }),
            other("measure_counts", move || {
                black_box(kernels.measure_counts(black_box(&self.counts)));
            }),
        ]
    }
}

const FIT: &str = "operands fit one another";

/// A single row.
fn part<T>(row: &[T]) -> Part<'_, T> {
    Part::new_checked(row, row.len(), row.len(), 1).expect(FIT)
}

/// A sum of products.
fn sum<'a>(
    name: impl Into<String>,
    weight_bytes: f64,
    n_products: f64,
    call: impl FnMut() + 'a,
) -> Case<'a> {
    Case { name: name.into(), weight_bytes, operations: 2.0 * n_products, call: Box::new(call) }
}

/// Anything else: its operations are not counted.
fn other<'a>(name: &str, call: impl FnMut() + 'a) -> Case<'a> {
    Case { name: name.into(), weight_bytes: 0.0, operations: 0.0, call: Box::new(call) }
}
