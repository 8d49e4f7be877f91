//! Int8 sessions: integers from counts to probabilities.

mod first;
mod golden;
mod inputs;
mod levels;
mod memory;
mod operand;
mod stage;
mod verdict;

use core::ops::Range;

use cic_model::layer::{Epilogue, Layer};
use cic_model::profile::{Library, Profile};
use cic_model::rules::RejectReason;
use cic_model::{Dtype, Model, StageKind, ValueKind};

use crate::error::RunError;
use crate::kernels::{Kernels, Line, Part, PartMut, Ratios, panel_of};
use crate::outcome::{Depth, Outcome, S8Numbers};
use crate::presence::{Presence, inv_temperature_q16, measure, novelty_for};
use crate::sample::{HAS_FLOATS, Sample};

use first::part_len;
use memory::{LINE, Memory, Shape, odd_lines, row, row_mut};
use operand::{Chain, First, Operand, Packed};
use stage::{Carry, Inputs, Sums, Work};
use verdict::Words;

/// Runs an int8 model. Holds no memory of its own beyond references, and may be copied to use the
/// same model from several places.
#[derive(Clone, Copy, Debug)]
pub struct S8Session<'m> {
    model: &'m Model<'m>,
    profile: Profile<'m>,
    first: First<'m>,
    kernels: Kernels,
    line: Option<Line>,
    /// Whether values are checked while their levels are looked up, and not before: those that lie on a
    /// line and are not divided by anything.
    reads_once: bool,
    packed: Packed<'m>,
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
        let Epilogue::S8(epilogue) = model.first_epilogue(profile) else {
            return Err(RunError::WrongDtype);
        };
        let first = First::of(model, Packed::default(), epilogue).ok_or(RunError::WrongDtype)?;
        let profile = *model.profiles().get(profile).ok_or(RunError::NoSuchProfile)?;
        if !HAS_FLOATS && profile.kind() != ValueKind::Counts {
            return Err(RunError::NoFloats);
        }
        // Kernels for rows and panels read levels that are laid out.
        let input_stride = match first.stored {
            Operand::Panels(_) => part_len(model),
            Operand::Rows(_) => model.n_genes().next_multiple_of(4),
            _ => 0,
        };
        let shape = Shape::of(model, input_stride);
        let line = if HAS_FLOATS { Line::of(&profile) } else { None };
        let reads_once = line.is_some() && profile.library() == Library::None;
        Ok(Self {
            model,
            profile,
            first,
            kernels,
            line,
            reads_once,
            packed: Packed::default(),
            shape,
        })
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
        let layer = self.model.stage(StageKind::Encoder).first();
        Kernels::tile_len(layer.map_or(0, |layer| layer.in_dim() * layer.out_dim()))
    }

    /// Bytes that [`S8Session::with_packed`] needs.
    pub fn packed_len(&self) -> usize {
        match Packed::len(self.model) {
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
        // From the first whole cache line on. Every layer takes whole lines, so that no load touches two.
        let start = memory.as_ptr().align_offset(LINE).min(memory.len());
        let packed = Packed::write(self.model, memory.get_mut(start..).unwrap_or(&mut []));
        let input_stride = self.shape.input_stride.max(part_len(self.model));
        let widest = self.model.layers().iter().map(|layer| panel_of(layer.out_dim())).max();
        let chunk = self.shape.chunk.max(widest.unwrap_or(0));
        let has_panels = self.shape.has_panels || !packed.is_empty();
        let sum_stride = odd_lines(4 * self.shape.sum_stride) / 4;
        let shape = Shape { input_stride, sum_stride, chunk, has_panels, ..self.shape };
        let epilogue = self.first.step.epilogue;
        let first = First::of(self.model, packed, epilogue).ok_or(RunError::WrongDtype)?;
        Ok(S8Session { first, packed, shape, ..self })
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
    #[inline]
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
        let mut memory = self.divide(samples.len(), scratch)?;
        self.encode_tile(samples, presence, &mut memory)?;
        self.logits_tile(samples.len(), &mut memory);
        self.decide_tile(samples.len(), presence, &mut memory);
        Ok(self.tile(memory))
    }

    /// Encodes one cell and leaves the classifier out: its numbers have no logits and no probabilities,
    /// and it is refused for its depth alone. The code is that of [`S8Session::run`], which says what
    /// `scratch` has to be.
    pub fn encode<'s>(
        &self,
        sample: &Sample<'_>,
        presence: Option<&Presence<'_>>,
        scratch: &'s mut [u32],
    ) -> Result<Outcome<S8Numbers<'s>>, RunError>
    where
        'm: 's,
    {
        let samples = core::slice::from_ref(sample);
        let encoded = self.divide(1, scratch).and_then(|mut memory| {
            self.encode_tile(samples, presence, &mut memory)?;
            Ok(memory)
        });
        match encoded {
            Ok(memory) => {
                let shape = Shape { n_leaves: 0, ..self.shape };
                let tile = S8Tile { shape, logits: &[], probabilities: &[], ..self.tile(memory) };
                Ok(tile.outcome(0))
            }
            Err(error) => Err(error.error),
        }
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
        let chain = self.chain(StageKind::Decoder);
        let n_genes = reconstruction.len();
        stage::run(&self.kernels, chain, &inputs, &mut work, |outputs, sums, ratios| {
            if let Some(mut to) = PartMut::new_checked(reconstruction, n_genes, n_genes, 1) {
                self.kernels.requantize_i16s(sums, ratios, &mut to.columns_mut(outputs));
            }
        });
        Ok(())
    }

    /// The scratch, divided among so many samples.
    #[inline]
    fn divide<'s>(
        &self,
        n_samples: usize,
        scratch: &'s mut [u32],
    ) -> Result<Memory<'s>, TileError> {
        let found = 4 * scratch.len();
        Memory::divide(&self.shape, n_samples, scratch).ok_or_else(|| {
            let needed = self.tile_scratch_len(n_samples);
            TileError { sample: 0, error: RunError::ScratchTooShort { needed, found } }
        })
    }

    /// From samples to codes.
    #[inline]
    fn encode_tile(
        &self,
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        memory: &mut Memory<'_>,
    ) -> Result<(), TileError> {
        self.first_layer(samples, presence, memory)?;
        self.code_tile(samples.len(), memory);
        Ok(())
    }

    fn tile<'s>(&self, memory: Memory<'s>) -> S8Tile<'s>
    where
        'm: 's,
    {
        S8Tile {
            shape: self.shape,
            verdicts: memory.verdicts,
            code: memory.code,
            code_levels: memory.code_levels,
            code_scales: self.model.code_scales().map_or(&[], |scales| scales.scales),
            logits: memory.logits,
            probabilities: memory.probabilities,
        }
    }

    /// From the sums of the first layer to the code.
    #[inline(never)]
    fn code_tile(&self, n_rows: usize, memory: &mut Memory<'_>) {
        let shape = self.shape;
        let First { step: first, rest: chain, .. } = &self.first;
        let code = &mut *memory.code;
        let (code_dim, kernels) = (shape.code_dim, &self.kernels);
        let mut put = |outputs: Range<usize>, sums: &Part<'_, i32>, ratios: &Ratios<'_>| {
            if let Some(mut to) = PartMut::new_checked(code, code_dim, code_dim, n_rows) {
                kernels.requantize_i16s(sums, ratios, &mut to.columns_mut(outputs));
            }
        };
        let activated = first.layer.activated_dim();
        let sums = Part::new_checked(memory.sums, shape.sum_stride, activated, n_rows);
        if chain.len() == 0 {
            if let Some(sums) = sums {
                put(0..activated, &sums, &Ratios::of(&first.epilogue, 0, activated));
            }
        } else {
            let [a, b] = &mut memory.levels;
            let levels = PartMut::new_checked(a, shape.level_stride, activated, n_rows);
            if let (Some(sums), Some(mut levels)) = (sums, levels) {
                stage::activate(&self.kernels, first, 0..activated, &sums, &mut levels);
            }
            stage::pad(a, shape.level_stride, activated);
            let carry = match first.layer.carry() {
                0 => Carry::None,
                _ => Carry::Sums {
                    sums: memory.sums,
                    stride: shape.sum_stride,
                    first: activated,
                    epilogue: first.epilogue,
                },
            };
            let mut work = Work {
                levels: [a, b],
                level_stride: shape.level_stride,
                sums: Sums::new(memory.bias, memory.chunk, memory.carried, self.shape.chunk),
            };
            stage::rest(&self.kernels, activated, *chain, &carry, n_rows, &mut work, put);
        }
        let Some(scales) = self.model.code_scales() else { return };
        let (offsets, multipliers, shifts) = scales.level_parts();
        let codes = Part::new_checked(memory.code, code_dim, code_dim, n_rows);
        let levels = PartMut::new_checked(memory.code_levels, shape.code_stride, code_dim, n_rows);
        if let (Some(codes), Some(mut levels)) = (codes, levels) {
            let ratios = Ratios::new(multipliers, shifts);
            self.kernels.code_levels(&codes, offsets, &ratios, &mut levels);
        }
        stage::pad(memory.code_levels, shape.code_stride, shape.code_dim);
    }

    /// From the levels of the code to logits.
    #[inline(never)]
    fn logits_tile(&self, n_rows: usize, memory: &mut Memory<'_>) {
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
        let chain = self.chain(StageKind::Classifier);
        let n_leaves = shape.n_leaves;
        stage::run(&self.kernels, chain, &inputs, &mut work, |outputs, sums, ratios| {
            if let Some(mut to) = PartMut::new_checked(logits, n_leaves, n_leaves, n_rows) {
                self.kernels.requantize_i32s(sums, ratios, &mut to.columns_mut(outputs));
            }
        });
    }

    /// From codes and logits to what they decide, and probabilities.
    #[inline(never)]
    fn decide_tile(&self, n_rows: usize, presence: Option<&Presence<'_>>, memory: &mut Memory<'_>) {
        let shape = &self.shape;
        let inv_temperature = inv_temperature_q16(self.model, presence);
        let min_confidence = self.model.rules().min_confidence_q16;
        let novelty = novelty_for(self.model, presence);
        for (cell, verdict) in memory.verdicts.iter_mut().enumerate().take(n_rows) {
            if let Some(novelty) = novelty {
                verdict::reject_unlike(verdict, novelty, row(memory.code, cell, shape.code_dim));
            }
            let logits = row(memory.logits, cell, shape.n_leaves);
            let probabilities = row_mut(memory.probabilities, cell, shape.n_leaves);
            let confidence = self.kernels.softmax_q16(logits, inv_temperature, probabilities);
            if confidence < min_confidence {
                verdict::reject_unsure(verdict);
            }
        }
    }

    /// The layers of a stage as kernels read them.
    #[inline]
    fn chain(&self, kind: StageKind) -> Chain<'m> {
        self.packed.chain(self.model, kind)
    }
}

