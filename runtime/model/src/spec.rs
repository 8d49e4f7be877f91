//! An owned model: what the trainer and the quantiser build, and what a file is written from.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::confidence::{COVERAGE_STEPS, Confidence, LEVELS};
use crate::genes::DuplicatePolicy;
use crate::layer::{Epilogue, Layer, Layout, S8Epilogue, Weights};
use crate::model::{Model, StageKind};
use crate::network::{DenseLayer, Network, Segment};
use crate::profile::{GeneScale, Library};
use crate::provenance::{Part, RowDigest};
use crate::quant::{ONE_Q30, Ratio};
use crate::rules::Rules;
use crate::vocabulary::{Activation, Dtype, IdKind, ValueKind};

pub use crate::novelty_spec::{
    FalseRejects, NoveltySpec, Placed, Reproduced, line, sixteenths, step_depth, thorough_score,
};

/// Everything that a `.cic` file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// The gene panel, in the order of the network's inputs.
    pub panel: PanelSpec,
    /// At least one, at most [`crate::MAX_PROFILES`].
    pub profiles: Vec<ProfileSpec>,
    /// Layers and their numbers.
    pub network: NetworkSpec,
    /// Label nodes.
    pub labels: LabelsSpec,
    /// Decision rules.
    pub rules: Rules,
    /// Promises of its calls.
    pub confidence: Option<ConfidenceSpec>,
    /// What it knows of the codes of its training cells.
    pub novelty: Option<NoveltySpec>,
    /// Facts about the model; `docs/format.md` lists the keys.
    pub provenance: BTreeMap<String, String>,
    /// Row digests by part, in the order of [`Part::ALL`]; all empty to leave them out.
    pub rows: [Vec<RowDigest>; 4],
    /// Golden cells.
    pub golden: GoldenSpec,
}

/// A gene panel.
#[derive(Clone, Debug, PartialEq)]
pub struct PanelSpec {
    /// What the ids are.
    pub id_kind: IdKind,
    /// What happens to duplicates.
    pub duplicates: DuplicatePolicy,
    /// The genes in order.
    pub genes: Vec<GeneSpec>,
}

/// One gene of a panel.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneSpec {
    /// Unversioned Ensembl id, symbol or opaque id. Unique, not empty.
    pub id: String,
    /// Symbol, or empty.
    pub symbol: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// Share of the panel's library in training, Q30. All of them sum to 2³⁰: see
    /// [`library_shares_q30`].
    pub library_share_q30: u32,
}

/// An input profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileSpec {
    /// 1 to 32 bytes, unique.
    pub name: String,
    /// What the values are.
    pub kind: ValueKind,
    /// Which sum divides them.
    pub library: Library,
    /// What they are scaled to sum to; 0 without a library.
    pub target_sum: u32,
    /// `[n_genes]`, in network input units.
    pub fill_values: Vec<f32>,
    /// `[n_genes]`, what network inputs are at most, or empty; see [`crate::profile::Profile::limits`].
    pub limits: Vec<f32>,
    /// Int8 models only.
    pub levels: Option<LevelsSpec>,
}

/// How an int8 model turns values into levels.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelsSpec {
    /// Units of one level, of the network input or, with `gene_scales`, of what is compared.
    pub scale: f32,
    /// What level 0 stands for, in the same units.
    pub offset: f32,
    /// Fraction bits of the count thresholds.
    pub shift: u32,
    /// `[127]`, zeros unless the kind is counts.
    pub count_thresholds: Vec<u32>,
    /// `[127]`
    pub value_thresholds: Vec<f32>,
    /// `[n_genes]`
    pub fill_levels: Vec<u8>,
    /// `[n_genes]` where the profile has limits, else empty; see [`crate::profile::Profile::level_limits`].
    pub level_limits: Vec<u8>,
    /// `[n_genes]` for log2_intensity, else empty.
    pub gene_scales: Vec<GeneScale>,
}

/// Layers in one of the number formats.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkSpec {
    /// Single precision.
    F32(Network),
    /// Written in half precision.
    F16(Network),
    /// Int8.
    S8(QuantNetwork),
    /// Int8 weights or half precision, by layer.
    Mixed(MixedNetwork),
}

