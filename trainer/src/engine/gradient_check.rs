//! Compares the engine's losses and gradients with a plain double precision forward pass of the
//! same network and its central differences.

use cic_model::Activation;

use super::batch::{Batch, ClassTargets, Corruption, Moment};
use super::drawn_genes::DrawnGenes;
use super::losses::Pass;
use super::rng::{Purpose, Rng};
use super::standardiser::Standardiser;
use super::training_data::{Expression, TrainingData};
use crate::autoencoder::{Architecture, Autoencoder, Objective};
use crate::pca::Pca;

const N_ROWS: usize = 17;
const N_GENES: usize = 23;
const OBJECTIVE: Objective = Objective { lambda_recon: 0.8, lambda_class: 1.3, code_noise: 0.0 };
const MOMENT: Moment = Moment { seed: 11, epoch: 2, first_row: 5 };

#[test]
fn every_activation_has_the_right_gradient() {
    for activation in Activation::ALL {
        check(&Architecture { activation, ..architecture() }, 0.0, Storage::Dense);
    }
}

#[test]
fn batch_normalisation_has_the_right_gradient() {
    for activation in [Activation::Relu, Activation::Tanh] {
        let architecture = Architecture { activation, batch_norm: true, ..architecture() };
        check(&architecture, 0.0, Storage::Dense);
    }
}

#[test]
fn hidden_dropout_has_the_right_gradient() {
    for activation in [Activation::Relu, Activation::Sigmoid, Activation::LogSigmoid] {
        check(&Architecture { activation, ..architecture() }, 0.3, Storage::Dense);
    }
}

#[test]
fn the_sparse_first_layer_has_the_right_gradient() {
    check(&architecture(), 0.0, Storage::Sparse);
    let plain = Architecture { linear_skip: false, ..architecture() };
    check(&plain, 0.2, Storage::Sparse);
    check(&Architecture { encoder_hidden: vec![], ..plain }, 0.0, Storage::Sparse);
}

#[test]
fn the_decoder_on_drawn_genes_has_the_right_gradient() {
    for linear_skip in [true, false] {
        for decoder_hidden in [vec![9], vec![]] {
            for storage in [Storage::Dense, Storage::Sparse] {
                let architecture = Architecture {
                    linear_skip,
                    decoder_hidden: decoder_hidden.clone(),
                    ..architecture()
                };
                for step in [0, 1] {
                    check_drawn(&architecture, 0.0, storage, Some(step));
                }
            }
        }
    }
}

#[test]
fn every_depth_with_and_without_skip_has_the_right_gradient() {
    for linear_skip in [true, false] {
        for (encoder_hidden, decoder_hidden, head_hidden) in [
            (vec![], vec![], vec![]),
            (vec![7], vec![], vec![5]),
            (vec![], vec![7], vec![]),
            (vec![9, 7], vec![6, 8], vec![5, 4]),
            (vec![9, 7, 6], vec![6, 7, 8], vec![5]),
        ] {
            let shape = Architecture {
                encoder_hidden,
                decoder_hidden,
                head_hidden,
                linear_skip,
                ..architecture()
            };
            check(&shape, 0.0, Storage::Dense);
        }
    }
    check(&Architecture { n_classes: 0, ..architecture() }, 0.0, Storage::Dense);
}

fn architecture() -> Architecture {
    let mut architecture = Architecture::mirrored(N_GENES, vec![9], 4, 3);
    architecture.activation = Activation::Tanh;
    architecture.head_hidden = vec![6];
    architecture
}

#[derive(Clone, Copy, PartialEq)]
enum Storage {
    Dense,
    Sparse,
}

fn check(architecture: &Architecture, dropout: f32, storage: Storage) {
    check_drawn(architecture, dropout, storage, None);
}

