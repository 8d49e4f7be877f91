//! Int8 sessions: integers from counts to probabilities.

use cic_model::layer::{Epilogue, Layer, S8Epilogue, SegmentView, Weights};
use cic_model::profile::{CountLevels, Profile};
use cic_model::quant::{code_level, requantize_i16, requantize_i32, softmax_q16, table_index};
use cic_model::rules::RejectReason;
use cic_model::{Dtype, Model, StageKind, ValueKind};

use crate::error::RunError;
use crate::kernels::reference;
use crate::outcome::{Outcome, S8Numbers};
use crate::presence::{Presence, measure};
use crate::sample::{CheckedSample, Sample};

/// Runs an int8 model. Holds no memory of its own beyond references, and may be copied to use the
/// same model from several places.
#[derive(Clone, Copy, Debug)]
pub struct S8Session<'m> {
    model: &'m Model<'m>,
    profile: Profile<'m>,
    first: S8Epilogue<'m>,
    words: Words,
}

/// Lengths of the parts of the scratch, in words of 4 bytes, in their order.
#[derive(Clone, Copy, Debug)]
struct Words {
    sums: usize,
    levels: usize,
    code: usize,
    code_levels: usize,
    n_leaves: usize,
}

impl Words {
    fn total(&self) -> usize {
        self.sums + 2 * self.levels + self.code + self.code_levels + 2 * self.n_leaves
    }
}

/// The scratch, divided.
struct Parts<'s> {
    sums: &'s mut [i32],
    levels: [&'s mut [u8]; 2],
    code: &'s mut [i16],
    code_levels: &'s mut [u8],
    logits: &'s mut [i32],
    probabilities: &'s mut [u32],
}

impl<'m> S8Session<'m> {
    /// A session for one input profile of an int8 model.
    pub fn new(model: &'m Model<'m>, profile: usize) -> Result<Self, RunError> {
        if model.dtype() != Dtype::S8 {
            return Err(RunError::WrongDtype);
        }
        let Epilogue::S8(first) = model.first_epilogue(profile) else {
            return Err(RunError::WrongDtype);
        };
        let profile = *model.profiles().get(profile).ok_or(RunError::NoSuchProfile)?;
        let stages = [StageKind::Encoder, StageKind::Classifier, StageKind::Decoder];
        let widest = stages
            .iter()
            .filter_map(|&kind| model.stage(kind).split_last())
            .flat_map(|(_, hidden)| hidden.iter().map(Layer::activated_dim))
            .max()
            .unwrap_or(0);
        let words = Words {
            sums: model.stage(StageKind::Encoder).first().map_or(0, Layer::out_dim),
            levels: widest.div_ceil(4),
            code: model.code_dim().div_ceil(2),
            code_levels: model.code_dim().div_ceil(4),
            n_leaves: model.n_leaves(),
        };
        Ok(Self { model, profile, first, words })
    }

    /// The model.
    pub fn model(&self) -> &'m Model<'m> {
        self.model
    }

