//! From samples to the sums of the first layer: over listed inputs, or over all of them.

use core::ops::Range;

use cic_model::Model;
use cic_model::layer::Layer;

use crate::error::RunError;
use crate::kernels::{Isa, Kernels, LevelRows, Panels, SumRows};
use crate::outcome::Depth;
use crate::presence::Presence;
use crate::sample::{CheckedSample, HAS_FLOATS, Sample};

use super::inputs::{self, Rule, Sums};
use super::memory::{Memory, Shape, odd_lines, row, row_mut};
use super::operand::{First, Operand};
use super::verdict::{self, Words};
use super::{S8Session, TileError, check_len};

impl<'m> S8Session<'m> {
    /// Checks the samples, and sums their first layer.
    pub(super) fn first_layer(
        &self,
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        memory: &mut Memory<'_>,
    ) -> Result<(), TileError> {
        let layer = self.first.step.layer;
        for (n, (sample, verdict)) in samples.iter().zip(memory.verdicts.iter_mut()).enumerate() {
            self.check(sample, presence, verdict)
                .map_err(|error| TileError { sample: n, error })?;
        }
        let n_listed = samples.iter().map(Sample::n_listed).sum();
        match self.first_operand(n_listed, samples.len()) {
            Operand::Panels(panels) => self.sum_panels(&panels, samples, presence, memory),
            Operand::Rows(weights) => self.sum_rows(weights, samples, presence, memory),
            Operand::GeneMajor | Operand::Other => {
                self.sum_listed(layer, samples, presence, memory);
            }
        }
        if self.reads_once() {
            for (n, (sample, verdict)) in samples.iter().zip(memory.verdicts.iter_mut()).enumerate()
            {
                self.judge(sample, verdict).map_err(|error| TileError { sample: n, error })?;
            }
        }
        Ok(())
    }

    /// Checks one sample; its depth too, where that is not found on the way.
    #[inline(never)]
    fn check(
        &self,
        sample: &Sample<'_>,
        presence: Option<&Presence<'_>>,
        verdict: &mut Words,
    ) -> Result<(), RunError> {
        *verdict = Words::default();
        if let Some(presence) = presence {
            check_len(presence.correction.len(), self.correction_len())?;
        }
        if self.reads_once() {
            return sample.check_form(&self.profile, presence, &self.kernels);
        }
        let sample = CheckedSample::new_checked(sample, &self.profile, presence, &self.kernels)?;
        let scaling = inputs::scaling(&sample)?;
        self.set_depth(verdict, sample.depth(), scaling.is_some());
        *verdict::scaling(verdict) = scaling.unwrap_or(0);
        Ok(())
    }

    /// Whether values are checked while their levels are looked up, and not before.
    fn reads_once(&self) -> bool {
        HAS_FLOATS && self.reads_once
    }

    /// Judges the depth of a sample whose values were read.
    #[inline(never)]
    fn judge(&self, sample: &Sample<'_>, verdict: &mut Words) -> Result<(), RunError> {
        let depth = sample.depth_of(&self.profile, verdict::extent(verdict))?;
        self.set_depth(verdict, depth, true);
        Ok(())
    }

    fn set_depth(&self, verdict: &mut Words, depth: Depth, is_scaled: bool) {
        let reject = self.model.rules().check_depth(depth.n_counts, depth.n_genes);
        verdict::set(verdict, depth, reject, is_scaled);
    }

    /// Sums over listed inputs. Of a large layer, all cells pass a part of the genes before the next: what
    /// one of them fetched from afar is near for the others.
    #[inline(never)]
    fn sum_listed(
        &self,
        layer: &Layer<'_>,
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        memory: &mut Memory<'_>,
    ) {
        let (in_dim, out_dim) = (layer.in_dim(), layer.out_dim());
        // Sums start from the bias where the first products are added; a correction is added before.
        if presence.is_some() {
            for n in 0..samples.len() {
                let sums = row_mut(memory.sums, n, self.shape.sum_stride);
                self.start(presence, sums.get_mut(..out_dim).unwrap_or(&mut []));
            }
        }
        let part_len = if samples.len() == 1 { in_dim } else { Kernels::near_len(out_dim) };
        for first in (0..in_dim).step_by(part_len.max(1)) {
            let part = first..in_dim.min(first + part_len);
            for (n, sample) in samples.iter().enumerate() {
                // Whose weights are asked for meanwhile: where all lie near, there is no need.
                let next = match (samples.get(n + 1), memory.verdicts.get_mut(n + 1)) {
                    (Some(next), Some(verdict)) if part_len < in_dim => {
                        inputs::listed(next, part.end, *verdict::n_cut(verdict))
                    }
                    _ => &[],
                };
                let sums = row_mut(memory.sums, n, self.shape.sum_stride);
                let sums = sums.get_mut(..out_dim).unwrap_or(&mut []);
                let Some(verdict) = memory.verdicts.get_mut(n) else { break };
                let Some(mut rule) = self.rule(sample, verdict) else {
                    self.start(presence, sums);
                    continue;
                };
                let bias =
                    (first == 0 && presence.is_none()).then_some(self.first.step.epilogue.bias);
                let cut = inputs::cut(sample, part.clone(), verdict::n_cut(verdict));
                let limits = self.profile.level_limits();
                let mut to = Sums { layer, bias, sums, next, limits };
                let extent = inputs::add_products(&self.kernels, &cut, first, &mut rule, &mut to);
                to.finish();
                if self.reads_once() {
                    verdict::add_extent(verdict, extent);
                }
            }
        }
    }

