//! Fine-tuning after rounding: classifier and decoder of a frozen network, fitted to codes that another arithmetic than its
//! own gives.
//!
//! Where the codes come from is the caller's affair: `cic-quantize --fine-tune` takes those of the int8 encoder, as the
//! runtime gives them. The encoder stays as it is.

mod classifier;
mod decoder;

use cic_model::{Activation, DenseLayer, Network};
use rayon::prelude::*;

use crate::engine::training_data::Row;
use crate::forward::chain;
use crate::ridge::FOLDS;
use crate::temperature::{fit_temperature, inverse_q16};
use crate::train_params::LABEL_SMOOTHING;
use crate::{TrainError, TrainingData, UNLABELLED};

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

/// What the given codes are worth, by losses on held-out rows of fivefold cross-validation, all with the given codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// Of weights fitted to the network's own codes; of the classifier's present ones, if that is smaller.
    pub before: f64,
    /// Of weights fitted to the given codes.
    pub after: f64,
    /// Whether the weights were changed. They stay where nothing is gained, and the classifier's also where the gain is
    /// within its standard error or fewer rows are called right.
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
/// nothing over the same fit to the network's own codes keeps its weights. That is asked because the rows may be those that
/// the network was fitted to: the classifier then knows the held-out rows, and more steps on any codes look like a gain.
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
    let own = own_codes(network, data);
    let mut tuned = network.clone();
    let classifier = data.labels.map(|_| {
        let [own, given] =
            [&own, codes].map(|codes| classifier::Labelled::new(codes, code_dim, data, &labelled));
        classifier::tune(&mut tuned.classifier, &own, &given, settings)
    });
    let decoder = decoder::refit(&mut tuned, &own, codes, data);
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

/// What the network's encoder gives, `[n × code_dim]`.
fn own_codes(network: &Network, data: &TrainingData<'_>) -> Vec<f32> {
    let codes = (0..data.n_rows()).into_par_iter().map(|row| {
        let code = chain(&network.encoder, &profile(data, row));
        code.into_iter().map(|x| x as f32).collect::<Vec<f32>>()
    });
    codes.collect::<Vec<_>>().concat()
}

