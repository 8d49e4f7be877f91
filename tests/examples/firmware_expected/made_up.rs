//! Models made of random numbers, for boards without room for a trained one and for counts of
//! instructions that depend on the shape alone.

use std::error::Error;

use cic_data::CsrMatrix;
use cic_model::spec::{GoldenCellSpec, LayoutPlan, NetworkSpec};
use cic_model::{Activation, AlignedBytes, DenseLayer, Dtype, Model, Network, Segment};
use cic_quant::{CalibrationSet, Int8Options, QuantizeOptions, quantize};
use cic_tests::models::{Random, model};

/// Widths of the layers of a model, inputs first.
pub struct Widths {
    /// From genes to code.
    pub encoder: &'static [usize],
    /// From code to leaves.
    pub classifier: &'static [usize],
}

/// Fits a Cortex-M0 with 16 KiB of memory.
pub const TINY: Widths = Widths { encoder: &[96, 24, 8], classifier: &[8, 12, 5] };

/// 135,392 multiply-adds: the net whose instructions other libraries were counted with.
pub const NET135K: Widths = Widths { encoder: &[1_024, 128, 30], classifier: &[30, 16] };

/// An int8 model with ReLU between its layers and one golden cell.
pub fn int8(widths: &Widths) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let network = Network {
        encoder: chain(widths.encoder, &mut random),
        classifier: chain(widths.classifier, &mut random),
        decoder: Vec::new(),
    };
    let (n_genes, n_leaves) = (ends(widths.encoder).0, ends(widths.classifier).1);
    let code = ends(widths.encoder).1;
    let mut spec = model(NetworkSpec::F32(network), n_genes, n_leaves);
    for (number, gene) in spec.panel.genes.iter_mut().enumerate() {
        // Short, so that the larger of the models fits into 256 KiB beside its program.
        gene.id = format!("G{number}");
        gene.symbol = gene.id.clone();
    }
    spec.rules.min_counts = 50;
    spec.rules.min_genes = 4;
    spec.rules.min_confidence_q16 = 16_384;

    let cells: Vec<Vec<u32>> = (0..200).map(|_| counts(n_genes, &mut random)).collect();
    spec.golden.cells = cells.iter().take(1).map(|cell| golden(cell, code, n_leaves)).collect();
    let dense: Vec<f32> = cells.iter().flatten().map(|&count| count as f32).collect();
    let values = CsrMatrix::from_dense(n_genes, &dense)?;
    let totals = vec![0.0; cells.len()];
    let full = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default())?);
    let full = Model::open_verified(&full)?;
    let calibration = CalibrationSet { values: &values, totals: &totals };
    // Recorded counts of instructions are of this one.
    let options = QuantizeOptions { int8: Int8Options::plain(), ..QuantizeOptions::new(Dtype::S8) };
    Ok(quantize(&full, &calibration, &options)?)
}

fn ends(widths: &[usize]) -> (usize, usize) {
    (widths.first().copied().unwrap_or(0), widths.last().copied().unwrap_or(0))
}

/// Layers of random weights, scaled so that sums stay near one; the last has no activation.
fn chain(widths: &[usize], random: &mut Random) -> Vec<DenseLayer> {
    let last = widths.len() - 2;
    let layers = widths.windows(2).enumerate().map(|(number, dims)| {
        let (in_dim, out_dim) = (dims[0], dims[1]);
        let activation = if number == last { Activation::Identity } else { Activation::Relu };
        let scale = (6.0 / in_dim as f32).sqrt();
        DenseLayer {
            in_dim,
            segments: vec![Segment { len: out_dim, activation }],
            carry: 0,
            weights: (0..in_dim * out_dim).map(|_| scale * random.signed()).collect(),
            bias: (0..out_dim).map(|_| 0.2 * random.signed()).collect(),
        }
    });
    layers.collect()
}

/// A third of the genes, counts below 40.
fn counts(n_genes: usize, random: &mut Random) -> Vec<u32> {
    let mut count = || if random.below(3) == 0 { random.below(40) as u32 } else { 0 };
    (0..n_genes).map(|_| count()).collect()
}

/// The inputs of a golden cell; the quantiser fills in what they must give.
fn golden(counts: &[u32], code: usize, n_leaves: usize) -> GoldenCellSpec {
    let listed = || (0_u32..).zip(counts).filter(|(_, count)| **count > 0);
    GoldenCellSpec {
        genes: listed().map(|(gene, _)| gene).collect(),
        values: listed().map(|(_, &count)| count).collect(),
        total: 0,
        code: vec![0; code],
        logits: vec![0; n_leaves],
    }
}
