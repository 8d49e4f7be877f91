//! Quantisation-aware tuning: the integers of encoder and classifier are moved so that an int8 model gives the codes and
//! logits of the f32 model that it was made from.
//!
//! The forward pass is the runtime's integer arithmetic, bit for bit (docs/numerics.md). Behind every integer weight stands a
//! real one, which is rounded for the forward pass and moved as if it were not (the straight-through estimator: Y. Bengio et al.,
//! 2013; B. Jacob et al., CVPR 2018). Ranges, tables and ratios stay as calibration chose them.

mod adam;
mod stage;

use cic_model::quant::{LEVEL_MAX, Ratio, code_level, requantize_i16, requantize_i32};
use cic_model::spec::{CodeDimSpec, LayoutPlan, ModelSpec, NetworkSpec, QuantNetwork};
use cic_model::{Dtype, Model};
use cic_runtime::{Numbers, Session};

use crate::calibration::CalibrationSet;
use crate::error::QuantError;
use crate::input_levels;
use crate::quantize::renew_golden;
use crate::runner::CellRunner;
use stage::{Active, Stage, Trace};

/// How long is tuned, and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AwareSettings {
    /// Most passes over the cells.
    pub epochs: usize,
    /// Step of Adam at the beginning, in units of integer weights; it falls to zero in a straight line.
    pub rate: f64,
    /// Cells a step.
    pub batch: usize,
}

impl Default for AwareSettings {
    fn default() -> Self {
        Self { epochs: 12, rate: 0.005, batch: 32 }
    }
}

/// What tuning did, measured on held-out cells.
#[derive(Clone, Debug, PartialEq)]
pub struct AwareReport {
    /// Cells that were tuned with, and held out.
    pub n_cells: [usize; 2],
    /// Root mean square error of the code, in standard deviations of each dimension between the cells: before and after.
    pub code_error: [f64; 2],
    /// The same of the logits, in their standard deviation over cells and types; 0 without a classifier.
    pub logit_error: [f64; 2],
    /// Passes after which the kept integers stood; 0 where none was better than what calibration gave.
    pub epoch: usize,
}

