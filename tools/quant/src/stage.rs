//! One chain of layers to int8, layer by layer. Every layer is fitted to what the int8 layers
//! before it really give on the calibration cells, so that their mean errors end here.

use cic_model::quant::{LEVEL_MAX, Ratio, requantize_i32, table_index};
use cic_model::spec::{QuantEpilogue, QuantLayer, QuantSegment};
use cic_model::{DenseLayer, Dtype};

use crate::activation_range;
use crate::error::QuantError;
use crate::layer_report::{self, LayerReport, OutputReport};
use crate::matrix::{affine, integer_products};
use crate::quantize::Int8Options;
use crate::rounding::round;

/// Inputs of a layer on the calibration cells, in full precision and as levels.
#[derive(Clone)]
pub(crate) struct Activations {
    /// `[n × dim]`
    pub(crate) float: Vec<f32>,
    /// `[n × dim]`
    pub(crate) levels: Vec<u8>,
    /// `[dim]`: the value is `scale · level + offset`.
    pub(crate) scales: Vec<(f64, f64)>,
}

/// A quantised stage whose last layer lacks its ratios: they depend on what the sums become.
#[derive(Default)]
pub(crate) struct QuantStage {
    pub(crate) layers: Vec<QuantLayer>,
    /// Value of one unit of the last layer's sums, `[out_dim]`.
    pub(crate) scales: Vec<f64>,
    /// The last layer's sums, `[n × out_dim]`.
    pub(crate) sums: Vec<i32>,
    /// What they stand for in full precision, `[n × out_dim]`.
    pub(crate) float: Vec<f32>,
    /// What became of each layer.
    pub(crate) reports: Vec<LayerReport>,
}

/// What skips the middle of a stage.
struct Carry {
    /// In full precision, `[n × len]`.
    float: Vec<f32>,
    /// Without bias, `[n × len]`.
    sums: Vec<i32>,
    /// Value of one unit, `[len]`.
    scales: Vec<f64>,
    /// Largest magnitude that any input can give, in units, `[len]`.
    bounds: Vec<f64>,
}

/// Sums beyond this are kept out by the choice of the scales, so that 2³¹ is never reached.
const SUM_LIMIT: f64 = 1_073_741_824.0;

/// Which stage, and how it is quantised.
#[derive(Clone, Copy)]
pub(crate) struct StagePlan<'a> {
    pub(crate) name: &'static str,
    /// Counts its first layer among all layers, for messages.
    pub(crate) first_number: usize,
    pub(crate) int8: &'a Int8Options,
}

/// Quantises a stage.
pub(crate) fn quantize_stage(
    plan: StagePlan<'_>,
    layers: &[DenseLayer],
    input: Activations,
) -> Result<QuantStage, QuantError> {
    let mut quantised = Vec::with_capacity(layers.len());
    let mut reports = Vec::with_capacity(layers.len());
    let mut report = |number: usize, layer: &DenseLayer, done: (f64, OutputReport)| {
        let (weights_db, outputs) = (done.0, Some(done.1));
        let dims = (layer.in_dim, layer.out_dim());
        let (stage, dtype) = (plan.name, Dtype::S8);
        reports.push(LayerReport { stage, layer: number, dims, dtype, weights_db, outputs });
    };
    let mut carry: Option<Carry> = None;
    let mut input = input;
    for (number, layer) in layers.iter().enumerate() {
        if number + 1 == layers.len() {
            let (mut stage, weights_db) =
                last_layer(plan, layer, &input, carry.as_ref(), quantised)?;
            let outputs = layer_report::of_sums(&stage.float, &stage.sums, &stage.scales);
            report(number, layer, (weights_db, outputs));
            stage.reports = reports;
            return Ok(stage);
        }
        let Hidden { quant, next, carry: carried, weights_db } =
            hidden_layer(plan, number, layer, &input)?;
        quantised.push(quant);
        let outputs = layer_report::of_levels(&next.float, &next.levels, &next.scales);
        report(number, layer, (weights_db, outputs));
        carry = carry.or(carried);
        input = next;
    }
    Ok(QuantStage { layers: quantised, ..QuantStage::default() })
}

/// What [`RangePlan`](crate::RangePlan) calls the outputs of a hidden layer of a stage.
pub(crate) fn hidden_name(stage: &str, number: usize) -> String {
    format!("{stage}.{number}")
}

/// A layer with activations, and what follows from it.
struct Hidden {
    quant: QuantLayer,
    next: Activations,
    carry: Option<Carry>,
    weights_db: f64,
}

