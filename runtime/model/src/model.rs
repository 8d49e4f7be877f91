//! A model: all sections of a file, checked once.

use core::fmt;

use heapless::Vec;

use crate::confidence::Confidence;
use crate::container::{Container, SectionKind, SectionReader};
use crate::error::ModelError;
use crate::genes::GenePanel;
use crate::golden::Golden;
use crate::labels::Labels;
use crate::layer::{BOUNDS, Epilogue, Layer, RECORD_WORDS, S8Epilogue};
use crate::novelty::Novelty;
use crate::profile::Profile;
use crate::provenance::{Provenance, Rows};
use crate::quant::{Ratio, requantize};
use crate::rules::Rules;
use crate::vocabulary::{Activation, Dtype};

/// Most layers of a model, all stages together.
pub const MAX_LAYERS: usize = 16;

/// Most input profiles of a model.
pub const MAX_PROFILES: usize = 4;

/// SHA-256 of the logical content of a model: the same for every weight layout.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelId(pub [u8; 32]);

/// One of the three chains of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// Genes to code.
    Encoder,
    /// Code to logits.
    Classifier,
    /// Code to genes.
    Decoder,
}

/// A model whose structure was checked. No method of it, or of what it gives out, fails or panics.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    container: Container<'a>,
    id: ModelId,
    dtype: Dtype,
    code_dim: usize,
    n_encoder: usize,
    n_classifier: usize,
    genes: GenePanel<'a>,
    profiles: Vec<Profile<'a>, MAX_PROFILES>,
    first_epilogues: Vec<Epilogue<'a>, MAX_PROFILES>,
    layers: Vec<Layer<'a>, MAX_LAYERS>,
    code: Option<CodeScales<'a>>,
    reconstruction_scales: &'a [f32],
    labels: Labels<'a>,
    rules: Rules,
    confidence: Option<Confidence<'a>>,
    novelty: Option<Novelty<'a>>,
    provenance: Provenance<'a>,
    rows: Rows<'a>,
    golden: Golden<'a>,
}

/// Scales of an int8 code.
#[derive(Clone, Copy, Debug)]
pub struct CodeScales<'a> {
    /// `[code_dim]`: dimension `d` of the code is `scales[d] · i16`.
    pub scales: &'a [f32],
    offsets: &'a [i32],
    multipliers: &'a [i32],
    shifts: &'a [u8],
}

impl<'a> CodeScales<'a> {
    /// Level offsets, multipliers and shifts of all dimensions.
    #[inline]
    pub fn level_parts(&self) -> (&'a [i32], &'a [i32], &'a [u8]) {
        (self.offsets, self.multipliers, self.shifts)
    }

    /// What [`crate::quant::code_level`] needs for a dimension.
    #[inline]
    pub fn level_rule(&self, dim: usize) -> (i32, Ratio) {
        let ratio = Ratio {
            multiplier: self.multipliers.get(dim).copied().unwrap_or(0),
            shift: self.shifts.get(dim).copied().unwrap_or(0),
        };
        (self.offsets.get(dim).copied().unwrap_or(0), ratio)
    }

    /// What a level of a dimension stands for, in the units of the code: the middle of the codes that become it.
    pub fn level_value(&self, dim: usize, level: u8) -> f64 {
        let (offset, ratio) = self.level_rule(dim);
        let code = f64::from(level) / ratio.to_f64() - f64::from(offset);
        code * f64::from(self.scales.get(dim).copied().unwrap_or(0.0))
    }
}

