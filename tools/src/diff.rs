//! `cic-quantize diff`: two models on the same cells.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cic_model::Model;
use cic_quant::{Comparison, N_NEIGHBOURS, Side, compare_sides};
use cic_trainer::interval::wilson;
use cic_trainer::metrics::Confusion;
use clap::Args;
use serde::Serialize;

use crate::console::{count, print, print_json};
use crate::dataset::{Annotations, DataArgs, LabelArgs, SplitArgs};
use crate::evaluate::{Subset, select};
use crate::failure::Failure;
use crate::model_file;

/// Options of `cic-quantize diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    /// The model that is compared with
    a: PathBuf,
    /// The other model
    b: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// Which rows: test, train or all
    /// [default: test where there is a split, else all]
    #[arg(long, value_name = "PART", hide_possible_values = true, verbatim_doc_comment)]
    subset: Option<Subset>,
    #[command(flatten)]
    gate: GateArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How much a model may differ.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct GateArgs {
    /// Exit with 5 where more labels or codes change than
    /// --max-label-change and --max-code-error say;
    /// quantising then writes no model
    #[arg(long, verbatim_doc_comment)]
    gate: bool,
    /// Share of the cells whose label may change, with
    /// --gate [default: 0.005]
    #[arg(long, value_name = "X", value_parser = parse_limit, verbatim_doc_comment)]
    max_label_change: Option<f64>,
    /// Code error, in standard deviations of the code
    /// between cells, with --gate [default: 0.02]
    #[arg(long, value_name = "X", value_parser = parse_limit, verbatim_doc_comment)]
    max_code_error: Option<f64>,
}

fn parse_limit(text: &str) -> Result<f64, String> {
    let limit = text.parse().ok().filter(|limit| (0.0..=1.0).contains(limit));
    limit.ok_or_else(|| "expected a number from 0 to 1".into())
}

impl GateArgs {
    /// Most change of labels, and error of the code.
    fn limits(self) -> [f64; 2] {
        [
            self.max_label_change.unwrap_or(MAX_LABEL_CHANGE),
            self.max_code_error.unwrap_or(MAX_CODE_ERROR),
        ]
    }

    /// Refuses limits that nothing asks for.
    pub(crate) fn check_used(self, is_searching: bool) -> Result<(), Failure> {
        let has_limits = self.max_label_change.is_some() || self.max_code_error.is_some();
        match has_limits && !self.gate && !is_searching {
            false => Ok(()),
            true => Err(Failure::usage(
                "--max-label-change and --max-code-error do nothing alone; give --gate too",
            )),
        }
    }

    /// Whether a miss is a failure.
    pub(crate) fn is_set(self) -> bool {
        self.gate
    }

    /// What changed more than it may, whether or not that is a reason to fail.
    pub(crate) fn missed(self, comparison: &Comparison) -> Vec<&'static str> {
        let [most_flips, most_error] = self.limits();
        let mut missed = Vec::new();
        missed.extend((1.0 - comparison.agreement() > most_flips).then_some("labels"));
        missed.extend((comparison.pooled_code_error > most_error).then_some("code"));
        missed
    }

    /// Refuses what changed more than it may.
    pub(crate) fn check(self, comparison: &Comparison) -> Result<(), Failure> {
        if !self.gate {
            return Ok(());
        }
        let [most_flips, most_error] = self.limits();
        let change = 1.0 - comparison.agreement();
        let mut missed = Vec::new();
        if change > most_flips {
            missed.push(format!(
                "the label of {} of {} cells changes ({:.2} %, {:.2} % may)",
                comparison.flips.len(),
                comparison.n_cells,
                100.0 * change,
                100.0 * most_flips
            ));
        }
        if comparison.pooled_code_error > most_error {
            let error = comparison.pooled_code_error;
            missed.push(format!("the code error is {error:.4}, {most_error} may be"));
        }
        match missed.is_empty() {
            true => Ok(()),
            false => Err(Failure::Gate(anyhow::anyhow!("{}", missed.join("; ")))),
        }
    }
}

/// Issue of every release: labels agree on 99.5 % of cells.
const MAX_LABEL_CHANGE: f64 = 0.005;
const MAX_CODE_ERROR: f64 = 0.02;

/// What a model is, and what it does on labelled cells.
#[derive(Clone, Debug, Serialize)]
struct OneModel {
    model_id: String,
    dtype: &'static str,
    bytes: usize,
    n_rejected: usize,
    /// `null` without labels, as the next.
    accuracy: Option<f64>,
    macro_f1: Option<f64>,
}

