//! `cic sweep`: parameters of training and architectures beside one another, by cross-validation on training rows only,
//! in full precision and as int8 in the runtime.

mod state;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cic_data::SplitPart;
use cic_model::{AlignedBytes, Dtype, Model};
use cic_quant::QuantizeOptions;
use cic_trainer::baselines::{self, Reproducer};
use cic_trainer::panel::PanelSize;
use cic_trainer::parts::{Assigned, PartRow, Parts};
use cic_trainer::resplits::{Resplit, folds};
use cic_trainer::settings::Setting;
use cic_trainer::{Architecture, TrainParams};
use clap::{Args, ValueEnum};
use rayon::prelude::*;
use serde::Serialize;

use crate::console::{print, print_json, tell};
use crate::countdown::Countdown;
use crate::dataset::{Annotations, DataArgs, LabelArgs, SplitArgs};
use crate::failure::Failure;
use crate::output;
use crate::plots::{self, Estimate, Forest, ForestRow};
use crate::quantize::quantize_rows;
use crate::study::{Held, Study, confusion};
use crate::threads::ThreadArgs;
use crate::train::{Recipe, check_once, parse_panel};

use state::{Head, Outcome, State};

/// Options of `cic sweep`.
#[derive(Args, Clone, Debug)]
#[command(after_help = NAMES)]
pub struct SweepArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// Column with donors, batches or studies, beside the
    /// labels: no group is on both sides of a fold
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    groups: Option<String>,
    /// Labels that are no cell types, separated by commas:
    /// their rows take no part
    #[arg(long, value_name = "LABELS", value_delimiter = ',', verbatim_doc_comment)]
    without: Vec<String>,
    /// Values to try, as hidden=128|256,128|none; several
    /// times for every combination
    #[arg(long = "try", value_name = "NAME=A|B", value_parser = parse_axis, verbatim_doc_comment)]
    axes: Vec<Axis>,
    /// Where to start from
    #[arg(long, value_enum, default_value_t = Preset::Default)]
    preset: Preset,
    /// A parameter of every run
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<Setting>,
    /// Genes of the panel, variable:N for those of highest
    /// variance alone, or all [default: 2000]
    #[arg(long, value_name = "N|all", value_parser = parse_panel, verbatim_doc_comment)]
    genes: Option<PanelSize>,
    /// Folds of the training rows
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=100))]
    folds: u16,
    /// Folds and models follow from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Keep what is done here; the same command goes on
    /// from it
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    state: Option<PathBuf>,
    /// Draw accuracy and R2 here, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
}

const NAMES: &str = "\
Parameters (--try, --set):
  hidden, decoder_hidden, head_hidden   widths as 128,64 or none; hidden also mirrors the decoder
  code, activation, batch_norm, linear_skip
  ranks (true: the network reads ranks of a cell's genes, and takes files of every kind of values)
  lambda_recon, lambda_class, recon_genes (or all), class_weights (none, balanced), label_smoothing
  weight_decay, input_dropout, input_noise, gene_dropout, thinning, hidden_dropout, code_noise, mixup
  optimizer (adam, sgd), learning_rate, schedule (constant, cosine), warm_up_epochs, clip_norm (or none)
  skip_rate, encoder_rate, skip_frozen_epochs, batch_size, max_epochs, watch (loss, accuracy, macro_f1)
  patience (or none), refit, refit_decoder";

/// Where a sweep starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// The defaults of cic train.
    Default,
    /// The paper's network: 1,000 genes of highest variance, 2,000 hidden units, LogSigmoid, plain gradient descent with
    /// gradients shortened to 1.
    Paper,
}

impl Preset {
    fn settings(self) -> Vec<Setting> {
        let of = |text: &str| -> Vec<Setting> {
            text.split_whitespace().filter_map(|one| one.parse().ok()).collect()
        };
        match self {
            Self::Default => Vec::new(),
            Self::Paper => {
                of("hidden=2000 head_hidden=none activation=log_sigmoid linear_skip=false \
                 batch_norm=false optimizer=sgd learning_rate=0.03 clip_norm=1 schedule=cosine batch_size=16 \
                 max_epochs=200 lambda_class=1 label_smoothing=0 weight_decay=0 input_dropout=0 \
                 hidden_dropout=0 code_noise=0 refit_decoder=false patience=none")
            }
        }
    }

