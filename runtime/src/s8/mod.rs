//! Int8 sessions: integers from counts to probabilities.

mod inputs;
mod memory;
mod operand;
mod stage;
mod verdict;

use core::ops::Range;

use cic_model::layer::{Epilogue, Layer, S8Epilogue};
use cic_model::profile::{Library, Profile};
use cic_model::rules::RejectReason;
use cic_model::{Dtype, Model, StageKind};

use crate::error::RunError;
use crate::kernels::{
    Isa, Kernels, LevelRows, Line, Panels, Part, PartMut, Ratios, SumRows, panel_of,
};
use crate::outcome::{Depth, Outcome, S8Numbers};
use crate::presence::{Presence, measure};
use crate::sample::{CheckedSample, Sample};

use inputs::Rule;
use memory::{LINE, Memory, Shape, row, row_mut};
use operand::Operand;
use stage::{Carry, Inputs, Step, Sums, Work};
use verdict::Words;

/// Runs an int8 model. Holds no memory of its own beyond references, and may be copied to use the
/// same model from several places.
#[derive(Clone, Copy, Debug)]
pub struct S8Session<'m> {
    model: &'m Model<'m>,
    profile: Profile<'m>,
    first: S8Epilogue<'m>,
    kernels: Kernels,
    line: Option<Line>,
    /// Whether values are checked while their levels are looked up, and not before: those that lie on a
    /// line and are not divided by anything.
    reads_once: bool,
    /// All layers that are not stored in panels, in panels; or nothing.
    packed: &'m [i8],
    shape: Shape,
}

/// Cells that ran together, in the scratch of their session.
#[derive(Clone, Copy, Debug)]
pub struct S8Tile<'s> {
    shape: Shape,
    verdicts: &'s [Words],
    code: &'s [i16],
    code_levels: &'s [u8],
    code_scales: &'s [f32],
    logits: &'s [i32],
    probabilities: &'s [u32],
}

/// A sample of a tile that cannot be run; nothing of the tile was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileError {
    /// Position of the sample in the tile.
    pub sample: usize,
    /// What is wrong with it.
    pub error: RunError,
}

impl<'m> S8Session<'m> {
    /// A session for one input profile of an int8 model, on the best kernels of this processor.
    pub fn new(model: &'m Model<'m>, profile: usize) -> Result<Self, RunError> {
        Self::with_kernels(model, profile, Kernels::best())
    }

    /// A session on kernels of the caller's choice. Results do not depend on them.
    pub fn with_kernels(
        model: &'m Model<'m>,
        profile: usize,
        kernels: Kernels,
    ) -> Result<Self, RunError> {
        if model.dtype() != Dtype::S8 {
            return Err(RunError::WrongDtype);
        }
        let Epilogue::S8(first) = model.first_epilogue(profile) else {
            return Err(RunError::WrongDtype);
        };
        let profile = *model.profiles().get(profile).ok_or(RunError::NoSuchProfile)?;
        let layer = model.stage(StageKind::Encoder).first();
        // Kernels for rows and panels read levels that are laid out.
        let input_stride = match layer.map(Operand::stored) {
            Some(Operand::Panels(_)) => part_len(model),
            Some(Operand::Rows(_)) => model.n_genes().next_multiple_of(4),
            _ => 0,
        };
        let shape = Shape::of(model, input_stride);
        let line = Line::of(&profile);
        let reads_once = line.is_some() && profile.library() == Library::None;
        Ok(Self { model, profile, first, kernels, line, reads_once, packed: &[], shape })
    }

    /// The model.
    pub fn model(&self) -> &'m Model<'m> {
        self.model
    }