/// A network of which some layers have int8 weights.
#[derive(Clone, Debug, PartialEq)]
pub struct MixedNetwork {
    /// Weights of int8 layers are integers times the scale of their row, rounded to single precision.
    pub network: Network,
    /// Of all layers, in the order of the stages: `[out_dim]`, positive, or empty where weights are in half precision.
    pub scales: Vec<Vec<f32>>,
}

/// An int8 network.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantNetwork {
    /// Never empty.
    pub encoder: Vec<QuantLayer>,
    /// Empty where the model names no cell types.
    pub classifier: Vec<QuantLayer>,
    /// Empty where the model does not reproduce profiles.
    pub decoder: Vec<QuantLayer>,
    /// Bias and requantisation of the first encoder layer for profiles 1 and up.
    pub other_profiles: Vec<QuantEpilogue>,
    /// `[code_dim]`
    pub code: Vec<CodeDimSpec>,
    /// `[n_genes]` with a decoder, else empty.
    pub reconstruction_scales: Vec<f32>,
}

/// Scales of one dimension of an int8 code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodeDimSpec {
    /// Value of one unit of the `i16` code.
    pub scale: f32,
    /// Added to the code before it becomes a level.
    pub level_offset: i32,
    /// Levels per unit of the code.
    pub level_ratio: Ratio,
}

/// An int8 layer.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantLayer {
    /// Number of inputs.
    pub in_dim: usize,
    /// Activated outputs, in order.
    pub segments: Vec<QuantSegment>,
    /// Number of carried outputs, after the segments.
    pub carry: usize,
    /// `[out_dim × in_dim]`, row-major, −127 ..= 127.
    pub weights: Vec<i8>,
    /// Bias and requantisation.
    pub epilogue: QuantEpilogue,
}

/// Outputs of an int8 layer that share an activation.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantSegment {
    /// Number of outputs.
    pub len: usize,
    /// The activation.
    pub activation: Activation,
    /// `[256]`, or empty in the last layer of a stage.
    pub table: Vec<u8>,
    /// The activation is about `scale · level + offset`.
    pub scale: f32,
    /// See `scale`.
    pub offset: f32,
}

/// Bias and requantisation of an int8 layer.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantEpilogue {
    /// `[out_dim]`
    pub bias: Vec<i32>,
    /// `[out_dim]`
    pub ratios: Vec<Ratio>,
}

/// Label nodes.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct LabelsSpec {
    /// Parents before their children. Leaves are the nodes that logits belong to, in order.
    pub nodes: Vec<NodeSpec>,
    /// Release of the ontology, or empty.
    pub ontology_release: String,
}

/// One label node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSpec {
    /// Name as printed.
    pub name: String,
    /// Ontology id, or empty.
    pub ontology_id: String,
    /// Indices of earlier nodes.
    pub parents: Vec<u32>,
    /// Whether a logit belongs to it.
    pub is_leaf: bool,
}

/// Promises of calls; see [`Confidence`].
#[derive(Clone, Debug, PartialEq)]
pub struct ConfidenceSpec {
    /// Calibration cells that the sets were made with; 0 to promise none.
    pub n_cells: u32,
    /// By level, Q16; 0 where none are promised.
    pub margins_q16: [i32; LEVELS.len()],
    /// By share of the library that is present, Q16.
    pub inv_temperatures_q16: [u32; COVERAGE_STEPS],
}

impl ConfidenceSpec {
    fn of(view: &Confidence<'_>) -> Self {
        let mut spec = Self {
            n_cells: view.n_cells(),
            margins_q16: [0; LEVELS.len()],
            inv_temperatures_q16: [0; COVERAGE_STEPS],
        };
        for (level, margin) in spec.margins_q16.iter_mut().enumerate() {
            *margin = view.margin_q16(level).unwrap_or(0);
        }
        for (to, &from) in spec.inv_temperatures_q16.iter_mut().zip(view.inv_temperatures_q16()) {
            *to = from;
        }
        spec
    }
}

