//! The last decoder layer, fitted to codes.

use cic_model::Network;
use faer::Mat;
use rayon::prelude::*;

use super::{Gain, profile};
use crate::TrainingData;
use crate::forward::hidden;
use crate::ridge::{Choice, FOLDS, Moments, Ridge};

/// Adds to the last decoder layer what the ridge regression on `given` codes has other than the one on the network's `own`.
/// `None` without a decoder, or where no code varies.
pub(super) fn refit(
    network: &mut Network,
    own: &[f32],
    given: &[f32],
    data: &TrainingData<'_>,
) -> Option<Gain> {
    let n_hidden = LastLayer::of(network)?.n_hidden;
    let own = moments(network, own, data)?;
    let given = moments(network, given, data)?;
    let total = Moments::sum(&given);
    let spread = total.spread();
    let weight = vec![1.0 / spread; data.n_genes];
    let choice = Choice::by_cross_validation(&given, n_hidden, &weight)?;
    let of_own = Moments::sum(&own);
    let mut before = 0.0;
    for (own, given) in own.iter().zip(&given) {
        let fit = of_own.less(own).fit(n_hidden, choice.penalty)?;
        before += given.error(&fit, &weight);
    }
    // A number that is not finite is no gain.
    let is_changed = choice.error < before;
    if is_changed {
        let given = total.fit(n_hidden, choice.penalty)?;
        add_difference(network, &given, &of_own.fit(n_hidden, choice.penalty)?, n_hidden);
    }
    Some(Gain { before, after: choice.error, is_changed, n_rows: data.n_rows() })
}

/// What the last layer reads: hidden units, then the code where the stage has a linear path.
#[derive(Clone, Copy)]
struct LastLayer {
    n_hidden: usize,
    /// Length of the code that comes by the linear path; it is not penalised.
    n_free: usize,
}

impl LastLayer {
    fn of(network: &Network) -> Option<Self> {
        let (first, last) = (network.decoder.first()?, network.decoder.last()?);
        Some(match network.decoder.len() {
            1 => Self { n_hidden: 0, n_free: last.in_dim },
            _ if first.carry > 0 => Self { n_hidden: last.in_dim, n_free: first.in_dim },
            _ => Self { n_hidden: last.in_dim, n_free: 0 },
        })
    }
}

/// Moments of every fold: features from codes `[n × code_dim]`.
fn moments(network: &Network, codes: &[f32], data: &TrainingData<'_>) -> Option<Vec<Moments>> {
    let LastLayer { n_hidden, n_free } = LastLayer::of(network)?;
    let m = n_hidden + n_free;
    let before = network.decoder.split_last()?.1;
    let code_dim = codes.len() / data.n_rows().max(1);
    let features = |row: usize| -> Vec<f64> {
        let code = &codes[row * code_dim..(row + 1) * code_dim];
        let code: Vec<f64> = code.iter().map(|&x| f64::from(x)).collect();
        let mut read = hidden(before, &code).read;
        if !before.is_empty() {
            read.extend(&code[..n_free]);
        }
        read
    };
    let fold = |fold: usize| {
        let mut moments = Moments::new(m, data.n_genes);
        let rows: Vec<usize> = (fold..data.n_rows()).step_by(FOLDS).collect();
        for block in rows.chunks(BLOCK) {
            let cells: Vec<_> =
                block.par_iter().map(|&row| (features(row), profile(data, row))).collect();
            let features = Mat::from_fn(block.len(), m, |at, i| cells[at].0[i]);
            let targets = Mat::from_fn(block.len(), data.n_genes, |at, gene| cells[at].1[gene]);
            moments.add(&features, &targets);
        }
        moments
    };
    Some((0..FOLDS).map(fold).collect())
}

fn add_difference(network: &mut Network, given: &Ridge, own: &Ridge, n_hidden: usize) {
    let difference = |i: usize, gene: usize| given.weights[(i, gene)] - own.weights[(i, gene)];
    let add = |weight: &mut f32, more: f64| *weight = (f64::from(*weight) + more) as f32;
    let n_layers = network.decoder.len();
    let Some(last) = network.decoder.last_mut() else { return };
    for (gene, row) in last.weights.chunks_exact_mut(last.in_dim).enumerate() {
        row.iter_mut().enumerate().for_each(|(i, weight)| add(weight, difference(i, gene)));
    }
    for (gene, bias) in last.bias.iter_mut().enumerate() {
        add(bias, given.bias[gene] - own.bias[gene]);
    }
    let Some(first) = network.decoder.first_mut().filter(|_| n_layers > 1) else { return };
    let carried = first.activated_dim() * first.in_dim;
    for (gene, row) in first.weights[carried..].chunks_exact_mut(first.in_dim).enumerate() {
        let linear = row.iter_mut().enumerate();
        linear.for_each(|(dim, weight)| add(weight, difference(n_hidden + dim, gene)));
    }
}

/// Rows that are dense at a time.
const BLOCK: usize = 256;
