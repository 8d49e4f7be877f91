//! Training with early stopping, refit, progress, cancellation and checkpoints.

use core::cmp::Ordering;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cic_model::{DenseLayer, Network};

use crate::TrainError;
use crate::algebra::on_calling_thread;
use crate::checkpoint::{Reader, RunDigest, Writer};
use crate::engine::training_data::TrainingData;
use crate::freeze::freeze;
use crate::stage::{Evaluation, Stage};
use crate::train_params::{TrainParams, Watch};

/// How a run reports and can be interrupted. Nothing in it changes a weight.
#[derive(Default)]
pub struct FitControl<'a> {
    /// Threads to use; 0 for one per processor.
    pub threads: usize,
    /// Called after every epoch.
    pub on_epoch: Option<&'a mut (dyn FnMut(&EpochReport) + Send)>,
    /// Set to stop after the current epoch.
    pub cancel: Option<&'a AtomicBool>,
    /// Where to keep the state.
    pub checkpoint: Option<CheckpointPolicy>,
}

/// Where and how often the state of a run is kept. A run that finds a checkpoint of its own there
/// continues it; one that finds another's is refused. The file stays when the run is complete.
#[derive(Clone, Debug)]
pub struct CheckpointPolicy {
    /// The file.
    pub path: PathBuf,
    /// Epochs between two writes, at least 1.
    pub every_epochs: usize,
}

/// Which of its two passes a run is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FitPass {
    /// On the fit rows, watching the early-stop rows.
    Search,
    /// On both, for the number of epochs that was best.
    Refit,
}

/// Progress after an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    /// The pass.
    pub pass: FitPass,
    /// Complete epochs of this pass.
    pub epoch: usize,
    /// Epochs of this pass at most.
    pub epochs: usize,
    /// Of the trained rows, with the noise of training.
    pub train: Evaluation,
    /// Of the early-stop rows, where there are any and the pass watches them.
    pub early: Option<Evaluation>,
    /// Best epoch so far; the current one where nothing is watched.
    pub best_epoch: usize,
    /// Speed of the last epoch.
    pub rows_per_second: f64,
    /// Time to the end of this pass, if it is not stopped early.
    pub eta: Duration,
}

/// A trained network.
pub struct Trained {
    /// The frozen network.
    network: Network,
    /// Epoch whose weights these are.
    pub best_epoch: usize,
    /// Epochs run in the search.
    pub epochs_run: usize,
    /// The best epoch on the early-stop rows, where there were any; of the network before a refit.
    pub early: Option<Evaluation>,
    /// Weights and biases of encoder and classifier, what a device stores.
    pub n_deployed_weights: usize,
    /// Whether the weights come from a refit on fit and early-stop rows.
    pub refitted: bool,
}

impl Trained {
    /// The network in single precision with batch normalisation, standardisation and linear skip
    /// folded in; every code dimension has mean 0 and standard deviation 1 over the rows it was
    /// trained on.
    pub fn freeze(&self) -> Network {
        self.network.clone()
    }
}

/// Trains a network on `fit_rows` of the data, watching `early_rows` (which may be empty: then
/// the last epoch counts).
///
/// The same parameters, data and row lists give the same weights, byte for byte, whatever the
/// number of threads and however often the run was killed and continued from its checkpoint.
///
/// # Errors
///
/// Parameters, data or row lists that do not fit, a loss that is no longer finite, cancellation,
/// and checkpoints that cannot be read, written or continued.
pub fn fit(
    params: &TrainParams,
    data: &TrainingData<'_>,
    fit_rows: &[usize],
    early_rows: &[usize],
    control: &mut FitControl<'_>,
) -> Result<Trained, TrainError> {
    check(params, data, fit_rows, early_rows)?;
    on_calling_thread();
    let threads = control.threads;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|_| TrainError::Threads { threads })?;
    let every_epochs = control.checkpoint.as_ref().map(|policy| policy.every_epochs);
    if every_epochs == Some(0) {
        let (value, expected) = ("0".to_owned(), "at least 1 epoch between checkpoints");
        return Err(TrainError::Parameter { name: "every_epochs", value, expected });
    }
    pool.install(|| Run::start(params, data, fit_rows, early_rows, control)?.finish())
}

fn check(
    params: &TrainParams,
    data: &TrainingData<'_>,
    fit_rows: &[usize],
    early_rows: &[usize],
) -> Result<(), TrainError> {
    params.check()?;
    data.check()?;
    if params.thinning > 0.0 && data.counts.is_none() {
        let (value, expected) = (
            params.thinning.to_string(),
            "0 where the network reads no counts (ranks, or values that are none)",
        );
        return Err(TrainError::Parameter { name: "thinning", value, expected });
    }
    let architecture = &params.architecture;
    for (what, expected, found) in [
        ("genes of the architecture and the data", data.n_genes, architecture.n_genes),
        ("classes of the architecture and the data", data.n_classes, architecture.n_classes),
    ] {
        if expected != found {
            return Err(TrainError::Shape { what, expected, found });
        }
    }
    if architecture.n_classes > 0 && data.labels.is_none() {
        let (expected, found) = (data.n_rows(), 0);
        return Err(TrainError::Shape { what: "labels", expected, found });
    }
    let n_rows = data.n_rows();
    if let Some(&row) = fit_rows.iter().chain(early_rows).find(|&&row| row >= n_rows) {
        return Err(TrainError::Row { row, n_rows });
    }
    if fit_rows.len() < 2 {
        return Err(TrainError::TooFewRows { needed: 2, found: fit_rows.len() });
    }
    Ok(())
}