/// Golden cells.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GoldenSpec {
    /// Profile that the cells are given in.
    pub profile: u32,
    /// Whether values are counts rather than bits of `f32`.
    pub is_integer: bool,
    /// The cells.
    pub cells: Vec<GoldenCellSpec>,
}

/// One golden cell; see [`crate::golden::GoldenCell`].
#[derive(Clone, Debug, PartialEq)]
pub struct GoldenCellSpec {
    /// Panel indices, strictly increasing.
    pub genes: Vec<u32>,
    /// Counts or bits of `f32`.
    pub values: Vec<u32>,
    /// Library over all measured genes; 0 where the profile does not need it.
    pub total: u32,
    /// `[code_dim]`
    pub code: Vec<u32>,
    /// `[n_leaves]`
    pub logits: Vec<u32>,
}

impl ModelSpec {
    /// The logical content of a model.
    pub fn from_model(model: &Model<'_>) -> Self {
        Self {
            panel: PanelSpec::from_model(model),
            profiles: model.profiles().iter().map(|p| ProfileSpec::from_view(p)).collect(),
            network: NetworkSpec::from_model(model),
            labels: LabelsSpec::from_model(model),
            rules: *model.rules(),
            confidence: model.confidence().map(ConfidenceSpec::of),
            novelty: model.novelty().map(NoveltySpec::of),
            provenance: model
                .provenance()
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            rows: Part::ALL.map(|part| model.rows().part(part).to_vec()),
            golden: GoldenSpec::from_model(model),
        }
    }

    /// Number of genes of the panel.
    pub fn n_genes(&self) -> usize {
        self.panel.genes.len()
    }
}

impl NetworkSpec {
    /// How weights are stored.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F16(_) => Dtype::F16,
            Self::S8(_) => Dtype::S8,
            Self::Mixed(_) => Dtype::Mixed,
        }
    }

    fn from_model(model: &Model<'_>) -> Self {
        let dense = |kind| model.stage(kind).iter().map(dense_layer).collect();
        let network = || Network {
            encoder: dense(StageKind::Encoder),
            classifier: dense(StageKind::Classifier),
            decoder: dense(StageKind::Decoder),
        };
        match model.dtype() {
            Dtype::F32 => Self::F32(network()),
            Dtype::F16 => Self::F16(network()),
            Dtype::S8 => Self::S8(QuantNetwork::from_model(model)),
            Dtype::Mixed => Self::Mixed(MixedNetwork {
                network: network(),
                scales: model.layers().iter().map(|layer| layer.scales().to_vec()).collect(),
            }),
        }
    }
}

impl QuantNetwork {
    fn from_model(model: &Model<'_>) -> Self {
        let quant = |kind| model.stage(kind).iter().map(quant_layer).collect();
        let code = model.code_scales().map_or(Vec::new(), |scales| {
            let dims = scales.scales.iter().enumerate();
            dims.map(|(dim, &scale)| {
                let (level_offset, level_ratio) = scales.level_rule(dim);
                CodeDimSpec { scale, level_offset, level_ratio }
            })
            .collect()
        });
        Self {
            encoder: quant(StageKind::Encoder),
            classifier: quant(StageKind::Classifier),
            decoder: quant(StageKind::Decoder),
            other_profiles: (1..model.profiles().len())
                .filter_map(|profile| quant_epilogue(model.first_epilogue(profile)))
                .collect(),
            code,
            reconstruction_scales: model.reconstruction_scales().to_vec(),
        }
    }
}

impl QuantLayer {
    /// Number of outputs: all segments and the carry.
    pub fn out_dim(&self) -> usize {
        self.activated_dim() + self.carry
    }

    /// Number of outputs that the next layer reads.
    pub fn activated_dim(&self) -> usize {
        self.segments.iter().map(|segment| segment.len).sum()
    }
}

impl PanelSpec {
    fn from_model(model: &Model<'_>) -> Self {
        let view = model.genes();
        let shares = view.library_share_q30().iter().enumerate();
        let mut genes: Vec<GeneSpec> = shares
            .map(|(gene, &library_share_q30)| GeneSpec {
                id: view.id(gene).to_string(),
                symbol: view.symbol(gene).to_string(),
                aliases: Vec::new(),
                library_share_q30,
            })
            .collect();
        for (alias, gene) in view.aliases() {
            if let Some(gene) = genes.get_mut(gene as usize) {
                gene.aliases.push(alias.to_string());
            }
        }
        Self { id_kind: view.id_kind(), duplicates: view.duplicates(), genes }
    }
}

