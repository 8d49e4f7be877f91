//! One layer on one instruction set.

use core::fmt::Debug;

use cic_model::profile::{CountLevels, fit_count_thresholds};
use cic_model::quant::softmax_q16;
use cic_runtime::kernels::{
    Isa, Kernels, LevelRows, Line, Listed, Panels, Part, PartMut, Ratios, SumRows, ValueLevels,
    reference,
};

use crate::layer::Layer;

/// An operator that does not give what the reference gives.
#[derive(Debug)]
pub struct Mismatch {
    /// Instruction set.
    pub isa: Isa,
    /// Operator.
    pub operator: &'static str,
    /// Inputs, outputs and cells of the layer.
    pub shape: (usize, usize, usize),
    /// The first position that differs, with what was found and expected.
    pub found: String,
}

/// Runs every operator on a layer.
pub fn check(isa: Isa, layer: &Layer) -> Result<(), Mismatch> {
    let kernels = Kernels::of(isa).unwrap_or(Kernels::SCALAR);
    let against = Against { isa, layer };
    let one_row = || layer.sums[..layer.out_dim].to_vec();

    let (genes, gene_levels) = (&layer.genes, layer.gene_levels.get());
    let weights = layer.gene_major.get();
    // From the sums themselves, and from a bias; then with a gene whose weights there are not.
    let last_row = &layer.sums[layer.sums.len() - layer.sum_stride..][..layer.out_dim];
    let outside = [genes.as_slice(), &[layer.in_dim as u32]].concat();
    let outside_levels = [gene_levels, &[1]].concat();
    for (bias, genes, levels) in [
        (None, genes.as_slice(), gene_levels),
        (Some(last_row), genes, gene_levels),
        (None, &outside, &outside_levels),
    ] {
        let (mut found, mut expected) = (one_row(), one_row());
        let listed = Listed { genes, levels, next: &outside };
        kernels.sparse_s8(weights, &listed, bias, &mut found);
        reference::sparse_s8(weights, &listed, bias, &mut expected);
        against.reference("sparse_s8", &found, &expected)?;
    }
    let (found, expected) = (kernels.are_increasing(genes), reference::are_increasing(genes));
    against.reference("are_increasing", &[found], &[expected])?;

    let levels = &layer.levels.get()[..layer.in_dim];
    let (mut found, mut expected) = (one_row(), one_row());
    kernels.rows_s8(layer.rows.get(), levels, &mut found);
    reference::rows_s8(layer.rows.get(), levels, &mut expected);
    against.reference("rows_s8", &found, &expected)?;

    // All inputs, and a part of them that begins at a multiple of four.
    let part = (layer.in_dim / 8) * 4;
    for (first, width) in [(0, layer.in_dim), (part, layer.in_dim - part), (0, part)] {
        panels(&kernels, &against, first, width)?;
    }
    epilogues(&kernels, &against)?;
    values(&kernels, &against)?;
    counts(&kernels, &against)
}

fn panels(
    kernels: &Kernels,
    against: &Against<'_>,
    first: usize,
    width: usize,
) -> Result<(), Mismatch> {
    let layer = against.layer;
    let Layer { in_dim, out_dim, panel, n_rows, .. } = *layer;
    let panels = Panels::new_checked(layer.panels.get(), in_dim, out_dim, panel).expect("fits");
    // Rows shorter than the layer's are cut from their beginning.
    let mut bytes = layer.levels.get().to_vec();
    for row in bytes.chunks_mut(layer.level_stride.max(1)) {
        let end = width.next_multiple_of(4).min(row.len());
        row[width.min(end)..end].fill(0);
    }
    let levels = LevelRows::new_checked(&bytes, layer.level_stride, width, n_rows).expect("fits");
    let (mut found, mut expected) = (layer.sums.clone(), layer.sums.clone());
    let rows = |sums| SumRows::new_checked(sums, layer.sum_stride, n_rows).expect("fits");
    // From the sums of each cell, and from one row of them for all.
    let bias = width.is_multiple_of(3).then(|| &layer.sums[layer.sums.len() - layer.sum_stride..]);
    kernels.panels_s8(&panels, first, &levels, bias, &mut rows(&mut found));
    reference::panels_s8(&panels, first, &levels, bias, &mut rows(&mut expected));
    // What lies past the outputs, up to a multiple of 16, is nobody's; nothing else may change.
    let nobodys = out_dim..out_dim.next_multiple_of(16);
    for sums in [&mut found, &mut expected] {
        for row in sums.chunks_mut(layer.sum_stride.max(1)) {
            row[nobodys.clone()].fill(0);
        }
    }
    against.reference("panels_s8", &found, &expected)
}