/// With a step, on the genes that it draws: sixteen, or the other seven.
fn check_drawn(architecture: &Architecture, dropout: f32, storage: Storage, step: Option<u64>) {
    let mut rng = Rng::stream(1, Purpose::Initialise, 77, 0);
    let x: Vec<f32> = (0..N_ROWS * N_GENES)
        .map(|_| if rng.unit() < 0.4 { 3.0 * rng.unit() } else { 0.0 })
        .collect();
    let labels: Vec<u32> = (0..N_ROWS as u32).map(|row| row % 3).collect();
    let data = TrainingData {
        expression: Expression::Dense(&x),
        n_genes: N_GENES,
        labels: Some(&labels),
        n_classes: architecture.n_classes.max(3),
        counts: None,
    };
    let rows: Vec<usize> = (0..N_ROWS).collect();
    let standardiser = Standardiser::fit(&data, &rows);
    let pca = Pca::fit(&data, &rows, architecture.code, 1).unwrap();
    let start = architecture.linear_skip.then_some((&pca, &standardiser));
    let mut network = Autoencoder::new(architecture, dropout, N_ROWS, 3, start);
    // Away from the special values of the start: zeros and ones.
    network.for_each_parameter(&mut |parameter| {
        parameter.value.iter_mut().for_each(|value| *value += 0.3 * rng.normal());
    });
    let classes = ClassTargets {
        n_classes: architecture.n_classes,
        weights: vec![0.5, 1.0, 2.0],
        smoothing: 0.1,
    };
    let mut batch = match storage {
        Storage::Dense => Batch::dense(N_ROWS, N_GENES, false),
        Storage::Sparse => Batch::sparse(N_GENES),
    };
    let clean = Corruption::default();
    batch.gather(&data, &standardiser, &classes, &rows, Some((&MOMENT, &clean, &rows)));
    network.forward(&batch, &standardiser, &OBJECTIVE, Some(&MOMENT));
    let mut loss_weight: Vec<f64> =
        standardiser.loss_weight.iter().map(|&w| f64::from(w)).collect();
    if let Some(step) = step {
        network.drawn = DrawnGenes::new(N_GENES, 16, 7);
        network.draw_genes(step);
        let draw = network.decoder.last().unwrap().weights.drawn.as_ref().unwrap();
        let mut drawn = [false; N_GENES];
        draw.ranges().for_each(|(genes, _)| drawn[genes].fill(true));
        // Two blocks, one of them drawn.
        loss_weight
            .iter_mut()
            .zip(drawn)
            .for_each(|(w, drawn)| *w *= if drawn { 2.0 } else { 0.0 });
    }
    let sums = network.losses(&batch, &standardiser, &OBJECTIVE, Pass::Training);

    let reference = Reference {
        architecture,
        dropout,
        z: x.iter()
            .enumerate()
            .map(|(i, &x)| {
                let gene = i % N_GENES;
                f64::from(x) * f64::from(standardiser.inverse[gene])
                    - f64::from(standardiser.zero[gene])
            })
            .collect(),
        loss_weight,
        targets: batch.class_targets.iter().map(|&t| f64::from(t)).collect(),
    };
    let mut values: Vec<Vec<f64>> = Vec::new();
    let mut gradients: Vec<Vec<f32>> = Vec::new();
    network.for_each_parameter(&mut |parameter| {
        values.push(parameter.value.iter().map(|&value| f64::from(value)).collect());
        gradients.push(match &parameter.drawn {
            None => parameter.gradient.clone(),
            Some(draw) => {
                let mut whole = vec![0.0; parameter.value.len()];
                let rows = whole.chunks_exact_mut(N_GENES);
                for (row, gradient) in rows.zip(parameter.gradient.chunks_exact(draw.n_drawn)) {
                    for (genes, at) in draw.ranges() {
                        let n = genes.len();
                        row[genes].copy_from_slice(&gradient[at..at + n]);
                    }
                }
                whole
            }
        });
    });
    let (recon, class) = reference.losses(&values);
    let case = format!("{architecture:?} dropout {dropout}");
    assert!((sums.recon - recon).abs() < 1e-4 * recon, "{case}: {} {recon}", sums.recon);
    assert!((sums.class - class).abs() < 1e-4 * class.max(1.0), "{case}: {} {class}", sums.class);
    for which in 0..values.len() {
        let norm = gradients[which].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        for trial in 0..12 {
            // Twelve single elements, spread over the matrix.
            let at = trial * (values[which].len() - 1) / 11;
            let original = values[which][at];
            let mut loss_at = |value: f64| {
                values[which][at] = value;
                reference.loss(&values)
            };
            let numeric = (loss_at(original + STEP) - loss_at(original - STEP)) / (2.0 * STEP);
            values[which][at] = original;
            let analytic = f64::from(gradients[which][at]);
            let allowed = 1e-3 * numeric.abs() + 2e-5 * norm + 1e-6;
            assert!(
                (analytic - numeric).abs() <= allowed,
                "{case}: matrix {which}, element {at}: {analytic} by the engine, {numeric}",
            );
        }
    }
}

const STEP: f64 = 1e-5;

/// The same network, one loop at a time.
struct Reference<'a> {
    architecture: &'a Architecture,
    dropout: f32,
    z: Vec<f64>,
    loss_weight: Vec<f64>,
    targets: Vec<f64>,
}

type Rows = Vec<Vec<f64>>;

