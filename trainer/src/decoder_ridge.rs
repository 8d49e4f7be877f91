//! The last decoder layer in closed form: ridge regression of the fitted profiles on what that layer reads.
//!
//! Gradient descent leaves it noisy where most of the variance is noise (single cells), and shrunken where inputs are
//! dropped while training. The linear path is free of penalty, so that it gives as much as principal components would;
//! hidden units are penalised as much as cross-validation over the fitted rows says.

use faer::Mat;

use crate::ridge::{Choice, FOLDS, Moments};
use crate::stage::Stage;

impl Stage<'_> {
    /// Replaces weights and bias of the last decoder layer. Layers before it stay as they are.
    pub(crate) fn refit_decoder(&mut self) {
        let moments = self.decoder_moments();
        let code = self.network.architecture.code;
        let Some(layer) = self.network.decoder.last() else { return };
        // Without a linear path every feature is penalised.
        let n_free = if self.network.architecture.linear_skip { code } else { 0 };
        let n_hidden = layer.in_dim - n_free;
        let weight: Vec<f64> =
            self.standardiser.loss_weight.iter().map(|&weight| f64::from(weight)).collect();
        let best = Choice::by_cross_validation(&moments, n_hidden, &weight);
        let fit = best.and_then(|best| Moments::sum(&moments).fit(n_hidden, best.penalty));
        let Some(fit) = fit else { return };
        let Some(layer) = self.network.decoder.last_mut() else { return };
        let n_genes = layer.units;
        for feature in 0..layer.in_dim {
            let row = &mut layer.weights.value[feature * n_genes..(feature + 1) * n_genes];
            row.iter_mut()
                .enumerate()
                .for_each(|(gene, w)| *w = fit.weights[(feature, gene)] as f32);
        }
        layer.bias.value.iter_mut().zip(&fit.bias).for_each(|(bias, &fit)| *bias = fit as f32);
    }

    /// Moments of features and targets, one for each fold: every so many rows.
    fn decoder_moments(&mut self) -> Vec<Moments> {
        let rows = core::mem::take(&mut self.rows);
        let n_draws = if self.is_disturbed() { DRAWS } else { 1 };
        // Every disturbed row has a stream of its own.
        let mut place = 0;
        let moments = (0..FOLDS.min(rows.len()))
            .map(|fold| {
                let of: Vec<usize> = rows.iter().skip(fold).step_by(FOLDS).copied().collect();
                let layer = self.network.decoder.last();
                let (m, p) = layer.map_or((0, 0), |layer| (layer.in_dim, layer.units));
                let mut moments = Moments::new(m, p);
                let chunks = of.chunks(self.max_rows);
                for chunk in (0..n_draws).flat_map(|_| chunks.clone()) {
                    self.infer_disturbed(chunk, place);
                    place += chunk.len() as u64;
                    let features = self.decoder_features(chunk.len());
                    let targets = self.batch.targets(&self.standardiser);
                    moments.add(&features, &targets);
                }
                moments
            })
            .collect();
        self.rows = rows;
        moments
    }

    /// What the last decoder layer read, `[n × in_dim]`.
    fn decoder_features(&self, n: usize) -> Mat<f64> {
        let decoder = &self.network.decoder;
        let Some((output, hidden)) = decoder.split_last() else { return Mat::new() };
        let (values, stride) = match hidden.last() {
            Some(layer) => (&layer.out, layer.stride),
            None => (&self.network.code, self.network.architecture.code),
        };
        Mat::from_fn(n, output.in_dim, |row, at| f64::from(values[row * stride + at]))
    }
}

/// How often each row is disturbed.
const DRAWS: usize = 4;