    /// The input profile.
    pub fn profile(&self) -> &Profile<'m> {
        &self.profile
    }

    /// The kernels in use.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Bytes of scratch that [`S8Session::run`] and [`S8Session::reconstruct`] need; they write no
    /// more than these, from the beginning of the slice.
    pub fn scratch_len(&self) -> usize {
        self.tile_scratch_len(1)
    }

    /// Bytes of scratch that [`S8Session::run_tile`] needs for so many samples.
    pub fn tile_scratch_len(&self, n_samples: usize) -> usize {
        4 * self.shape.words(n_samples)
    }

    /// How many cells at a time run best, see [`S8Session::run_tile`].
    pub fn tile_len(&self) -> usize {
        Kernels::TILE_LEN
    }

    /// Bytes that [`S8Session::with_packed`] needs.
    pub fn packed_len(&self) -> usize {
        match self.layers().map(|layer| operand::packed_len(layer)).sum() {
            0 => 0,
            len => len + LINE - 1,
        }
    }

    /// The same session with its weights also in the layout that suits many cells at a time, in
    /// memory of the caller, `[packed_len]`. Takes about as long as reading the weights; a model
    /// written with that layout needs none. Needs more scratch than before, see
    /// [`S8Session::tile_scratch_len`].
    pub fn with_packed<'p>(self, memory: &'p mut [i8]) -> Result<S8Session<'p>, RunError>
    where
        'm: 'p,
    {
        check_len(memory.len(), self.packed_len())?;
        // From the first whole cache line on, and as many weights as lines in every layer: no load of a
        // kernel then touches two.
        let start = memory.as_ptr().align_offset(LINE).min(memory.len());
        let mut rest = memory.get_mut(start..).unwrap_or(&mut []);
        for layer in self.layers() {
            let len = operand::packed_len(layer).min(rest.len());
            let (head, tail) = rest.split_at_mut(len);
            operand::pack(layer, head);
            rest = tail;
        }
        let input_stride = self.shape.input_stride.max(part_len(self.model));
        let widest = self.layers().map(|layer| panel_of(layer.out_dim())).max();
        let chunk = self.shape.chunk.max(widest.unwrap_or(0));
        let has_panels = self.shape.has_panels || !memory.is_empty();
        let sum_stride = odd_lines(4 * self.shape.sum_stride) / 4;
        let shape = Shape { input_stride, sum_stride, chunk, has_panels, ..self.shape };
        Ok(S8Session { packed: memory.get(start..).unwrap_or(&[]), shape, ..self })
    }

    /// Entries of the `correction` of [`S8Session::presence`].
    pub fn correction_len(&self) -> usize {
        self.model.stage(StageKind::Encoder).first().map_or(0, Layer::out_dim)
    }

    /// Prepares a file that lacks genes of the panel. `mask` is `[n_genes]`, `correction` has
    /// [`S8Session::correction_len`] entries.
    pub fn presence<'p>(
        &self,
        mask: &'p [bool],
        correction: &'p mut [u32],
    ) -> Result<Presence<'p>, RunError> {
        let n_genes = self.model.n_genes();
        check_len(mask.len(), n_genes)?;
        check_len(correction.len(), self.correction_len())?;
        correction.fill(0);
        let sums: &mut [i32] = bytemuck::must_cast_slice_mut(correction);
        if let Some(layer) = self.model.stage(StageKind::Encoder).first() {
            let fill = mask.iter().zip(self.profile.fill_levels()).enumerate();
            for (gene, (&is_present, &level)) in fill {
                if !is_present {
                    inputs::add_product(&self.kernels, layer, gene, level, sums);
                }
            }
        }
        self.known_presence(mask, correction)
    }

    /// The presence of a file whose `correction` was filled before, for the same mask.
    pub fn known_presence<'p>(
        &self,
        mask: &'p [bool],
        correction: &'p [u32],
    ) -> Result<Presence<'p>, RunError> {
        check_len(mask.len(), self.model.n_genes())?;
        check_len(correction.len(), self.correction_len())?;
        let (n_present, share_q30) = measure(mask, self.model.genes().library_share_q30());
        Ok(Presence { mask, correction, share_q30, n_present })
    }

    /// Types one cell. `scratch` has at least [`S8Session::scratch_len`] bytes; what it held does
    /// not matter.
    pub fn run<'s>(
        &self,
        sample: &Sample<'_>,
        presence: Option<&Presence<'_>>,
        scratch: &'s mut [u32],
    ) -> Result<Outcome<S8Numbers<'s>>, RunError>
    where
        'm: 's,
    {
        let samples = core::slice::from_ref(sample);
        match self.run_tile(samples, presence, scratch) {
            Ok(tile) => Ok(tile.outcome(0)),
            Err(error) => Err(error.error),
        }
    }

    /// Types several cells together, which costs less than one after another where weights are in
    /// panels; [`S8Session::tile_len`] is a good number. The results are those of [`S8Session::run`]. `scratch` has at
    /// least [`S8Session::tile_scratch_len`] bytes.
    pub fn run_tile<'s>(
        &self,
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        scratch: &'s mut [u32],
    ) -> Result<S8Tile<'s>, TileError>
    where
        'm: 's,
    {
        let n_rows = samples.len();
        let (needed, found) = (self.tile_scratch_len(n_rows), 4 * scratch.len());
        let mut memory = Memory::divide(&self.shape, n_rows, scratch)
            .ok_or(TileError { sample: 0, error: RunError::ScratchTooShort { needed, found } })?;
        self.first_layer(samples, presence, &mut memory)?;
        self.encode(n_rows, &mut memory);
        self.classify(n_rows, &mut memory);
        Ok(S8Tile {
            shape: self.shape,
            verdicts: memory.verdicts,
            code: memory.code,
            code_levels: memory.code_levels,
            code_scales: self.model.code_scales().map_or(&[], |scales| scales.scales),
            logits: memory.logits,
            probabilities: memory.probabilities,
        })
    }

    /// Reproduces a profile from the 7-bit copy of its code: `reconstruction[g]`, `[n_genes]`,
    /// stands for `model.reconstruction_scales()[g] · i16` in network input units.
    pub fn reconstruct(
        &self,
        code_levels: &[u8],
        scratch: &mut [u32],
        reconstruction: &mut [i16],
    ) -> Result<(), RunError> {
        if self.model.stage(StageKind::Decoder).is_empty() {
            return Err(RunError::NoDecoder);
        }
        let width = self.model.code_dim();
        check_len(code_levels.len(), width)?;
        check_len(reconstruction.len(), self.model.n_genes())?;
        let (needed, found) = (self.scratch_len(), 4 * scratch.len());
        let memory = Memory::divide(&self.shape, 1, scratch)
            .ok_or(RunError::ScratchTooShort { needed, found })?;
        let stride = self.shape.code_stride;
        let (levels, padding) = memory.code_levels.split_at_mut(width.min(stride));
        levels.copy_from_slice(code_levels);
        padding.fill(0);
        let inputs = Inputs { levels: memory.code_levels, stride, width, n_rows: 1 };
        let mut work = Work {
            levels: memory.levels,
            level_stride: self.shape.level_stride,
            sums: Sums::new(memory.bias, memory.chunk, memory.carried, self.shape.chunk),
        };
        let steps = self.steps(StageKind::Decoder);
        stage::run(&self.kernels, steps, inputs, &mut work, |_, outputs, sums, ratios| {
            let to = reconstruction.get_mut(outputs).unwrap_or(&mut []);
            self.kernels.requantize_rows_i16(sums, ratios, to);
        });
        Ok(())
    }

    /// Checks the samples, and sums their first layer.
    fn first_layer(
        &self,
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        memory: &mut Memory<'_>,
    ) -> Result<(), TileError> {
        let Some(layer) = self.model.stage(StageKind::Encoder).first() else { return Ok(()) };
        for (n, (sample, verdict)) in samples.iter().zip(memory.verdicts.iter_mut()).enumerate() {
            self.check(sample, presence, verdict)
                .map_err(|error| TileError { sample: n, error })?;
        }
        match self.first_operand(layer, samples) {
            Operand::Panels(panels) => self.sum_panels(&panels, samples, presence, memory),
            Operand::Rows(weights) => self.sum_rows(weights, samples, presence, memory),
            Operand::GeneMajor | Operand::Other => {
                self.sum_listed(layer, samples, presence, memory);
            }
        }
        if self.reads_once {
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
        // The sample may live shorter than the model; both are only read.
        let profile: Profile<'_> = self.profile;
        if self.reads_once {
            return CheckedSample::unmeasured(sample, &profile, presence).map(|_| ());
        }
        let sample = CheckedSample::new_checked(sample, &profile, presence, &self.kernels)?;
        let depth = sample.depth();
        let scaling = inputs::scaling(&sample)?;
        let reject = self.model.rules().check_depth(depth.n_counts, depth.n_genes);
        verdict::set(verdict, depth, reject, scaling.is_some());
        *verdict::scaling(verdict) = scaling.unwrap_or(0);
        Ok(())
    }
    /// Judges the depth of a sample whose values were read.
    #[inline(never)]
    fn judge(&self, sample: &Sample<'_>, verdict: &mut Words) -> Result<(), RunError> {
        let extent = verdict::extent(verdict);
        let profile: Profile<'_> = self.profile;
        let depth = CheckedSample::depth_of(sample, &profile, extent)?;
        let reject = self.model.rules().check_depth(depth.n_counts, depth.n_genes);
        verdict::set(verdict, depth, reject, true);
        Ok(())
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
        for n in 0..samples.len() {
            let sums = row_mut(memory.sums, n, self.shape.sum_stride);
            self.start(presence, sums.get_mut(..out_dim).unwrap_or(&mut []));
        }
        let profile: Profile<'_> = self.profile;
        let part_len = if samples.len() == 1 { in_dim } else { Kernels::near_len(out_dim) };
        for first in (0..in_dim).step_by(part_len.max(1)) {
            let part = first..in_dim.min(first + part_len);
            for (n, (sample, verdict)) in samples.iter().zip(memory.verdicts.iter_mut()).enumerate()
            {
                let sums = row_mut(memory.sums, n, self.shape.sum_stride);
                let sums = sums.get_mut(..out_dim).unwrap_or(&mut []);
                let Some(mut rule) = self.rule(sample, &profile, verdict) else { continue };
                let cut = inputs::cut(sample, part.clone(), verdict::n_cut(verdict));
                let extent =
                    inputs::add_products(&self.kernels, layer, &cut, first, &mut rule, sums);
                if self.reads_once {
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
                self.kernels.panels_s8(panels, first, levels, bias, &mut sums);
            }
        }
    }

    /// Lays the levels of a part of the inputs out, for every cell.
    #[inline(never)]
    fn lay_out(&self, samples: &[Sample<'_>], part: Range<usize>, memory: &mut Memory<'_>) {
        let profile: Profile<'_> = self.profile;
        let stride = self.shape.input_stride;
        for (n, (sample, verdict)) in samples.iter().zip(memory.verdicts.iter_mut()).enumerate() {
            let inputs = row_mut(memory.inputs, n, stride);
            let padded = part.len().next_multiple_of(4).min(inputs.len());
            let inputs = inputs.get_mut(..padded).unwrap_or(&mut []);
            let Some(mut rule) = self.rule(sample, &profile, verdict) else {
                inputs.fill(0);
                continue;
            };
            let cut = inputs::cut(sample, part.clone(), verdict::n_cut(verdict));
            let extent = inputs::lay_out(&self.kernels, &cut, part.start, &mut rule, inputs);
            if self.reads_once {
                verdict::add_extent(verdict, extent);
            }
        }
    }

    /// How the values of a sample become levels; `None` where it has no numbers.
    fn rule<'p>(
        &self,
        sample: &Sample<'_>,
        profile: &Profile<'p>,
        verdict: &mut Words,
    ) -> Option<Rule<'p>> {
        if self.reads_once {
            return Some(Rule::of(sample, profile, self.line, 1.0_f32.to_bits()));
        }
        let (.., has_numbers) = verdict::get(verdict);
        let scaling = *verdict::scaling(verdict);
        has_numbers.then(|| Rule::of(sample, profile, self.line, scaling))
    }
    /// How the first layer is summed for these samples: over listed inputs or over all.
    fn first_operand(&self, layer: &Layer<'m>, samples: &[Sample<'_>]) -> Operand<'m> {
        let stored = Operand::stored(layer);
        let Some(panels) = self.packed_panels(layer, 0) else { return stored };
        if self.kernels.isa() == Isa::Scalar {
            return stored;
        }
        let percent = self.kernels.dense_from_percent(&panels, samples.len());
        let listed: usize = samples.iter().map(Sample::n_listed).sum();
        match listed * 100 < percent * samples.len() * layer.in_dim() {
            true => stored,
            false => Operand::Panels(panels),
        }
    }

    /// Bias and correction of one cell.
    fn start(&self, presence: Option<&Presence<'_>>, sums: &mut [i32]) {
        for (sum, &bias) in sums.iter_mut().zip(self.first.bias) {
            *sum = bias;
        }
        if let Some(presence) = presence {
            for (sum, &correction) in sums.iter_mut().zip(presence.correction) {
                // The bits of an `i32`.
                *sum = sum.wrapping_add(correction as i32);
            }
        }
    }

    /// From the sums of the first layer to the code.
    #[inline(never)]
    fn encode(&self, n_rows: usize, memory: &mut Memory<'_>) {
        let shape = self.shape;
        let mut steps = self.steps(StageKind::Encoder);
        let Some(mut first) = steps.next() else { return };
        first.epilogue = self.first;
        let code = &mut *memory.code;
        let put = |cell: usize, outputs: Range<usize>, sums: &[i32], ratios: Ratios<'_>| {
            let to = row_mut(code, cell, shape.code_dim).get_mut(outputs);
            self.kernels.requantize_rows_i16(sums, ratios, to.unwrap_or(&mut []));
        };
        let activated = first.layer.activated_dim();
        if self.model.stage(StageKind::Encoder).len() == 1 {
            let mut put = put;
            for cell in 0..n_rows {
                let sums = row(memory.sums, cell, shape.sum_stride);
                let sums = sums.get(..activated).unwrap_or(&[]);
                put(cell, 0..activated, sums, Ratios::of(&first.epilogue, 0, activated));
            }
        } else {
            let [a, b] = &mut memory.levels;
            let sums = Part::new_checked(memory.sums, shape.sum_stride, activated, n_rows);
            let levels = PartMut::new_checked(a, shape.level_stride, activated, n_rows);
            if let (Some(sums), Some(mut levels)) = (sums, levels) {
                stage::activate(&self.kernels, &first, 0..activated, sums, &mut levels);
            }
            stage::pad(a, shape.level_stride, activated);
            let carry = match first.layer.carry() {
                0 => Carry::None,
                _ => Carry::Sums {
                    sums: memory.sums,
                    stride: shape.sum_stride,
                    first: activated,
                    epilogue: self.first,
                },
            };
            let mut work = Work {
                levels: [a, b],
                level_stride: shape.level_stride,
                sums: Sums::new(memory.bias, memory.chunk, memory.carried, self.shape.chunk),
            };
            stage::rest(&self.kernels, activated, steps, &carry, n_rows, &mut work, put);
        }
        let Some(scales) = self.model.code_scales() else { return };
        let (offsets, multipliers, shifts) = scales.level_parts();
        for cell in 0..n_rows {
            let code = row(memory.code, cell, shape.code_dim);
            let levels = row_mut(memory.code_levels, cell, shape.code_stride);
            let levels = levels.get_mut(..shape.code_dim).unwrap_or(&mut []);
            let ratios = Ratios::new(multipliers, shifts);
            self.kernels.code_levels(code, offsets, ratios, levels);
        }
        stage::pad(memory.code_levels, shape.code_stride, shape.code_dim);
    }

    /// From the levels of the code to probabilities and what they decide.
    #[inline(never)]
    fn classify(&self, n_rows: usize, memory: &mut Memory<'_>) {
        let shape = self.shape;
        let inputs = Inputs {
            levels: memory.code_levels,
            stride: shape.code_stride,
            width: shape.code_dim,
            n_rows,
        };
        let [a, b] = &mut memory.levels;
        let mut work = Work {
            levels: [a, b],
            level_stride: shape.level_stride,
            sums: Sums::new(memory.bias, memory.chunk, memory.carried, self.shape.chunk),
        };
        let logits = &mut *memory.logits;
        let steps = self.steps(StageKind::Classifier);
        stage::run(&self.kernels, steps, inputs, &mut work, |cell, outputs, sums, ratios| {
            let to = row_mut(logits, cell, shape.n_leaves).get_mut(outputs);
            self.kernels.requantize_rows_i32(sums, ratios, to.unwrap_or(&mut []));
        });
        let rules = self.model.rules();
        for cell in 0..n_rows {
            let logits = row(memory.logits, cell, shape.n_leaves);
            let probabilities = row_mut(memory.probabilities, cell, shape.n_leaves);
            let inv_temperature = rules.inv_temperature_q16;
            let confidence = self.kernels.softmax_q16(logits, inv_temperature, probabilities);
            if confidence < rules.min_confidence_q16
                && let Some(verdict) = memory.verdicts.get_mut(cell)
            {
                verdict::reject_unsure(verdict);
            }
        }
    }

    /// All layers, in order.
    fn layers(&self) -> impl Iterator<Item = &'m Layer<'m>> {
        let stages = [StageKind::Encoder, StageKind::Classifier, StageKind::Decoder];
        let model = self.model;
        stages.into_iter().flat_map(move |kind| model.stage(kind))
    }

    /// The layers of a stage as kernels read them.
    fn steps<'a>(&'a self, kind: StageKind) -> impl Iterator<Item = Step<'m>> + use<'a, 'm> {
        let model = self.model;
        let before = match kind {
            StageKind::Encoder => 0,
            StageKind::Classifier => model.stage(StageKind::Encoder).len(),
            StageKind::Decoder => self.layers().count() - model.stage(kind).len(),
        };
        model.stage(kind).iter().zip(before..).filter_map(move |(layer, index)| {
            let epilogue = stage::epilogue(layer)?;
            let operand = match Operand::stored(layer) {
                stored @ Operand::Panels(_) => stored,
                stored => self.packed_panels(layer, index).map_or(stored, Operand::Panels),
            };
            Some(Step { layer, epilogue, operand })
        })
    }

    /// A layer in the panels of [`S8Session::with_packed`].
    fn packed_panels(&self, layer: &Layer<'m>, index: usize) -> Option<Panels<'m>> {
        if self.packed.is_empty() || operand::packed_len(layer) == 0 {
            return None;
        }
        let at: usize = self.layers().take(index).map(operand::packed_len).sum();
        let bytes = self.packed.get(at..at + operand::packed_len(layer))?;
        operand::packed(layer, bytes)
    }
}

