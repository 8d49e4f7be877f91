//! Sessions for f32 and f16 models. Sums are single precision.

use cic_model::layer::{Epilogue, Layer, SegmentView, Weights};
use cic_model::profile::{Profile, is_scaled};
use cic_model::quant::ONE_Q16;
use cic_model::rules::RejectReason;
use cic_model::{Dtype, Model, StageKind};

use crate::error::RunError;
use crate::kernels::Kernels;
use crate::kernels::float::{BLOCK, Columns, FloatKernels, FloatSumRows, InputRows};
use crate::outcome::{FloatNumbers, Outcome};
use crate::presence::{Presence, measure};
use crate::sample::{CheckedSample, Sample};

/// Runs an f32 or f16 model. See [`crate::S8Session`], whose methods these are.
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
    /// A session for one input profile of an f32 or f16 model, with the best kernels of this
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
            let mut listed = Listed::new(&self.kernels, layer, None, sums);
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
        let factor = is_scaled(self.profile.kind()).then_some(factor);
        let mut listed = Listed::new(&self.kernels, first, factor, sums);
        // A zero is a network input of zero, of whatever kind it is.
        sample.for_each_value(|gene, value| {
            if value != 0.0 {
                listed.push(gene, value);
            }
        });
        listed.flush();
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
        activate(first.segments(), a);
        hidden_layers(&self.kernels, rest, activated.len(), a, b, parts.code);
        for (place, &sum) in parts.code.iter_mut().zip(carried) {
            *place += sum;
        }
        Ok(())
    }

    fn classify<'s>(&self, parts: Parts<'s>) -> FloatNumbers<'s> {
        let layers = self.model.stage(StageKind::Classifier);
        let Parts { hidden: [a, b], code, logits, probabilities, .. } = parts;
        if let Some(first) = layers.first() {
            dense_stage(&self.kernels, layers, first, code, a, b, logits);
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

/// Values that wait for their products with the first layer.
struct Listed<'a> {
    kernels: &'a FloatKernels,
    layer: &'a Layer<'a>,
    /// Of values that are scaled; the others are network inputs.
    factor: Option<f32>,
    sums: &'a mut [f32],
    genes: [u32; BLOCK],
    values: [f32; BLOCK],
    len: usize,
}

impl<'a> Listed<'a> {
    fn new(
        kernels: &'a FloatKernels,
        layer: &'a Layer<'a>,
        factor: Option<f32>,
        sums: &'a mut [f32],
    ) -> Self {
        Self { kernels, layer, factor, sums, genes: [0; BLOCK], values: [0.0; BLOCK], len: 0 }
    }

    fn push(&mut self, gene: u32, value: f32) {
        if self.len == BLOCK {
            self.flush();
        }
        if let (Some(place), Some(input)) =
            (self.genes.get_mut(self.len), self.values.get_mut(self.len))
        {
            (*place, *input) = (gene, value);
            self.len += 1;
        }
    }

    /// Adds the products of what waits to the sums of all rows.
    fn flush(&mut self) {
        let len = core::mem::take(&mut self.len);
        let genes = self.genes.get(..len).unwrap_or(&[]);
        let values = self.values.get_mut(..len).unwrap_or(&mut []);
        if let Some(factor) = self.factor {
            self.kernels.log1p_f32(factor, values);
        }
        let layer = self.layer;
        let layout = layer.layout();
        let is_gene_major = layout.block == 1 && layout.panel as usize == self.sums.len();
        match layer.weights() {
            Weights::F32(weights) if is_gene_major => {
                self.kernels.sparse_f32(weights, genes, values, self.sums);
            }
            Weights::F16(weights) if is_gene_major => {
                self.kernels.sparse_f16(weights, genes, values, self.sums);
            }
            _ => {
                for (row, sum) in self.sums.iter_mut().enumerate() {
                    *sum += genes
                        .iter()
                        .zip(&*values)
                        .fold(0.0, |sum, (&gene, &x)| sum + x * layer.weight(row, gene as usize));
                }
            }
        }
    }
}

/// A stage whose input is dense; `out` receives its last layer's sums, carry included.
fn dense_stage(
    kernels: &FloatKernels,
    layers: &[Layer<'_>],
    first: &Layer<'_>,
    input: &[f32],
    a: &mut [f32],
    b: &mut [f32],
    out: &mut [f32],
) {
    out.fill(0.0);
    let Some((_, rest)) = layers.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        add_sums(kernels, first, 0, input, out);
        return;
    };
    activated_layer(kernels, first, input, a);
    hidden_layers(kernels, rest, first.activated_dim(), a, b, out);
    let n_carried = first.carry().min(out.len());
    if let Some(out) = out.get_mut(..n_carried) {
        add_sums(kernels, first, first.activated_dim(), input, out);
    }
}