/// A run between epochs.
struct Run<'a, 'c, 'f> {
    params: &'a TrainParams,
    early_rows: &'a [usize],
    all_rows: Vec<usize>,
    data: &'a TrainingData<'a>,
    control: &'c mut FitControl<'f>,
    digest: Option<RunDigest>,
    pass: FitPass,
    stage: Stage<'a>,
    best: Best,
    /// Epochs of the search, once it is over.
    epochs_run: usize,
}

/// The best epoch so far.
#[derive(Clone, Default)]
struct Best {
    epoch: usize,
    evaluation: Evaluation,
    /// Trained values and running statistics; empty before the first epoch and in a refit.
    state: Vec<f32>,
}

impl<'a, 'c, 'f> Run<'a, 'c, 'f> {
    fn start(
        params: &'a TrainParams,
        data: &'a TrainingData<'a>,
        fit_rows: &'a [usize],
        early_rows: &'a [usize],
        control: &'c mut FitControl<'f>,
    ) -> Result<Self, TrainError> {
        let all_rows: Vec<usize> = fit_rows.iter().chain(early_rows).copied().collect();
        // Where nothing is looked for, all rows are trained on from the start.
        let searches = !refits(params, early_rows) || params.early_stopping.is_some();
        let (pass, rows, epoch) = match searches {
            true => (FitPass::Search, fit_rows.to_vec(), 0),
            false => (FitPass::Refit, all_rows.clone(), params.max_epochs),
        };
        let mut run = Self {
            params,
            early_rows,
            all_rows,
            data,
            digest: None,
            pass,
            stage: Stage::new(params, data, rows)?,
            best: Best { epoch, ..Best::default() },
            epochs_run: 0,
            control,
        };
        if let Some(policy) = run.control.checkpoint.clone() {
            let digest = RunDigest::new(params, data, fit_rows, early_rows);
            run.digest = Some(digest);
            if let Some(reader) = Reader::open(&policy.path, &digest)? {
                run.restore(reader)?;
            }
        }
        Ok(run)
    }

    fn finish(mut self) -> Result<Trained, TrainError> {
        if self.pass == FitPass::Search {
            self.search()?;
            self.epochs_run = self.stage.epoch;
            if refits(self.params, self.early_rows) {
                self.begin_refit()?;
            } else if !self.best.state.is_empty() {
                load_state(&mut self.stage, &self.best.state);
            }
        }
        if self.pass == FitPass::Refit {
            while self.stage.epoch < self.best.epoch {
                self.epoch(self.best.epoch)?;
            }
        }
        if self.params.refit_decoder && self.params.lambda_recon > 0.0 {
            self.stage.refit_decoder();
        }
        let moments = self.stage.code_moments();
        let network = freeze(&self.stage.network, &self.stage.standardiser, &moments);
        let is_finite = |layer: &DenseLayer| {
            layer.weights.iter().chain(&layer.bias).all(|weight| weight.is_finite())
        };
        if !network.layers().all(is_finite) {
            return Err(TrainError::Diverged { epoch: self.stage.epoch });
        }
        let early = (!self.early_rows.is_empty()).then_some(self.best.evaluation);
        Ok(Trained {
            network,
            best_epoch: self.best.epoch,
            epochs_run: self.epochs_run,
            early,
            n_deployed_weights: self.params.architecture.n_deployed_weights(),
            refitted: self.pass == FitPass::Refit,
        })
    }

    fn begin_refit(&mut self) -> Result<(), TrainError> {
        self.pass = FitPass::Refit;
        self.stage = Stage::new(self.params, self.data, self.all_rows.clone())?;
        Ok(())
    }

    fn search(&mut self) -> Result<(), TrainError> {
        while self.stage.epoch < self.params.max_epochs && !self.out_of_patience() {
            self.epoch(self.params.max_epochs)?;
        }
        Ok(())
    }

    fn out_of_patience(&self) -> bool {
        match self.params.early_stopping {
            Some(rule) if !self.early_rows.is_empty() => {
                self.stage.epoch >= self.best.epoch + rule.patience.max(1)
            }
            _ => false,
        }
    }

