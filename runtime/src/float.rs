//! Sessions for f32, f16 and mixed models. Sums are single precision.

use cic_model::layer::{Epilogue, Layer};
use cic_model::novelty::float_codes;
use cic_model::profile::{Profile, is_scaled};
use cic_model::quant::ONE_Q16;
use cic_model::rules::RejectReason;
use cic_model::{Dtype, Model, StageKind};

use crate::error::RunError;
use crate::float_layers::{Listed, activate, dense_stage, hidden_layers};
use crate::kernels::Kernels;
use crate::kernels::float::FloatKernels;
use crate::outcome::{FloatNumbers, Outcome};
use crate::presence::{Presence, inv_temperature_q16, measure, novelty_for};
use crate::sample::{CheckedSample, Sample};

/// Runs an f32, f16 or mixed model. See [`crate::S8Session`], whose methods these are.
#[derive(Clone, Copy, Debug)]
pub struct FloatSession<'m> {
    model: &'m Model<'m>,
    profile: Profile<'m>,
    words: Words,
    kernels: FloatKernels,
    /// Those that measure samples.
    measuring: Kernels,
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
    /// A session for one input profile of an f32, f16 or mixed model, with the best kernels of this
    /// processor.
    pub fn new(model: &'m Model<'m>, profile: usize) -> Result<Self, RunError> {
        Self::with_kernels(model, profile, Kernels::best())
    }

    /// The same, with kernels of the caller's choice.
    pub fn with_kernels(
        model: &'m Model<'m>,
        profile: usize,
        kernels: Kernels,
    ) -> Result<Self, RunError> {
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
        Ok(Self { model, profile, words, kernels: kernels.float(), measuring: kernels })
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
            let mut listed = Listed::new(&self.kernels, layer, None, &[], sums);
            for ((gene, &is_present), &value) in (0..).zip(mask).zip(self.profile.fill_values()) {
                if !is_present {
                    listed.push(gene, value);
                }
            }
            listed.flush();
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
        let sample = CheckedSample::new_checked(sample, &profile, presence, &self.measuring)?;
        let mut parts = self.divide(scratch)?;
        let depth = sample.depth();
        let mut reject = self.model.rules().check_depth(depth.n_counts, depth.n_genes);
        // What holds nothing has no code, also where nothing has to be divided by.
        let Some(factor) = sample.factor()?.filter(|_| depth.n_genes > 0) else {
            let reason = match depth.n_genes {
                0 => RejectReason::Empty,
                _ => RejectReason::LibraryTooLarge,
            };
            return Ok(Outcome { depth, reject: reject.or(Some(reason)), numbers: None });
        };
        self.encode(&sample, factor, presence, &mut parts)?;
        if let Some(novelty) = novelty_for(self.model, presence) {
            reject = reject.or_else(|| {
                novelty.reject(&novelty.measure(&float_codes(parts.code), depth.n_counts))
            });
        }
        let numbers = self.classify(parts, inv_temperature_q16(self.model, presence));
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
        dense_stage(&self.kernels, layers, first, code, a, b, reconstruction);
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
        let Epilogue::Float { bias, scales } = first.epilogue() else { return Ok(()) };
        match scales {
            [] => sums.iter_mut().zip(bias).for_each(|(sum, &bias)| *sum = bias),
            // Those of integers: the bias waits until they are scaled.
            _ => sums.fill(0.0),
        }
        if let Some(presence) = presence {
            check_len(presence.correction.len(), sums.len())?;
            for (sum, &bits) in sums.iter_mut().zip(presence.correction) {
                *sum += f32::from_bits(bits);
            }
        }
        let factor = is_scaled(self.profile.kind()).then_some(factor);
        let limits = self.profile.limits();
        let mut listed = Listed::new(&self.kernels, first, factor, limits, sums);
        // A zero is a network input of zero, of whatever kind it is.
        sample.for_each_value(|gene, value| {
            if value != 0.0 {
                listed.push(gene, value);
            }
        });
        listed.flush();
        for (sum, (&scale, &bias)) in sums.iter_mut().zip(scales.iter().zip(bias)) {
            *sum = bias + scale * *sum;
        }
        if rest.is_empty() {
            for (place, &sum) in parts.code.iter_mut().zip(sums.iter()) {
                *place = sum;
            }
            return Ok(());
        }
        let (activated, carried) =
            sums.split_at_checked(first.activated_dim()).unwrap_or((&[], &[]));
        let [a, b] = &mut parts.hidden;
        for (place, &sum) in a.iter_mut().zip(activated) {
            *place = sum;
        }
        activate(first, a);
        hidden_layers(&self.kernels, rest, activated.len(), a, b, parts.code);
        for (place, &sum) in parts.code.iter_mut().zip(carried) {
            *place += sum;
        }
        Ok(())
    }

    fn classify<'s>(&self, parts: Parts<'s>, inv_temperature_q16: u32) -> FloatNumbers<'s> {
        let layers = self.model.stage(StageKind::Classifier);
        let Parts { hidden: [a, b], code, logits, probabilities, .. } = parts;
        if let Some(first) = layers.first() {
            dense_stage(&self.kernels, layers, first, code, a, b, logits);
            let inv_temperature = inv_temperature_q16 as f32 / ONE_Q16 as f32;
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