    /// The input profile.
    pub fn profile(&self) -> &Profile<'m> {
        &self.profile
    }

    /// Bytes of scratch that [`S8Session::run`] and [`S8Session::reconstruct`] need; it writes no
    /// more than these, from the beginning of the slice.
    pub fn scratch_len(&self) -> usize {
        4 * self.words.total()
    }

    /// Entries of the `correction` of [`S8Session::presence`].
    pub fn correction_len(&self) -> usize {
        self.words.sums
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
        check_len(correction.len(), self.words.sums)?;
        correction.fill(0);
        let sums: &mut [i32] = bytemuck::must_cast_slice_mut(correction);
        if let Some(layer) = self.model.stage(StageKind::Encoder).first() {
            let fill = mask.iter().zip(self.profile.fill_levels()).enumerate();
            for (gene, (&is_present, &level)) in fill {
                if !is_present {
                    accumulate(layer, gene, level, sums);
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
        check_len(correction.len(), self.words.sums)?;
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
        // The sample may live shorter than the model; both are only read.
        let profile: Profile<'_> = self.profile;
        let sample = CheckedSample::new_checked(sample, &profile, presence)?;
        let mut parts = self.divide(scratch)?;
        let depth = sample.depth();
        let mut reject = self.model.rules().check_depth(depth.n_counts, depth.n_genes);
        if !self.encode(&sample, presence, &mut parts)? {
            let reason = match depth.n_genes {
                0 => RejectReason::Empty,
                _ => RejectReason::LibraryTooLarge,
            };
            return Ok(Outcome { depth, reject: reject.or(Some(reason)), numbers: None });
        }
        let numbers = self.classify(parts);
        let confidence = numbers.best().map_or(u32::MAX, |best| best.probability_q16);
        if confidence < self.model.rules().min_confidence_q16 {
            reject = reject.or(Some(RejectReason::LowConfidence));
        }
        Ok(Outcome { depth, reject, numbers: Some(numbers) })
    }

    /// Reproduces a profile from the 7-bit copy of its code: `reconstruction[g]`, `[n_genes]`,
    /// stands for `model.reconstruction_scales()[g] · i16` in network input units.
    pub fn reconstruct(
        &self,
        code_levels: &[u8],
        scratch: &mut [u32],
        reconstruction: &mut [i16],
    ) -> Result<(), RunError> {
        let layers = self.model.stage(StageKind::Decoder);
        let first = layers.first().ok_or(RunError::NoDecoder)?;
        check_len(code_levels.len(), self.model.code_dim())?;
        check_len(reconstruction.len(), self.model.n_genes())?;
        let Parts { levels: [a, b], .. } = self.divide(scratch)?;
        dense_stage(layers, first, code_levels, a, b, |row, sum, epilogue| {
            if let Some(place) = reconstruction.get_mut(row) {
                *place = requantize_i16(sum, epilogue.ratio(row));
            }
        });
        Ok(())
    }

    /// False where the sample has no library to divide by.
    fn encode(
        &self,
        sample: &CheckedSample<'_>,
        presence: Option<&Presence<'_>>,
        parts: &mut Parts<'_>,
    ) -> Result<bool, RunError> {
        let Some((first, rest)) = self.model.stage(StageKind::Encoder).split_first() else {
            return Ok(false);
        };
        let sums = &mut *parts.sums;
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum = self.first.bias.get(row).copied().unwrap_or(0);
        }
        if let Some(presence) = presence {
            check_len(presence.correction.len(), sums.len())?;
            for (sum, &correction) in sums.iter_mut().zip(presence.correction) {
                // The bits of an `i32`.
                *sum = sum.wrapping_add(correction as i32);
            }
        }
        if self.profile.kind() == ValueKind::Counts {
            let Some(library) = sample.count_library()? else { return Ok(false) };
            let mut levels = CountLevels::new(&self.profile, library);
            sample.for_each_count(|gene, count| {
                accumulate(first, gene as usize, levels.level(count), sums);
            });
        } else {
            let Some(factor) = sample.factor()? else { return Ok(false) };
            sample.for_each_value(|gene, value| {
                let level = self.profile.value_level(value, factor);
                accumulate(first, gene as usize, level, sums);
            });
        }
        let code = &mut *parts.code;
        let mut put_code = |row: usize, sum: i32, epilogue: &S8Epilogue<'_>| {
            if let Some(place) = code.get_mut(row) {
                *place = requantize_i16(sum, epilogue.ratio(row));
            }
        };
        if rest.is_empty() {
            for (row, &sum) in sums.iter().enumerate() {
                put_code(row, sum, &self.first);
            }
        } else {
            let (activated, carried) =
                sums.split_at_checked(first.activated_dim()).unwrap_or((&[], &[]));
            let [a, b] = &mut parts.levels;
            activate(first.segments(), activated.iter().copied(), &self.first, a);
            let carry = |row: usize| {
                let ratio = self.first.ratio(activated.len() + row);
                carried.get(row).map_or(0, |&sum| requantize_i32(sum, ratio))
            };
            hidden_layers(rest, first.activated_dim(), carry, a, b, put_code);
        }
        if let Some(scales) = self.model.code_scales() {
            let dims = parts.code_levels.iter_mut().zip(parts.code.iter()).enumerate();
            for (dim, (level, &code)) in dims {
                let (offset, ratio) = scales.level_rule(dim);
                *level = code_level(code, offset, ratio);
            }
        }
        Ok(true)
    }

    fn classify<'s>(&self, parts: Parts<'s>) -> S8Numbers<'s>
    where
        'm: 's,
    {
        let layers = self.model.stage(StageKind::Classifier);
        let Parts { levels: [a, b], code, code_levels, logits, probabilities, .. } = parts;
        if let Some(first) = layers.first() {
            dense_stage(layers, first, code_levels, a, b, |row, sum, epilogue| {
                if let Some(place) = logits.get_mut(row) {
                    *place = requantize_i32(sum, epilogue.ratio(row));
                }
            });
            softmax_q16(logits, self.model.rules().inv_temperature_q16, probabilities);
        }
        S8Numbers {
            code,
            code_levels,
            code_scales: self.model.code_scales().map_or(&[], |scales| scales.scales),
            logits,
            probabilities,
        }
    }

    fn divide<'s>(&self, scratch: &'s mut [u32]) -> Result<Parts<'s>, RunError> {
        let short =
            RunError::ScratchTooShort { needed: self.scratch_len(), found: 4 * scratch.len() };
        let words = self.words;
        let (sums, rest) = scratch.split_at_mut_checked(words.sums).ok_or(short)?;
        let (a, rest) = rest.split_at_mut_checked(words.levels).ok_or(short)?;
        let (b, rest) = rest.split_at_mut_checked(words.levels).ok_or(short)?;
        let (code, rest) = rest.split_at_mut_checked(words.code).ok_or(short)?;
        let (code_levels, rest) = rest.split_at_mut_checked(words.code_levels).ok_or(short)?;
        let (logits, rest) = rest.split_at_mut_checked(words.n_leaves).ok_or(short)?;
        let probabilities = rest.get_mut(..words.n_leaves).ok_or(short)?;
        let code_dim = self.model.code_dim();
        Ok(Parts {
            sums: bytemuck::must_cast_slice_mut(sums),
            levels: [bytemuck::must_cast_slice_mut(a), bytemuck::must_cast_slice_mut(b)],
            code: bytemuck::must_cast_slice_mut(code).get_mut(..code_dim).ok_or(short)?,
            code_levels: bytemuck::must_cast_slice_mut(code_levels)
                .get_mut(..code_dim)
                .ok_or(short)?,
            logits: bytemuck::must_cast_slice_mut(logits),
            probabilities,
        })
    }
}

