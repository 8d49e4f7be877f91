//! Sessions for f32 and f16 models. Sums are single precision.

use cic_model::layer::{Epilogue, Layer, SegmentView, Weights};
use cic_model::profile::Profile;
use cic_model::quant::ONE_Q16;
use cic_model::rules::RejectReason;
use cic_model::{Dtype, Model, StageKind};

use crate::error::RunError;
use crate::kernels::{Kernels, reference};
use crate::outcome::{FloatNumbers, Outcome};
use crate::presence::{Presence, measure};
use crate::sample::{CheckedSample, Sample};

/// Runs an f32 or f16 model. See [`crate::S8Session`], whose methods these are.
#[derive(Clone, Copy, Debug)]
pub struct FloatSession<'m> {
    model: &'m Model<'m>,
    profile: Profile<'m>,
    words: Words,
}

/// Lengths of the parts of the scratch, in words of 4 bytes, in their order.
#[derive(Clone, Copy, Debug)]
struct Words {
    sums: usize,
    hidden: usize,
    code: usize,
    n_leaves: usize,
}

impl Words {
    fn total(&self) -> usize {
        self.sums + 2 * self.hidden + self.code + 2 * self.n_leaves
    }
}

struct Parts<'s> {
    sums: &'s mut [f32],
    hidden: [&'s mut [f32]; 2],
    code: &'s mut [f32],
    logits: &'s mut [f32],
    probabilities: &'s mut [f32],
}

impl<'m> FloatSession<'m> {
    /// A session for one input profile of an f32 or f16 model.
    pub fn new(model: &'m Model<'m>, profile: usize) -> Result<Self, RunError> {
        if model.dtype() == Dtype::S8 {
            return Err(RunError::WrongDtype);
        }
        let profile = *model.profiles().get(profile).ok_or(RunError::NoSuchProfile)?;
        let stages = [StageKind::Encoder, StageKind::Classifier, StageKind::Decoder];
        let words = Words {
            sums: model.stage(StageKind::Encoder).first().map_or(0, Layer::out_dim),
            hidden: stages
                .iter()
                .filter_map(|&kind| model.stage(kind).split_last())
                .flat_map(|(_, hidden)| hidden.iter().map(Layer::activated_dim))
                .max()
                .unwrap_or(0),
            code: model.code_dim(),
            n_leaves: model.n_leaves(),
        };
        Ok(Self { model, profile, words })
    }

    /// The model.
    pub fn model(&self) -> &'m Model<'m> {
        self.model
    }

