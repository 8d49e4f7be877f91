//! An f32 model to f16, int8 or both.

use cic_model::novelty::FLOAT_CODE_UNITS;
use cic_model::profile::has_gene_scales;
use cic_model::quant::{LEVEL_MAX, ONE_Q16, code_level, requantize_i16};
use cic_model::spec::{CodeDimSpec, LayoutPlan, ModelSpec, NetworkSpec, QuantNetwork};
use cic_model::{AlignedBytes, DenseLayer, Dtype, Model, Network};
use cic_runtime::{Numbers, Sample, Session};

use crate::calibration::{CalibrationCell, CalibrationSet, MAX_CALIBRATION_ROWS};
use crate::error::QuantError;
use crate::input_levels;
use crate::layer_report::{LayerReport, of_network};
use crate::mixed::to_mixed;
use crate::range_method::{Begin, CODE, GENES, INPUT, RangeMethod, RangePlan};
use crate::rounding::Rounding;
use crate::scores::least_that_matters;
use crate::stage::{self, Activations, QuantStage, StagePlan, quantize_stage, ratio};

/// What to make of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizeOptions {
    /// [`Dtype::F16`], [`Dtype::S8`] or [`Dtype::Mixed`].
    pub to: Dtype,
    /// How int8 models are fitted to the calibration cells.
    pub int8: Int8Options,
    /// Keep the decoder.
    pub with_decoder: bool,
    /// Keep the digests of the training rows, with which leakage is found.
    pub with_rows: bool,
    /// Where the weights go.
    pub layouts: LayoutPlan,
}

/// How an int8 model is fitted to the calibration cells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int8Options {
    /// What levels express.
    pub ranges: RangePlan,
    /// How weights become integers.
    pub rounding: Rounding,
}

impl Int8Options {
    /// By min-max, each weight to the nearest: what models are fitted by that say nothing else.
    pub fn plain() -> Self {
        Self { ranges: RangeMethod::MinMax.into(), rounding: Rounding::Nearest }
    }

    /// What is other than [`Self::plain`], as provenance.
    fn facts(&self) -> Vec<(String, String)> {
        let plain = Self::plain();
        let mut facts = Vec::new();
        if self.ranges != plain.ranges {
            facts.push(("quantize.ranges".into(), self.ranges.to_string()));
        }
        if self.rounding != plain.rounding {
            facts.push(("quantize.rounding".into(), self.rounding.name().into()));
        }
        facts
    }
}

impl QuantizeOptions {
    /// Everything but the row digests is kept, weights in the layout for sparse samples.
    pub fn new(to: Dtype) -> Self {
        Self {
            to,
            int8: Int8Options::default(),
            with_decoder: true,
            with_rows: false,
            layouts: LayoutPlan::default(),
        }
    }
}

/// Quantises an f32 model. The result's golden cells hold what the reference kernels give for the
/// new weights; its provenance names the model that it was made from.
///
/// # Errors
/// A model that is quantised already, no usable calibration cell, numbers that the target cannot
/// express.
pub fn quantize(
    model: &Model<'_>,
    calibration: &CalibrationSet<'_>,
    options: &QuantizeOptions,
) -> Result<Vec<u8>, QuantError> {
    Ok(quantize_reported(model, calibration, options)?.0)
}

/// The same, and what it did to each layer.
///
/// # Errors
/// Those of [`quantize`].
pub fn quantize_reported(
    model: &Model<'_>,
    calibration: &CalibrationSet<'_>,
    options: &QuantizeOptions,
) -> Result<(Vec<u8>, Vec<LayerReport>), QuantError> {
    quantize_spec(model, ModelSpec::from_model(model), calibration, options)
}