    fn genes(self) -> PanelSize {
        match self {
            Self::Default => PanelSize::Genes(2000),
            Self::Paper => PanelSize::MostVariable(1000),
        }
    }
}

/// A parameter and the values to try.
#[derive(Clone, Debug)]
struct Axis(Vec<Setting>);

fn parse_axis(text: &str) -> Result<Axis, String> {
    let (name, values) = text.split_once('=').ok_or("expected NAME=VALUE|VALUE")?;
    let mut axis = Axis(Vec::new());
    for value in values.split('|') {
        let setting: Setting = format!("{name}={value}").parse()?;
        if axis.0.contains(&setting) {
            return Err(format!("{setting} is there twice"));
        }
        axis.0.push(setting);
    }
    Ok(axis)
}

/// What was found, as printed with `--json`.
#[derive(Serialize)]
struct Report {
    schema_version: u32,
    n_rows: usize,
    n_classes: usize,
    n_folds: usize,
    /// Best first by accuracy in full precision.
    configurations: Vec<Configuration>,
}

#[derive(Serialize)]
struct Configuration {
    settings: String,
    /// Weights and biases of encoder and classifier.
    n_weights: usize,
    epochs: f64,
    accuracy: Spread,
    macro_f1: Spread,
    r2: Spread,
    accuracy_int8: Spread,
    r2_int8: Spread,
    /// Share of held rows with the same label in both precisions.
    agreement: Spread,
    /// Of as many principal components.
    r2_pca: Spread,
    /// Whether its accuracy is within one standard error of the best.
    near_best: bool,
    /// Folds in which training diverged; there are no figures where it did in any.
    n_diverged: usize,
}

/// Mean over the folds and its standard error.
#[derive(Serialize, Clone, Copy)]
struct Spread {
    mean: f64,
    standard_error: f64,
}

/// Tries and prints.
pub fn run(args: &SweepArgs) -> Result<(), Failure> {
    args.labels.require()?;
    let tried = args.axes.iter().filter_map(|axis| axis.0.first());
    check_once(&args.settings.iter().chain(tried).cloned().collect::<Vec<_>>())?;
    let outputs: Vec<&Path> = args.plot.iter().map(PathBuf::as_path).collect();
    output::check(&outputs, &[&args.data.data])?;
    let dataset = args.data.read()?;
    let groups = args.groups.as_deref();
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split, groups)?;
    let study = Study::new(&dataset, &annotations, &args.without)?;
    if !args.quiet {
        study.tell_left_out();
    }
    let sweep = Sweep::new(args, &study)?;
    let outcomes = sweep.run().map_err(|failure| match failure {
        Failure::Interrupted(_) => interrupted(args.state.as_deref()),
        other => other,
    })?;
    let report = sweep.report(&outcomes);
    if let Some(path) = &args.plot {
        let svg = plots::standalone(&report.plot());
        output::write(path, |file| file.write_all(svg.as_bytes()))?;
    }
    match args.json {
        true => print_json(&report),
        false => print(|out| report.write(out)),
    }
}

fn interrupted(state: Option<&Path>) -> Failure {
    Failure::Interrupted(match state {
        Some(path) => anyhow::anyhow!(
            "interrupted; finished runs are in {}, and the same command goes on from there",
            path.display()
        ),
        None => anyhow::anyhow!("interrupted; nothing was kept (--state FILE keeps finished runs)"),
    })
}

struct Sweep<'a> {
    args: &'a SweepArgs,
    study: &'a Study<'a>,
    panel: PanelSize,
    folds: Vec<Resplit>,
    configurations: Vec<Vec<Setting>>,
    n_rows: usize,
}

