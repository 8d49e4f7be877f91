//! `cic eval`: how good the calls and the reconstructions of a model are.

mod impostors;
mod resplits;
mod sureness;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use cic_data::{AlignedMatrix, SplitPart};
use cic_model::{Model, StageKind};
use cic_quant::{CellRunner, CodeCopy};
use cic_runtime::Session;
use cic_trainer::metrics::{CalibrationError, Confusion, Reconstruction, ReconstructionScores};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::console::{print, print_json, tell};
use crate::dataset::{Annotations, DataArgs, LabelArgs, SplitArgs};
use crate::failure::Failure;
use crate::model_file;
use crate::profiles::select_cells;
use crate::results::{Calls, network_input};
use crate::seen::n_seen;
use crate::totals::TotalArgs;
use crate::typing_options::check_thorough;

pub use impostors::Impostors;
pub use resplits::Resplits;
use sureness::Judged;
pub use sureness::Sureness;

/// Options of `cic eval`.
#[derive(Args, Clone, Debug)]
pub struct EvalArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// The model
    #[arg(long, short, value_name = "MODEL")]
    model: PathBuf,
    /// Which rows: test, train or all
    /// [default: test where there is a split, else all]
    #[arg(long, value_name = "PART", hide_possible_values = true, verbatim_doc_comment)]
    subset: Option<Subset>,
    #[command(flatten)]
    totals: TotalArgs,
    /// Also type so many profiles of each kind that are
    /// no cells, drawn from the evaluated ones: empty,
    /// shuffled genes, uniform noise, ambient, doublets
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with = "total_counts",
        verbatim_doc_comment
    )]
    impostors: Option<u32>,
    /// Judge by how well the model reproduces a cell
    /// too, as cic type --thorough
    #[arg(long, verbatim_doc_comment)]
    thorough: bool,
    /// Exit with 3 if any cell of the subset is rejected
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which rows are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subset {
    /// Rows that the split calls test.
    Test,
    /// Rows that the split calls train.
    Train,
    /// Every row.
    All,
}

/// What was found, as printed with `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    schema_version: u32,
    model_id: String,
    dtype: &'static str,
    subset: &'static str,
    /// Rows evaluated.
    pub n: usize,
    /// Rows among them that the weights depend on; `null` where the model does not carry its rows.
    pub n_seen_in_training: Option<usize>,
    /// Rows whose label is none of the model's.
    pub n_unknown_labels: usize,
    /// Rows that were rejected.
    pub n_rejected: usize,
    /// How many for which reason.
    pub rejected: BTreeMap<&'static str, usize>,
    /// Share of labelled rows whose best guess is right, rejected rows included. `null` without labels.
    pub accuracy: Option<f64>,
    /// The same of rows that were not rejected.
    pub accuracy_kept: Option<f64>,
    /// Mean F1 over the labels that occur, as scikit-learn counts.
    pub macro_f1: Option<f64>,
    /// Expected calibration error, 15 bins.
    pub ece: Option<f64>,
    /// Share of the model's genes that the file has.
    pub gene_coverage: f64,
    /// `null` without a decoder.
    pub reconstruction: Option<ReconstructionReport>,
    /// Whether it is as sure as it should be; `null` without labels.
    pub sureness: Option<Sureness>,
    /// What sets of labels hold over resplits; `null` where that cannot be told.
    pub resplits: Option<Resplits>,
    /// What became of profiles that are no cells; empty where none were asked for.
    pub impostors: Vec<Impostors>,
    /// Labels that occur or are called.
    pub classes: Vec<ClassReport>,
}

/// How well profiles are reproduced, in network input units.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReconstructionReport {
    /// Against the mean of the training profiles.
    pub r2: f64,
    /// Mean over the profiles.
    pub pearson: f64,
    /// Mean over the profiles.
    pub spearman: f64,
    /// Mean over all entries.
    pub mse: f64,
}