/// Quantises what is described by `spec`, which was made from `model`.
pub(crate) fn quantize_spec(
    model: &Model<'_>,
    mut spec: ModelSpec,
    calibration: &CalibrationSet<'_>,
    options: &QuantizeOptions,
) -> Result<(Vec<u8>, Vec<LayerReport>), QuantError> {
    if model.dtype() != Dtype::F32 {
        return Err(QuantError::NotFullPrecision { found: model.dtype() });
    }
    let NetworkSpec::F32(network) = &mut spec.network else {
        return Err(QuantError::NotFullPrecision { found: model.dtype() });
    };
    if !options.with_decoder {
        network.decoder.clear();
        if let Some(novelty) = &mut spec.novelty {
            novelty.error_limits.fill(0.0);
        }
    }
    let reports = match options.to {
        Dtype::F32 => return Err(QuantError::NothingToDo),
        Dtype::F16 => {
            let (rounded, reports) = to_half(network)?;
            spec.network = NetworkSpec::F16(rounded);
            reports
        }
        Dtype::Mixed => {
            let (mixed, reports) = to_mixed(model, network, calibration)?;
            spec.network = NetworkSpec::Mixed(mixed);
            reports
        }
        Dtype::S8 => {
            let int8 = &options.int8;
            spec.provenance.extend(int8.facts());
            to_int8(model, &mut spec, calibration, int8)?
        }
    };
    if !options.with_rows {
        spec.rows = Default::default();
    }
    let facts = [
        ("quantize.calibration_cells", calibration.values.n_rows().to_string()),
        ("quantize.source_model", model.id().to_string()),
        ("quantize.to", options.to.name().to_string()),
        ("quantize.version", env!("CARGO_PKG_VERSION").to_string()),
    ];
    spec.provenance.extend(facts.map(|(key, value)| (key.to_string(), value)));
    renew_golden(&mut spec)?;
    Ok((spec.to_bytes(options.layouts)?, reports))
}

fn to_half(network: &Network) -> Result<(Network, Vec<LayerReport>), QuantError> {
    let mut rounded = network.clone();
    for (number, layer) in rounded.layers_mut().enumerate() {
        *layer = round_to_half(layer, number)?;
    }
    let reports = of_network(network, &rounded, |_| Dtype::F16);
    Ok((rounded, reports))
}

/// Every weight as the nearest half-precision number. Biases stay as they are.
pub(crate) fn round_to_half(layer: &DenseLayer, number: usize) -> Result<DenseLayer, QuantError> {
    let mut rounded = layer.clone();
    for weight in &mut rounded.weights {
        let half = half::f16::from_f32(*weight);
        if !half.is_finite() {
            return Err(QuantError::NotHalf { layer: number, value: *weight });
        }
        *weight = half.to_f32();
    }
    Ok(rounded)
}

fn to_int8(
    model: &Model<'_>,
    spec: &mut ModelSpec,
    calibration: &CalibrationSet<'_>,
    int8: &Int8Options,
) -> Result<Vec<LayerReport>, QuantError> {
    let NetworkSpec::F32(network) = &spec.network else {
        return Err(QuantError::NotFullPrecision { found: spec.network.dtype() });
    };
    let ([profile], [profile_spec]) = (model.profiles(), spec.profiles.as_mut_slice()) else {
        return Err(QuantError::SeveralProfiles { found: model.profiles().len() });
    };
    let input_name = if has_gene_scales(profile.kind()) { GENES } else { INPUT };
    int8.ranges.check(&range_names(network, input_name))?;
    let cells = calibration.cells(profile, MAX_CALIBRATION_ROWS);
    let cells: Vec<CalibrationCell<'_>> = cells.into_iter().map(|(_, cell)| cell).collect();
    let first = network.encoder.first().ok_or(QuantError::NoCalibration)?;
    if cells.is_empty() {
        return Err(QuantError::NoCalibration);
    }
    let inputs = input_levels::inputs(profile, &cells);
    let levels = input_levels::fit(profile, &inputs, int8.ranges.method(input_name))?;
    let input = Activations {
        levels: input_levels::levels(profile, &levels, &cells),
        scales: input_levels::input_scales(&levels, profile.limits(), first.in_dim),
        float: inputs,
    };
    profile_spec.levels = Some(levels);

    let n_encoder = network.encoder.len();
    let n_classifier = network.classifier.len();
    let plan = |name, first_number| StagePlan { name, first_number, int8 };
    let mut encoder = quantize_stage(plan("encoder", 0), &network.encoder, input)?;
    let units = output_units(&encoder, CODE_HEADROOM, CODE_MIN_RANGE);
    set_ratios(&mut encoder, &units, n_encoder - 1)?;
    let method = int8.ranges.method(CODE);
    let least = least_that_matters(network, &encoder.float);
    let (code, codes) = code_levels(&encoder, &units, n_encoder - 1, method, &least)?;

    let mut classifier =
        quantize_stage(plan("classifier", n_encoder), &network.classifier, codes.clone())?;
    let logit_units = vec![1.0 / f64::from(ONE_Q16); classifier.scales.len()];
    set_ratios(&mut classifier, &logit_units, (n_encoder + n_classifier).saturating_sub(1))?;

    let mut decoder =
        quantize_stage(plan("decoder", n_encoder + n_classifier), &network.decoder, codes)?;
    let reconstruction_units = output_units(&decoder, RECONSTRUCTION_HEADROOM, 1e-3);
    let n_layers = n_encoder + n_classifier + network.decoder.len();
    set_ratios(&mut decoder, &reconstruction_units, n_layers.saturating_sub(1))?;

    let reports = [encoder.reports, classifier.reports, decoder.reports].concat();
    spec.novelty = spec.novelty.as_ref().map(|novelty| {
        let float_units = vec![1.0 / f64::from(FLOAT_CODE_UNITS); units.len()];
        novelty.rescaled(&float_units, &units)
    });
    spec.network = NetworkSpec::S8(QuantNetwork {
        encoder: encoder.layers,
        classifier: classifier.layers,
        decoder: decoder.layers,
        other_profiles: Vec::new(),
        code,
        reconstruction_scales: reconstruction_units.iter().map(|&unit| unit as f32).collect(),
    });
    Ok(reports)
}

