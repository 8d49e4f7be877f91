//! What a training run is asked to do.

use crate::TrainError;
use crate::autoencoder::Architecture;

/// Parameters of [`fit`](crate::fit). Ranges are checked there.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainParams {
    /// The network.
    pub architecture: Architecture,
    /// Whether the network reads ranks of a row's genes in place of their values: see [`cic_model::ranks`]. The pipeline makes
    /// them; [`fit`](crate::fit()) takes the rows as they are.
    pub ranks: bool,
    /// Weight of the reconstruction: the share of the fitted rows' variance not explained.
    pub lambda_recon: f32,
    /// Weight of the cross-entropy, in nats per row.
    pub lambda_class: f32,
    /// Genes that a step reproduces, about; `None` for all of them. They are dealt out anew in every round of steps, each
    /// gene once a round, and the loss is scaled so that its expectation is that of all genes. The decoder's weights of a
    /// gene learn in the steps that it is drawn for. What is measured on other rows, and the refit of the last decoder
    /// layer, are of all genes.
    pub recon_genes: Option<usize>,
    /// How classes of different size count.
    pub class_weights: ClassWeights,
    /// Share of a label spread over all classes, in [0, 1).
    pub label_smoothing: f32,
    /// Decoupled weight decay per unit of learning rate, not for biases and the linear skip.
    pub weight_decay: f32,
    /// Probability that an input value is lost, in [0, 1). It becomes zero where zeros are common
    /// (half of the values or more), else the gene's mean; the others grow by 1 / (1 − p).
    pub input_dropout: f32,
    /// Standard deviation of Gaussian input noise, in standard deviations of the gene.
    pub input_noise: f32,
    /// Largest share of a row's genes that are missing, in [0, 1): each row loses a share drawn evenly up to it. Lost
    /// genes are read as their mean, as those are that a file does not have.
    pub gene_dropout: f32,
    /// Largest share of a row's counts that are lost, in [0, 1), as where less was sequenced: in each step a row keeps a
    /// share of its counts drawn evenly from 1 − `thinning` to 1, and is scaled anew. Only for counts, without mixup.
    pub thinning: f32,
    /// Probability that a hidden unit is dropped, in [0, 1).
    pub hidden_dropout: f32,
    /// Standard deviation of Gaussian noise on the code, in standard deviations of each dimension:
    /// what decoder and classifier learn to bear, for example from quantisation.
    pub code_noise: f32,
    /// Largest share of a second row mixed into a row, in [0, 0.5]; 0 for none.
    pub mixup: f32,
    /// The update rule.
    pub optimizer: Optimizer,
    /// Step size at its highest.
    pub learning_rate: f32,
    /// How the step size falls.
    pub schedule: Schedule,
    /// Epochs over which the step size rises from zero.
    pub warm_up_epochs: f32,
    /// Step size of the linear skip as a share of the others'.
    pub skip_rate: f32,
    /// Step size of the encoder's hidden layers as a share of the others': where the linear path is good already, what they
    /// add to the code has to be learnt slowly. Without a linear path it is not used.
    pub encoder_rate: f32,
    /// Epochs in which the linear skip stays as it starts.
    pub skip_frozen_epochs: usize,
    /// Largest norm of the whole gradient; longer ones are shortened to it.
    pub clip_norm: Option<f32>,
    /// Rows per step, about: an epoch is divided evenly.
    pub batch_size: usize,
    /// Epochs at most.
    pub max_epochs: usize,
    /// When to stop before that; needs early-stop rows.
    pub early_stopping: Option<EarlyStopping>,
    /// After early stopping, train again on all rows, those for early stopping included, for as
    /// many epochs as were best.
    pub refit: bool,
    /// Whether the last decoder layer is fitted anew at the end, in closed form: to tell the rows from codes of the rows,
    /// or of rows with the noise, lost genes and lost counts that the run asks for.
    pub refit_decoder: bool,
    /// Everything random follows from it.
    pub seed: u64,
}

/// How classes of different size count in the cross-entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassWeights {
    /// Every row the same.
    None,
    /// Every class the same.
    Balanced,
}

/// The update rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Plain stochastic gradient descent.
    Sgd,
    /// Adam, with decoupled weight decay.
    Adam {
        /// Decay of the mean gradient.
        beta1: f32,
        /// Decay of the mean squared gradient.
        beta2: f32,
        /// Added to the root of the latter.
        epsilon: f32,
    },
}