impl<'a> Sweep<'a> {
    fn new(args: &'a SweepArgs, study: &'a Study<'a>) -> Result<Self, Failure> {
        let rows = study.part_rows();
        let training = training_rows(study, &rows, args.seed);
        let n_folds = usize::from(args.folds);
        let of = folds(&rows, &training, n_folds, args.seed);
        let fold = |fold: usize| {
            let (test, train): (Vec<usize>, Vec<usize>) =
                (0..training.len()).partition(|&at| of[at] == fold);
            let of =
                |at: Vec<usize>| -> Vec<usize> { at.into_iter().map(|at| training[at]).collect() };
            Resplit::of_known(&rows, of(train), of(test))
        };
        let folds: Vec<Resplit> =
            (0..n_folds).map(fold).filter(|one| !one.test.is_empty()).collect();
        if folds.len() < 2 || folds.iter().any(|one| one.train.len() < 10) {
            return Err(Failure::input(format!(
                "{}: {} training rows are too few for {n_folds} folds",
                args.data.data.display(),
                training.len()
            )));
        }
        let base: Vec<Setting> =
            args.preset.settings().into_iter().chain(args.settings.clone()).collect();
        let configurations = args.axes.iter().fold(vec![base], |all, axis| {
            let with = |before: &Vec<Setting>, one: &Setting| {
                [before.as_slice(), core::slice::from_ref(one)].concat()
            };
            all.iter().flat_map(|before| axis.0.iter().map(move |one| with(before, one))).collect()
        });
        // What cannot be trained is refused before hours are spent on the others.
        for settings in &configurations {
            let architecture = Architecture::mirrored(1 << 20, vec![8], 8, study.names.len());
            let mut params = TrainParams::for_rows(architecture, training.len());
            settings.iter().try_for_each(|setting| setting.apply(&mut params))?;
            params.check()?;
        }
        Ok(Self {
            args,
            study,
            panel: args.genes.unwrap_or(args.preset.genes()),
            folds,
            configurations,
            n_rows: training.len(),
        })
    }

    /// What is not in the state file yet, side by side on one thread each.
    fn run(&self) -> Result<Vec<Outcome>, Failure> {
        let state = State::open(self.args.state.as_deref(), &self.head())?;
        let all: Vec<(&[Setting], usize)> = self
            .configurations
            .iter()
            .flat_map(|one| (0..self.folds.len()).map(move |fold| (one.as_slice(), fold)))
            .collect();
        let n_left =
            all.iter().filter(|(one, fold)| state.find(&text(one), *fold).is_none()).count();
        if n_left < all.len() && !self.args.quiet {
            tell(format_args!(
                "{} of {} runs are in the state file",
                all.len() - n_left,
                all.len()
            ));
        }
        let countdown = Countdown::new(n_left);
        self.args.threads.pool()?.install(|| {
            all.par_iter()
                .map(|&(settings, fold)| {
                    if let Some(known) = state.find(&text(settings), fold) {
                        return Ok(known);
                    }
                    let outcome = self.one(settings, fold)?;
                    state.keep(&outcome)?;
                    countdown.step(|n, left| {
                        if !self.args.quiet {
                            tell(format_args!(
                                "{n} of {n_left} runs; about {left} s to go; {}: {}",
                                text(settings),
                                match outcome.diverged {
                                    Some(epoch) => format!("training diverged in epoch {epoch}"),
                                    None => format!(
                                        "accuracy {:.4}, R2 {:.4}",
                                        outcome.accuracy, outcome.r2
                                    ),
                                }
                            ));
                        }
                    });
                    Ok(outcome)
                })
                .collect()
        })
    }