impl<'a> Model<'a> {
    /// Checks structure and the digest of the metadata. The weights may hold anything: whatever
    /// they hold, running the model reads nothing outside `bytes` and does not panic.
    ///
    /// `bytes` must begin at a multiple of 4; nothing is copied.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let container = Container::new_checked(bytes)?;
        let info = Info::parse(&container)?;
        let is_quantised = info.dtype == Dtype::S8;
        let mut model = Self {
            container,
            id: info.id,
            dtype: info.dtype,
            code_dim: info.code_dim,
            n_encoder: info.n_encoder,
            n_classifier: info.n_classifier,
            genes: GenePanel::parse(&container, info.n_genes)?,
            profiles: Vec::new(),
            first_epilogues: Vec::new(),
            layers: Vec::new(),
            code: parse_code(&container, info.code_dim, is_quantised)?,
            reconstruction_scales: if is_quantised && info.n_decoder > 0 {
                parse_reconstruction(&container, info.n_genes)?
            } else {
                &[]
            },
            labels: Labels::parse(&container, info.n_leaves)?,
            rules: Rules::parse(&container)?,
            confidence: Confidence::parse(&container)?,
            novelty: Novelty::parse(&container, info.code_dim, info.n_leaves)?,
            provenance: Provenance::parse(&container)?,
            rows: Rows::parse(&container)?,
            golden: Golden::parse(&container, info.n_genes, info.code_dim, info.n_leaves)?,
        };
        // In their places: they are most of a model, and stacks are short.
        model.add_layers(info.n_layers())?;
        model.add_profiles(info.n_profiles)?;
        model.check_chains()?;
        if model.golden.profile() as usize >= model.profiles.len() {
            return Err(ModelError::BadField { kind: SectionKind::Golden, field: "profile" });
        }
        Ok(model)
    }

    #[inline(never)]
    fn add_layers(&mut self, n_layers: usize) -> Result<(), ModelError> {
        let records: &'a [[u32; RECORD_WORDS]] =
            self.container.require(SectionKind::Graph, 0)?.rest()?;
        if records.len() != n_layers {
            return Err(ModelError::BadSectionLength { kind: SectionKind::Graph });
        }
        for (index, record) in records.iter().enumerate() {
            let layer = Layer::parse(&self.container, index as u32, record, self.dtype)?;
            self.layers.push(layer).map_err(|_| info_error("number of layers"))?;
        }
        Ok(())
    }

    #[inline(never)]
    fn add_profiles(&mut self, n_profiles: usize) -> Result<(), ModelError> {
        let (container, n_genes) = (self.container, self.n_genes());
        let is_quantised = self.dtype == Dtype::S8;
        let (first_out_dim, has_scales) = (self.layers.first())
            .map_or((0, false), |first| (first.out_dim(), !first.scales().is_empty()));
        for index in 0..n_profiles as u32 {
            let too_many = |_| info_error("number of profiles");
            let profile = Profile::parse(&container, index, n_genes, is_quantised)?;
            self.profiles.push(profile).map_err(too_many)?;
            // Float models need one epilogue only: their inputs have no scale.
            let section = if is_quantised { index << 16 } else { 0 };
            let epilogue =
                Epilogue::parse(&container, section, first_out_dim, self.dtype, has_scales)?;
            self.first_epilogues.push(epilogue).map_err(|_| info_error("number of profiles"))?;
        }
        Ok(())
    }

    /// [`Model::open`], then [`Model::verify`]. What this returns is the model that was written.
    pub fn open_verified(bytes: &'a [u8]) -> Result<Self, ModelError> {
        // A model takes kilobytes: it is checked where it will be returned, not moved there after.
        let opened = Self::open(bytes);
        if let Ok(model) = &opened {
            model.verify()?;
        }
        opened
    }

    /// Checks the SHA-256 of every byte, the range of the weights, and for int8 that no row can overflow
    /// its 32-bit sum.
    #[inline(never)]
    pub fn verify(&self) -> Result<(), ModelError> {
        self.container.verify()?;
        if !self.layers.iter().all(Layer::has_sound_weights) {
            return Err(ModelError::BadField { kind: SectionKind::Weights, field: "weight" });
        }
        self.check_accumulators()
    }

    /// The file's sections.
    pub fn container(&self) -> &Container<'a> {
        &self.container
    }

    /// Hash of the logical content.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// How weights are stored.
    #[inline]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Number of genes of the panel.
    #[inline]
    pub fn n_genes(&self) -> usize {
        self.genes.len()
    }

    /// Dimensions of the code.
    #[inline]
    pub fn code_dim(&self) -> usize {
        self.code_dim
    }

    /// Number of leaf labels, hence of logits; 0 without a classifier.
    #[inline]
    pub fn n_leaves(&self) -> usize {
        self.labels.n_leaves()
    }

    /// The gene panel.
    #[inline]
    pub fn genes(&self) -> &GenePanel<'a> {
        &self.genes
    }

    /// Input profiles; at least one.
    pub fn profiles(&self) -> &[Profile<'a>] {
        &self.profiles
    }

    /// All layers: encoder, classifier, decoder.
    #[inline]
    pub fn layers(&self) -> &[Layer<'a>] {
        &self.layers
    }

    /// Layers of a stage; empty where the model lacks it.
    #[inline]
    pub fn stage(&self, kind: StageKind) -> &[Layer<'a>] {
        let classifier = self.n_encoder;
        let decoder = classifier + self.n_classifier;
        let range = match kind {
            StageKind::Encoder => 0..classifier,
            StageKind::Classifier => classifier..decoder,
            StageKind::Decoder => decoder..self.layers.len(),
        };
        self.layers.get(range).unwrap_or(&[])
    }

    /// Bias and requantisation of the first encoder layer for a profile (of profile 0 past the
    /// end).
    #[inline]
    pub fn first_epilogue(&self, profile: usize) -> Epilogue<'a> {
        self.first_epilogues
            .get(profile)
            .or(self.first_epilogues.first())
            .copied()
            .unwrap_or(Epilogue::Float { bias: &[], scales: &[] })
    }

    /// Scales of the code; `None` for float models.
    #[inline]
    pub fn code_scales(&self) -> Option<CodeScales<'a>> {
        self.code
    }

    /// `[n_genes]`: an int8 reconstruction of gene `g` is `scales[g] · i16`. Empty for float
    /// models and without a decoder.
    pub fn reconstruction_scales(&self) -> &'a [f32] {
        self.reconstruction_scales
    }

    /// Label nodes.
    pub fn labels(&self) -> &Labels<'a> {
        &self.labels
    }

    /// Decision rules.
    #[inline]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Promises of its calls; `None` where it makes none.
    #[inline]
    pub fn confidence(&self) -> Option<&Confidence<'a>> {
        self.confidence.as_ref()
    }

    /// What it knows of the codes of its training cells; `None` where it does not.
    #[inline]
    pub fn novelty(&self) -> Option<&Novelty<'a>> {
        self.novelty.as_ref()
    }

    /// Where the model comes from.
    pub fn provenance(&self) -> &Provenance<'a> {
        &self.provenance
    }

    /// Digests of the rows that the model was trained on; empty where it does not carry them.
    pub fn rows(&self) -> &Rows<'a> {
        &self.rows
    }

    /// Golden cells.
    pub fn golden(&self) -> &Golden<'a> {
        &self.golden
    }

    fn check_chains(&self) -> Result<(), ModelError> {
        let n_leaves = self.n_leaves();
        let n_genes = self.n_genes();
        let classifier = self.n_encoder;
        let decoder = classifier + self.n_classifier;
        self.check_chain(StageKind::Encoder, 0, n_genes, self.code_dim)?;
        if n_leaves == 0 && decoder != classifier {
            return Err(ModelError::ShapeMismatch { layer: classifier as u32 });
        }
        if n_leaves > 0 {
            self.check_chain(StageKind::Classifier, classifier, self.code_dim, n_leaves)?;
        }
        if decoder < self.layers.len() {
            self.check_chain(StageKind::Decoder, decoder, self.code_dim, n_genes)?;
        }
        Ok(())
    }

    /// A chain is not empty, its dimensions follow one another, only its first layer carries and
    /// only past another layer, and its last layer has no activation.
    fn check_chain(
        &self,
        kind: StageKind,
        first: usize,
        in_dim: usize,
        out_dim: usize,
    ) -> Result<(), ModelError> {
        let layers = self.stage(kind);
        let bad = |number: usize| ModelError::ShapeMismatch { layer: (first + number) as u32 };
        let mut expected_in = in_dim;
        for (number, layer) in layers.iter().enumerate() {
            let is_last = number + 1 == layers.len();
            let may_carry = number == 0 && !is_last;
            let carry_fits = layer.carry() == 0 || (may_carry && layer.carry() == out_dim);
            if layer.in_dim() != expected_in || !carry_fits {
                return Err(bad(number));
            }
            if is_last {
                let is_linear = layer.segments().all(|s| s.activation == Activation::Identity);
                if layer.activated_dim() != out_dim || !is_linear {
                    return Err(bad(number));
                }
            } else if self.dtype == Dtype::S8 && !layer.has_tables() {
                return Err(ModelError::MissingSection {
                    kind: SectionKind::Tables,
                    index: (first + number) as u32,
                });
            }
            expected_in = layer.activated_dim();
        }
        if layers.is_empty() { Err(bad(0)) } else { Ok(()) }
    }

    fn check_accumulators(&self) -> Result<(), ModelError> {
        if self.dtype != Dtype::S8 {
            return Ok(());
        }
        for profile in 0..self.profiles.len() {
            self.check_stage_accumulators(StageKind::Encoder, 0, self.first_epilogue(profile))?;
        }
        let mut first = self.n_encoder;
        for kind in [StageKind::Classifier, StageKind::Decoder] {
            if let Some(layer) = self.stage(kind).first() {
                self.check_stage_accumulators(kind, first, layer.epilogue())?;
            }
            first += self.stage(kind).len();
        }
        Ok(())
    }

    fn check_stage_accumulators(
        &self,
        kind: StageKind,
        first: usize,
        first_epilogue: Epilogue<'a>,
    ) -> Result<(), ModelError> {
        let layers = self.stage(kind);
        let epilogue = |number: usize, layer: &Layer<'a>| match if number == 0 {
            first_epilogue
        } else {
            layer.epilogue()
        } {
            Epilogue::S8(epilogue) => Some(epilogue),
            Epilogue::Float { .. } => None,
        };
        for (number, layer) in layers.iter().enumerate() {
            let Some(own) = epilogue(number, layer) else { continue };
            // What the stage's first layer carries past the others is added to its last.
            let is_last = number > 0 && number + 1 == layers.len();
            let carrier = layers.first().filter(|_| is_last);
            for first_row in (0..layer.out_dim()).step_by(BOUNDS) {
                let (mut bounds, mut carried) = ([0; BOUNDS], [0; BOUNDS]);
                layer.row_bounds(first_row, &own, &mut bounds);
                if let Some(carrier) = carrier {
                    carried_bounds(carrier, first_row, epilogue(0, carrier), &mut carried);
                }
                let sums = bounds.iter().zip(&carried).map(|(bound, carried)| bound + carried);
                let n_rows = layer.out_dim() - first_row;
                if let Some(at) = sums.take(n_rows).position(|sum| sum > i64::from(i32::MAX)) {
                    let (layer, row) = ((first + number) as u32, (first_row + at) as u32);
                    return Err(ModelError::AccumulatorOverflow { layer, row });
                }
            }
        }
        Ok(())
    }
}