/// What was found, as printed with `--json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Difference {
    schema_version: u32,
    /// Which rows, and how many both models could run.
    subset: &'static str,
    n: usize,
    a: OneModel,
    b: OneModel,
    /// Share of cells with the same best label, and bounds of its 95 % interval (Wilson).
    label_agreement: f64,
    label_agreement_interval: [f64; 2],
    /// Cells that one model rejects, or both for different reasons.
    n_rejects_differ: usize,
    /// In standard deviations of the first code between cells, over all dimensions and by dimension.
    code_error: f64,
    code_error_by_dimension: Vec<f64>,
    /// Mean share of fifteen nearest cells by code that both codes have.
    neighbour_overlap: Option<f64>,
    /// By label of the first model.
    types: Vec<OneType>,
    /// From the largest margin on.
    flips: Vec<OneFlip>,
}

#[derive(Clone, Debug, Serialize)]
struct OneType {
    label: String,
    n: usize,
    n_flips: usize,
}

#[derive(Clone, Debug, Serialize)]
struct OneFlip {
    id: String,
    /// What the data says, where it does.
    label: Option<String>,
    a: String,
    a_confidence: f64,
    b: String,
    b_confidence: f64,
    /// The first model's probability of its own label less that of the other's.
    margin: f64,
}

/// Compares and prints.
pub fn run(args: &DiffArgs) -> Result<(), Failure> {
    args.gate.check_used(false)?;
    let read = |path: &Path| model_file::read(path);
    let (a_bytes, b_bytes) = (read(&args.a)?, read(&args.b)?);
    let a = model_file::open(&args.a, &a_bytes)?;
    let b = model_file::open(&args.b, &b_bytes)?;
    if a.code_dim() != b.code_dim() {
        return Err(Failure::usage(format!(
            "{}: its code has {} dimensions, that of {} {}; diff is for models that stand for one another",
            args.b.display(),
            b.code_dim(),
            args.a.display(),
            a.code_dim()
        )));
    }
    let dataset = args.data.read()?;
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split, None)?;
    let (a_cells, b_cells) = (dataset.align(&a)?, dataset.align(&b)?);
    let n_rows = a_cells.values.n_rows();
    let (subset, rows) = select(args.subset, annotations.split.as_deref(), n_rows)?;
    let sides = [Side { model: &a, cells: &a_cells }, Side { model: &b, cells: &b_cells }];
    let comparison = compare_sides(sides[0], sides[1], &rows).map_err(Failure::internal)?;
    let names = &dataset.matrix.obs_names;
    let label = |row: usize| annotations.label(row);
    let scores = match args.labels.labels.is_some() {
        true => sides.map(|side| score(side, &rows, &label).map(Some)),
        false => [Ok(None), Ok(None)],
    };
    let [a_score, b_score] = scores;
    let difference = Difference {
        schema_version: 1,
        subset,
        n: comparison.n_cells,
        a: one_model(&a, a_bytes.len(), comparison.n_rejected[0], a_score?),
        b: one_model(&b, b_bytes.len(), comparison.n_rejected[1], b_score?),
        label_agreement: comparison.agreement(),
        label_agreement_interval: interval(&comparison),
        n_rejects_differ: comparison.n_rejects_differ,
        code_error: comparison.pooled_code_error,
        code_error_by_dimension: comparison.code_error.clone(),
        neighbour_overlap: comparison.neighbour_overlap,
        types: types(&a, &comparison),
        flips: flips(&a, &b, &comparison, |row| names[row].clone(), label),
    };
    match args.json {
        true => print_json(&difference)?,
        false => print(|out| difference.write(out))?,
    }
    args.gate.check(&comparison)
}

fn one_model(
    model: &Model<'_>,
    bytes: usize,
    n_rejected: usize,
    score: Option<(f64, f64)>,
) -> OneModel {
    OneModel {
        model_id: model.id().to_string(),
        dtype: model.dtype().name(),
        bytes,
        n_rejected,
        accuracy: score.map(|(accuracy, _)| accuracy),
        macro_f1: score.map(|(_, macro_f1)| macro_f1),
    }
}

pub(crate) fn interval(comparison: &Comparison) -> [f64; 2] {
    let n = comparison.n_cells as u64;
    wilson(n - comparison.flips.len() as u64, n).into()
}

/// Accuracy and macro-F1 of the best guesses.
fn score(
    side: Side<'_>,
    rows: &[usize],
    label: &dyn Fn(usize) -> Option<String>,
) -> Result<(f64, f64), Failure> {
    let names = side.model.labels();
    let mut classes: Vec<String> =
        (0..names.n_leaves()).map(|leaf| names.leaf_name(leaf).to_string()).collect();
    let labelled: Vec<(usize, String)> =
        rows.iter().filter_map(|&row| Some((row, label(row)?))).collect();
    for (_, label) in &labelled {
        if !classes.contains(label) {
            classes.push(label.clone());
        }
    }
    let session = cic_runtime::Session::new(side.model, 0).map_err(Failure::internal)?;
    let mut runner =
        cic_quant::CellRunner::new(session, &side.cells.present).map_err(Failure::internal)?;
    let mut confusion = Confusion::new(classes.len());
    for (row, label) in &labelled {
        let (genes, values) = side.cells.values.row(*row);
        let outcome = runner.run(genes, values, side.cells.totals[*row]);
        let best = outcome.map_err(Failure::internal)?.numbers.and_then(|numbers| numbers.best());
        let truth = classes.iter().position(|class| class == label);
        confusion.add(truth.unwrap_or_default(), best);
    }
    Ok((confusion.accuracy(), confusion.macro_f1()))
}