impl Optimizer {
    /// Adam with the constants of its authors.
    pub const ADAM: Self = Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
}

/// How the step size falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// It does not.
    Constant,
    /// Along half a cosine to a hundredth at `max_epochs`.
    Cosine,
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyStopping {
    /// What decides which epoch is best, on the early-stop rows.
    pub watch: Watch,
    /// Epochs without a better one after which training stops.
    pub patience: usize,
}

/// What decides which epoch is best; ties go to the lower loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The weighted sum of the two losses.
    Loss,
    /// Accuracy.
    Accuracy,
    /// Macro-averaged F1.
    MacroF1,
}

impl TrainParams {
    /// Defaults for an architecture and a number of training rows, chosen by cross-validation on
    /// training rows of real sets. The linear path stays the principal components, and what hidden layers add to the code
    /// is learnt slowly: at the rate of the others it fits noise within a few epochs, and both classes and
    /// reproduction suffer. Below 1,000 rows the network is held closer still to its linear path:
    /// batch normalisation, much weight decay, and a smaller weight of the classes.
    pub fn for_rows(mut architecture: Architecture, n_rows: usize) -> Self {
        let is_small = n_rows < SMALL_ROWS;
        architecture.batch_norm |= is_small;
        Self {
            ranks: false,
            lambda_recon: 1.0,
            lambda_class: if is_small { 0.1 } else { 0.3 },
            recon_genes: (architecture.n_genes > MANY_GENES).then_some(RECON_GENES),
            class_weights: ClassWeights::None,
            label_smoothing: LABEL_SMOOTHING,
            weight_decay: if is_small { 1.0 } else { 0.01 },
            input_dropout: 0.2,
            input_noise: 0.0,
            gene_dropout: 0.0,
            thinning: 0.0,
            hidden_dropout: if n_rows < MANY_ROWS { 0.5 } else { 0.1 },
            code_noise: if is_small { 0.0 } else { 0.1 },
            mixup: 0.0,
            optimizer: Optimizer::ADAM,
            learning_rate: 3e-3,
            schedule: Schedule::Cosine,
            warm_up_epochs: 1.0,
            skip_rate: 0.0,
            encoder_rate: 0.03,
            skip_frozen_epochs: 0,
            clip_norm: None,
            batch_size: (n_rows / 16).clamp(16, 256),
            max_epochs: (500_000 / n_rows.max(1)).clamp(40, 200),
            early_stopping: Some(EarlyStopping { watch: Watch::Loss, patience: 20 }),
            refit: n_rows < 20_000,
            refit_decoder: true,
            seed: 1,
            architecture,
        }
    }

    /// Whether all values are in their ranges.
    ///
    /// # Errors
    /// [`TrainError`] that names the parameter and its range.
    pub fn check(&self) -> Result<(), TrainError> {
        self.architecture.check()?;
        let at_least_zero = "a finite number, 0 or more";
        let probability = "0 or more, below 1";
        let floats: [(&'static str, f32, f32, &'static str); 17] = [
            ("lambda_recon", self.lambda_recon, f32::MAX, at_least_zero),
            ("lambda_class", self.lambda_class, f32::MAX, at_least_zero),
            ("label_smoothing", self.label_smoothing, BELOW_ONE, probability),
            ("weight_decay", self.weight_decay, f32::MAX, at_least_zero),
            ("input_dropout", self.input_dropout, BELOW_ONE, probability),
            ("input_noise", self.input_noise, f32::MAX, at_least_zero),
            ("gene_dropout", self.gene_dropout, BELOW_ONE, probability),
            ("thinning", self.thinning, BELOW_ONE, probability),
            ("hidden_dropout", self.hidden_dropout, BELOW_ONE, probability),
            ("code_noise", self.code_noise, f32::MAX, at_least_zero),
            ("mixup", self.mixup, 0.5, "from 0 to 0.5"),
            ("learning_rate", self.learning_rate, f32::MAX, at_least_zero),
            ("warm_up_epochs", self.warm_up_epochs, f32::MAX, at_least_zero),
            ("skip_rate", self.skip_rate, f32::MAX, at_least_zero),
            ("encoder_rate", self.encoder_rate, f32::MAX, at_least_zero),
            ("clip_norm", self.clip_norm.unwrap_or(1.0), f32::MAX, at_least_zero),
            ("Adam's beta and epsilon", self.adam_range(), 1.0, "betas in [0, 1), epsilon above 0"),
        ];
        for (name, value, highest, expected) in floats {
            if !(value >= 0.0 && value <= highest) {
                return Err(TrainError::Parameter { name, value: value.to_string(), expected });
            }
        }
        if self.thinning > 0.0 && self.mixup > 0.0 {
            let (value, expected) = (self.mixup.to_string(), "0 where counts are thinned");
            return Err(TrainError::Parameter { name: "mixup", value, expected });
        }
        for (name, value) in [
            ("batch_size", self.batch_size),
            ("max_epochs", self.max_epochs),
            ("recon_genes", self.recon_genes.unwrap_or(1)),
        ] {
            if value == 0 {
                let (value, expected) = (value.to_string(), "at least 1");
                return Err(TrainError::Parameter { name, value, expected });
            }
        }
        Ok(())
    }