impl<'s> S8Tile<'s> {
    /// What became of a cell of the tile; that of an empty cell past its end.
    pub fn outcome(&self, cell: usize) -> Outcome<S8Numbers<'s>> {
        let Some(verdict) = self.verdicts.get(cell) else {
            let (depth, reject) = (Depth::default(), Some(RejectReason::Empty));
            return Outcome { depth, reject, numbers: None };
        };
        let (depth, reject, has_numbers) = verdict::get(verdict);
        let numbers = S8Numbers {
            code: row(self.code, cell, self.shape.code_dim),
            code_levels: row(self.code_levels, cell, self.shape.code_stride)
                .get(..self.shape.code_dim)
                .unwrap_or(&[]),
            code_scales: self.code_scales,
            logits: row(self.logits, cell, self.shape.n_leaves),
            probabilities: row(self.probabilities, cell, self.shape.n_leaves),
        };
        Outcome { depth, reject, numbers: has_numbers.then_some(numbers) }
    }
}

/// Inputs whose levels are multiplied with all panels before the next: 32 cells of them are 32 KiB.
const PART: usize = 1024;

/// Levels that are laid out together for a cell.
fn part_len(model: &Model<'_>) -> usize {
    odd_lines(model.n_genes().min(PART))
}

/// An odd number of cache lines for so many bytes, so that rows do not compete for the same places of a
/// cache.
fn odd_lines(len: usize) -> usize {
    (len.div_ceil(LINE) | 1) * LINE
}

fn check_len(found: usize, needed: usize) -> Result<(), RunError> {
    if found == needed { Ok(()) } else { Err(RunError::LengthMismatch { needed, found }) }
}