/// A row of the data, `[n_genes]`.
fn profile(data: &TrainingData<'_>, row: usize) -> Vec<f64> {
    match data.row(row) {
        Row::Dense(values) => values.iter().map(|&value| f64::from(value)).collect(),
        Row::Sparse(genes, values) => {
            let mut profile = vec![0.0; data.n_genes];
            for (&gene, &value) in genes.iter().zip(values) {
                profile[gene as usize] = f64::from(value);
            }
            profile
        }
    }
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

#[cfg(test)]
mod tests {
    use cic_model::Segment;

    use super::*;
    use crate::Expression;
    use crate::engine::rng::{Purpose, Rng};
    use crate::gradients::tests::layer;
    use crate::ridge::{Moments, Ridge};

    const N_GENES: usize = 8;
    const CODE: usize = 3;
    const N_CLASSES: usize = 2;

    /// Profiles from codes of three numbers, and a label by the sign of the first.
    struct Rows {
        profiles: Vec<f32>,
        labels: Vec<u32>,
        own: Vec<f32>,
    }

    impl Rows {
        fn draw(n: usize, seed: u64) -> Self {
            let mut rng = Rng::stream(seed, Purpose::Initialise, 0, 0);
            let mut rows = Self { profiles: Vec::new(), labels: Vec::new(), own: Vec::new() };
            for _ in 0..n {
                let code: Vec<f32> = (0..CODE).map(|_| rng.normal()).collect();
                rows.labels.push(u32::from(code[0] > 0.0));
                rows.profiles.extend((0..N_GENES).map(|gene| match gene {
                    0..CODE => code[gene],
                    _ => code[gene % CODE] * 0.7 - code[(gene + 1) % CODE] + 0.3 * rng.normal(),
                }));
                rows.own.extend(code);
            }
            rows
        }

        fn data(&self) -> TrainingData<'_> {
            TrainingData {
                expression: Expression::Dense(&self.profiles),
                n_genes: N_GENES,
                labels: Some(&self.labels),
                n_classes: N_CLASSES,
                counts: None,
            }
        }

        /// Codes of an arithmetic of a few levels, which also shifts the first dimension.
        fn coarse(&self) -> Vec<f32> {
            let coarse = |(at, code): (usize, &f32)| {
                let shift = if at % CODE == 0 { 0.8 } else { 0.0 };
                (code.clamp(-1.5, 1.5) / 0.75).round() * 0.75 + shift
            };
            self.own.iter().enumerate().map(coarse).collect()
        }
    }

    fn linear(in_dim: usize, weights: Vec<f32>) -> DenseLayer {
        let n = weights.len() / in_dim;
        let segments = vec![Segment { len: n, activation: Activation::Identity }];
        DenseLayer { in_dim, segments, carry: 0, weights, bias: vec![0.0; n] }
    }

    /// The encoder reads the code off the first genes; the classifier is right for it, the decoder fitted to it.
    fn network(rows: &Rows) -> Network {
        let read = (0..CODE * N_GENES).map(|at| f32::from(u8::from(at / N_GENES == at % N_GENES)));
        let head = linear(CODE, vec![-3.0, 0.0, 0.0, 3.0, 0.0, 0.0]);
        let mut first = layer(CODE, &[(4, Activation::Tanh)], N_GENES);
        let mut last = layer(4, &[(N_GENES, Activation::Identity)], 0);
        // Hidden units add nothing, the linear path is that of least squares.
        last.weights.fill(0.0);
        first.bias[4..].fill(0.0);
        let fit = least_squares(&rows.own, &rows.data());
        first.weights[4 * CODE..].copy_from_slice(&by_gene(&fit));
        last.bias = fit.bias.iter().map(|&bias| bias as f32).collect();
        Network {
            encoder: vec![linear(N_GENES, read.collect())],
            classifier: vec![head],
            decoder: vec![first, last],
        }
    }

    /// Weights `[N_GENES × CODE]`.
    fn by_gene(fit: &Ridge) -> Vec<f32> {
        let weight = |at: usize| fit.weights[(at % CODE, at / CODE)] as f32;
        (0..N_GENES * CODE).map(weight).collect()
    }

    fn least_squares(codes: &[f32], data: &TrainingData<'_>) -> Ridge {
        let n = data.n_rows();
        let features = faer::Mat::from_fn(n, CODE, |row, k| f64::from(codes[row * CODE + k]));
        let targets = faer::Mat::from_fn(n, N_GENES, |row, gene| profile(data, row)[gene]);
        let mut moments = Moments::new(CODE, N_GENES);
        moments.add(&features, &targets);
        moments.fit(0, 0.0).unwrap()
    }

    /// Mean squared error of the decoder and share of right calls.
    fn scores(network: &Network, codes: &[f32], rows: &Rows) -> (f64, f64) {
        let (mut error, mut n_right) = (0.0, 0);
        for (row, code) in codes.chunks_exact(CODE).enumerate() {
            let code: Vec<f64> = code.iter().map(|&x| f64::from(x)).collect();
            let reproduced = chain(&network.decoder, &code);
            let profile = profile(&rows.data(), row);
            error += reproduced.iter().zip(&profile).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            let logits = chain(&network.classifier, &code);
            n_right += usize::from(u32::from(logits[1] > logits[0]) == rows.labels[row]);
        }
        let n = rows.labels.len() as f64;
        (error / n, n_right as f64 / n)
    }

    #[test]
    fn coarse_codes_are_read_better_on_rows_that_were_not_seen() {
        let rows = Rows::draw(300, 1);
        let network = network(&rows);
        let tuned = fine_tune(&network, &rows.coarse(), &rows.data(), &Default::default()).unwrap();
        assert!(tuned.decoder.unwrap().is_changed && tuned.classifier.unwrap().is_changed);
        assert_eq!(tuned.network.encoder, network.encoder);
        let others = Rows::draw(300, 2);
        let [(error, right), (tuned_error, tuned_right)] =
            [&network, &tuned.network].map(|network| scores(network, &others.coarse(), &others));
        assert!(tuned_error < 0.8 * error, "{error} became {tuned_error}");
        assert!(tuned_right > right + 0.1, "{right} became {tuned_right}");
    }

    #[test]
    fn codes_of_the_network_itself_change_nothing() {
        let rows = Rows::draw(100, 3);
        let network = network(&rows);
        let tuned = fine_tune(&network, &rows.own, &rows.data(), &Default::default()).unwrap();
        assert_eq!(tuned.network, network);
        let gains = [tuned.decoder.unwrap(), tuned.classifier.unwrap()];
        assert!(gains.iter().all(|gain| !gain.is_changed), "{gains:?}");
        assert_eq!(gains[0].before, gains[0].after);
    }

    #[test]
    fn a_linear_decoder_becomes_the_regression_on_the_codes() {
        let rows = Rows::draw(100, 4);
        let mut network = network(&rows);
        let own = least_squares(&rows.own, &rows.data());
        network.decoder = vec![linear(CODE, by_gene(&own))];
        network.decoder[0].bias = own.bias.iter().map(|&bias| bias as f32).collect();
        let data = TrainingData { labels: None, n_classes: 0, ..rows.data() };
        let tuned = fine_tune(&network, &rows.coarse(), &data, &Default::default()).unwrap();
        assert_eq!((tuned.classifier, tuned.network.classifier), (None, network.classifier));
        let expected = least_squares(&rows.coarse(), &data);
        let found = &tuned.network.decoder[0];
        let weights = found.weights.iter().zip(by_gene(&expected));
        assert!(weights.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
        let bias = found.bias.iter().zip(&expected.bias);
        assert!(bias.into_iter().all(|(&a, b)| (f64::from(a) - b).abs() < 1e-4));
    }

    #[test]
    fn threads_change_no_bit() {
        let rows = Rows::draw(150, 5);
        let network = network(&rows);
        let tuned = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let tune = || fine_tune(&network, &rows.coarse(), &rows.data(), &Default::default());
            pool.install(tune).unwrap()
        };
        assert_eq!(tuned(1), tuned(3));
    }

    #[test]
    fn faults_are_named() {
        let rows = Rows::draw(40, 6);
        let (network, codes) = (network(&rows), rows.coarse());
        let refused = |network: &Network, codes: &[f32], data: &TrainingData<'_>| {
            fine_tune(network, codes, data, &Default::default()).unwrap_err().to_string()
        };
        let data = rows.data();
        let unlabelled = TrainingData { labels: None, n_classes: 0, ..data };
        let short = refused(&network, &codes[1..], &data);
        assert!(short.contains("numbers of the codes"), "{short}");
        let mut broken = codes.clone();
        broken[4] = f32::NAN;
        let not_finite = refused(&network, &broken, &data);
        assert!(not_finite.contains("row 1: dimension 1"), "{not_finite}");
        let mut bare = network.clone();
        bare.decoder.clear();
        assert!(refused(&bare, &codes, &unlabelled).contains("nothing to fine-tune"));
        let mut odd = network.clone();
        odd.decoder[1].in_dim = 5;
        assert!(refused(&odd, &codes, &data).contains("decoder, layer 0"));
        let mut curved = network.clone();
        curved.classifier[0].segments[0].activation = Activation::Relu;
        assert!(refused(&curved, &codes, &data).contains("classifier, layer 0"));
        let few = [UNLABELLED; 40];
        let few = refused(&network, &codes, &TrainingData { labels: Some(&few), ..data });
        assert!(few.contains("0 rows to fit, at least 10"), "{few}");
        let settings = FineTuneSettings { label_smoothing: f64::NAN, ..Default::default() };
        let smoothing = fine_tune(&network, &codes, &data, &settings).unwrap_err().to_string();
        assert!(smoothing.contains("label_smoothing"), "{smoothing}");
    }

    #[test]
    fn the_temperature_is_that_of_the_logits_of_the_codes() {
        let rows = Rows::draw(60, 7);
        let network = network(&rows);
        let found = inv_temperature_q16(&network, &rows.own, &rows.labels).unwrap().unwrap();
        let logits = rows.own.chunks_exact(CODE).map(|code| {
            chain(&network.classifier, &code.iter().map(|&x| f64::from(x)).collect::<Vec<_>>())
        });
        let cells = logits.zip(&rows.labels).map(|(logits, &label)| (logits, label as usize));
        assert_eq!(Some(found), fit_temperature(cells).map(inverse_q16));
        let few = inv_temperature_q16(&network, &rows.own[..CODE * 29], &rows.labels[..29]);
        assert_eq!(few.unwrap(), None);
    }
}