fn epilogues(kernels: &Kernels, against: &Against<'_>) -> Result<(), Mismatch> {
    let layer = against.layer;
    let n = layer.sums.len();
    let sums = &layer.sums;

    // All columns of all cells, and some of them; sums serve as offsets, their low halves as codes.
    let codes: Vec<i16> = sums.iter().map(|&sum| sum as i16).collect();
    let Layer { out_dim, n_rows, sum_stride: stride, .. } = *layer;
    let table = &layer.table;
    for first in [0, out_dim / 3] {
        let width = out_dim - first;
        let ratios = Ratios::new(&layer.multipliers[first..out_dim], &layer.shifts[first..out_dim]);
        let offsets = &sums[first..out_dim];
        let codes = Part::new_checked(&codes[first..], stride, width, n_rows).expect("fits");
        let sums = Part::new_checked(&sums[first..], stride, width, n_rows).expect("fits");
        let shape = (stride, width, n_rows, n);
        against.rows(
            "activate_s8",
            shape,
            |to| kernels.activate_s8(&sums, &ratios, table, to),
            |to| reference::activate_s8(&sums, &ratios, table, to),
        )?;
        against.rows(
            "code_levels",
            shape,
            |to| kernels.code_levels(&codes, offsets, &ratios, to),
            |to| reference::code_levels(&codes, offsets, &ratios, to),
        )?;
        against.rows(
            "requantize_i16s",
            shape,
            |to| kernels.requantize_i16s(&sums, &ratios, to),
            |to| reference::requantize_i16s(&sums, &ratios, to),
        )?;
        against.rows(
            "requantize_i32s",
            shape,
            |to| kernels.requantize_i32s(&sums, &ratios, to),
            |to| reference::requantize_i32s(&sums, &ratios, to),
        )?;
    }

    // Sums serve as logits, a multiplier as the temperature.
    let inv_temperature = layer.multipliers.first().map_or(1, |&multiplier| multiplier as u32);
    let (mut found, mut expected) = (vec![0; n], vec![0; n]);
    for inv_temperature in [inv_temperature, 1 << 16, 3, u32::MAX] {
        let largest = [
            kernels.softmax_q16(sums, inv_temperature, &mut found),
            softmax_q16(sums, inv_temperature, &mut expected),
        ];
        against.reference("softmax_q16", &found, &expected)?;
        against.reference("softmax_q16", &largest[..1], &largest[1..])?;
    }
    Ok(())
}

fn values(kernels: &Kernels, against: &Against<'_>) -> Result<(), Mismatch> {
    let layer = against.layer;
    let (thresholds, values) = (layer.thresholds(), layer.values.get());
    let line = Line::through(&thresholds, layer.scale, layer.offset);
    let rule = ValueLevels::with_thresholds(&thresholds, line);
    let (mut found, mut expected) = (vec![0; values.len()], vec![0; values.len()]);
    let extents = [
        kernels.read_values(&rule, values, values, &mut found),
        reference::read_values(&rule, values, values, &mut expected),
    ];
    against.reference("read_values", &found, &expected)?;
    against.reference("read_values", &extents[..1], &extents[1..])?;
    let extents = [kernels.measure_values(values), reference::measure_values(values)];
    against.reference("measure_values", &extents[..1], &extents[1..])
}

/// Counts of all sizes, small ones more often, made of the bits of the values.
fn counts(kernels: &Kernels, against: &Against<'_>) -> Result<(), Mismatch> {
    let values = against.layer.values.get();
    let count = |value: &f32| match value.to_bits() {
        bits if bits & 7 == 0 => bits >> (bits >> 3 & 31),
        bits => (bits >> 3) & (31 >> (bits & 3)),
    };
    let counts: Vec<u32> = values.iter().map(count).collect();
    let scale = f64::from(against.layer.scale).clamp(0.01, 0.2);
    let Some((shift, thresholds)) = fit_count_thresholds(10_000, scale) else { return Ok(()) };
    for library in [1, 700, 20_000, counts.iter().fold(1, |all: u32, &n| all.saturating_add(n))] {
        let rule = CountLevels::with_thresholds(&thresholds, 10_000 << shift, library);
        let (mut found, mut expected) = (vec![0; counts.len()], vec![0; counts.len()]);
        kernels.read_counts(&mut rule.clone(), &counts, &mut found);
        reference::read_counts(&mut rule.clone(), &counts, &mut expected);
        against.reference("read_counts", &found, &expected)?;
    }
    Ok(())
}

struct Against<'a> {
    isa: Isa,
    layer: &'a Layer,
}

impl Against<'_> {
    /// Compares what two functions write to rows of `(stride, width, number)` in so many entries.
    fn rows<T: Copy + Default + PartialEq + Debug>(
        &self,
        operator: &'static str,
        (stride, width, n_rows, len): (usize, usize, usize, usize),
        kernel: impl Fn(&mut PartMut<'_, T>),
        reference: impl Fn(&mut PartMut<'_, T>),
    ) -> Result<(), Mismatch> {
        let (mut found, mut expected) = (vec![T::default(); len], vec![T::default(); len]);
        kernel(&mut PartMut::new_checked(&mut found, stride, width, n_rows).expect("fits"));
        reference(&mut PartMut::new_checked(&mut expected, stride, width, n_rows).expect("fits"));
        self.reference(operator, &found, &expected)
    }

    fn reference<T: PartialEq + Debug>(
        &self,
        operator: &'static str,
        found: &[T],
        expected: &[T],
    ) -> Result<(), Mismatch> {
        let pairs = || found.iter().zip(expected);
        let Some(at) = pairs().position(|(a, b)| a != b) else { return Ok(()) };
        let Layer { in_dim, out_dim, n_rows, .. } = *self.layer;
        let found = format!("at {at}: {:?} for {:?}", found[at], expected[at]);
        Err(Mismatch { isa: self.isa, operator, shape: (in_dim, out_dim, n_rows), found })
    }
}
