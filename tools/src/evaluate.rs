//! `cic eval`: how good the calls and the reconstructions of a model are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cic_data::{AlignedMatrix, SplitPart};
use cic_model::provenance::{Part, row_digest};
use cic_model::{Model, StageKind};
use cic_quant::{CellRunner, CodeCopy};
use cic_runtime::Session;
use cic_trainer::metrics::{
    CalibrationError, Confusion, Reconstruction, ReconstructionScores,
};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::dataset::{Annotations, DataArgs, LabelArgs, SplitArgs};
use crate::failure::Failure;
use crate::model_file;
use crate::results::{Calls, network_input};
use crate::type_cells::replace_totals;

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
    /// Which rows [default: test where there is a split, else all]
    #[arg(long)]
    subset: Option<Subset>,
    /// Column of obs with the sum of each cell's counts over all measured genes
    #[arg(long, value_name = "KEY")]
    total_counts: Option<String>,
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
    /// Rows among them that the model was fitted on; `null` where it does not carry its rows.
    n_seen_in_training: Option<usize>,
    /// Rows that were rejected.
    pub n_rejected: usize,
    /// Share of labelled rows whose label is right; a rejected row is wrong. `null` without labels.
    pub accuracy: Option<f64>,
    /// Mean F1 over the labels that occur, as scikit-learn counts.
    pub macro_f1: Option<f64>,
    /// Expected calibration error, 15 bins.
    ece: Option<f64>,
    /// Share of the model's genes that the file has.
    pub gene_coverage: f64,
    /// `null` without a decoder.
    pub reconstruction: Option<ReconstructionReport>,
    classes: Vec<ClassReport>,
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

#[derive(Clone, Debug, Serialize)]
struct ClassReport {
    label: String,
    support: u64,
    precision: f64,
    recall: f64,
    f1: f64,
}

/// Evaluates and prints.
pub fn run(args: &EvalArgs) -> Result<(), Failure> {
    let bytes = model_file::read(&args.model)?;
    let model = model_file::open(&args.model, &bytes)?;
    let dataset = args.data.read()?;
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split)?;
    let mut cells = dataset.align(&model)?;
    if let Some(key) = &args.total_counts {
        replace_totals(&dataset.matrix, key, &mut cells.totals)?;
    }
    let (subset, rows) = select(args.subset, annotations.split.as_deref(), cells.values.n_rows())?;
    let labels: Vec<Option<String>> = rows.iter().map(|&row| annotations.label(row)).collect();
    if args.labels.labels.is_some() && labels.iter().all(Option::is_none) {
        return Err(Failure::input("no row of the subset has a label"));
    }
    let names: Vec<&str> = rows.iter().map(|&row| dataset.matrix.obs_names[row].as_str()).collect();
    let evaluation = evaluate(&model, &cells, &rows, &names, &labels, subset)?;
    if args.strict && evaluation.n_rejected > 0 {
        return Err(Failure::input(format!("{} cells are rejected", evaluation.n_rejected)));
    }
    if args.json {
        let json = serde_json::to_string_pretty(&evaluation).map_err(Failure::internal)?;
        println!("{json}");
    } else {
        evaluation.print();
    }
    Ok(())
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
    let chosen = AlignedMatrix {
        values: cells.values.select_rows(rows),
        present: cells.present.clone(),
        overlap: cells.overlap,
        totals: rows.iter().map(|&row| cells.totals[row]).collect(),
    };
    let calls = Calls::run(model, &chosen)?;
    let leaves = (0..model.n_leaves()).map(|leaf| model.labels().leaf_name(leaf).to_string());
    let classes: Vec<String> =
        leaves.chain(labels.iter().flatten().cloned()).collect::<BTreeSet<_>>().into_iter().collect();
    let class = |name: &str| classes.iter().position(|class| class == name);
    let mut confusion = Confusion::new(classes.len());
    let mut calibration = CalibrationError::new(15);
    for (call, label) in calls.calls.iter().zip(labels) {
        let Some(truth) = label.as_deref().and_then(class) else { continue };
        let best = call.best.and_then(|leaf| class(model.labels().leaf_name(leaf)));
        confusion.add(truth, best.filter(|_| call.reject.is_none()));
        if call.reject.is_none() {
            calibration.add(f64::from(call.confidence), best == Some(truth));
        }
    }
    let has_labels = model.n_leaves() > 0 && confusion.total() > 0;
    let scores = confusion.per_class();
    let seen = model.rows();
    let is_seen = |name: &&&str| seen.contains(Part::Fit, &row_digest(name));
    Ok(Evaluation {
        schema_version: 1,
        model_id: model.id().to_string(),
        dtype: model.dtype().name(),
        subset,
        n: rows.len(),
        n_seen_in_training: (!seen.is_empty()).then(|| names.iter().filter(is_seen).count()),
        n_rejected: calls.n_rejected(),
        accuracy: has_labels.then(|| confusion.accuracy()),
        macro_f1: has_labels.then(|| confusion.macro_f1()),
        ece: has_labels.then(|| calibration.value()),
        gene_coverage: f64::from(cells.overlap.n_present) / model.n_genes() as f64,
        reconstruction: reconstruct(model, &chosen)?.map(|scores| ReconstructionReport {
            r2: scores.r2,
            pearson: scores.pearson,
            spearman: scores.spearman,
            mse: scores.mse,
        }),
        classes: classes
            .into_iter()
            .zip(scores)
            .filter(|(_, score)| has_labels && (score.support > 0 || score.predicted > 0))
            .map(|(label, score)| ClassReport {
                label,
                support: score.support,
                precision: score.precision,
                recall: score.recall,
                f1: score.f1,
            })
            .collect(),
    })
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

fn select(
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
    fn print(&self) {
        let share = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        println!("model           {} ({})", &self.model_id[..16], self.dtype);
        println!("rows            {} ({}), {} rejected", self.n, self.subset, self.n_rejected);
        if let Some(seen) = self.n_seen_in_training.filter(|&seen| seen > 0) {
            println!("                {seen} of them were fitted on: this is not a test");
        }
        println!("gene coverage   {:.4}", self.gene_coverage);
        println!("accuracy        {}", share(self.accuracy));
        println!("macro-F1        {}", share(self.macro_f1));
        println!("ECE             {}", share(self.ece));
        if let Some(scores) = &self.reconstruction {
            println!(
                "reconstruction  R2 {:.4}  Pearson {:.4}  Spearman {:.4}  MSE {:.5}",
                scores.r2, scores.pearson, scores.spearman, scores.mse
            );
        }
        if self.classes.is_empty() {
            return;
        }
        println!();
        let widths = self.classes.iter().map(|class| class.label.chars().count());
        let width = widths.max().unwrap_or(0).max(5);
        println!("{:width$}  {:>7}  {:>9}  {:>6}  {:>6}", "label", "support", "precision", "recall", "F1");
        for class in &self.classes {
            println!(
                "{:width$}  {:>7}  {:>9.4}  {:>6.4}  {:>6.4}",
                cic_data::sanitise_for_terminal(&class.label),
                class.support,
                class.precision,
                class.recall,
                class.f1
            );
        }
    }
}
