//! A network of any shape as an int8 model.

use std::collections::BTreeMap;
use std::error::Error;

use cic_data::CsrMatrix;
use cic_model::genes::DuplicatePolicy;
use cic_model::profile::Library;
use cic_model::quant::ONE_Q16;
use cic_model::rules::Rules;
use cic_model::spec::{
    GeneSpec, GoldenSpec, LabelsSpec, LayoutPlan, ModelSpec, NetworkSpec, PanelSpec, ProfileSpec,
    library_shares_q30,
};
use cic_model::{
    Activation, AlignedBytes, DenseLayer, Dtype, IdKind, Model, Network, Segment, ValueKind,
};
use cic_quant::{CalibrationSet, Int8Options, QuantizeOptions, quantize};

/// A chain of layers with ReLU between them; the code and the logits are linear.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Genes, hidden layers, code, hidden layers, classes.
    pub dims: Vec<usize>,
    /// Which of `dims` is the code.
    pub code_at: usize,
    /// Of each layer `[in_dim × out_dim]`, row-major, then its bias.
    pub parameters: Vec<f32>,
}

impl Chain {
    /// Parameters that a chain of these dimensions has.
    pub fn n_parameters(dims: &[usize]) -> usize {
        dims.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum()
    }

    /// The int8 model, calibrated on rows of log1p values `[n × genes]`.
    pub fn quantize(&self, rows: &[f32]) -> Result<AlignedBytes, Box<dyn Error>> {
        let n_genes = self.dims[0];
        let spec = self.spec();
        let bytes = spec.to_bytes(LayoutPlan::Sparse)?;
        let bytes = AlignedBytes::new(&bytes);
        let model = Model::open(&bytes)?;
        let values = CsrMatrix::from_dense(n_genes, rows)?;
        let totals = vec![0.0; values.n_rows()];
        let calibration = CalibrationSet { values: &values, totals: &totals };
        // Recorded counts of instructions are of this one.
        let options =
            QuantizeOptions { int8: Int8Options::plain(), ..QuantizeOptions::new(Dtype::S8) };
        let bytes = quantize(&model, &calibration, &options)?;
        let quantized = AlignedBytes::new(&bytes);
        let quantized = Model::open(&quantized)?;
        let spec = ModelSpec::from_model(&quantized);
        let bytes = spec.to_bytes(LayoutPlan::Panels)?;
        Ok(AlignedBytes::new(&bytes))
    }

    fn spec(&self) -> ModelSpec {
        let (n_genes, n_classes) = (self.dims[0], *self.dims.last().expect("not empty"));
        let mut layers = Vec::new();
        let mut rest = &self.parameters[..];
        for (n, pair) in self.dims.windows(2).enumerate() {
            let (in_dim, out_dim) = (pair[0], pair[1]);
            let (weights, tail) = rest.split_at(in_dim * out_dim);
            let (bias, tail) = tail.split_at(out_dim);
            rest = tail;
            let is_linear = n + 1 == self.code_at || n + 2 == self.dims.len();
            let activation = if is_linear { Activation::Identity } else { Activation::Relu };
            layers.push(DenseLayer {
                in_dim,
                segments: vec![Segment { len: out_dim, activation }],
                carry: 0,
                weights: transposed(weights, in_dim, out_dim),
                bias: bias.to_vec(),
            });
        }
        let classifier = layers.split_off(self.code_at);
        let network = Network { encoder: layers, classifier, decoder: Vec::new() };
        let shares = library_shares_q30(&vec![1.0; n_genes]);
        let gene = |(n, &library_share_q30): (usize, &u32)| GeneSpec {
            id: format!("gene{n}"),
            symbol: String::new(),
            aliases: Vec::new(),
            library_share_q30,
        };
        ModelSpec {
            panel: PanelSpec {
                id_kind: IdKind::Opaque,
                duplicates: DuplicatePolicy::Refuse,
                genes: shares.iter().enumerate().map(gene).collect(),
            },
            profiles: vec![ProfileSpec {
                name: "log1p".into(),
                kind: ValueKind::Log1p,
                library: Library::None,
                target_sum: 0,
                fill_values: vec![0.0; n_genes],
                limits: Vec::new(),
                levels: None,
            }],
            network: NetworkSpec::F32(network),
            labels: LabelsSpec::flat((0..n_classes).map(|class| format!("class {class}"))),
            confidence: None,
            novelty: None,
            rules: Rules {
                min_counts: 0,
                min_genes: 0,
                min_coverage_q16: 0,
                min_confidence_q16: 0,
                inv_temperature_q16: ONE_Q16,
            },
            provenance: BTreeMap::new(),
            rows: Default::default(),
            golden: GoldenSpec { profile: 0, is_integer: false, cells: Vec::new() },
        }
    }
}

fn transposed(weights: &[f32], in_dim: usize, out_dim: usize) -> Vec<f32> {
    let element = |at: usize| weights[at % in_dim * out_dim + at / in_dim];
    (0..in_dim * out_dim).map(element).collect()
}
