//! Models made of numbers rather than data.

use std::collections::BTreeMap;

use cic_model::genes::DuplicatePolicy;
use cic_model::profile::{Library, N_THRESHOLDS, fit_count_thresholds, fit_value_thresholds};
use cic_model::quant::{ONE_Q16, ONE_Q30, Ratio, TABLE_LEN};
use cic_model::rules::Rules;
use cic_model::spec::{
    CodeDimSpec, GeneSpec, GoldenSpec, LabelsSpec, LayoutPlan, LevelsSpec, MixedNetwork, ModelSpec,
    NetworkSpec, PanelSpec, ProfileSpec, QuantEpilogue, QuantLayer, QuantNetwork, QuantSegment,
    library_shares_q30,
};
use cic_model::{Activation, DenseLayer, IdKind, Network, Segment, ValueKind};

/// Marsaglia's xorshift with 64 bits of state: the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next_u64() >> 11) as usize % n
    }

    /// A number in −1 .. 1.
    pub fn signed(&mut self) -> f32 {
        ((self.next_u64() >> 40) as f32 / 8_388_608.0) - 1.0
    }
}

/// Shape of a made-up network.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Genes of the panel.
    pub n_genes: usize,
    /// Hidden layers of the encoder; each is split into segments over `activations`.
    pub hidden: Vec<usize>,
    /// Dimensions of the code.
    pub code: usize,
    /// Leaves.
    pub n_leaves: usize,
    /// Activations of the hidden segments, at most four.
    pub activations: Vec<Activation>,
    /// Whether encoder and decoder carry a linear path.
    pub carry: bool,
    /// Whether there is a decoder.
    pub decoder: bool,
}

impl Shape {
    /// A small network with every feature.
    pub fn small() -> Self {
        Self {
            n_genes: 40,
            hidden: vec![17, 9],
            code: 6,
            n_leaves: 5,
            activations: vec![Activation::Relu, Activation::LogSigmoid],
            carry: true,
            decoder: true,
        }
    }
}

/// Layouts of small processors by the names that `cargo xtask` gives them.
pub const LAYOUTS: [(&str, LayoutPlan); 4] = [
    ("fours", LayoutPlan::Fours),
    ("fours-dense", LayoutPlan::DenseFours),
    ("rows", LayoutPlan::Sparse),
    ("rows-dense", LayoutPlan::Rows),
];

/// A network of random weights, scaled so that sums stay near one.
pub fn random_network(shape: &Shape, random: &mut Random) -> Network {
    let mut encoder_dims = vec![shape.n_genes];
    encoder_dims.extend(&shape.hidden);
    encoder_dims.push(shape.code);
    let decoder_dims: Vec<usize> = encoder_dims.iter().rev().copied().collect();
    let mut chain = |dims: &[usize], carry: bool| {
        let last = dims.len() - 2;
        (0..=last)
            .map(|number| {
                let is_last = number == last;
                let carried = if carry && number == 0 && !is_last { dims[last + 1] } else { 0 };
                let segments = segments(shape, dims[number + 1], is_last);
                random_layer(dims[number], segments, carried, random)
            })
            .collect::<Vec<_>>()
    };
    let encoder = chain(&encoder_dims, shape.carry);
    let classifier = match shape.n_leaves {
        0 => Vec::new(),
        n => chain(&[shape.code, 11, n], false),
    };
    let decoder = if shape.decoder { chain(&decoder_dims, shape.carry) } else { Vec::new() };
    Network { encoder, classifier, decoder }
}

fn segments(shape: &Shape, width: usize, is_last: bool) -> Vec<Segment> {
    if is_last {
        return vec![Segment { len: width, activation: Activation::Identity }];
    }
    let n = shape.activations.len().min(width);
    let lens = (0..n).map(|i| width * (i + 1) / n - width * i / n);
    lens.zip(&shape.activations).map(|(len, &activation)| Segment { len, activation }).collect()
}

fn random_layer(
    in_dim: usize,
    segments: Vec<Segment>,
    carry: usize,
    random: &mut Random,
) -> DenseLayer {
    let out_dim = segments.iter().map(|segment| segment.len).sum::<usize>() + carry;
    let scale = (1.0 / in_dim as f32).sqrt();
    DenseLayer {
        in_dim,
        segments,
        carry,
        weights: (0..in_dim * out_dim).map(|_| scale * random.signed()).collect(),
        bias: (0..out_dim).map(|_| 0.2 * random.signed()).collect(),
    }
}