    /// Trains one epoch and does everything that belongs to its end.
    fn epoch(&mut self, epochs: usize) -> Result<(), TrainError> {
        let started = Instant::now();
        let train = self.stage.train_epoch()?;
        let elapsed = started.elapsed();
        let epoch = self.stage.epoch;
        let watches = self.pass == FitPass::Search && !self.early_rows.is_empty();
        let early = watches.then(|| self.stage.evaluate(self.early_rows));
        if early.is_some_and(|early| !early.loss.is_finite()) {
            return Err(TrainError::Diverged { epoch });
        }
        if self.pass == FitPass::Search {
            self.keep_best(early);
        }
        if let Some(on_epoch) = &mut self.control.on_epoch {
            let rows = match self.pass {
                FitPass::Search => self.all_rows.len() - self.early_rows.len(),
                FitPass::Refit => self.all_rows.len(),
            };
            on_epoch(&EpochReport {
                pass: self.pass,
                epoch,
                epochs,
                train,
                early,
                best_epoch: self.best.epoch,
                rows_per_second: rows as f64 / elapsed.as_secs_f64().max(1e-9),
                eta: started.elapsed().mul_f64(epochs.saturating_sub(epoch) as f64),
            });
        }
        let cancelled = self.control.cancel.is_some_and(|flag| flag.load(Relaxed));
        if let Some(policy) = &self.control.checkpoint
            && (cancelled || epoch.is_multiple_of(policy.every_epochs))
        {
            let path = policy.path.clone();
            self.checkpoint().save(&path)?;
        }
        if cancelled { Err(TrainError::Cancelled { epoch }) } else { Ok(()) }
    }

    fn keep_best(&mut self, early: Option<Evaluation>) {
        let epoch = self.stage.epoch;
        let watched = early.filter(|_| self.params.early_stopping.is_some());
        let better = match (watched, self.params.early_stopping) {
            (Some(early), Some(rule)) => {
                self.best.epoch == 0 || is_better(rule.watch, &early, &self.best.evaluation)
            }
            // Nothing decides between epochs: the last one counts, and is where training ends.
            _ => true,
        };
        if !better {
            return;
        }
        self.best.epoch = epoch;
        self.best.evaluation = early.unwrap_or_default();
        // A refit starts afresh: only the epoch is needed.
        if watched.is_some() && !refits(self.params, self.early_rows) {
            let state = &mut self.best.state;
            state.clear();
            self.stage.network.for_each_state(&mut |values| state.extend_from_slice(values));
        }
    }

    fn checkpoint(&mut self) -> Writer {
        let digest = self.digest.expect("a run with a checkpoint has its digest");
        let mut writer = Writer::new(&digest);
        writer.number(u64::from(self.pass == FitPass::Refit));
        writer.number(self.stage.epoch as u64);
        writer.number(self.stage.step);
        writer.number(self.epochs_run as u64);
        writer.number(self.best.epoch as u64);
        let best = self.best.evaluation;
        for value in [best.recon, best.class, best.loss, best.accuracy, best.macro_f1] {
            writer.float(value);
        }
        writer.number(u64::from(!self.best.state.is_empty()));
        if !self.best.state.is_empty() {
            writer.floats(&self.best.state);
        }
        self.stage.network.for_each_parameter(&mut |parameter| {
            writer.floats(&parameter.first_moment);
            writer.floats(&parameter.second_moment);
        });
        self.stage.network.for_each_state(&mut |values| writer.floats(values));
        writer
    }

    fn restore(&mut self, mut reader: Reader<'_>) -> Result<(), TrainError> {
        if reader.number()? == 1 && self.pass == FitPass::Search {
            self.begin_refit()?;
        }
        self.stage.epoch = reader.count()?;
        self.stage.step = reader.number()?;
        self.epochs_run = reader.count()?;
        self.best.epoch = reader.count()?;
        let best = &mut self.best.evaluation;
        for value in [
            &mut best.recon,
            &mut best.class,
            &mut best.loss,
            &mut best.accuracy,
            &mut best.macro_f1,
        ] {
            *value = reader.float()?;
        }
        if reader.number()? == 1 {
            let mut len = 0;
            self.stage.network.for_each_state(&mut |values| len += values.len());
            self.best.state.resize(len, 0.0);
            reader.floats(&mut self.best.state)?;
        }
        let mut result = Ok(());
        let mut read = |values: &mut [f32]| {
            if result.is_ok() {
                result = reader.floats(values);
            }
        };
        self.stage.network.for_each_parameter(&mut |parameter| {
            read(&mut parameter.first_moment);
            read(&mut parameter.second_moment);
        });
        self.stage.network.for_each_state(&mut |values| read(values));
        result?;
        reader.finish()
    }
}

/// Whether training ends with a pass over all rows.
fn refits(params: &TrainParams, early_rows: &[usize]) -> bool {
    params.refit && !early_rows.is_empty()
}

fn load_state(stage: &mut Stage<'_>, mut state: &[f32]) {
    stage.network.for_each_state(&mut |values| {
        let (these, rest) = state.split_at(values.len());
        values.copy_from_slice(these);
        state = rest;
    });
}

fn is_better(watch: Watch, new: &Evaluation, best: &Evaluation) -> bool {
    let score = |evaluation: &Evaluation| match watch {
        Watch::Loss => 0.0,
        Watch::Accuracy => evaluation.accuracy,
        Watch::MacroF1 => evaluation.macro_f1,
    };
    // Without labels both scores are the same NaN, and the loss decides.
    match score(new).total_cmp(&score(best)) {
        Ordering::Greater => true,
        Ordering::Equal => new.loss < best.loss,
        Ordering::Less => false,
    }
}