impl Reference<'_> {
    fn loss(&self, values: &[Vec<f64>]) -> f64 {
        let (recon, class) = self.losses(values);
        let n = N_ROWS as f64;
        f64::from(OBJECTIVE.lambda_recon) * recon / n
            + f64::from(OBJECTIVE.lambda_class) * class / n
    }

    fn losses(&self, values: &[Vec<f64>]) -> (f64, f64) {
        let mut values = values.iter();
        let z: Rows = self.z.chunks(N_GENES).map(<[f64]>::to_vec).collect();
        let architecture = self.architecture;
        let skip = architecture.linear_skip;
        let depth = architecture.encoder_hidden.len();
        let mut hidden = z.clone();
        let mut carry: Option<Rows> = None;
        for i in 0..=depth {
            let last = i == depth;
            let mut out = product(&hidden, values.next().unwrap(), values.next().unwrap());
            if i == 0 && skip && depth > 0 {
                let units = architecture.encoder_hidden[0];
                carry = Some(out.iter_mut().map(|row| row.split_off(units)).collect());
            }
            hidden = if last { out } else { self.activate(out, &mut values, 100 + i as u64) };
        }
        if let Some(carry) = carry {
            for (row, carry) in hidden.iter_mut().zip(&carry) {
                row.iter_mut().zip(carry).for_each(|(x, carry)| *x += carry);
            }
        }
        let code = hidden.clone();
        let depth = architecture.decoder_hidden.len();
        for i in 0..=depth {
            if i == depth && i > 0 && skip {
                hidden.iter_mut().zip(&code).for_each(|(row, code)| row.extend(code));
            }
            let out = product(&hidden, values.next().unwrap(), values.next().unwrap());
            hidden = if i == depth { out } else { self.activate(out, &mut values, 200 + i as u64) };
        }
        let mut recon = 0.0;
        for (row, z) in hidden.iter().zip(&z) {
            for ((x, z), weight) in row.iter().zip(z).zip(&self.loss_weight) {
                recon += weight * (x - z) * (x - z);
            }
        }
        let mut class = 0.0;
        if architecture.n_classes > 0 {
            hidden = code;
            let depth = architecture.head_hidden.len();
            for i in 0..=depth {
                let out = product(&hidden, values.next().unwrap(), values.next().unwrap());
                hidden =
                    if i == depth { out } else { self.activate(out, &mut values, 300 + i as u64) };
            }
            for (logits, targets) in hidden.iter().zip(self.targets.chunks(logits_len(&hidden))) {
                let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
                class += logits
                    .iter()
                    .zip(targets)
                    .map(|(logit, target)| -target * (logit - total.ln()))
                    .sum::<f64>();
            }
        }
        (recon, class)
    }

    fn activate<'v>(
        &self,
        mut rows: Rows,
        values: &mut impl Iterator<Item = &'v Vec<f64>>,
        id: u64,
    ) -> Rows {
        let n = rows.len() as f64;
        if self.architecture.batch_norm {
            let (scale, shift) = (values.next().unwrap(), values.next().unwrap());
            for unit in 0..rows[0].len() {
                let mean = rows.iter().map(|row| row[unit]).sum::<f64>() / n;
                let variance = rows.iter().map(|row| (row[unit] - mean).powi(2)).sum::<f64>() / n;
                for row in &mut rows {
                    let normalised = (row[unit] - mean) / (variance + 1e-5).sqrt();
                    row[unit] = normalised * scale[unit] + shift[unit];
                }
            }
        }
        for (i, row) in rows.iter_mut().enumerate() {
            let key = MOMENT.row(Purpose::DropHidden, i).next_u64();
            let mut rng = Rng::stream(key, Purpose::DropHidden, id, 0);
            for x in row {
                *x = activation(self.architecture.activation, *x);
                if self.dropout > 0.0 {
                    let kept = rng.unit() >= self.dropout;
                    *x *= if kept { 1.0 / (1.0 - f64::from(self.dropout)) } else { 0.0 };
                }
            }
        }
        rows
    }
}

fn logits_len(rows: &Rows) -> usize {
    rows[0].len()
}

fn product(input: &Rows, weights: &[f64], bias: &[f64]) -> Rows {
    input
        .iter()
        .map(|row| {
            let mut out = bias.to_vec();
            for (x, weights) in row.iter().zip(weights.chunks(bias.len())) {
                out.iter_mut().zip(weights).for_each(|(out, weight)| *out += x * weight);
            }
            out
        })
        .collect()
}

fn activation(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::LogSigmoid => -(-x).exp().ln_1p(),
        Activation::Tanh => x.tanh(),
        Activation::SoftPlus => x.exp().ln_1p(),
        Activation::SoftShrink => x.signum() * (x.abs() - 0.5).max(0.0),
    }
}