    /// Sums over all inputs, weights in rows.
    #[inline(never)]
    fn sum_rows(
        &self,
        weights: &[i8],
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        memory: &mut Memory<'_>,
    ) {
        let (width, out_dim) = (self.model.n_genes(), self.correction_len());
        self.lay_out(samples, 0..width, memory);
        for n in 0..samples.len() {
            let sums = row_mut(memory.sums, n, self.shape.sum_stride);
            let sums = sums.get_mut(..out_dim).unwrap_or(&mut []);
            self.start(presence, sums);
            let levels = row(memory.inputs, n, self.shape.input_stride);
            self.kernels.rows_s8(weights, levels.get(..width).unwrap_or(&[]), sums);
        }
    }

    /// Sums over all inputs, weights in panels: parts of the inputs that stay in the nearest memory
    /// while all panels pass.
    #[inline(never)]
    fn sum_panels(
        &self,
        panels: &Panels<'_>,
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        memory: &mut Memory<'_>,
    ) {
        let (n_rows, in_dim) = (samples.len(), panels.in_dim());
        let Shape { input_stride, sum_stride, .. } = self.shape;
        self.start(presence, memory.bias);
        for first in (0..in_dim).step_by(PART) {
            let part = first..in_dim.min(first + PART);
            let width = part.len();
            self.lay_out(samples, part, memory);
            let levels = LevelRows::new_checked(memory.inputs, input_stride, width, n_rows);
            let sums = SumRows::new_checked(memory.sums, sum_stride, n_rows);
            if let (Some(levels), Some(mut sums)) = (levels, sums) {
                let bias = (first == 0).then_some(&*memory.bias);
                self.kernels.panels_s8(panels, first, &levels, bias, &mut sums);
            }
        }
    }

    /// Lays the levels of a part of the inputs out, for every cell.
    #[inline(never)]
    fn lay_out(&self, samples: &[Sample<'_>], part: Range<usize>, memory: &mut Memory<'_>) {
        let stride = self.shape.input_stride;
        for (n, (sample, verdict)) in samples.iter().zip(memory.verdicts.iter_mut()).enumerate() {
            let inputs = row_mut(memory.inputs, n, stride);
            let padded = part.len().next_multiple_of(4).min(inputs.len());
            let inputs = inputs.get_mut(..padded).unwrap_or(&mut []);
            let Some(mut rule) = self.rule(sample, verdict) else {
                inputs.fill(0);
                continue;
            };
            let cut = inputs::cut(sample, part.clone(), verdict::n_cut(verdict));
            let next = samples.get(n + 1).map_or(&[][..], |next| next.dense_values(&part));
            let extent = inputs::lay_out(&self.kernels, &cut, part.start, &mut rule, next, inputs);
            let limits = self.profile.level_limits();
            if !limits.is_empty() {
                inputs::limit(limits, part.start, inputs);
            }
            if self.reads_once() {
                verdict::add_extent(verdict, extent);
            }
        }
    }

    /// How the values of a sample become levels; `None` where it has no numbers.
    fn rule(&self, sample: &Sample<'_>, verdict: &mut Words) -> Option<Rule<'m>> {
        if self.reads_once() {
            return Some(Rule::of(sample, &self.profile, self.line, 1.0_f32.to_bits()));
        }
        let (.., has_numbers) = verdict::get(verdict);
        let scaling = *verdict::scaling(verdict);
        has_numbers.then(|| Rule::of(sample, &self.profile, self.line, scaling))
    }

    /// How the first layer is summed for so many samples, which list so many inputs in all: over listed inputs or
    /// over all.
    pub(super) fn first_operand(&self, n_listed: usize, n_samples: usize) -> Operand<'m> {
        let First { step, stored, .. } = self.first;
        let Operand::Panels(panels) = step.operand else { return stored };
        if self.kernels.isa() == Isa::Scalar {
            return stored;
        }
        let percent = self.kernels.dense_from_percent(&panels, n_samples);
        match n_listed * 100 < percent * n_samples * panels.in_dim() {
            true => stored,
            false => Operand::Panels(panels),
        }
    }

    /// Bias and correction of one cell.
    pub(super) fn start(&self, presence: Option<&Presence<'_>>, sums: &mut [i32]) {
        for (sum, &bias) in sums.iter_mut().zip(self.first.step.epilogue.bias) {
            *sum = bias;
        }
        if let Some(presence) = presence {
            for (sum, &correction) in sums.iter_mut().zip(presence.correction) {
                // The bits of an `i32`.
                *sum = sum.wrapping_add(correction as i32);
            }
        }
    }
}

/// Inputs whose levels are multiplied with all panels before the next: 32 cells of them are 32 KiB.
const PART: usize = 1024;

/// Levels that are laid out together for a cell.
pub(super) fn part_len(model: &Model<'_>) -> usize {
    odd_lines(model.n_genes().min(PART))
}