/// A layer with activations. The ratios of carried rows stay zero: they depend on the last layer's
/// scales, and [`last_layer`] sets them.
fn hidden_layer(
    plan: StagePlan<'_>,
    number: usize,
    layer: &DenseLayer,
    input: &Activations,
) -> Result<Hidden, QuantError> {
    let method = plan.int8.ranges.method(&hidden_name(plan.name, number));
    let number = plan.first_number + number;
    let (activated, out_dim) = (layer.activated_dim(), layer.out_dim());
    let float = affine(layer, &input.float);
    let weights = per_level(layer, &input.scales);
    let rounding = plan.int8.rounding;
    let rounded = round(&weights, layer.in_dim, &input.levels, rounding, |row| {
        min_scale(layer, &weights, row, 0.0)
    });
    let products = integer_products(&rounded.weights, layer.in_dim, &input.levels);
    let biases = mean_difference(&float, &products, &rounded.scales);

    let mut bias = Vec::with_capacity(out_dim);
    let mut ratios = Vec::with_capacity(out_dim);
    let mut segments = Vec::with_capacity(layer.segments.len());
    let mut scales = Vec::with_capacity(activated);
    for segment in &layer.segments {
        let begin = bias.len();
        let units: Vec<Vec<f32>> = (begin..begin + segment.len)
            .map(|unit| float.iter().skip(unit).step_by(out_dim).copied().collect())
            .collect();
        let range = activation_range::fit(segment, &units, method);
        for (unit, &(grid_begin, step)) in range.grid.iter().enumerate() {
            let row = begin + unit;
            let scale = rounded.scales[row];
            // Entry 0 of the table is index −128.
            bias.push(to_sum((biases[row] - grid_begin - 128.0 * step) / scale));
            ratios.push(ratio(scale / step, number)?);
        }
        // One pair stands for the segment in the file; every unit has its own in the weights.
        let (scale, offset) = range.scales.first().copied().unwrap_or((0.0, 0.0));
        segments.push(QuantSegment {
            len: segment.len,
            activation: segment.activation,
            table: range.table,
            scale: scale as f32,
            offset: offset as f32,
        });
        scales.extend(range.scales);
    }
    let carry = (layer.carry > 0).then(|| {
        let rows = activated..out_dim;
        Carry {
            float: float.chunks_exact(out_dim).flat_map(|row| row[activated..].to_vec()).collect(),
            sums: products
                .chunks_exact(out_dim)
                .flat_map(|row| row[activated..].to_vec())
                .collect(),
            scales: rounded.scales[rows.clone()].to_vec(),
            bounds: rows
                .map(|row| {
                    let weights = &rounded.weights[row * layer.in_dim..(row + 1) * layer.in_dim];
                    let sum: i64 = weights.iter().map(|&w| i64::from(w).abs()).sum();
                    (i64::from(LEVEL_MAX) * sum) as f64
                })
                .collect(),
        }
    });
    // The last layer's bias takes up the means of the carried rows.
    bias.resize(out_dim, 0);
    ratios.resize(out_dim, Ratio { multiplier: 0, shift: 0 });

    let mut next = Activations { float: Vec::new(), levels: Vec::new(), scales };
    for (float, products) in float.chunks_exact(out_dim).zip(products.chunks_exact(out_dim)) {
        let mut row = 0;
        for (segment, quant) in layer.segments.iter().zip(&segments) {
            for _ in 0..segment.len {
                let index = table_index(products[row].wrapping_add(bias[row]), ratios[row]);
                next.levels.push(quant.table[usize::from(index)]);
                next.float.push(segment.activation.apply(float[row]));
                row += 1;
            }
        }
    }
    let quant = QuantLayer {
        in_dim: layer.in_dim,
        segments,
        carry: layer.carry,
        weights: rounded.weights,
        epilogue: QuantEpilogue { bias, ratios },
    };
    let weights_db =
        layer_report::weights_db(&weights, &quant.weights, &rounded.scales, layer.in_dim);
    Ok(Hidden { quant, next, carry, weights_db })
}