    /// The input profile.
    pub fn profile(&self) -> &Profile<'m> {
        &self.profile
    }

    /// Bytes of scratch that [`FloatSession::run`] and [`FloatSession::reconstruct`] need.
    pub fn scratch_len(&self) -> usize {
        4 * self.words.total()
    }

    /// Entries of the `correction` of [`FloatSession::presence`].
    pub fn correction_len(&self) -> usize {
        self.words.sums
    }

    /// Prepares a file that lacks genes of the panel. `mask` is `[n_genes]`, `correction` has
    /// [`FloatSession::correction_len`] entries.
    pub fn presence<'p>(
        &self,
        mask: &'p [bool],
        correction: &'p mut [u32],
    ) -> Result<Presence<'p>, RunError> {
        check_len(mask.len(), self.model.n_genes())?;
        check_len(correction.len(), self.words.sums)?;
        // All bits zero is 0.0.
        correction.fill(0);
        let sums: &mut [f32] = bytemuck::must_cast_slice_mut(correction);
        if let Some(layer) = self.model.stage(StageKind::Encoder).first() {
            let fill = mask.iter().zip(self.profile.fill_values()).enumerate();
            for (gene, (&is_present, &value)) in fill {
                if !is_present {
                    accumulate(layer, gene, value, sums);
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

    /// Types one cell. `scratch` has at least [`FloatSession::scratch_len`] bytes; what it held
    /// does not matter.
    pub fn run<'s>(
        &self,
        sample: &Sample<'_>,
        presence: Option<&Presence<'_>>,
        scratch: &'s mut [u32],
    ) -> Result<Outcome<FloatNumbers<'s>>, RunError> {
        let profile: Profile<'_> = self.profile;
        let sample = CheckedSample::new_checked(sample, &profile, presence, &Kernels::best())?;
        let mut parts = self.divide(scratch)?;
        let depth = sample.depth();
        let mut reject = self.model.rules().check_depth(depth.n_counts, depth.n_genes);
        let Some(factor) = sample.factor()? else {
            let reason = match depth.n_genes {
                0 => RejectReason::Empty,
                _ => RejectReason::LibraryTooLarge,
            };
            return Ok(Outcome { depth, reject: reject.or(Some(reason)), numbers: None });
        };
        self.encode(&sample, factor, presence, &mut parts)?;
        let numbers = self.classify(parts);
        let largest = numbers.probabilities.iter().copied().reduce(f32::max).unwrap_or(1.0);
        if largest < self.model.rules().min_confidence_q16 as f32 / ONE_Q16 as f32 {
            reject = reject.or(Some(RejectReason::LowConfidence));
        }
        Ok(Outcome { depth, reject, numbers: Some(numbers) })
    }

    /// Reproduces a profile from its code, `[n_genes]`, in network input units.
    pub fn reconstruct(
        &self,
        code: &[f32],
        scratch: &mut [u32],
        reconstruction: &mut [f32],
    ) -> Result<(), RunError> {
        let layers = self.model.stage(StageKind::Decoder);
        let first = layers.first().ok_or(RunError::NoDecoder)?;
        check_len(code.len(), self.model.code_dim())?;
        check_len(reconstruction.len(), self.model.n_genes())?;
        let Parts { hidden: [a, b], .. } = self.divide(scratch)?;
        dense_stage(layers, first, code, a, b, reconstruction);
        Ok(())
    }

    fn encode(
        &self,
        sample: &CheckedSample<'_>,
        factor: f32,
        presence: Option<&Presence<'_>>,
        parts: &mut Parts<'_>,
    ) -> Result<(), RunError> {
        let Some((first, rest)) = self.model.stage(StageKind::Encoder).split_first() else {
            return Ok(());
        };
        let sums = &mut *parts.sums;
        if let Epilogue::Float { bias } = first.epilogue() {
            for (sum, &bias) in sums.iter_mut().zip(bias) {
                *sum = bias;
            }
        }
        if let Some(presence) = presence {
            check_len(presence.correction.len(), sums.len())?;
            for (sum, &bits) in sums.iter_mut().zip(presence.correction) {
                *sum += f32::from_bits(bits);
            }
        }
        sample.for_each_value(|gene, value| {
            accumulate(first, gene as usize, self.profile.input(value, factor), sums);
        });
        if rest.is_empty() {
            for (place, &sum) in parts.code.iter_mut().zip(sums.iter()) {
                *place = sum;
            }
            return Ok(());
        }
        let (activated, carried) =
            sums.split_at_checked(first.activated_dim()).unwrap_or((&[], &[]));
        let [a, b] = &mut parts.hidden;
        activate(first.segments(), activated.iter().copied(), a);
        let carry = |row: usize| carried.get(row).copied().unwrap_or(0.0);
        hidden_layers(rest, activated.len(), carry, a, b, parts.code);
        Ok(())
    }

    fn classify<'s>(&self, parts: Parts<'s>) -> FloatNumbers<'s> {
        let layers = self.model.stage(StageKind::Classifier);
        let Parts { hidden: [a, b], code, logits, probabilities, .. } = parts;
        if let Some(first) = layers.first() {
            dense_stage(layers, first, code, a, b, logits);
            let inv_temperature = self.model.rules().inv_temperature_q16 as f32 / ONE_Q16 as f32;
            softmax(logits, inv_temperature, probabilities);
        }
        FloatNumbers { code, logits, probabilities }
    }

    fn divide<'s>(&self, scratch: &'s mut [u32]) -> Result<Parts<'s>, RunError> {
        let short =
            RunError::ScratchTooShort { needed: self.scratch_len(), found: 4 * scratch.len() };
        let words = self.words;
        let (sums, rest) = scratch.split_at_mut_checked(words.sums).ok_or(short)?;
        let (a, rest) = rest.split_at_mut_checked(words.hidden).ok_or(short)?;
        let (b, rest) = rest.split_at_mut_checked(words.hidden).ok_or(short)?;
        let (code, rest) = rest.split_at_mut_checked(words.code).ok_or(short)?;
        let (logits, rest) = rest.split_at_mut_checked(words.n_leaves).ok_or(short)?;
        let probabilities = rest.get_mut(..words.n_leaves).ok_or(short)?;
        Ok(Parts {
            sums: bytemuck::must_cast_slice_mut(sums),
            hidden: [bytemuck::must_cast_slice_mut(a), bytemuck::must_cast_slice_mut(b)],
            code: bytemuck::must_cast_slice_mut(code),
            logits: bytemuck::must_cast_slice_mut(logits),
            probabilities: bytemuck::must_cast_slice_mut(probabilities),
        })
    }
}