    fn one(&self, settings: &[Setting], fold: usize) -> Result<Outcome, Failure> {
        let recipe = Recipe::new(self.panel, settings, self.args.seed);
        let held: Held = match self.study.train(&self.folds[fold], recipe) {
            Err(failure) => {
                let diverged = Some(failure.diverged().ok_or(failure)?);
                return Ok(Outcome {
                    settings: text(settings),
                    fold,
                    diverged,
                    ..Outcome::default()
                });
            }
            Ok(held) => held,
        };
        let model = Model::open_verified(&held.bytes).map_err(Failure::internal)?;
        let options = QuantizeOptions::new(Dtype::S8);
        let int8 = match quantize_rows(&model, &held.cells, &held.train.rows, &options) {
            Ok(int8) => int8,
            // Weights that no scale can express have left all bounds.
            Err(Failure::Model(_)) => {
                return Ok(Outcome {
                    settings: text(settings),
                    fold,
                    diverged: Some(held.trained.run.best_epoch),
                    ..Outcome::default()
                });
            }
            Err(failure) => return Err(failure),
        };
        let full = held.outputs(&held.bytes, &held.test)?;
        let small = held.outputs(&AlignedBytes::new(&int8), &held.test)?;
        let (called, called_int8) = (held.called(&full), held.called(&small));
        let n_classes = self.study.names.len();
        let right = confusion(&held.truth, &called, n_classes);
        let same = called.iter().zip(&called_int8).filter(|(a, b)| a == b).count();
        let pca = baselines::pca(&held.train.values, held.train.n_genes, held.code_dim, 1);
        let pca = pca.map_err(Failure::internal)?;
        Ok(Outcome {
            settings: text(settings),
            fold,
            diverged: None,
            n_weights: held.trained.run.n_deployed_weights,
            epochs: held.trained.run.best_epoch,
            accuracy: right.accuracy(),
            macro_f1: right.macro_f1(),
            r2: held.r2(&full.reproduced),
            accuracy_int8: confusion(&held.truth, &called_int8, n_classes).accuracy(),
            r2_int8: held.r2(&small.reproduced),
            agreement: same as f64 / called.len().max(1) as f64,
            r2_pca: held.r2(&pca.reproduce(held.test.matrix().as_ref())),
        })
    }

    fn head(&self) -> Head {
        let rows: Vec<usize> = self.folds.iter().flat_map(|fold| fold.test.clone()).collect();
        let names = rows.iter().map(|&row| self.study.dataset.matrix.obs_names[row].as_str());
        Head {
            sweep: 1,
            data: self.args.data.data.display().to_string(),
            rows: cic_trainer::parts::part_digest(names)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            genes: format!("{:?}", self.panel),
            folds: self.args.folds,
            seed: self.args.seed,
        }
    }

    fn report(&self, outcomes: &[Outcome]) -> Report {
        let mut configurations: Vec<Configuration> = self
            .configurations
            .iter()
            .map(|settings| {
                let name = text(settings);
                let of: Vec<&Outcome> =
                    outcomes.iter().filter(|one| one.settings == name).collect();
                let n_diverged = of.iter().filter(|one| one.diverged.is_some()).count();
                let spread = |f: fn(&Outcome) -> f64| {
                    if n_diverged > 0 {
                        return Spread { mean: f64::NAN, standard_error: f64::NAN };
                    }
                    Spread::of(&of.iter().map(|one| f(one)).collect::<Vec<_>>())
                };
                let base = settings.len() - self.args.axes.len();
                Configuration {
                    settings: if self.args.axes.is_empty() {
                        "defaults".into()
                    } else {
                        text(&settings[base..])
                    },
                    n_weights: of.first().map_or(0, |one| one.n_weights),
                    epochs: spread(|one| one.epochs as f64).mean,
                    accuracy: spread(|one| one.accuracy),
                    macro_f1: spread(|one| one.macro_f1),
                    r2: spread(|one| one.r2),
                    accuracy_int8: spread(|one| one.accuracy_int8),
                    r2_int8: spread(|one| one.r2_int8),
                    agreement: spread(|one| one.agreement),
                    r2_pca: spread(|one| one.r2_pca),
                    near_best: false,
                    n_diverged,
                }
            })
            .collect();
        let order = |one: &Configuration| match one.n_diverged {
            0 => one.accuracy.mean,
            _ => f64::NEG_INFINITY,
        };
        configurations.sort_by(|a, b| order(b).total_cmp(&order(a)));
        if let Some(best) = configurations.first().map(|one| one.accuracy) {
            for one in &mut configurations {
                one.near_best = one.accuracy.mean >= best.mean - best.standard_error;
            }
        }
        Report {
            schema_version: 1,
            n_rows: self.n_rows,
            n_classes: self.study.names.len(),
            n_folds: self.folds.len(),
            configurations,
        }
    }
}