/// What a model has ranges of that a plan can name.
fn range_names(network: &Network, input_name: &str) -> Vec<String> {
    let hidden = |name: &'static str, layers: &[DenseLayer]| {
        (0..layers.len().saturating_sub(1)).map(move |number| stage::hidden_name(name, number))
    };
    [input_name, CODE]
        .map(String::from)
        .into_iter()
        .chain(hidden("encoder", &network.encoder))
        .chain(hidden("classifier", &network.classifier))
        .chain(hidden("decoder", &network.decoder))
        .collect()
}

/// Value of one unit of each `i16` output: the largest calibration cell takes `1 / headroom` of
/// the range, and the range is at least `min_range`. Single precision, because that is what the
/// file holds.
fn output_units(stage: &QuantStage, headroom: f64, min_range: f64) -> Vec<f64> {
    let mut largest = vec![0.0_f32; stage.scales.len()];
    for row in stage.float.chunks_exact(stage.scales.len().max(1)) {
        for (largest, value) in largest.iter_mut().zip(row) {
            *largest = largest.max(value.abs());
        }
    }
    let unit = |max: f32| (headroom * f64::from(max)).max(min_range) / f64::from(i16::MAX);
    largest.into_iter().map(|max| f64::from(unit(max) as f32)).collect()
}

/// Ratios from the sums of a stage's last layer to units of its outputs.
fn set_ratios(stage: &mut QuantStage, units: &[f64], number: usize) -> Result<(), QuantError> {
    let Some(last) = stage.layers.last_mut() else { return Ok(()) };
    let ratios = stage.scales.iter().zip(units).map(|(scale, unit)| ratio(scale / unit, number));
    last.epilogue.ratios = ratios.collect::<Result<_, _>>()?;
    Ok(())
}

