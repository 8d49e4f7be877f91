//! Fine-tuning after rounding: classifier and decoder of a frozen network, fitted to codes that another arithmetic than its
//! own gives.
//!
//! Where the codes come from is the caller's affair: `cic-quantize --fine-tune` takes those of the int8 encoder, as the
//! runtime gives them. The encoder stays as it is.

mod classifier;
mod decoder;

use cic_model::{Activation, DenseLayer, Network};

use crate::ridge::FOLDS;
use crate::temperature::{fit_temperature, inverse_q16};
use crate::train_params::LABEL_SMOOTHING;
use crate::{TrainError, TrainingData, UNLABELLED};

use crate::forward::chain;

/// How the classifier is fine-tuned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineTuneSettings {
    /// Share of a label spread over all classes, in [0, 1); should be that of the training.
    pub label_smoothing: f64,
    /// Steps of L-BFGS from the present weights, at most.
    pub most_steps: u64,
}

impl Default for FineTuneSettings {
    fn default() -> Self {
        Self { label_smoothing: f64::from(LABEL_SMOOTHING), most_steps: 30 }
    }
}

/// What became of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct FineTuned {
    /// The network, its encoder untouched.
    pub network: Network,
    /// Shares of the rows' variance that are not explained, 1 − R²; `None` without a decoder.
    pub decoder: Option<Gain>,
    /// Mean cross-entropies of the smoothed labels, in nats; `None` without labels.
    pub classifier: Option<Gain>,
}

/// What fine-tuning is worth on rows that it did not see, by fivefold cross-validation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// Loss without fine-tuning.
    pub before: f64,
    /// Loss with the strength that was chosen.
    pub after: f64,
    /// Whether the weights were changed; they stay where nothing is gained.
    pub is_changed: bool,
    /// Rows that this comes from.
    pub n_rows: usize,
}

/// Fits the last decoder layer, and the classifier where `data` has labels, to `codes`, `[n × code_dim]` row-major, in the
/// units of the network's own code. Row `i` of the codes belongs to row `i` of `data`, whose values are network inputs: what
/// the decoder is to give back, in the same units.
///
/// The decoder changes by what separates two ridge regressions in closed form: of the rows on what its last layer reads from
/// `codes`, and on what it reads from the network's own codes. Where the network was fitted to undisturbed rows, as it is by
/// default, this is the ridge regression on `codes`; what disturbed rows taught it stays. The classifier takes a few steps
/// of L-BFGS from its weights, held to them by a penalty. Both penalties are chosen by cross-validation, and what gains
/// nothing in it keeps its weights. Should rows be those that the network was fitted to, the classifier's weights have seen
/// the held-out rows too, before and after alike.
///
/// The result is the same, byte for byte, whatever the number of threads.
///
/// # Errors
/// Layers that do not fit together, codes, values or labels of other numbers than they should be or not finite, fewer than
/// ten rows (or labelled rows), neither a decoder nor labels.
pub fn fine_tune(
    network: &Network,
    codes: &[f32],
    data: &TrainingData<'_>,
    settings: &FineTuneSettings,
) -> Result<FineTuned, TrainError> {
    let code_dim = check_network(network)?;
    check_settings(settings)?;
    data.check()?;
    check_codes(codes, code_dim, data.n_rows())?;
    let n_genes = network.encoder.first().map_or(0, |layer| layer.in_dim);
    same("genes of the network and the data", n_genes, data.n_genes)?;
    if let Some(last) = network.decoder.last() {
        same("genes that the decoder gives", n_genes, last.out_dim())?;
    }
    if data.labels.is_some() {
        let n_classes = network.classifier.last().map_or(0, DenseLayer::out_dim);
        same("classes of the classifier and the data", n_classes, data.n_classes)?;
    }
    if network.decoder.is_empty() && data.labels.is_none() {
        return Err(TrainError::NothingToFineTune);
    }
    let labelled: Vec<usize> =
        (0..data.n_rows()).filter(|&row| data.label(row).is_some()).collect();
    for found in [data.n_rows()].into_iter().chain(data.labels.map(|_| labelled.len())) {
        if found < MIN_ROWS {
            return Err(TrainError::TooFewRows { needed: MIN_ROWS, found });
        }
    }
    let mut tuned = network.clone();
    let classifier = data.labels.map(|_| {
        let rows = classifier::Labelled::new(codes, code_dim, data, &labelled);
        classifier::tune(&mut tuned.classifier, &rows, settings)
    });
    let decoder = decoder::refit(&mut tuned, codes, data);
    Ok(FineTuned { network: tuned, decoder, classifier })
}

