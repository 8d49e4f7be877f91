//! One pass of training over one set of rows, epoch by epoch.

use cic_model::StageKind;

use crate::TrainError;
use crate::autoencoder::{Autoencoder, LossSums, Objective};
use crate::engine::batch::{Batch, ClassTargets, Corruption, Lost, Moment};
use crate::engine::drawn_genes::DrawnGenes;
use crate::engine::losses::Pass;
use crate::engine::parameter::{Parameter, Rule, Update};
use crate::engine::rng::{Purpose, Rng};
use crate::engine::standardiser::Standardiser;
use crate::engine::training_data::TrainingData;
use crate::metrics::Confusion;
use crate::pca::Pca;
use crate::train_params::{ClassWeights, Optimizer, TrainParams};

/// A network, what it is trained on, and how far it is.
pub(crate) struct Stage<'a> {
    params: &'a TrainParams,
    data: &'a TrainingData<'a>,
    pub(crate) rows: Vec<usize>,
    pub(crate) standardiser: Standardiser,
    classes: ClassTargets,
    corruption: Corruption,
    objective: Objective,
    pub(crate) network: Autoencoder,
    pub(crate) batch: Batch,
    n_batches: usize,
    pub(crate) max_rows: usize,
    /// Complete epochs.
    pub(crate) epoch: usize,
    /// Complete steps.
    pub(crate) step: u64,
    order: Vec<usize>,
    partial: Vec<f64>,
}