/// A stage whose input is dense; `out` receives its last layer's sums, carry included.
fn dense_stage(
    layers: &[Layer<'_>],
    first: &Layer<'_>,
    input: &[f32],
    a: &mut [f32],
    b: &mut [f32],
    out: &mut [f32],
) {
    let activated = first.activated_dim();
    let sum = |row| row_sum(first, row, input);
    let Some((_, rest)) = layers.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        for (row, place) in out.iter_mut().enumerate() {
            *place = sum(row);
        }
        return;
    };
    activate(first.segments(), (0..activated).map(sum), a);
    let carry = |row: usize| if row < first.carry() { sum(activated + row) } else { 0.0 };
    hidden_layers(rest, activated, carry, a, b, out);
}

/// The layers after the first, from the `in_dim` values in `a`.
fn hidden_layers(
    layers: &[Layer<'_>],
    in_dim: usize,
    carry: impl Fn(usize) -> f32,
    a: &mut [f32],
    b: &mut [f32],
    out: &mut [f32],
) {
    let (mut from, mut to) = (a, b);
    let mut in_dim = in_dim;
    for (number, layer) in layers.iter().enumerate() {
        let input = from.get(..in_dim).unwrap_or(&[]);
        if number + 1 == layers.len() {
            for (row, place) in out.iter_mut().enumerate() {
                *place = row_sum(layer, row, input) + carry(row);
            }
        } else {
            let sums = (0..layer.activated_dim()).map(|row| row_sum(layer, row, input));
            activate(layer.segments(), sums, to);
        }
        in_dim = layer.activated_dim();
        core::mem::swap(&mut from, &mut to);
    }
}

fn activate(
    segments: &[SegmentView<'_>],
    mut sums: impl Iterator<Item = f32>,
    activated: &mut [f32],
) {
    let mut places = activated.iter_mut();
    for segment in segments {
        for _ in 0..segment.len {
            let (Some(sum), Some(place)) = (sums.next(), places.next()) else { return };
            *place = segment.activation.apply(sum);
        }
    }
}

/// Bias and products of one row.
fn row_sum(layer: &Layer<'_>, row: usize, input: &[f32]) -> f32 {
    let Epilogue::Float { bias } = layer.epilogue() else { return 0.0 };
    let bias = bias.get(row).copied().unwrap_or(0.0);
    let in_dim = layer.in_dim();
    let layout = layer.layout();
    let is_row = layout.panel == 1 && layout.block as usize == in_dim;
    let range = row * in_dim..(row + 1) * in_dim;
    bias + match layer.weights() {
        Weights::F32(weights) if is_row => {
            reference::dot_f32(input, weights.get(range).unwrap_or(&[]))
        }
        Weights::F16(weights) if is_row => {
            reference::dot_f16(input, weights.get(range).unwrap_or(&[]))
        }
        _ => input
            .iter()
            .enumerate()
            .fold(0.0, |sum, (column, &x)| sum + x * layer.weight(row, column)),
    }
}

/// Adds the products of one input to the sums of all rows.
fn accumulate(layer: &Layer<'_>, column: usize, x: f32, sums: &mut [f32]) {
    let layout = layer.layout();
    let out_dim = sums.len();
    let is_gene_major = layout.block == 1 && layout.panel as usize == out_dim;
    let range = column * out_dim..(column + 1) * out_dim;
    match layer.weights() {
        Weights::F32(weights) if is_gene_major => {
            reference::axpy_f32(sums, x, weights.get(range).unwrap_or(&[]));
        }
        Weights::F16(weights) if is_gene_major => {
            reference::axpy_f16(sums, x, weights.get(range).unwrap_or(&[]));
        }
        _ => {
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum += x * layer.weight(row, column);
            }
        }
    }
}

fn softmax(logits: &[f32], inv_temperature: f32, probabilities: &mut [f32]) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (&logit, probability) in logits.iter().zip(probabilities.iter_mut()) {
        *probability = libm::expf((logit - max) * inv_temperature);
        sum += *probability;
    }
    for probability in probabilities {
        *probability /= sum;
    }
}

fn check_len(found: usize, needed: usize) -> Result<(), RunError> {
    if found == needed { Ok(()) } else { Err(RunError::LengthMismatch { needed, found }) }
}