/// The reciprocal softmax temperature (Q16) that suits a network's classifier on codes `[n × code_dim]` of rows that no weight
/// was fitted to. Labels are class indices, or [`UNLABELLED`]. `None` with fewer than 30 labelled rows: nothing can be said.
///
/// # Errors
/// Layers that do not fit together, codes or labels of other numbers than they should be or not finite.
pub fn inv_temperature_q16(
    network: &Network,
    codes: &[f32],
    labels: &[u32],
) -> Result<Option<u32>, TrainError> {
    let code_dim = check_network(network)?;
    check_codes(codes, code_dim, labels.len())?;
    let cells = codes.chunks_exact(code_dim).zip(labels);
    let cells = cells.filter(|(_, label)| **label != UNLABELLED).map(|(code, &label)| {
        let code: Vec<f64> = code.iter().map(|&x| f64::from(x)).collect();
        (chain(&network.classifier, &code), label as usize)
    });
    Ok(fit_temperature(cells).map(inverse_q16))
}

/// Returns the length of the code.
fn check_network(network: &Network) -> Result<usize, TrainError> {
    let code_dim = check_stage("encoder", &network.encoder)?;
    let Some(code_dim) = code_dim.filter(|&dim| dim > 0) else {
        return Err(TrainError::Layer { stage: "encoder", layer: 0 });
    };
    for (stage, layers) in [("classifier", &network.classifier), ("decoder", &network.decoder)] {
        check_stage(stage, layers)?;
        if layers.first().is_some_and(|first| first.in_dim != code_dim) {
            return Err(TrainError::Layer { stage, layer: 0 });
        }
    }
    Ok(code_dim)
}

/// Returns the number of outputs of the last layer.
fn check_stage(stage: &'static str, layers: &[DenseLayer]) -> Result<Option<usize>, TrainError> {
    let last = layers.len().saturating_sub(1);
    let n_outputs = layers.last().map(DenseLayer::activated_dim);
    for (number, layer) in layers.iter().enumerate() {
        let n_values = layer.out_dim().checked_mul(layer.in_dim);
        let values = || layer.weights.iter().chain(&layer.bias);
        let is_sound = layer.in_dim > 0
            && n_values == Some(layer.weights.len())
            && layer.bias.len() == layer.out_dim()
            && values().all(|value| value.is_finite())
            && layers.get(number + 1).is_none_or(|next| next.in_dim == layer.activated_dim());
        let may_carry = number == 0 && number < last && Some(layer.carry) == n_outputs;
        let is_linear =
            layer.segments.iter().all(|segment| segment.activation == Activation::Identity);
        if !is_sound || (layer.carry > 0 && !may_carry) || (number == last && !is_linear) {
            return Err(TrainError::Layer { stage, layer: number });
        }
    }
    Ok(n_outputs)
}

fn check_codes(codes: &[f32], code_dim: usize, n_rows: usize) -> Result<(), TrainError> {
    same("numbers of the codes", n_rows.saturating_mul(code_dim), codes.len())?;
    match codes.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(TrainError::Code { row: at / code_dim, dim: at % code_dim }),
        None => Ok(()),
    }
}

fn check_settings(settings: &FineTuneSettings) -> Result<(), TrainError> {
    if (0.0..1.0).contains(&settings.label_smoothing) {
        return Ok(());
    }
    let (name, value) = ("label_smoothing", settings.label_smoothing.to_string());
    Err(TrainError::Parameter { name, value, expected: "0 or more, below 1" })
}

fn same(what: &'static str, expected: usize, found: usize) -> Result<(), TrainError> {
    if expected == found { Ok(()) } else { Err(TrainError::Shape { what, expected, found }) }
}

/// Two of each fold.
const MIN_ROWS: usize = 2 * FOLDS;