/// Tunes `quantised`, an int8 model that was made of `source`, with the cells of `fit`; of all passes the one is kept that is nearest to
/// `source` on the cells of `held`, and the integers as they were where none is nearer.
///
/// # Errors
/// A `source` that is not f32 or a `quantised` that is not int8; no usable cell in either set; what a session says of a
/// cell that does not fit its model.
pub fn tune_aware(
    source: &Model<'_>,
    quantised: &Model<'_>,
    [fit, held]: [&CalibrationSet<'_>; 2],
    settings: AwareSettings,
    layouts: LayoutPlan,
) -> Result<(Vec<u8>, AwareReport), QuantError> {
    if source.dtype() != Dtype::F32 {
        return Err(QuantError::NotFullPrecision { found: source.dtype() });
    }
    let mut spec = ModelSpec::from_model(quantised);
    let NetworkSpec::S8(network) = &mut spec.network else {
        return Err(QuantError::NotFineTuned { to: quantised.dtype() });
    };
    let fit = Targets::read(source, quantised, fit)?;
    let held = Targets::read(source, quantised, held)?;
    if fit.cells.is_empty() || held.cells.is_empty() {
        return Err(QuantError::NoCalibration);
    }
    let mut tuning = Tuning::new(network, Scale::of(&fit));
    let before = tuning.errors(&held);
    // Both count by how much of them is left.
    tuning.scale.weigh(tuning.errors(&fit));
    let mut best = (before, 0, network.clone());
    let n_steps = settings.epochs * fit.cells.len().div_ceil(settings.batch.max(1));
    let mut step = 0;
    for epoch in 0..settings.epochs {
        // Every seventh, eleventh, … cell: each pass meets all of them in another order.
        let stride = coprime(STRIDES[epoch % STRIDES.len()], fit.cells.len());
        let order: Vec<usize> =
            (0..fit.cells.len()).map(|at| (at * stride + epoch) % fit.cells.len()).collect();
        for batch in order.chunks(settings.batch.max(1)) {
            let rate = settings.rate * (1.0 - step as f64 / n_steps as f64);
            tuning.step(batch.iter().map(|&at| &fit.cells[at]), batch.len(), rate);
            step += 1;
        }
        let errors = tuning.errors(&held);
        let is_no_worse = errors.code <= before.code && errors.logits <= before.logits;
        if is_no_worse && errors.left_of(before) < best.0.left_of(before) {
            best = (errors, epoch + 1, tuning.network());
        }
    }
    let (after, epoch, tuned) = best;
    let report = AwareReport {
        n_cells: [fit.cells.len(), held.cells.len()],
        code_error: [before.code.sqrt(), after.code.sqrt()],
        logit_error: [before.logits.sqrt(), after.logits.sqrt()],
        epoch,
    };
    spec.network = NetworkSpec::S8(tuned);
    let facts = [
        ("quantize.aware_epochs", epoch.to_string()),
        ("quantize.aware_cells", report.n_cells[0].to_string()),
    ];
    spec.provenance.extend(facts.map(|(key, value)| (key.to_string(), value)));
    renew_golden(&mut spec)?;
    Ok((spec.to_bytes(layouts)?, report))
}

/// One cell: what the int8 network reads, and what the f32 network gives.
struct Cell {
    levels: Active,
    code: Vec<f32>,
    logits: Vec<f32>,
}

struct Targets {
    cells: Vec<Cell>,
}

impl Targets {
    fn read(
        source: &Model<'_>,
        quantised: &Model<'_>,
        set: &CalibrationSet<'_>,
    ) -> Result<Self, QuantError> {
        let spec = ModelSpec::from_model(quantised);
        let ([profile], [profile_spec]) = (quantised.profiles(), &spec.profiles[..]) else {
            return Err(QuantError::SeveralProfiles { found: quantised.profiles().len() });
        };
        let levels = profile_spec.levels.as_ref().ok_or(QuantError::NoCalibration)?;
        let present = vec![true; source.n_genes()];
        let mut runner = CellRunner::new(Session::new(source, 0)?, &present)?;
        let mut cells = Vec::new();
        for (row, cell) in set.cells(profile, usize::MAX) {
            let (genes, values) = set.values.row(row);
            let outcome = runner.run(genes, values, set.totals[row])?;
            let Some(Numbers::Float(numbers)) = outcome.numbers else { continue };
            cells.push(Cell {
                levels: stage::active(&input_levels::levels(profile, levels, &[cell])),
                code: numbers.code.to_vec(),
                logits: numbers.logits.to_vec(),
            });
        }
        Ok(Self { cells })
    }
}

/// What squared errors are divided by.
struct Scale {
    /// `[code_dim]`, positive; infinite for a dimension that is constant.
    code: Vec<f64>,
    logits: f64,
    /// Of the two means of errors that are so divided.
    weights: Errors,
}

impl Scale {
    /// Has both means begin at one.
    fn weigh(&mut self, errors: Errors) {
        let weight = |error: f64| if error > 0.0 { 1.0 / error } else { 0.0 };
        self.weights = Errors { code: weight(errors.code), logits: weight(errors.logits) };
    }

    fn of(targets: &Targets) -> Self {
        let variance = |values: &[f64]| {
            let n = values.len().max(1) as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
            if variance > 0.0 { variance } else { f64::INFINITY }
        };
        let dims = targets.cells.first().map_or(0, |cell| cell.code.len());
        let column = |dim: usize| -> Vec<f64> {
            targets.cells.iter().map(|cell| f64::from(cell.code[dim])).collect()
        };
        let code = (0..dims).map(|dim| variance(&column(dim))).collect();
        let logits = targets.cells.iter().flat_map(|cell| &cell.logits);
        let logits: Vec<f64> = logits.map(|&logit| f64::from(logit)).collect();
        let weights = Errors { code: 1.0, logits: 1.0 };
        Self { code, logits: variance(&logits), weights }
    }
}

/// Mean squared errors, relative to [`Scale`].
#[derive(Clone, Copy)]
struct Errors {
    code: f64,
    logits: f64,
}

impl Errors {
    /// What is left of earlier ones: two where nothing changed.
    fn left_of(self, before: Self) -> f64 {
        let share = |now: f64, before: f64| if before > 0.0 { now / before } else { 1.0 };
        share(self.code, before.code) + share(self.logits, before.logits)
    }
}

/// The int8 network in training.
struct Tuning {
    encoder: Stage,
    classifier: Stage,
    code: Vec<CodeDimSpec>,
    scale: Scale,
    /// What stays as it is.
    original: QuantNetwork,
}

/// What one cell gave, and what it was made of.
struct Run {
    encoder: Trace,
    codes: Vec<i16>,
    levels: Vec<u8>,
    classifier: Trace,
    logits: Vec<i32>,
}

impl Tuning {
    fn new(network: &QuantNetwork, scale: Scale) -> Self {
        Self {
            encoder: Stage::new(&network.encoder),
            classifier: Stage::new(&network.classifier),
            code: network.code.clone(),
            scale,
            original: network.clone(),
        }
    }

    fn network(&self) -> QuantNetwork {
        QuantNetwork {
            encoder: self.encoder.layers(),
            classifier: self.classifier.layers(),
            ..self.original.clone()
        }
    }

    fn run(&self, cell: &Cell) -> Run {
        let encoder = self.encoder.run(&cell.levels);
        let ratios = self.encoder.ratios();
        let pairs = encoder.sums.iter().zip(ratios);
        let codes: Vec<i16> = pairs.map(|(&sum, &ratio)| requantize_i16(sum, ratio)).collect();
        let dims = codes.iter().zip(&self.code);
        let levels: Vec<u8> =
            dims.map(|(&code, dim)| code_level(code, dim.level_offset, dim.level_ratio)).collect();
        let classifier = self.classifier.run(&stage::active(&levels));
        let pairs = classifier.sums.iter().zip(self.classifier.ratios());
        let logits = pairs.map(|(&sum, &ratio)| requantize_i32(sum, ratio)).collect();
        Run { encoder, codes, levels, classifier, logits }
    }

    /// Differences of code and logits from what they should be, in their own units.
    fn differences<'a>(
        &'a self,
        run: &'a Run,
        cell: &'a Cell,
    ) -> (impl Iterator<Item = f64> + 'a, impl Iterator<Item = f64> + 'a) {
        let codes = run.codes.iter().zip(&self.code).zip(&cell.code);
        let codes = codes.map(|((&code, dim), &target)| {
            f64::from(code) * f64::from(dim.scale) - f64::from(target)
        });
        let logits = run.logits.iter().zip(&cell.logits);
        (codes, logits.map(|(&logit, &target)| f64::from(logit) * LOGIT_UNIT - f64::from(target)))
    }

    fn errors(&self, targets: &Targets) -> Errors {
        let mut errors = Errors { code: 0.0, logits: 0.0 };
        for cell in &targets.cells {
            let run = self.run(cell);
            let (codes, logits) = self.differences(&run, cell);
            let of_codes: f64 =
                codes.zip(&self.scale.code).map(|(error, variance)| error * error / variance).sum();
            let of_logits: f64 = logits.map(|error| error * error / self.scale.logits).sum();
            errors.code += of_codes / cell.code.len().max(1) as f64;
            errors.logits += of_logits / cell.logits.len().max(1) as f64;
        }
        let n = targets.cells.len().max(1) as f64;
        Errors { code: errors.code / n, logits: errors.logits / n }
    }

    /// Moves all weights by the mean gradient of some cells.
    fn step<'a>(&mut self, cells: impl Iterator<Item = &'a Cell>, n: usize, rate: f64) {
        for cell in cells {
            let run = self.run(cell);
            let (codes, logits) = self.differences(&run, cell);
            let weights = self.scale.weights;
            let share =
                2.0 * weights.logits / (n * cell.logits.len().max(1)) as f64 / self.scale.logits;
            let of_sums: Vec<f64> = (logits.map(|error| error * share * LOGIT_UNIT))
                .zip(self.classifier.ratios())
                .map(|(gradient, ratio)| gradient * ratio.to_f64())
                .collect();
            let share = 2.0 * weights.code / (n * cell.code.len().max(1)) as f64;
            let mut of_codes: Vec<f64> = (codes.zip(&self.scale.code).zip(&self.code))
                .map(|((error, variance), dim)| share * error / variance * f64::from(dim.scale))
                .collect();
            let of_levels = self.classifier.back(&run.classifier, &of_sums);
            let dims = of_levels.iter().zip(&run.levels).zip(&self.code);
            for (of_code, ((of_level, &level), dim)) in of_codes.iter_mut().zip(dims) {
                // What lies beyond the levels gives no sign of where it is.
                if level > 0 && level < LEVEL_MAX {
                    *of_code += of_level * dim.level_ratio.to_f64();
                }
            }
            let of_sums: Vec<f64> = (of_codes.iter().zip(&run.codes).zip(self.encoder.ratios()))
                .map(|((gradient, &code), ratio): ((_, _), &Ratio)| match code {
                    i16::MIN | i16::MAX => 0.0,
                    _ => gradient * ratio.to_f64(),
                })
                .collect();
            self.encoder.back(&run.encoder, &of_sums);
        }
        self.encoder.step(rate);
        self.classifier.step(rate);
    }
}

/// `stride` or the next number above it that has no divisor in common with `n`.
fn coprime(stride: usize, n: usize) -> usize {
    fn divisor(a: usize, b: usize) -> usize {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    (stride..).find(|&stride| divisor(stride, n) == 1).unwrap_or(1)
}

/// Value of one unit of a logit.
const LOGIT_UNIT: f64 = 1.0 / (1 << cic_model::quant::LOGIT_FRACTION_BITS) as f64;
const STRIDES: [usize; 5] = [617, 1_019, 2_749, 389, 1_543];