/// Bounds of what carried rows add to the outputs of the stage from `first` on.
fn carried_bounds(
    carrier: &Layer<'_>,
    first: usize,
    epilogue: Option<S8Epilogue<'_>>,
    carried: &mut [i64; BOUNDS],
) {
    let Some(epilogue) = epilogue else { return };
    let source = carrier.activated_dim() + first;
    let n_rows = carrier.carry().saturating_sub(first).min(BOUNDS);
    carrier.row_bounds(source, &epilogue, carried);
    for (n, bound) in carried.iter_mut().enumerate() {
        // A bound above 32 bits is refused for the carrier's own row.
        let ratio = epilogue.ratio(source + n);
        *bound = match n < n_rows {
            true => requantize((*bound).min(i64::from(i32::MAX)), ratio) + 1,
            false => 0,
        };
    }
}

/// The fixed part of every model.
struct Info {
    dtype: Dtype,
    n_genes: usize,
    code_dim: usize,
    n_leaves: usize,
    n_profiles: usize,
    n_encoder: usize,
    n_classifier: usize,
    n_decoder: usize,
    id: ModelId,
}

impl Info {
    fn parse(container: &Container<'_>) -> Result<Self, ModelError> {
        let mut reader = container.require(SectionKind::Info, 0)?;
        let dtype = Dtype::from_code(reader.u32()?).ok_or_else(|| reader.bad("dtype"))?;
        let mut next = || reader.u32().map(|value| value as usize);
        let info = Self {
            dtype,
            n_genes: next()?,
            code_dim: next()?,
            n_leaves: next()?,
            n_profiles: next()?,
            n_encoder: next()?,
            n_classifier: next()?,
            n_decoder: next()?,
            id: parse_id(&mut reader)?,
        };
        let counts = [info.n_genes, info.code_dim, info.n_profiles, info.n_encoder];
        if counts.contains(&0) || info.n_profiles > MAX_PROFILES {
            return Err(info_error("dimension"));
        }
        if [info.n_encoder, info.n_classifier, info.n_decoder].iter().any(|&n| n > MAX_LAYERS) {
            return Err(info_error("number of layers"));
        }
        reader.finish()?;
        Ok(info)
    }