/// Labelled rows that `cic train` would train on: those of the split, or all but its own test rows.
fn training_rows(study: &Study<'_>, rows: &[PartRow<'_>], seed: u64) -> Vec<usize> {
    let labelled = |row: &usize| study.classes[*row].is_some();
    if let Some(split) = &study.annotations.split {
        let train = (0..split.len()).filter(|&row| split[row] == Some(SplitPart::Train));
        return train.filter(labelled).collect();
    }
    let open: Vec<PartRow<'_>> = rows
        .iter()
        .map(|row| match row.label {
            Some(_) => *row,
            None => PartRow { assigned: Assigned::Excluded, ..*row },
        })
        .collect();
    let parts = Parts::choose(&open, seed);
    (0..rows.len()).filter(labelled).filter(|row| !parts.test.contains(row)).collect()
}

fn text(settings: &[Setting]) -> String {
    settings.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Columns of a table that settings may take.
const WIDEST: usize = 28;

impl Spread {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        Self { mean, standard_error: (square / (n - 1.0) / n).sqrt() }
    }
}

impl Report {
    /// Accuracy and R2 of every configuration, with two standard errors on either side.
    fn plot(&self) -> String {
        let row = |one: &Configuration| {
            let with = |of: Spread| {
                let half = 2.0 * of.standard_error;
                Some(Estimate { value: of.mean, interval: Some((of.mean - half, of.mean + half)) })
            };
            ForestRow {
                name: one.settings.clone(),
                estimates: vec![with(one.accuracy), with(one.accuracy_int8), with(one.r2)],
            }
        };
        let figure = Forest {
            title: format!("{} folds of {} training rows", self.n_folds, self.n_rows),
            axis: plots::Axis {
                label: "mean over folds, two standard errors".into(),
                ..plots::Axis::default()
            },
            groups: vec!["accuracy".into(), "accuracy, int8".into(), "R2".into()],
            rows: self.configurations.iter().filter(|one| one.n_diverged == 0).map(row).collect(),
        };
        figure.svg()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} training rows of {} types, {} folds; mean ± standard error over the folds\n",
            self.n_rows, self.n_classes, self.n_folds
        )?;
        let widths = self.configurations.iter().map(|one| one.settings.chars().count());
        // Longer ones have a line of their own.
        let width = widths.filter(|&width| width <= WIDEST).max().unwrap_or(0).max(8);
        writeln!(
            out,
            "  {:width$}  {:>12}  {:>12}  {:>12}  {:>5}  {:>5}  {:>5}  {:>5}  {:>8}  {:>6}",
            "settings",
            "accuracy",
            "macro-F1",
            "R2",
            "PCA",
            "int8",
            "same",
            "R2",
            "weights",
            "epochs"
        )?;
        for one in &self.configurations {
            let mark = if one.near_best { '*' } else { ' ' };
            let mut name = one.settings.as_str();
            if name.chars().count() > width {
                writeln!(out, "{mark} {name}")?;
                name = "";
            }
            if one.n_diverged > 0 {
                let (n, of) = (one.n_diverged, self.n_folds);
                writeln!(out, "  {name:width$}  training diverged in {n} of {of} folds")?;
                continue;
            }
            let share = |value: f64| match value >= 0.99995 {
                true => format!("{value:.3}"),
                false => format!("{value:.4}").replacen("0.", ".", 1),
            };
            let both = |of: Spread| format!("{} ±{}", share(of.mean), share(of.standard_error));
            let short = |of: Spread| share(of.mean);
            writeln!(
                out,
                "{mark} {name:width$}  {:>12}  {:>12}  {:>12}  {:>5}  {:>5}  {:>5}  {:>5}  {:>8}  {:>6.0}",
                both(one.accuracy),
                both(one.macro_f1),
                both(one.r2),
                short(one.r2_pca),
                short(one.accuracy_int8),
                short(one.agreement),
                short(one.r2_int8),
                one.n_weights,
                one.epochs
            )?;
        }
        writeln!(
            out,
            "\n*        accuracy within one standard error of the best\n\
             R2       of held profiles on the 1,000 genes of largest variance (or all), against the training mean; PCA: as\n\
             \x20        many components\n\
             int8     accuracy quantised on the training rows and run by the runtime; same: share of held rows with the\n\
             \x20        same label; R2 after it: of int8\n\
             weights  of encoder and classifier, what a device stores"
        )
    }
}