impl ProfileSpec {
    fn from_view(view: &crate::profile::Profile<'_>) -> Self {
        let levels = (!view.value_thresholds().is_empty()).then(|| LevelsSpec {
            scale: view.scale(),
            offset: view.offset(),
            shift: view.shift(),
            count_thresholds: view.count_thresholds().to_vec(),
            value_thresholds: view.value_thresholds().to_vec(),
            fill_levels: view.fill_levels().to_vec(),
            level_limits: view.level_limits().to_vec(),
            gene_scales: view.gene_scales().collect(),
        });
        Self {
            name: view.name().to_string(),
            kind: view.kind(),
            library: view.library(),
            target_sum: view.target_sum(),
            fill_values: view.fill_values().to_vec(),
            limits: view.limits().to_vec(),
            levels,
        }
    }
}

impl LabelsSpec {
    /// Leaves without parents or ontology ids, in order.
    pub fn flat<S: ToString>(names: impl IntoIterator<Item = S>) -> Self {
        let nodes = names.into_iter().map(|name| NodeSpec {
            name: name.to_string(),
            ontology_id: String::new(),
            parents: Vec::new(),
            is_leaf: true,
        });
        Self { nodes: nodes.collect(), ontology_release: String::new() }
    }

    /// Number of leaves.
    pub fn n_leaves(&self) -> usize {
        self.nodes.iter().filter(|node| node.is_leaf).count()
    }

    fn from_model(model: &Model<'_>) -> Self {
        let view = model.labels();
        let mut nodes: Vec<NodeSpec> = (0..view.n_nodes())
            .map(|node| NodeSpec {
                name: view.name(node).to_string(),
                ontology_id: view.ontology_id(node).to_string(),
                parents: view.parents(node).to_vec(),
                is_leaf: false,
            })
            .collect();
        for leaf in (0..view.n_leaves()).filter_map(|leaf| view.node(leaf)) {
            if let Some(node) = nodes.get_mut(leaf) {
                node.is_leaf = true;
            }
        }
        Self { nodes, ontology_release: view.ontology_release().to_string() }
    }
}

impl GoldenSpec {
    fn from_model(model: &Model<'_>) -> Self {
        let view = model.golden();
        let cells = view.cells().map(|cell| GoldenCellSpec {
            genes: cell.genes.to_vec(),
            values: cell.values.to_vec(),
            total: cell.total,
            code: cell.code.to_vec(),
            logits: cell.logits.to_vec(),
        });
        Self { profile: view.profile(), is_integer: view.is_integer(), cells: cells.collect() }
    }
}

/// Shares that sum to exactly 2³⁰ from weights that are not negative: each is rounded down, and
/// what is left goes to the largest remainders (the first among equals). All equal where the
/// weights sum to zero.
pub fn library_shares_q30(weights: &[f64]) -> Vec<u32> {
    let sum: f64 = weights.iter().sum();
    let is_usable = sum.is_finite() && sum > 0.0;
    let exact = |weight: f64| {
        let share = if is_usable { weight / sum } else { 1.0 / weights.len() as f64 };
        share * f64::from(ONE_Q30)
    };
    // Not above 2³⁰ each.
    let mut shares: Vec<u32> = weights.iter().map(|&weight| exact(weight) as u32).collect();
    let given: u64 = shares.iter().map(|&share| u64::from(share)).sum();
    let mut left = u64::from(ONE_Q30).saturating_sub(given);
    let mut order: Vec<usize> = (0..weights.len()).collect();
    let remainder = |gene: usize| {
        let share = exact(weights.get(gene).copied().unwrap_or(0.0));
        share - libm::floor(share)
    };
    order.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)).then(a.cmp(&b)));
    for &gene in order.iter().cycle() {
        if left == 0 {
            break;
        }
        if let Some(share) = shares.get_mut(gene) {
            *share += 1;
        }
        left -= 1;
    }
    shares
}