impl<'s> S8Tile<'s> {
    /// What became of a cell of the tile; that of an empty cell past its end.
    #[inline]
    pub fn outcome(&self, cell: usize) -> Outcome<S8Numbers<'s>> {
        let Some(verdict) = self.verdicts.get(cell) else {
            let (depth, reject) = (Depth::default(), Some(RejectReason::Empty));
            return Outcome { depth, reject, numbers: None };
        };
        let (depth, reject, has_numbers) = verdict::get(verdict);
        Outcome { depth, reject, numbers: has_numbers.then(|| self.numbers(cell)) }
    }

    #[inline]
    fn numbers(&self, cell: usize) -> S8Numbers<'s> {
        S8Numbers {
            code: row(self.code, cell, self.shape.code_dim),
            code_levels: row(self.code_levels, cell, self.shape.code_stride)
                .get(..self.shape.code_dim)
                .unwrap_or(&[]),
            code_scales: self.code_scales,
            logits: row(self.logits, cell, self.shape.n_leaves),
            probabilities: row(self.probabilities, cell, self.shape.n_leaves),
        }
    }
}

fn check_len(found: usize, needed: usize) -> Result<(), RunError> {
    if found == needed { Ok(()) } else { Err(RunError::LengthMismatch { needed, found }) }
}