/// The 7-bit copy of the code: a range per dimension, and the codes of the calibration cells in it. What is below `least`,
/// `[code_dim]`, need not be told apart.
fn code_levels(
    encoder: &QuantStage,
    units: &[f64],
    number: usize,
    method: RangeMethod,
    least: &[f32],
) -> Result<(Vec<CodeDimSpec>, Activations), QuantError> {
    let width = units.len().max(1);
    let ratios = encoder.layers.last().map_or(&[][..], |last| &last.epilogue.ratios);
    let codes: Vec<i16> = encoder
        .sums
        .chunks_exact(width)
        .flat_map(|sums| sums.iter().zip(ratios).map(|(&sum, &ratio)| requantize_i16(sum, ratio)))
        .collect();
    let mut dims = Vec::with_capacity(width);
    let mut scales = Vec::with_capacity(width);
    for ((dim, &unit), &least) in units.iter().enumerate().zip(least) {
        let least = least / unit as f32;
        let column = codes.iter().skip(dim).step_by(width);
        let column: Vec<f32> = column.map(|&code| f32::from(code).max(least)).collect();
        let (lo, hi) = method.bounds(&column, Begin::Free);
        // Never a range of zero: a dimension may be constant on the calibration cells.
        let margin = (method.margin(code_margin(column.len())) * (hi - lo)).max(1.0);
        let (lo, hi) = ((lo - margin).round(), hi + margin);
        let step = (hi - lo) / f64::from(LEVEL_MAX);
        dims.push(CodeDimSpec {
            scale: unit as f32,
            // Both bounds are within three times the range of `i16`.
            level_offset: -lo as i32,
            level_ratio: ratio(1.0 / step, number)?,
        });
        scales.push((step * unit, lo * unit));
    }
    let levels = codes
        .chunks_exact(width)
        .flat_map(|codes| {
            codes
                .iter()
                .zip(&dims)
                .map(|(&code, dim)| code_level(code, dim.level_offset, dim.level_ratio))
        })
        .collect();
    // What lies so low that it decides nothing is no error of the levels.
    let lowest = scales
        .iter()
        .zip(least)
        .map(|((_, lo), least)| if least.is_finite() { *lo as f32 } else { f32::NEG_INFINITY });
    let lowest: Vec<f32> = lowest.collect();
    let float = encoder.float.iter().zip(lowest.iter().cycle());
    let float = float.map(|(&value, &lowest)| value.max(lowest)).collect();
    Ok((dims, Activations { float, levels, scales }))
}

/// Runs the golden cells through the new weights and stores what they give.
pub(crate) fn renew_golden(spec: &mut ModelSpec) -> Result<(), QuantError> {
    let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default())?);
    let model = Model::open(&bytes)?;
    let session = Session::new(&model, spec.golden.profile as usize)?;
    let mut scratch = vec![0; session.scratch_len() / 4];
    for cell in &mut spec.golden.cells {
        let values: Vec<f32> = cell.values.iter().map(|&bits| f32::from_bits(bits)).collect();
        let sample = if spec.golden.is_integer {
            Sample::Counts { genes: &cell.genes, counts: &cell.values, total: Some(cell.total) }
        } else {
            let total = Some(f32::from_bits(cell.total));
            Sample::Values { genes: &cell.genes, values: &values, total }
        };
        let outcome = session.run(&sample, None, &mut scratch)?;
        (cell.code, cell.logits) = match outcome.numbers {
            // The bits of the sign-extended code.
            Some(Numbers::S8(numbers)) => (
                numbers.code.iter().map(|&code| i32::from(code) as u32).collect(),
                numbers.logits.iter().map(|&logit| logit as u32).collect(),
            ),
            Some(Numbers::Float(numbers)) => (
                numbers.code.iter().map(|code| code.to_bits()).collect(),
                numbers.logits.iter().map(|logit| logit.to_bits()).collect(),
            ),
            None => (vec![0; cell.code.len()], vec![0; cell.logits.len()]),
        };
    }
    Ok(())
}

/// Cells unlike the calibration cells may have codes this many times as large before they clip.
const CODE_HEADROOM: f64 = 4.0;

/// Trained codes have a standard deviation of one, but a dimension may belong to a few outliers
/// that are not among the calibration cells; a unit is a thousandth of a deviation all the same.
const CODE_MIN_RANGE: f64 = 32.0;

/// The same headroom for reconstructions, whose resolution matters less.
const RECONSTRUCTION_HEADROOM: f64 = 1.5;

/// Share of its range by which the 7-bit copy of a code dimension exceeds the calibration cells, on
/// each side: the fewer cells were seen, the more.
fn code_margin(n_cells: usize) -> f64 {
    0.25 + 10.0 / n_cells.max(10) as f64
}