fn last_layer(
    plan: StagePlan<'_>,
    layer: &DenseLayer,
    input: &Activations,
    carry: Option<&Carry>,
    mut before: Vec<QuantLayer>,
) -> Result<(QuantStage, f64), QuantError> {
    let number = plan.first_number + before.len();
    let out_dim = layer.out_dim();
    let weights = per_level(layer, &input.scales);
    let carried_bound =
        |row: usize| carry.map_or(0.0, |carry| carry.scales[row] * carry.bounds[row]);
    let rounded = round(&weights, layer.in_dim, &input.levels, plan.int8.rounding, |row| {
        min_scale(layer, &weights, row, carried_bound(row))
    });
    let weights_db =
        layer_report::weights_db(&weights, &rounded.weights, &rounded.scales, layer.in_dim);
    // As large as the outputs that follow.
    drop(weights);
    let mut products = integer_products(&rounded.weights, layer.in_dim, &input.levels);
    let mut float = affine(layer, &input.float);
    if let (Some(carry), Some(first)) = (carry, before.first_mut()) {
        let activated = first.activated_dim();
        let ratios = &mut first.epilogue.ratios[activated..];
        for (row, place) in ratios.iter_mut().enumerate() {
            *place = ratio(carry.scales[row] / rounded.scales[row], number)?;
        }
        for (products, sums) in
            products.chunks_exact_mut(out_dim).zip(carry.sums.chunks_exact(out_dim))
        {
            for ((product, &sum), &ratio) in products.iter_mut().zip(sums).zip(&*ratios) {
                *product = product.wrapping_add(requantize_i32(sum, ratio));
            }
        }
        for (float, carried) in float.iter_mut().zip(&carry.float) {
            *float += carried;
        }
    }
    let biases = mean_difference(&float, &products, &rounded.scales);
    let bias: Vec<i32> =
        biases.iter().zip(&rounded.scales).map(|(bias, scale)| to_sum(bias / scale)).collect();
    for products in products.chunks_exact_mut(out_dim) {
        for (product, &bias) in products.iter_mut().zip(&bias) {
            *product = product.wrapping_add(bias);
        }
    }
    let segments = layer.segments.iter().map(|segment| QuantSegment {
        len: segment.len,
        activation: segment.activation,
        table: Vec::new(),
        scale: 0.0,
        offset: 0.0,
    });
    before.push(QuantLayer {
        in_dim: layer.in_dim,
        segments: segments.collect(),
        carry: 0,
        weights: rounded.weights,
        epilogue: QuantEpilogue { bias, ratios: Vec::new() },
    });
    let scales = rounded.scales;
    Ok((
        QuantStage { layers: before, scales, sums: products, float, reports: Vec::new() },
        weights_db,
    ))
}

/// Weights per input level: `[out_dim × in_dim]`.
fn per_level(layer: &DenseLayer, scales: &[(f64, f64)]) -> Vec<f64> {
    let rows = layer.weights.chunks_exact(layer.in_dim.max(1));
    rows.flat_map(|row| row.iter().zip(scales).map(|(&w, &(scale, _))| f64::from(w) * scale))
        .collect()
}

/// The smallest scale of a row with which no input can take its sum near 2³¹.
fn min_scale(layer: &DenseLayer, weights: &[f64], row: usize, carried_bound: f64) -> f64 {
    let weights = &weights[row * layer.in_dim..(row + 1) * layer.in_dim];
    let sum: f64 = weights.iter().map(|w| w.abs()).sum();
    let bias = f64::from(layer.bias[row].abs());
    // Twice, because the bias of the int8 layer also holds the offsets of its inputs and outputs.
    let bound = 2.0 * (f64::from(LEVEL_MAX) * sum + bias + carried_bound);
    if sum == 0.0 && carried_bound == 0.0 {
        // Nothing but a bias, in fine steps.
        return (bound + 1.0) / (SUM_LIMIT / 1024.0);
    }
    bound / SUM_LIMIT
}

/// Mean over the cells of what the integer sums lack, per row: bias, offsets of the inputs and
/// every mean error.
fn mean_difference(float: &[f32], products: &[i32], scales: &[f64]) -> Vec<f64> {
    let width = scales.len().max(1);
    let n = (float.len() / width).max(1) as f64;
    let mut means = vec![0.0; scales.len()];
    for (float, products) in float.chunks_exact(width).zip(products.chunks_exact(width)) {
        for (((mean, &float), &product), &scale) in
            means.iter_mut().zip(float).zip(products).zip(scales)
        {
            *mean += (f64::from(float) - scale * f64::from(product)) / n;
        }
    }
    means
}

/// Rounded and kept within the limit; a verified model proves that this was no loss.
fn to_sum(units: f64) -> i32 {
    units.round().clamp(-2.0 * SUM_LIMIT + 1.0, 2.0 * SUM_LIMIT - 1.0) as i32
}

/// A ratio that the format can express.
pub(crate) fn ratio(ratio: f64, layer: usize) -> Result<Ratio, QuantError> {
    Ratio::from_f64(ratio).ok_or(QuantError::Scale { layer, ratio })
}
