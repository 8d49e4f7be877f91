//! Models of mixed types: int8 weights in the layers that have some for every gene, half precision in the small ones between them.
//!
//! Nearly all of a model is its first encoder layer and its last decoder layer. Their inputs stay floating point, so that
//! rounding weights is all that is lost, and the mean of that goes into the bias.

use std::collections::BTreeMap;

use cic_model::spec::MixedNetwork;
use cic_model::{DenseLayer, Dtype, Model, Network};

use crate::calibration::{CalibrationCell, CalibrationSet, MAX_CALIBRATION_ROWS};
use crate::error::QuantError;
use crate::input_levels;
use crate::layer_report::{LayerReport, of_network};
use crate::matrix::affine;
use crate::quantize::round_to_half;
use crate::rounding::{Moments, round_rows};

/// Rounds all layers of a network.
pub(crate) fn to_mixed(
    model: &Model<'_>,
    network: &Network,
    calibration: &CalibrationSet<'_>,
) -> Result<(MixedNetwork, Vec<LayerReport>), QuantError> {
    let profile = model.profiles().first().ok_or(QuantError::NoCalibration)?;
    let cells = calibration.cells(profile, MAX_CALIBRATION_ROWS);
    let cells: Vec<CalibrationCell<'_>> = cells.into_iter().map(|(_, cell)| cell).collect();
    let (Some(first), false) = (network.encoder.first(), cells.is_empty()) else {
        return Err(QuantError::NoCalibration);
    };
    let inputs = input_levels::inputs(profile, &cells);
    let n_layers = network.layers().count();
    // By their numbers, counted through the stages.
    let mut of_genes = BTreeMap::from([(0, int8_rows(first, &inputs))]);
    if let Some((last, before)) = network.decoder.split_last() {
        let mut hidden = outputs(&network.encoder, inputs);
        for layer in before {
            hidden = activated(layer, &affine(layer, &hidden));
        }
        of_genes.insert(n_layers - 1, int8_rows(last, &hidden));
    }

    let mut rounded = network.clone();
    let mut scales = Vec::with_capacity(n_layers);
    for (number, layer) in rounded.layers_mut().enumerate() {
        let (written, of_rows) = match of_genes.remove(&number) {
            Some(int8) => int8,
            None => (round_to_half(layer, number)?, Vec::new()),
        };
        *layer = written;
        scales.push(of_rows);
    }
    let reports = of_network(network, &rounded, |number| match scales[number].is_empty() {
        true => Dtype::F16,
        false => Dtype::S8,
    });
    Ok((MixedNetwork { network: rounded, scales }, reports))
}

/// A layer with weights that are integers times the scale of their row, and these scales.
fn int8_rows(layer: &DenseLayer, inputs: &[f32]) -> (DenseLayer, Vec<f32>) {
    let Moments { means, variances } = Moments::of(inputs, layer.in_dim);
    let exact: Vec<f64> = layer.weights.iter().map(|&weight| f64::from(weight)).collect();
    let rounded = round_rows(&exact, layer.in_dim, &variances, |_| f64::from(f32::MIN_POSITIVE));
    let scales: Vec<f32> = rounded.scales.iter().map(|&scale| scale as f32).collect();
    let in_dim = layer.in_dim.max(1);
    let integers = rounded.weights.iter().enumerate();
    let weights: Vec<f32> =
        integers.map(|(at, &integer)| f32::from(integer) * scales[at / in_dim]).collect();
    let rows = layer.weights.chunks_exact(in_dim).zip(weights.chunks_exact(in_dim));
    let bias = layer.bias.iter().zip(rows).map(|(&bias, (exact, rounded))| {
        let lost = exact.iter().zip(rounded).zip(&means);
        let lost = lost.map(|((&exact, &rounded), mean)| f64::from(exact - rounded) * mean);
        (f64::from(bias) + lost.sum::<f64>()) as f32
    });
    (DenseLayer { bias: bias.collect(), weights, ..layer.clone() }, scales)
}

/// What a stage gives, `[n × out_dim]`, what is carried included.
fn outputs(layers: &[DenseLayer], inputs: Vec<f32>) -> Vec<f32> {
    let (mut values, mut carried) = (inputs, Vec::new());
    for (number, layer) in layers.iter().enumerate() {
        let sums = affine(layer, &values);
        if number + 1 == layers.len() {
            values = sums;
            break;
        }
        if layer.carry > 0 {
            let rows = sums.chunks_exact(layer.out_dim());
            carried = rows.flat_map(|row| row[layer.activated_dim()..].to_vec()).collect();
        }
        values = activated(layer, &sums);
    }
    for (value, carried) in values.iter_mut().zip(&carried) {
        *value += carried;
    }
    values
}

/// Activations of the sums of a layer, `[n × activated_dim]`, without what it carries.
fn activated(layer: &DenseLayer, sums: &[f32]) -> Vec<f32> {
    let kinds: Vec<_> = (layer.segments.iter())
        .flat_map(|segment| std::iter::repeat_n(segment.activation, segment.len))
        .collect();
    let rows = sums.chunks_exact(layer.out_dim().max(1));
    rows.flat_map(|row| row.iter().zip(&kinds).map(|(&sum, kind)| kind.apply(sum))).collect()
}