fn types(model: &Model<'_>, comparison: &Comparison) -> Vec<OneType> {
    let of_leaf =
        |leaf: usize| comparison.flips.iter().filter(move |flip| flip.reference_leaf == leaf);
    let called = comparison.n_called.iter().enumerate();
    called
        .map(|(leaf, &n)| OneType {
            label: model.labels().leaf_name(leaf).into(),
            n,
            n_flips: of_leaf(leaf).count(),
        })
        .collect()
}

fn flips(
    a: &Model<'_>,
    b: &Model<'_>,
    comparison: &Comparison,
    name: impl Fn(usize) -> String,
    label: impl Fn(usize) -> Option<String>,
) -> Vec<OneFlip> {
    let mut flips: Vec<_> = comparison.flips.iter().collect();
    flips.sort_by(|x, y| y.margin.total_cmp(&x.margin).then(x.row.cmp(&y.row)));
    flips
        .into_iter()
        .map(|flip| OneFlip {
            id: name(flip.row),
            label: label(flip.row),
            a: a.labels().leaf_name(flip.reference_leaf).into(),
            a_confidence: flip.reference_probability,
            b: b.labels().leaf_name(flip.leaf).into(),
            b_confidence: flip.probability,
            margin: flip.margin,
        })
        .collect()
}

impl Difference {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (a, b) = (&self.a, &self.b);
        let short = |id: &str| id.chars().take(16).collect::<String>();
        let mut pair =
            |name: &str, a: &dyn Display, b: &dyn Display| writeln!(out, "{name:<16}{a:<20}{b}");
        pair("model", &short(&a.model_id), &short(&b.model_id))?;
        pair("type", &a.dtype, &b.dtype)?;
        pair("bytes", &count(a.bytes), &count(b.bytes))?;
        let share = |share: f64| format!("{share:.4}");
        if let (Some(of_a), Some(of_b)) = (a.accuracy, b.accuracy) {
            pair("accuracy", &share(of_a), &share(of_b))?;
        }
        if let (Some(of_a), Some(of_b)) = (a.macro_f1, b.macro_f1) {
            pair("macro-F1", &share(of_a), &share(of_b))?;
        }
        pair("rejected", &a.n_rejected, &b.n_rejected)?;
        writeln!(out)?;
        writeln!(out, "rows            {} ({})", count(self.n), self.subset)?;
        let [low, high] = self.label_agreement_interval.map(|share| 100.0 * share);
        writeln!(
            out,
            "same label      {:.2} % (95 % interval {low:.2} to {high:.2} %), {} {}",
            100.0 * self.label_agreement,
            count(self.flips.len()),
            if self.flips.len() == 1 { "differs" } else { "differ" }
        )?;
        writeln!(
            out,
            "same verdict    {} are rejected by one only, or for another reason",
            count(self.n_rejects_differ)
        )?;
        let worst = self.code_error_by_dimension.iter().copied().fold(0.0, f64::max);
        writeln!(
            out,
            "code error      {:.4} standard deviations; {worst:.4} in the worst dimension",
            self.code_error
        )?;
        if let Some(overlap) = self.neighbour_overlap {
            writeln!(
                out,
                "neighbours      {overlap:.4} of the {N_NEIGHBOURS} nearest cells are the same"
            )?;
        }
        if self.flips.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{:<24}{:>8}{:>9}", "called by the first", "cells", "differ")?;
        for one in self.types.iter().filter(|one| one.n_flips > 0) {
            writeln!(out, "{:<24}{:>8}{:>9}", one.label, one.n, one.n_flips)?;
        }
        writeln!(
            out,
            "\n{:<20} {:<20} {:<20} {:<20}{:>7}",
            "cell", "label", "first", "other", "margin"
        )?;
        for flip in self.flips.iter().take(MOST_SHOWN) {
            let called = |name: &str, confidence: f64| format!("{name} {confidence:.2}");
            writeln!(
                out,
                "{:<20} {:<20} {:<20} {:<20}{:>7.3}",
                flip.id,
                flip.label.as_deref().unwrap_or("-"),
                called(&flip.a, flip.a_confidence),
                called(&flip.b, flip.b_confidence),
                flip.margin
            )?;
        }
        if self.flips.len() > MOST_SHOWN {
            writeln!(out, "and {} more: --json has all", self.flips.len() - MOST_SHOWN)?;
        }
        Ok(())
    }
}

/// Cells that are listed on a terminal.
const MOST_SHOWN: usize = 20;