/// The weights of a layer as plain rows, converted by `convert`.
fn row_major<T>(layer: &Layer<'_>, convert: impl Fn(usize) -> T) -> Vec<T> {
    let in_dim = layer.in_dim();
    (0..layer.out_dim())
        .flat_map(|row| (0..in_dim).map(move |column| (row, column)))
        .map(|(row, column)| convert(layer.layout().index(row, column, in_dim)))
        .collect()
}

fn dense_layer(layer: &Layer<'_>) -> DenseLayer {
    let rows = (0..layer.out_dim()).flat_map(|row| (0..layer.in_dim()).map(move |at| (row, at)));
    let weights = rows.map(|(row, column)| layer.weight(row, column)).collect();
    let segments = layer
        .segments()
        .map(|segment| Segment { len: segment.len, activation: segment.activation });
    let bias = match layer.epilogue() {
        Epilogue::Float { bias, .. } => bias.to_vec(),
        Epilogue::S8(_) => Vec::new(),
    };
    DenseLayer {
        in_dim: layer.in_dim(),
        segments: segments.collect(),
        carry: layer.carry(),
        weights,
        bias,
    }
}

fn quant_layer(layer: &Layer<'_>) -> QuantLayer {
    let weights = match layer.weights() {
        Weights::S8(stored) => row_major(layer, |at| stored.get(at).copied().unwrap_or(0)),
        Weights::F32(_) | Weights::F16(_) => Vec::new(),
    };
    let segments = layer.segments().map(|segment| QuantSegment {
        len: segment.len,
        activation: segment.activation,
        table: segment.table.to_vec(),
        scale: segment.scale,
        offset: segment.offset,
    });
    QuantLayer {
        in_dim: layer.in_dim(),
        segments: segments.collect(),
        carry: layer.carry(),
        weights,
        epilogue: quant_epilogue(layer.epilogue())
            .unwrap_or(QuantEpilogue { bias: Vec::new(), ratios: Vec::new() }),
    }
}

fn quant_epilogue(epilogue: Epilogue<'_>) -> Option<QuantEpilogue> {
    let Epilogue::S8(epilogue @ S8Epilogue { bias, .. }) = epilogue else { return None };
    let ratios = (0..bias.len()).map(|row| epilogue.ratio(row)).collect();
    Some(QuantEpilogue { bias: bias.to_vec(), ratios })
}

/// Where the weights of a model go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LayoutPlan {
    /// First encoder layer gene-major, so that a sparse sample touches only its own genes; plain
    /// rows elsewhere: for Cortex-M with vector registers.
    #[default]
    Sparse,
    /// First encoder layer gene-major, panels of four inputs elsewhere: for processors with vector
    /// registers.
    Panels,
    /// First encoder layer gene-major, panels of four inputs by four outputs elsewhere: for
    /// processors without vector registers.
    Fours,
    /// Panels of four by four everywhere: the same, where samples are dense.
    DenseFours,
    /// Plain rows everywhere.
    Rows,
    /// One layout for every layer.
    Uniform(Layout),
}

impl LayoutPlan {
    pub(crate) fn layout(self, layer: usize, in_dim: usize, out_dim: usize) -> Layout {
        match self {
            Self::Sparse | Self::Panels | Self::Fours if layer == 0 => Layout::gene_major(out_dim),
            Self::Panels => Layout::panels(out_dim),
            Self::Fours | Self::DenseFours => Layout::FOURS,
            Self::Sparse | Self::Rows => Layout::rows(in_dim),
            Self::Uniform(layout) => layout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one_exactly() {
        for weights in [
            alloc::vec![1.0; 3],
            alloc::vec![0.0; 7],
            (1..2_000).map(f64::from).collect(),
            alloc::vec![1e-30, 1.0, 1e30],
        ] {
            let shares = library_shares_q30(&weights);
            assert_eq!(shares.iter().map(|&s| u64::from(s)).sum::<u64>(), 1 << 30);
        }
        assert!(library_shares_q30(&[]).is_empty());
    }
}