/// A stage whose input is dense: its last layer's sums, carry included, go to `put` row by row.
fn dense_stage(
    layers: &[Layer<'_>],
    first: &Layer<'_>,
    input: &[u8],
    a: &mut [u8],
    b: &mut [u8],
    mut put: impl FnMut(usize, i32, &S8Epilogue<'_>),
) {
    let Epilogue::S8(epilogue) = first.epilogue() else { return };
    let activated = first.activated_dim();
    let sum = |row| row_sum(first, &epilogue, row, input);
    let Some((_, rest)) = layers.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        for row in 0..activated {
            put(row, sum(row), &epilogue);
        }
        return;
    };
    activate(first.segments(), (0..activated).map(sum), &epilogue, a);
    let carry = |row: usize| {
        if row >= first.carry() {
            return 0;
        }
        requantize_i32(sum(activated + row), epilogue.ratio(activated + row))
    };
    hidden_layers(rest, activated, carry, a, b, put);
}

/// The layers after the first, from the `in_dim` levels in `a`.
fn hidden_layers(
    layers: &[Layer<'_>],
    in_dim: usize,
    carry: impl Fn(usize) -> i32,
    a: &mut [u8],
    b: &mut [u8],
    mut put: impl FnMut(usize, i32, &S8Epilogue<'_>),
) {
    let (mut from, mut to) = (a, b);
    let mut in_dim = in_dim;
    for (number, layer) in layers.iter().enumerate() {
        let Epilogue::S8(epilogue) = layer.epilogue() else { return };
        let input = from.get(..in_dim).unwrap_or(&[]);
        let rows = 0..layer.activated_dim();
        if number + 1 == layers.len() {
            for row in rows {
                let sum = row_sum(layer, &epilogue, row, input).wrapping_add(carry(row));
                put(row, sum, &epilogue);
            }
        } else {
            let sums = rows.map(|row| row_sum(layer, &epilogue, row, input));
            activate(layer.segments(), sums, &epilogue, to);
        }
        in_dim = layer.activated_dim();
        core::mem::swap(&mut from, &mut to);
    }
}

/// Levels of the activated rows from their sums.
fn activate(
    segments: &[SegmentView<'_>],
    mut sums: impl Iterator<Item = i32>,
    epilogue: &S8Epilogue<'_>,
    levels: &mut [u8],
) {
    let mut places = levels.iter_mut().enumerate();
    for segment in segments {
        for _ in 0..segment.len {
            let (Some(sum), Some((row, place))) = (sums.next(), places.next()) else { return };
            let index = table_index(sum, epilogue.ratio(row));
            *place = segment.table.get(usize::from(index)).copied().unwrap_or(0);
        }
    }
}

/// Bias and products of one row.
fn row_sum(layer: &Layer<'_>, epilogue: &S8Epilogue<'_>, row: usize, input: &[u8]) -> i32 {
    let Weights::S8(weights) = layer.weights() else { return 0 };
    let bias = epilogue.bias.get(row).copied().unwrap_or(0);
    let in_dim = layer.in_dim();
    let layout = layer.layout();
    if layout.panel == 1 && layout.block as usize == in_dim {
        let row = weights.get(row * in_dim..(row + 1) * in_dim).unwrap_or(&[]);
        return bias.wrapping_add(reference::dot_s8(input, row));
    }
    input.iter().enumerate().fold(bias, |sum, (column, &level)| {
        let weight = weights.get(layout.index(row, column, in_dim)).copied().unwrap_or(0);
        sum.wrapping_add(i32::from(level) * i32::from(weight))
    })
}

/// Adds the products of one input to the sums of all rows.
fn accumulate(layer: &Layer<'_>, column: usize, level: u8, sums: &mut [i32]) {
    let Weights::S8(weights) = layer.weights() else { return };
    let layout = layer.layout();
    let out_dim = sums.len();
    if layout.block == 1 && layout.panel as usize == out_dim {
        let weights = weights.get(column * out_dim..(column + 1) * out_dim).unwrap_or(&[]);
        reference::axpy_s8(sums, level, weights);
        return;
    }
    for (row, sum) in sums.iter_mut().enumerate() {
        let at = layout.index(row, column, layer.in_dim());
        let weight = weights.get(at).copied().unwrap_or(0);
        *sum = sum.wrapping_add(i32::from(level) * i32::from(weight));
    }
}

fn check_len(found: usize, needed: usize) -> Result<(), RunError> {
    if found == needed { Ok(()) } else { Err(RunError::LengthMismatch { needed, found }) }
}