/// How good the calls of one label are.
#[derive(Clone, Debug, Serialize)]
pub struct ClassReport {
    /// The label.
    pub label: String,
    /// Rows of it.
    pub support: u64,
    /// Share of them that were rejected.
    pub rejected: f64,
    /// Share of the rows called so that are of it.
    pub precision: f64,
    /// Share of its rows that are called so.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

/// Evaluates and prints.
pub fn run(args: &EvalArgs) -> Result<(), Failure> {
    let bytes = model_file::read(&args.model)?;
    let model = model_file::open(&args.model, &bytes)?;
    if args.thorough {
        check_thorough(&args.model, &model)?;
    }
    let dataset = args.data.read()?;
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split, None)?;
    let mut cells = dataset.align(&model)?;
    args.totals.apply(&model, &dataset.matrix, &mut cells)?;
    let (subset, rows) = select(args.subset, annotations.split.as_deref(), cells.values.n_rows())?;
    let labels: Vec<Option<String>> = rows.iter().map(|&row| annotations.label(row)).collect();
    if args.labels.labels.is_some() && labels.iter().all(Option::is_none) {
        return Err(Failure::input(format!(
            "{}: none of the {} {subset} rows has a label",
            args.data.data.display(),
            rows.len()
        )));
    }
    let names: Vec<&str> = rows.iter().map(|&row| dataset.matrix.obs_names[row].as_str()).collect();
    let assessment = assess(&model, &cells, &rows, &names, &labels, subset, args.thorough)?;
    let mut evaluation = assessment.evaluation;
    let label = |row| annotations.label(row);
    evaluation.resplits = Resplits::of(&model, &cells, &dataset.matrix.obs_names, &rows, label)?;
    if let Some(n) = args.impostors {
        evaluation.impostors =
            impostors::judge(&model, &dataset, &rows, label, n.into(), args.thorough)?;
    }
    if args.strict && evaluation.n_rejected > 0 {
        return Err(Failure::input(format!(
            "{}: {} of {} {subset} cells are rejected; without --strict they count as wrong",
            args.data.data.display(),
            evaluation.n_rejected,
            evaluation.n
        )));
    }
    if evaluation.n_unknown_labels > 0 {
        tell(format_args!(
            "note: {} rows have labels that the model does not know, {:?} for one; they count as \
             wrong",
            evaluation.n_unknown_labels,
            unknown_labels(&model, &labels).next().unwrap_or("")
        ));
    }
    match args.json {
        true => print_json(&evaluation),
        false => print(|out| evaluation.write_summary(out)),
    }
}

/// What was found, and what it was counted from.
pub(crate) struct Assessment {
    pub(crate) evaluation: Evaluation,
    /// Labels of the model and of the rows, sorted.
    pub(crate) classes: Vec<String>,
    /// Of `classes`.
    pub(crate) confusion: Confusion,
    pub(crate) calibration: CalibrationError,
    /// Of the rows, in their order.
    pub(crate) calls: Calls,
}

/// Evaluates `rows` of an aligned file, whose ids and labels are given in the same order.
pub(crate) fn evaluate(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    rows: &[usize],
    names: &[&str],
    labels: &[Option<String>],
    subset: &'static str,
) -> Result<Evaluation, Failure> {
    Ok(assess(model, cells, rows, names, labels, subset, false)?.evaluation)
}