/// Losses and classification of a set of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Share of the fitted rows' variance that is not explained: 1 − R², about.
    pub recon: f64,
    /// Mean weighted cross-entropy in nats.
    pub class: f64,
    /// The weighted sum of both.
    pub loss: f64,
    /// Share of labelled rows classified right; NaN without labels.
    pub accuracy: f64,
    /// Macro-averaged F1 over the labelled rows; NaN without labels.
    pub macro_f1: f64,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        params: &'a TrainParams,
        data: &'a TrainingData<'a>,
        rows: Vec<usize>,
    ) -> Result<Self, TrainError> {
        let architecture = &params.architecture;
        let standardiser = Standardiser::fit(data, &rows);
        let pca = match architecture.linear_skip {
            true => Some(Pca::fit(data, &rows, architecture.code, params.seed)?),
            false => None,
        };
        let n_batches = ((rows.len() + params.batch_size / 2) / params.batch_size).max(1);
        let max_rows = rows.len().div_ceil(n_batches);
        let start = pca.as_ref().map(|pca| (pca, &standardiser));
        let (dropout, seed) = (params.hidden_dropout, params.seed);
        let mut network = Autoencoder::new(architecture, dropout, max_rows, seed, start);
        network.drawn =
            params.recon_genes.and_then(|n| DrawnGenes::new(data.n_genes, n, params.seed));
        let density = data.density(&rows);
        let corruption = Corruption {
            drop: params.input_dropout,
            lost: if density <= 0.5 { Lost::Zero } else { Lost::Mean },
            noise: params.input_noise,
            mixup: params.mixup,
            missing: params.gene_dropout,
            thin: params.thinning,
        };
        let fills_in = params.input_noise > 0.0 || params.gene_dropout > 0.0;
        let batch = if density < SPARSE_BELOW && !fills_in {
            Batch::sparse(data.n_genes)
        } else {
            let corrupted = params.input_dropout > 0.0 || params.thinning > 0.0 || fills_in;
            Batch::dense(max_rows, data.n_genes, corrupted)
        };
        Ok(Self {
            classes: class_targets(params, data, &rows),
            objective: Objective {
                lambda_recon: params.lambda_recon,
                lambda_class: params.lambda_class,
                code_noise: params.code_noise,
            },
            params,
            data,
            rows,
            standardiser,
            corruption,
            network,
            batch,
            n_batches,
            max_rows,
            epoch: 0,
            step: 0,
            order: Vec::new(),
            partial: Vec::new(),
        })
    }

    /// Trains one epoch; returns the mean losses of its rows as they were while it ran.
    pub(crate) fn train_epoch(&mut self) -> Result<Evaluation, TrainError> {
        let params = self.params;
        let epoch = self.epoch + 1;
        self.order.clear();
        self.order.extend_from_slice(&self.rows);
        Rng::stream(params.seed, Purpose::Shuffle, epoch as u64, 0).shuffle(&mut self.order);
        let n = self.order.len();
        let mut sums = LossSums::default();
        let mut confusion = Confusion::new(self.classes.n_classes);
        for b in 0..self.n_batches {
            let rows = n * b / self.n_batches..n * (b + 1) / self.n_batches;
            let moment =
                Moment { seed: params.seed, epoch: epoch as u64, first_row: rows.start as u64 };
            let rows = &self.order[rows];
            let training = Some((&moment, &self.corruption, &self.rows[..]));
            self.batch.gather(self.data, &self.standardiser, &self.classes, rows, training);
            let (network, batch) = (&mut self.network, &self.batch);
            network.forward(batch, &self.standardiser, &self.objective, Some(&moment));
            count(network, self.data, rows, &mut confusion);
            network.draw_genes(self.step);
            let losses = network.losses(batch, &self.standardiser, &self.objective, Pass::Training);
            sums.recon += losses.recon;
            sums.class += losses.class;
            self.update();
        }
        self.epoch = epoch;
        let evaluation = self.evaluation(sums, n, &confusion);
        match evaluation.loss.is_finite() {
            true => Ok(evaluation),
            false => Err(TrainError::Diverged { epoch }),
        }
    }

    /// Losses and classification of other rows, without noise.
    pub(crate) fn evaluate(&mut self, rows: &[usize]) -> Evaluation {
        let mut sums = LossSums::default();
        let mut confusion = Confusion::new(self.classes.n_classes);
        for chunk in rows.chunks(self.max_rows) {
            self.infer(chunk);
            count(&self.network, self.data, chunk, &mut confusion);
            let (network, batch) = (&mut self.network, &self.batch);
            let losses =
                network.losses(batch, &self.standardiser, &self.objective, Pass::Inference);
            sums.recon += losses.recon;
            sums.class += losses.class;
        }
        self.evaluation(sums, rows.len(), &confusion)
    }

    /// Mean and standard deviation of each code dimension over the rows of this stage.
    pub(crate) fn code_moments(&mut self) -> Vec<(f64, f64)> {
        let code_dim = self.params.architecture.code;
        let rows = core::mem::take(&mut self.rows);
        let mut codes: Vec<f32> = Vec::with_capacity(rows.len() * code_dim);
        for chunk in rows.chunks(self.max_rows) {
            self.infer(chunk);
            codes.extend_from_slice(&self.network.code[..chunk.len() * code_dim]);
        }
        self.rows = rows;
        let n = (codes.len() / code_dim) as f64;
        let column = |k: usize| codes.iter().skip(k).step_by(code_dim).map(|&x| f64::from(x));
        (0..code_dim)
            .map(|k| {
                let mean = column(k).sum::<f64>() / n;
                let square = column(k).map(|x| (x - mean) * (x - mean)).sum::<f64>();
                (mean, libm::sqrt(square / n))
            })
            .collect()
    }

    /// Runs rows through the network without noise.
    pub(crate) fn infer(&mut self, rows: &[usize]) {
        self.batch.gather(self.data, &self.standardiser, &self.classes, rows, None);
        self.network.forward(&self.batch, &self.standardiser, &self.objective, None);
    }

    /// Runs rows through the network as another instrument or panel might have measured them, where the run asks for that;
    /// `place` says what chance does. What is to be reproduced stays undisturbed.
    pub(crate) fn infer_disturbed(&mut self, rows: &[usize], place: u64) {
        let Some(corruption) = self.corruption.of_measurement() else { return self.infer(rows) };
        // No epoch has this number, and no batch begins there.
        let moment = Moment { seed: self.params.seed, epoch: u64::MAX, first_row: place };
        let training = Some((&moment, &corruption, rows));
        self.batch.gather(self.data, &self.standardiser, &self.classes, rows, training);
        self.network.forward(&self.batch, &self.standardiser, &self.objective, None);
    }

    pub(crate) fn is_disturbed(&self) -> bool {
        self.corruption.of_measurement().is_some()
    }

    fn update(&mut self) {
        let params = self.params;
        let frozen = self.epoch < params.skip_frozen_epochs;
        let gradient_scale = match params.clip_norm {
            Some(highest) => self.clipping(highest),
            None => 1.0,
        };
        let update = Update {
            rule: match params.optimizer {
                Optimizer::Sgd => Rule::Sgd,
                Optimizer::Adam { beta1, beta2, epsilon } => Rule::Adam { beta1, beta2, epsilon },
            },
            learning_rate: params.learning_rate_at(self.step, self.n_batches),
            skip_rate: if frozen { 0.0 } else { params.skip_rate },
            weight_decay: params.weight_decay,
            gradient_scale,
            step: self.step + 1,
        };
        let encoder_rate = if params.architecture.linear_skip { params.encoder_rate } else { 1.0 };
        let of_encoder = Update {
            learning_rate: update.learning_rate * encoder_rate,
            // The skip has a rate of its own.
            skip_rate: update.skip_rate / encoder_rate.max(f32::MIN_POSITIVE),
            ..update
        };
        self.network.for_each_layer(&mut |layer, stage| {
            let update = if stage == StageKind::Encoder { &of_encoder } else { &update };
            layer.for_each_parameter(&mut |parameter| parameter.update(update));
        });
        self.step += 1;
    }

    fn clipping(&mut self, highest: f32) -> f32 {
        let mut square = 0.0;
        let partial = &mut self.partial;
        self.network.for_each_parameter(&mut |parameter: &mut Parameter| {
            square += parameter.gradient_square(partial);
        });
        let norm = libm::sqrt(square);
        if norm > f64::from(highest) { (f64::from(highest) / norm) as f32 } else { 1.0 }
    }

    fn evaluation(&self, sums: LossSums, n: usize, confusion: &Confusion) -> Evaluation {
        let n = n.max(1) as f64;
        let (recon, class) = (sums.recon / n, sums.class / n);
        let loss = f64::from(self.params.lambda_recon) * recon
            + f64::from(self.params.lambda_class) * class;
        let (accuracy, macro_f1) = match confusion.total() {
            0 => (f64::NAN, f64::NAN),
            _ => (confusion.accuracy(), confusion.macro_f1()),
        };
        Evaluation { recon, class, loss, accuracy, macro_f1 }
    }
}