    /// 0 where Adam's constants are in range, −1 otherwise.
    fn adam_range(&self) -> f32 {
        let Optimizer::Adam { beta1, beta2, epsilon } = self.optimizer else { return 0.0 };
        let decay = |beta: f32| (0.0..1.0).contains(&beta);
        if decay(beta1) && decay(beta2) && epsilon > 0.0 && epsilon.is_finite() {
            0.0
        } else {
            -1.0
        }
    }

    /// Step size at a step (from 0) of an epoch that has `steps` of them.
    pub(crate) fn learning_rate_at(&self, step: u64, steps: usize) -> f32 {
        let warm_up = f64::from(self.warm_up_epochs) * steps as f64;
        let at = step as f64 + 1.0;
        let rise = if at < warm_up { at / warm_up } else { 1.0 };
        let fall = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let total = (self.max_epochs * steps) as f64;
                let progress = ((at - warm_up) / (total - warm_up).max(1.0)).clamp(0.0, 1.0);
                LOWEST + (1.0 - LOWEST) * 0.5 * (1.0 + libm::cos(core::f64::consts::PI * progress))
            }
        };
        (f64::from(self.learning_rate) * rise * fall) as f32
    }
}

/// Share of a label spread over all classes by default.
pub(crate) const LABEL_SMOOTHING: f32 = 0.05;
/// Rows below which a training set is small.
const SMALL_ROWS: usize = 1_000;
/// Rows from which on hidden layers are hardly held back.
const MANY_ROWS: usize = 4_000;
/// Genes above which a step reproduces some of them.
const MANY_GENES: usize = 4_000;
/// How many.
const RECON_GENES: usize = 2_000;
/// The largest number below 1.
const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;
/// Share of the learning rate left at the end of the cosine.
const LOWEST: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> TrainParams {
        TrainParams::for_rows(Architecture::mirrored(10, vec![8], 3, 2), 100)
    }

    #[test]
    fn defaults_pass_and_each_fault_is_named() {
        params().check().unwrap();
        type Fault = (&'static str, fn(&mut TrainParams));
        let faults: [Fault; 10] = [
            ("lambda_recon", |p| p.lambda_recon = -1.0),
            ("learning_rate", |p| p.learning_rate = f32::NAN),
            ("input_dropout", |p| p.input_dropout = 1.0),
            ("mixup", |p| p.mixup = 0.6),
            ("batch_size", |p| p.batch_size = 0),
            ("recon_genes", |p| p.recon_genes = Some(0)),
            ("mixup", |p| (p.mixup, p.thinning) = (0.3, 0.5)),
            ("n_classes", |p| p.architecture.n_classes = 1),
            ("hidden units", |p| p.architecture.encoder_hidden = vec![4, 0]),
            ("beta", |p| {
                p.optimizer = Optimizer::Adam { beta1: 1.0, beta2: 0.9, epsilon: 1e-8 };
            }),
        ];
        for (name, fault) in faults {
            let mut params = params();
            fault(&mut params);
            let message = params.check().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn the_step_size_rises_then_falls_to_a_hundredth() {
        let params = TrainParams { warm_up_epochs: 2.0, max_epochs: 12, ..params() };
        let at = |step| params.learning_rate_at(step, 5) / params.learning_rate;
        assert!((at(0) - 0.1).abs() < 1e-6);
        assert!((at(9) - 1.0).abs() < 1e-3);
        assert!((at(34) - 0.505).abs() < 1e-3);
        assert!((at(59) - 0.01).abs() < 1e-6);
        assert!((at(1000) - 0.01).abs() < 1e-6);
    }
}