/// The layers after the first, from the `in_dim` values in `a`, without what is carried.
fn hidden_layers(
    kernels: &FloatKernels,
    layers: &[Layer<'_>],
    in_dim: usize,
    a: &mut [f32],
    b: &mut [f32],
    out: &mut [f32],
) {
    let (mut from, mut to) = (a, b);
    let mut in_dim = in_dim;
    out.fill(0.0);
    for (number, layer) in layers.iter().enumerate() {
        let input = from.get(..in_dim).unwrap_or(&[]);
        if number + 1 == layers.len() {
            add_sums(kernels, layer, 0, input, out);
        } else {
            activated_layer(kernels, layer, input, to);
        }
        in_dim = layer.activated_dim();
        core::mem::swap(&mut from, &mut to);
    }
}

/// The activated outputs of a layer, at the beginning of `to`.
fn activated_layer(kernels: &FloatKernels, layer: &Layer<'_>, input: &[f32], to: &mut [f32]) {
    let sums = to.get_mut(..layer.activated_dim()).unwrap_or(&mut []);
    sums.fill(0.0);
    add_sums(kernels, layer, 0, input, sums);
    activate(layer.segments(), sums);
}

/// Puts activations in the place of their sums.
fn activate(segments: &[SegmentView<'_>], sums: &mut [f32]) {
    let mut places = sums.iter_mut();
    for segment in segments {
        for place in places.by_ref().take(segment.len) {
            *place = segment.activation.apply(*place);
        }
    }
}

/// Adds bias and products of the rows from `first` on to their sums.
fn add_sums(
    kernels: &FloatKernels,
    layer: &Layer<'_>,
    first: usize,
    input: &[f32],
    sums: &mut [f32],
) {
    if let Epilogue::Float { bias } = layer.epilogue() {
        for (sum, &bias) in sums.iter_mut().zip(bias.get(first..).unwrap_or(&[])) {
            *sum += bias;
        }
    }
    match layer.weights() {
        Weights::F32(weights) => match Form::of(layer, weights, first, sums.len()) {
            Form::Rows(rows) => kernels.rows_f32(rows, input, sums),
            Form::Columns(columns) => {
                let sums = &mut FloatSumRows::single(sums);
                kernels.columns_f32(&columns, 0, InputRows::single(input), sums);
            }
            Form::Other => add_products(layer, first, input, sums),
        },
        Weights::F16(weights) => match Form::of(layer, weights, first, sums.len()) {
            Form::Rows(rows) => kernels.rows_f16(rows, input, sums),
            Form::Columns(columns) => {
                let sums = &mut FloatSumRows::single(sums);
                kernels.columns_f16(&columns, 0, InputRows::single(input), sums);
            }
            Form::Other => add_products(layer, first, input, sums),
        },
        Weights::S8(_) => {}
    }
}

/// Some rows of a layer, as its layout has them.
enum Form<'a, W> {
    Rows(&'a [W]),
    Columns(Columns<'a, W>),
    /// A layout that no kernel reads.
    Other,
}

impl<'a, W> Form<'a, W> {
    fn of(layer: &Layer<'_>, weights: &'a [W], first: usize, n_rows: usize) -> Self {
        let layout = layer.layout();
        let (in_dim, out_dim) = (layer.in_dim(), layer.out_dim());
        let rows = first..first + n_rows;
        if layout.panel == 1 && layout.block as usize == in_dim {
            let rows = weights.get(rows.start * in_dim..rows.end * in_dim);
            return rows.map_or(Self::Other, Self::Rows);
        }
        if layout.block == 1 && layout.panel as usize == out_dim {
            let columns = Columns::new_checked(weights, in_dim, out_dim);
            let columns = columns.and_then(|columns| columns.with_outputs(rows));
            return columns.map_or(Self::Other, Self::Columns);
        }
        Self::Other
    }
}

/// Adds the products of any layout.
fn add_products(layer: &Layer<'_>, first: usize, input: &[f32], sums: &mut [f32]) {
    for (row, sum) in (first..).zip(sums) {
        *sum += (0..).zip(input).fold(0.0, |sum, (column, &x)| sum + x * layer.weight(row, column));
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