/// The same, with what it was counted from.
pub(crate) fn assess(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    rows: &[usize],
    names: &[&str],
    labels: &[Option<String>],
    subset: &'static str,
    is_thorough: bool,
) -> Result<Assessment, Failure> {
    let chosen = select_cells(cells, rows);
    let calls = Calls::run(model, &chosen, is_thorough)?;
    let leaves = (0..model.n_leaves()).map(|leaf| model.labels().leaf_name(leaf).to_string());
    let classes: Vec<String> = leaves
        .chain(labels.iter().flatten().cloned())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let class = |name: &str| classes.iter().position(|class| class == name);
    let mut confusion = Confusion::new(classes.len());
    let mut calibration = CalibrationError::new(15);
    let mut judged = Vec::new();
    let mut rejected = BTreeMap::new();
    let mut rejected_by_class = vec![0_u64; classes.len()];
    for (call, label) in calls.calls.iter().zip(labels) {
        if let Some(reason) = call.reject {
            *rejected.entry(reason.name()).or_insert(0) += 1;
        }
        let Some(truth) = label.as_deref().and_then(class) else { continue };
        let best = call.best().and_then(|leaf| class(model.labels().leaf_name(leaf)));
        confusion.add(truth, best);
        match call.reject {
            None => calibration.add(f64::from(call.confidence), best == Some(truth)),
            Some(_) => rejected_by_class[truth] += 1,
        }
        let leaf =
            (0..model.n_leaves()).find(|&leaf| model.labels().leaf_name(leaf) == classes[truth]);
        // Leaves of a model are few.
        judged.push(Judged {
            call,
            truth: leaf.map(|leaf| leaf as u32),
            is_right: best == Some(truth),
        });
    }
    let kept = || judged.iter().filter(|one| one.call.reject.is_none());
    let n_kept = kept().count();
    let n_kept_right = kept().filter(|one| one.is_right).count();
    let has_labels = model.n_leaves() > 0 && confusion.total() > 0;
    let scores = confusion.per_class();
    let evaluation = Evaluation {
        schema_version: 1,
        model_id: model.id().to_string(),
        dtype: model.dtype().name(),
        subset,
        n: rows.len(),
        n_seen_in_training: n_seen(model, names.iter().copied()),
        n_unknown_labels: if has_labels { unknown_labels(model, labels).count() } else { 0 },
        n_rejected: calls.n_rejected(),
        rejected,
        accuracy: has_labels.then(|| confusion.accuracy()),
        accuracy_kept: (has_labels && n_kept > 0).then(|| n_kept_right as f64 / n_kept as f64),
        macro_f1: has_labels.then(|| confusion.macro_f1()),
        ece: has_labels.then(|| calibration.value()),
        gene_coverage: f64::from(cells.overlap.n_present) / model.n_genes() as f64,
        reconstruction: reconstruct(model, &chosen)?.map(|scores| ReconstructionReport {
            r2: scores.r2,
            pearson: scores.pearson,
            spearman: scores.spearman,
            mse: scores.mse,
        }),
        sureness: has_labels.then(|| Sureness::of(model, &judged, &calibration)),
        resplits: None,
        impostors: Vec::new(),
        classes: classes
            .iter()
            .cloned()
            .zip(scores)
            .zip(&rejected_by_class)
            .filter(|((_, score), _)| has_labels && (score.support > 0 || score.predicted > 0))
            .map(|((label, score), &rejected)| ClassReport {
                label,
                support: score.support,
                rejected: rejected as f64 / score.support.max(1) as f64,
                precision: score.precision,
                recall: score.recall,
                f1: score.f1,
            })
            .collect(),
    };
    drop(judged);
    Ok(Assessment { evaluation, classes, confusion, calibration, calls })
}

fn unknown_labels<'a>(
    model: &Model<'a>,
    labels: &'a [Option<String>],
) -> impl Iterator<Item = &'a str> {
    let names = model.labels();
    let known: BTreeSet<&str> = (0..names.n_leaves()).map(|leaf| names.leaf_name(leaf)).collect();
    labels.iter().flatten().map(String::as_str).filter(move |label| !known.contains(label))
}

fn reconstruct(
    model: &Model<'_>,
    cells: &AlignedMatrix,
) -> Result<Option<ReconstructionScores>, Failure> {
    let Some(profile) = model.profiles().first() else { return Ok(None) };
    if model.stage(StageKind::Decoder).is_empty() {
        return Ok(None);
    }
    let session = Session::new(model, 0).map_err(Failure::internal)?;
    let mut runner = CellRunner::new(session, &cells.present).map_err(Failure::internal)?;
    // What stands for a missing gene is the mean of the training profiles.
    let mut scores = Reconstruction::new(profile.fill_values().to_vec());
    let mut input = vec![0.0; model.n_genes()];
    let mut reproduced = vec![0.0; model.n_genes()];
    for row in 0..cells.values.n_rows() {
        let (genes, values) = cells.values.row(row);
        let outcome = runner.run(genes, values, cells.totals[row]).map_err(Failure::internal)?;
        let Some(code) = outcome.numbers.as_ref().map(CodeCopy::new) else { continue };
        if network_input(model, cells, row, &mut input) {
            runner.reconstruct(&code, &mut reproduced).map_err(Failure::internal)?;
            scores.add(&input, &reproduced);
        }
    }
    Ok(Some(scores.scores()))
}