fn count(
    network: &Autoencoder,
    data: &TrainingData<'_>,
    rows: &[usize],
    confusion: &mut Confusion,
) {
    let Some(head) = network.head.last() else { return };
    for (logits, &row) in head.out.chunks_exact(head.units).zip(rows) {
        let Some(label) = data.label(row) else { continue };
        let mut best = 0;
        for (class, logit) in logits.iter().enumerate() {
            if *logit > logits[best] {
                best = class;
            }
        }
        confusion.add(label, Some(best));
    }
}

fn class_targets(params: &TrainParams, data: &TrainingData<'_>, rows: &[usize]) -> ClassTargets {
    let n_classes = params.architecture.n_classes;
    let mut counts = vec![0_usize; n_classes];
    rows.iter().filter_map(|&row| data.label(row)).for_each(|label| counts[label] += 1);
    let labelled: usize = counts.iter().sum();
    let present = counts.iter().filter(|count| **count > 0).count();
    let weights = counts
        .iter()
        .map(|&count| match params.class_weights {
            ClassWeights::None => 1.0,
            // A class without rows has no weight to give.
            ClassWeights::Balanced => labelled as f32 / (present.max(1) * count.max(1)) as f32,
        })
        .collect();
    ClassTargets { n_classes, weights, smoothing: params.label_smoothing }
}

/// Density below which the first layer works on compressed rows: where the two took the same time
/// on the machine they were compared on.
const SPARSE_BELOW: f64 = 0.2;
