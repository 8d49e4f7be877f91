//! Codes that are scores of classes: what of them decides a label.

use cic_model::{DenseLayer, Network};

/// Below which value a dimension of the code decides nothing, `[code_dim]`. Only where each is one class's score and nothing
/// else reads it, as in linear models of others: there what is far below the best class of every cell is never the best.
pub(crate) fn least_that_matters(network: &Network, codes: &[f32]) -> Vec<f32> {
    let width = network.encoder.last().map_or(0, DenseLayer::out_dim);
    let none = vec![f32::NEG_INFINITY; width];
    let ([scores], []) = (network.classifier.as_slice(), network.decoder.as_slice()) else {
        return none;
    };
    let row = |class: usize| &scores.weights[class * width..][..width];
    let is_own = |class: usize| {
        row(class).iter().enumerate().all(|(dim, &w)| (dim == class) == (w > 0.0) && w >= 0.0)
    };
    if scores.out_dim() != width || !(0..width).all(is_own) {
        return none;
    }
    let score = |class: usize, value: f32| row(class)[class] * value + scores.bias[class];
    let best = |codes: &[f32]| {
        let scores = codes.iter().enumerate().map(|(class, &value)| score(class, value));
        scores.fold(f32::NEG_INFINITY, f32::max)
    };
    let (worst, top) = (codes.chunks_exact(width).map(best))
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), best| (lo.min(best), hi.max(best)));
    let least = worst - SCORE_REACH.max((top - worst) / 4.0);
    (0..width).map(|class| (least - scores.bias[class]) / row(class)[class]).collect()
}

/// How far below the best score of the least certain calibration cell another one still matters, and a quarter of how far the
/// best scores lie apart: other cells may be less certain.
const SCORE_REACH: f32 = 8.0;

#[cfg(test)]
mod tests {
    use cic_model::{Activation, Segment};

    use super::*;

    fn layer(in_dim: usize, weights: &[f32], bias: &[f32]) -> DenseLayer {
        let segments = vec![Segment { len: bias.len(), activation: Activation::Identity }];
        DenseLayer { in_dim, segments, carry: 0, weights: weights.to_vec(), bias: bias.to_vec() }
    }

    fn network(weights: &[f32], decoder: Vec<DenseLayer>) -> Network {
        let encoder = vec![layer(1, &[1.0, 1.0], &[0.0, 0.0])];
        Network { encoder, classifier: vec![layer(2, weights, &[0.0, 1.0])], decoder }
    }

    #[test]
    fn scores_far_below_the_best_of_every_cell_do_not_matter() {
        // Scores 0 and -99, -50 and 41: the best lie 41 apart.
        let codes = [0.0, -50.0, -50.0, 20.0];
        let least = least_that_matters(&network(&[1.0, 0.0, 0.0, 2.0], Vec::new()), &codes);
        assert_eq!(least, [-10.25, -5.625]);
        // Nearer to each other than that.
        let least = least_that_matters(&network(&[1.0, 0.0, 0.0, 2.0], Vec::new()), &codes[..2]);
        assert_eq!(least, [-8.0, -4.5]);
    }

    #[test]
    fn codes_that_more_is_read_from_matter_everywhere() {
        let everywhere = [f32::NEG_INFINITY; 2];
        for weights in [[1.0, 0.5, 0.0, 2.0], [1.0, 0.0, 0.0, -2.0], [0.0, 1.0, 1.0, 0.0]] {
            assert_eq!(least_that_matters(&network(&weights, Vec::new()), &[0.0; 2]), everywhere);
        }
        let decoder = vec![layer(2, &[1.0, 1.0], &[0.0])];
        let network = network(&[1.0, 0.0, 0.0, 2.0], decoder);
        assert_eq!(least_that_matters(&network, &[0.0; 2]), everywhere);
    }
}