    fn n_layers(&self) -> usize {
        self.n_encoder + self.n_classifier + self.n_decoder
    }
}

fn parse_id(reader: &mut SectionReader<'_>) -> Result<ModelId, ModelError> {
    let mut id = [0; 32];
    for (to, from) in id.iter_mut().zip(reader.bytes(32)?) {
        *to = *from;
    }
    Ok(ModelId(id))
}

fn parse_code<'a>(
    container: &Container<'a>,
    code_dim: usize,
    is_quantised: bool,
) -> Result<Option<CodeScales<'a>>, ModelError> {
    if !is_quantised {
        return Ok(None);
    }
    let mut reader = container.require(SectionKind::Code, 0)?;
    let scales = CodeScales {
        scales: reader.array(code_dim)?,
        offsets: reader.array(code_dim)?,
        multipliers: reader.array(code_dim)?,
        shifts: reader.array(code_dim)?,
    };
    let is_sound = (0..code_dim).all(|dim| scales.level_rule(dim).1.is_valid())
        && scales.scales.iter().all(|scale| scale.is_finite());
    if !is_sound {
        return Err(reader.bad("scale"));
    }
    reader.finish()?;
    Ok(Some(scales))
}

fn parse_reconstruction<'a>(
    container: &Container<'a>,
    n_genes: usize,
) -> Result<&'a [f32], ModelError> {
    let mut reader = container.require(SectionKind::Reconstruction, 0)?;
    let scales: &[f32] = reader.array(n_genes)?;
    if scales.iter().any(|scale| !scale.is_finite()) {
        return Err(reader.bad("scale"));
    }
    reader.finish()?;
    Ok(scales)
}

fn info_error(field: &'static str) -> ModelError {
    ModelError::BadField { kind: SectionKind::Info, field }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelId({self})")
    }
}