/// A network with its first and last layer in signed bytes, weights of the others being as they are.
pub fn mixed(mut network: Network) -> NetworkSpec {
    let n_layers = network.layers().count();
    let mut scales = vec![Vec::new(); n_layers];
    for (number, layer) in network.layers_mut().enumerate() {
        if number > 0 && number + 1 < n_layers {
            for weight in &mut layer.weights {
                // What half precision holds.
                *weight = (*weight * 512.0).round() / 512.0;
            }
            continue;
        }
        for row in layer.weights.chunks_exact_mut(layer.in_dim) {
            let scale = row.iter().fold(1e-6_f32, |max, weight| max.max(weight.abs())) / 127.0;
            row.iter_mut().for_each(|weight| *weight = (*weight / scale).round() * scale);
            scales[number].push(scale);
        }
    }
    NetworkSpec::Mixed(MixedNetwork { network, scales })
}

/// A model around a network, its values being counts.
pub fn model(network: NetworkSpec, n_genes: usize, n_leaves: usize) -> ModelSpec {
    let shares = library_shares_q30(&vec![1.0; n_genes]);
    let is_quantised = matches!(network, NetworkSpec::S8(_));
    let genes = shares.into_iter().enumerate().map(|(gene, library_share_q30)| GeneSpec {
        id: format!("ENSG{gene:011}"),
        symbol: format!("GENE{gene}"),
        aliases: Vec::new(),
        library_share_q30,
    });
    ModelSpec {
        panel: PanelSpec {
            id_kind: IdKind::Ensembl,
            duplicates: DuplicatePolicy::KeepFirst,
            genes: genes.collect(),
        },
        profiles: vec![ProfileSpec {
            name: "counts".into(),
            kind: ValueKind::Counts,
            library: Library::Panel,
            target_sum: 10_000,
            fill_values: vec![0.5; n_genes],
            limits: Vec::new(),
            levels: is_quantised.then(|| levels(n_genes)),
        }],
        network,
        labels: LabelsSpec::flat((0..n_leaves).map(|leaf| format!("type {leaf}"))),
        confidence: None,
        novelty: None,
        rules: Rules {
            min_counts: 1,
            min_genes: 1,
            min_coverage_q16: ONE_Q16 / 2,
            min_confidence_q16: 0,
            inv_temperature_q16: ONE_Q16,
        },
        provenance: BTreeMap::new(),
        rows: Default::default(),
        golden: GoldenSpec { profile: 0, is_integer: true, cells: Vec::new() },
    }
}

fn levels(n_genes: usize) -> LevelsSpec {
    let scale = 0.0625;
    let (shift, counts) = fit_count_thresholds(10_000, scale).unwrap_or((0, [1; N_THRESHOLDS]));
    LevelsSpec {
        scale: scale as f32,
        offset: 0.0,
        shift,
        count_thresholds: counts.to_vec(),
        value_thresholds: fit_value_thresholds(ValueKind::Counts, scale, 0.0).to_vec(),
        fill_levels: vec![8; n_genes],
        level_limits: Vec::new(),
        gene_scales: Vec::new(),
    }
}

/// The smallest int8 model with every part of the format: the worked example of `docs/format.md`.
pub fn smallest_int8() -> ModelSpec {
    let half = Ratio { multiplier: 1 << 30, shift: 31 };
    let layer = |in_dim, len, weights: &[i8], bias: &[i32], ratio| QuantLayer {
        in_dim,
        segments: vec![QuantSegment {
            len,
            activation: Activation::Identity,
            table: Vec::new(),
            scale: 0.0,
            offset: 0.0,
        }],
        carry: 0,
        weights: weights.to_vec(),
        epilogue: QuantEpilogue { bias: bias.to_vec(), ratios: vec![ratio; len] },
    };
    let mut hidden = layer(2, 2, &[100, -50, -20, 70, 1, 2], &[5, -5, 0], half);
    hidden.carry = 1;
    hidden.epilogue.ratios = vec![Ratio { multiplier: 1 << 30, shift: 36 }; 3];
    hidden.segments[0].activation = Activation::Relu;
    hidden.segments[0].scale = 0.5;
    hidden.segments[0].table =
        (0..TABLE_LEN).map(|entry| entry.saturating_sub(128) as u8).collect();
    let network = QuantNetwork {
        encoder: vec![hidden, layer(2, 1, &[90, -100], &[10], half)],
        classifier: vec![layer(
            1,
            2,
            &[60, -60],
            &[0, 100],
            Ratio { multiplier: 1 << 30, shift: 22 },
        )],
        decoder: Vec::new(),
        other_profiles: Vec::new(),
        code: vec![CodeDimSpec {
            scale: 0.001,
            level_offset: 2_000,
            level_ratio: Ratio { multiplier: 1 << 30, shift: 35 },
        }],
        reconstruction_scales: Vec::new(),
    };
    let mut spec = model(NetworkSpec::S8(network), 2, 2);
    for gene in &mut spec.panel.genes {
        gene.library_share_q30 = ONE_Q30 / 2;
    }
    spec
}
