//! What rounding did to each layer, measured on the calibration cells.

use cic_model::quant::LEVEL_MAX;
use cic_model::{DenseLayer, Dtype, Network};

use crate::range_method::extremes;

/// One layer of a quantised model beside the layer that it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerReport {
    /// `encoder`, `classifier` or `decoder`.
    pub stage: &'static str,
    /// Its number in the stage.
    pub layer: usize,
    /// Numbers that it reads, and gives.
    pub dims: (usize, usize),
    /// How its weights are stored.
    pub dtype: Dtype,
    /// Signal to quantisation noise of the weights, dB; infinite where nothing was lost.
    pub weights_db: f64,
    /// What became of its outputs; `None` of f16 and mixed models, whose inputs are not rounded.
    pub outputs: Option<OutputReport>,
}

impl LayerReport {
    /// Stage and number.
    pub fn name(&self) -> String {
        format!("{} {}", self.stage, self.layer)
    }
}

/// Outputs of an int8 layer on the calibration cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputReport {
    /// Smallest and largest in full precision.
    pub range: (f64, f64),
    /// Signal to noise of what int8 layers make up to here, dB: errors of all layers before are in it.
    pub sqnr_db: f64,
    /// Share of them in full precision that lie outside of what levels can express.
    pub clipped: f64,
}

/// Signal power over noise power, in decibels. Signals are taken from their means: a constant carries nothing.
pub(crate) fn decibels(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let n = pairs.clone().count().max(1) as f64;
    let mean = pairs.clone().map(|(exact, _)| exact).sum::<f64>() / n;
    let (signal, noise) = pairs.fold((0.0, 0.0), |(signal, noise), (exact, rounded)| {
        (signal + (exact - mean).powi(2), noise + (exact - rounded).powi(2))
    });
    match (signal > 0.0, noise > 0.0) {
        (_, false) => f64::INFINITY,
        (false, true) => f64::NEG_INFINITY,
        (true, true) => 10.0 * (signal / noise).log10(),
    }
}

/// Weights by rows `[out_dim × in_dim]`, and integers that stand for them with a scale a row.
pub(crate) fn weights_db(weights: &[f64], rounded: &[i8], scales: &[f64], in_dim: usize) -> f64 {
    let pairs = weights.iter().zip(rounded).enumerate();
    decibels(
        pairs.map(|(at, (&exact, &integer))| {
            (exact, scales[at / in_dim.max(1)] * f64::from(integer))
        }),
    )
}

/// Outputs that have levels: `scale · level + offset` each.
pub(crate) fn of_levels(float: &[f32], levels: &[u8], scales: &[(f64, f64)]) -> OutputReport {
    let width = scales.len().max(1);
    let pairs = float.iter().zip(levels).enumerate().map(|(at, (&exact, &level))| {
        let (scale, offset) = scales[at % width];
        (f64::from(exact), scale * f64::from(level) + offset)
    });
    let is_outside = |(at, &exact): (usize, &f32)| {
        let (scale, offset) = scales[at % width];
        let level = (f64::from(exact) - offset) / scale;
        // Half a step beyond is what rounding does.
        level < -0.5 || level > f64::from(LEVEL_MAX) + 0.5
    };
    let n_outside = float.iter().enumerate().filter(|&pair| is_outside(pair)).count();
    OutputReport {
        range: extremes(float),
        sqnr_db: decibels(pairs),
        clipped: n_outside as f64 / float.len().max(1) as f64,
    }
}

/// Outputs that are sums of the last layer of a stage.
pub(crate) fn of_sums(float: &[f32], sums: &[i32], scales: &[f64]) -> OutputReport {
    let width = scales.len().max(1);
    let pairs = float.iter().zip(sums).enumerate();
    let pairs =
        pairs.map(|(at, (&exact, &sum))| (f64::from(exact), scales[at % width] * f64::from(sum)));
    OutputReport { range: extremes(float), sqnr_db: decibels(pairs), clipped: 0.0 }
}

/// All layers with rounded weights beside those in single precision; `dtype` gives how those of a layer, counted through the stages, are
/// stored.
pub(crate) fn of_network(
    exact: &Network,
    rounded: &Network,
    dtype: impl Fn(usize) -> Dtype,
) -> Vec<LayerReport> {
    let stages = [
        ("encoder", &exact.encoder, &rounded.encoder),
        ("classifier", &exact.classifier, &rounded.classifier),
        ("decoder", &exact.decoder, &rounded.decoder),
    ];
    let mut first = 0;
    let of_stage = |(stage, exact, rounded): (_, &Vec<_>, &Vec<_>)| {
        let reports = of_weights(stage, exact, rounded, |number| dtype(first + number));
        first += exact.len();
        reports
    };
    stages.into_iter().flat_map(of_stage).collect()
}

fn of_weights(
    stage: &'static str,
    layers: &[DenseLayer],
    rounded: &[DenseLayer],
    dtype: impl Fn(usize) -> Dtype,
) -> Vec<LayerReport> {
    let pairs = layers.iter().zip(rounded).enumerate();
    pairs
        .map(|(number, (exact, rounded))| {
            let pairs = exact.weights.iter().zip(&rounded.weights);
            LayerReport {
                stage,
                layer: number,
                dims: (exact.in_dim, exact.out_dim()),
                dtype: dtype(number),
                weights_db: decibels(pairs.map(|(&a, &b)| (f64::from(a), f64::from(b)))),
                outputs: None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `10 * numpy.log10(numpy.var(x) * len(x) / numpy.sum((x - y) ** 2))`
    #[test]
    fn decibels_equal_numpy() {
        let exact = [1.0, 2.0, 3.0, 4.0];
        let rounded = [1.1, 2.0, 2.9, 4.0];
        let found = decibels(exact.into_iter().zip(rounded));
        assert!((found - 23.979_400_086_720_38).abs() < 1e-9, "{found}");
        assert_eq!(decibels(exact.into_iter().zip(exact)), f64::INFINITY);
        assert_eq!(decibels([(2.0, 1.0), (2.0, 2.0)].into_iter()), f64::NEG_INFINITY);
    }

    #[test]
    fn what_no_level_expresses_is_clipped() {
        // Levels of 0.1 from 0 to 12.7.
        let float = [0.0, 0.12, 12.7, 12.8, -1.0];
        let report = of_levels(&float, &[0, 1, 127, 127, 0], &[(0.1, 0.0)]);
        assert_eq!((report.clipped, report.range), (0.4, (-1.0, f64::from(12.8_f32))));
    }
}