pub(crate) fn select(
    subset: Option<Subset>,
    split: Option<&[Option<SplitPart>]>,
    n_rows: usize,
) -> Result<(&'static str, Vec<usize>), Failure> {
    let default = if split.is_some() { Subset::Test } else { Subset::All };
    let (name, part) = match subset.unwrap_or(default) {
        Subset::All => return Ok(("all", (0..n_rows).collect())),
        Subset::Test => ("test", SplitPart::Test),
        Subset::Train => ("train", SplitPart::Train),
    };
    let split = split.ok_or_else(|| {
        Failure::usage(format!("--subset {name} needs a split; give one with --split"))
    })?;
    let rows: Vec<usize> = (0..n_rows).filter(|&row| split[row] == Some(part)).collect();
    if rows.is_empty() {
        return Err(Failure::input(format!("the split has no {name} row among the cells")));
    }
    Ok((name, rows))
}

impl Evaluation {
    /// Number format of the model.
    pub fn dtype(&self) -> &'static str {
        self.dtype
    }

    fn write_summary(&self, out: &mut dyn Write) -> io::Result<()> {
        let share = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        writeln!(out, "model           {} ({})", &self.model_id[..16], self.dtype)?;
        writeln!(
            out,
            "rows            {} ({}), {} rejected",
            self.n, self.subset, self.n_rejected
        )?;
        for (reason, n) in &self.rejected {
            writeln!(out, "                {n} {reason}")?;
        }
        if let Some(seen) = self.n_seen_in_training.filter(|&seen| seen > 0) {
            writeln!(out, "                {seen} of them were trained on: this is no test")?;
        }
        if self.n_seen_in_training.is_none() {
            writeln!(out, "                whether they were trained on, the model does not tell")?;
        }
        writeln!(out, "gene coverage   {:.4}", self.gene_coverage)?;
        writeln!(
            out,
            "accuracy        {}; {} of those not rejected",
            share(self.accuracy),
            share(self.accuracy_kept)
        )?;
        writeln!(out, "macro-F1        {}", share(self.macro_f1))?;
        write!(out, "ECE             {}", share(self.ece))?;
        if let Some([low, high]) = self.sureness.as_ref().map(Sureness::ece_if_calibrated) {
            write!(out, "; {low:.4} to {high:.4} if it is as sure as it should be")?;
        }
        writeln!(out)?;
        if let Some(scores) = &self.reconstruction {
            writeln!(
                out,
                "reconstruction  R2 {:.4}  Pearson {:.4}  Spearman {:.4}  MSE {:.5}",
                scores.r2, scores.pearson, scores.spearman, scores.mse
            )?;
        }
        if let Some(sureness) = &self.sureness {
            sureness.write_sets(out)?;
        }
        if let Some(resplits) = &self.resplits {
            resplits.write(out)?;
        }
        if let Some(sureness) = &self.sureness {
            sureness.write_bins(out)?;
        }
        if !self.impostors.is_empty() {
            impostors::write(&self.impostors, out)?;
        }
        if self.classes.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let widths = self.classes.iter().map(|class| class.label.chars().count());
        let width = widths.max().unwrap_or(0).max(5);
        writeln!(
            out,
            "{:width$}  {:>7}  {:>9}  {:>6}  {:>6}  {:>8}",
            "label", "support", "precision", "recall", "F1", "rejected"
        )?;
        for class in &self.classes {
            writeln!(
                out,
                "{:width$}  {:>7}  {:>9.4}  {:>6.4}  {:>6.4}  {:>8.4}",
                cic_data::sanitise_for_terminal(&class.label),
                class.support,
                class.precision,
                class.recall,
                class.f1,
                class.rejected
            )?;
        }
        Ok(())
    }
}
