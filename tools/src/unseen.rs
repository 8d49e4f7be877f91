//! `cic unseen`: what becomes of cell types that a model was never trained on. Each type is left out in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use cic_data::{AlignedMatrix, SplitPart};
use cic_model::profile::Library;
use cic_model::spec::{FalseRejects, LayoutPlan};
use cic_model::{AlignedBytes, Model};
use cic_trainer::baselines::{self, Reproducer};
use cic_trainer::detection::{auroc, false_share_at};
use cic_trainer::parts::part_digest;
use cic_trainer::pipeline::data_digest;
use cic_trainer::separation::separation;
use clap::Args;
use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};

use crate::console::{command_line, print, print_json, tell};
use crate::countdown::Countdown;
use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs, SplitArgs};
use crate::digests::hex;
use crate::failure::Failure;
use crate::profiles::{N_GENES, Profiles, genes_of, run_model, scores, select_cells};
use crate::results::{Call, Calls};
use crate::study::check_without;
use crate::threads::ThreadArgs;
use crate::train::{RecipeArgs, TrainPlan, promise, train_model};

/// Options of `cic unseen`.
#[derive(Args, Clone, Debug)]
pub struct UnseenArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// Column with donors, batches or studies, beside the
    /// labels: no group is in two parts of the data,
    /// where there are at least four of them
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    groups: Option<String>,
    /// Labels that are no cell types, separated by commas:
    /// their rows take no part
    #[arg(long, value_name = "LABELS", value_delimiter = ',', verbatim_doc_comment)]
    without: Vec<String>,
    /// Types to leave out in turn, separated by commas
    /// [default: all]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', verbatim_doc_comment)]
    types: Vec<String>,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
}

/// What was found, as printed with `--json`.
#[derive(Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) schema_version: u32,
    /// Of the file's names and values, as models carry it.
    #[serde(default)]
    pub(crate) data_digest: Option<String>,
    /// Column of the labels.
    #[serde(default)]
    pub(crate) labels: Option<String>,
    /// Digest of the ids of test rows; `None` without a split.
    #[serde(default)]
    pub(crate) test_digest: Option<String>,
    /// The whole command.
    #[serde(default)]
    pub(crate) command: Option<String>,
    pub(crate) n_neighbours: usize,
    pub(crate) types: Vec<Unseen>,
}

/// A type that was left out of training.
#[derive(Deserialize, Serialize)]
pub(crate) struct Unseen {
    pub(crate) label: String,
    /// Its rows, none of which was trained on.
    pub(crate) n: usize,
    /// Whether they are test rows of the split, or of groups that were not trained on; all of its rows else.
    #[serde(default)]
    pub(crate) is_held: bool,
    /// Training rows without it.
    pub(crate) n_train: usize,
    pub(crate) model: Figures,
    pub(crate) pca: Figures,
    /// The type whose codes are nearest.
    pub(crate) nearest: String,
    /// Whether the model refuses to name it; `None` where the model does not know what it was trained on.
    #[serde(default)]
    pub(crate) rejection: Option<Rejection>,
    /// Every type that was seen, the nearest first.
    #[serde(default)]
    pub(crate) distances: Vec<Distance>,
}

/// How far a type that was seen is: Euclidean, between mean codes of test cells.
#[derive(Deserialize, Serialize)]
pub(crate) struct Distance {
    pub(crate) label: String,
    pub(crate) distance: f64,
}

/// What the model says of cells of the unseen type and of test cells of types that were seen.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Rejection {
    /// Chance that `cic_novelty` is larger for a cell of the unseen type.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) auroc: f64,
    /// The same with `--thorough`; `null` where the model has no limits for errors.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) auroc_thorough: f64,
    /// Share of seen types' cells that a limit rejects that rejects 95 % of the unseen type's.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) false_at_95: f64,
    /// The same with `--thorough`.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) false_at_95_thorough: f64,
    /// Share that the model's own limits reject, of the unseen type.
    pub(crate) rejected: f64,
    /// The same of types that were seen.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) rejected_seen: f64,
    /// Share of all these cells whose best guess is right; that of an unseen type never is.
    pub(crate) accuracy: f64,
    /// The same of cells that are not rejected.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) accuracy_kept: f64,
}

/// Of the codes, or of as many principal components.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Figures {
    /// Of the unseen type's profiles, against the mean training profile.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) r2: f64,
    /// Mean over its profiles.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) spearman: f64,
    /// The same of test profiles of types that were seen.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) r2_seen: f64,
    /// Among test profiles of all types.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) silhouette: f64,
    /// Share of the nearest neighbours of its profiles that are of the type; `null` for a single profile.
    #[serde(deserialize_with = "number_or_null")]
    pub(crate) purity: f64,
}

/// What is no number is written as null.
fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
}

/// Neighbours that are looked at.
const N_NEIGHBOURS: usize = 15;

/// Leaves out, trains, compares and prints.
pub fn run(args: &UnseenArgs) -> Result<(), Failure> {
    args.labels.require()?;
    args.recipe.recipe()?;
    let dataset = args.data.read()?;
    let groups = args.groups.as_deref();
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split, groups)?;
    check_without(&annotations, dataset.matrix.n_obs(), &args.without)?;
    let labels: Vec<Option<String>> = (0..dataset.matrix.n_obs())
        .map(|row| annotations.label(row).filter(|label| !args.without.contains(label)))
        .collect();
    let known: BTreeSet<&String> = labels.iter().flatten().collect();
    if let Some(unknown) = args.types.iter().find(|name| !known.contains(name)) {
        let known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
        return Err(Failure::usage(format!(
            "--types {unknown}: no cell has this label; there are {}",
            known.join(", ")
        )));
    }
    if known.len() < 3 {
        return Err(Failure::input(format!(
            "{}: {} cell types; with one left out at least two have to be left",
            args.data.data.display(),
            known.len()
        )));
    }
    let types: Vec<&String> = known
        .into_iter()
        .filter(|name| args.types.is_empty() || args.types.contains(name))
        .collect();
    let countdown = Countdown::new(types.len());
    // Types side by side, on one thread each.
    let found = args.threads.pool()?.install(|| {
        types
            .par_iter()
            .map(|name| {
                let found = leave_out(args, &dataset, &annotations, &labels, name)?;
                countdown.step(|n, left| {
                    if !args.quiet {
                        let all = types.len();
                        tell(format_args!("{n} of {all}: without {name}; about {left} s to go"));
                    }
                });
                Ok(found)
            })
            .collect::<Result<Vec<_>, Failure>>()
    });
    let found = found.map_err(|failure| match failure {
        Failure::Interrupted(_) => {
            Failure::Interrupted(anyhow::anyhow!("interrupted; nothing was kept"))
        }
        other => other,
    })?;
    let report = Report {
        schema_version: 1,
        data_digest: Some(data_digest(&dataset.matrix)),
        labels: args.labels.labels.clone(),
        test_digest: test_digest(&dataset, &annotations),
        command: Some(command_line(1)),
        n_neighbours: N_NEIGHBOURS,
        types: found,
    };
    match args.json {
        true => print_json(&report),
        false => print(|out| report.write(out)),
    }
}

fn leave_out(
    args: &UnseenArgs,
    dataset: &Dataset,
    annotations: &Annotations,
    labels: &[Option<String>],
    name: &str,
) -> Result<Unseen, Failure> {
    let is_left_out = |row: usize| labels[row].as_deref() == Some(name);
    // Its rows are neither trained on nor chosen by; nor are those with labels that take no part.
    let takes_part = |row: usize| labels[row].is_some() || annotations.label(row).is_none();
    let keep: Vec<bool> =
        (0..labels.len()).map(|row| takes_part(row) && !is_left_out(row)).collect();
    let mut trained = train_model(TrainPlan {
        dataset,
        annotations,
        keep: Some(&keep),
        library: Library::Panel,
        recipe: args.recipe.recipe()?,
        trains_on_calibration: false,
        threads: 1,
        checkpoint: None,
        quiet: true,
    })?;
    promise(&mut trained.spec, dataset, annotations, FalseRejects::default())?;
    let bytes = trained.spec.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
    let bytes = AlignedBytes::new(&bytes);
    let model = Model::open_verified(&bytes).map_err(Failure::internal)?;
    let cells = dataset.align(&model)?;

    let parts = &trained.parts;
    let train: Vec<usize> =
        [&parts.fit, &parts.early_stop, &parts.calibrate].into_iter().flatten().copied().collect();
    let unseen: Vec<usize> = (0..labels.len()).filter(|&row| is_left_out(row)).collect();
    // As with the other types, the test rows of the split, or those of groups that were not trained on, where it has some.
    let group = |row: usize| annotations.groups.get(row).and_then(Option::as_deref);
    let trained_groups: BTreeSet<&str> = train.iter().filter_map(|&row| group(row)).collect();
    let is_test = |row: &usize| match &annotations.split {
        Some(split) => split[*row] == Some(SplitPart::Test),
        None => group(*row).is_some_and(|group| !trained_groups.contains(group)),
    };
    let held: Vec<usize> = unseen.iter().copied().filter(is_test).collect();
    let is_held = !held.is_empty();
    let unseen = if is_held { held } else { unseen };
    // Types without a row for training were not seen either.
    let trained_types: BTreeSet<&str> =
        train.iter().filter_map(|&row| labels[row].as_deref()).collect();
    let is_seen =
        |row: &usize| labels[*row].as_deref().is_some_and(|name| trained_types.contains(name));
    let seen = parts.test.iter().copied().filter(is_seen);
    let all = Profiles::read(&model, &cells, seen.chain(unseen).collect());
    let train = Profiles::read(&model, &cells, train);
    if train.rows.len() < 2 || !all.rows.iter().any(|&row| is_left_out(row)) {
        return Err(Failure::input(format!("{name}: no row with values")));
    }

    let names: BTreeMap<&str, usize> = {
        let names: BTreeSet<&str> =
            all.rows.iter().filter_map(|&row| labels[row].as_deref()).collect();
        names.into_iter().zip(0..).collect()
    };
    let groups: Vec<usize> =
        all.rows.iter().map(|&row| labels[row].as_deref().map_or(0, |name| names[name])).collect();
    let comparison = Comparison {
        profiles: all.matrix(),
        genes: train.most_variable(N_GENES),
        mean: train.mean(),
        groups: &groups,
        group: names[name],
    };
    let outputs = run_model(&model, &cells, &all)?;
    let truth: Vec<Option<&str>> =
        all.rows.iter().map(|&row| labels[row].as_deref().filter(|&label| label != name)).collect();
    let rejection = Rejection::of(&model, &select_cells(&cells, &all.rows), &truth)?;
    let pca = baselines::pca(&train.values, train.n_genes, model.code_dim(), 1)
        .map_err(Failure::internal)?;
    let by_pca = pca.reproduce(comparison.profiles.as_ref());
    let (of_model, others) = comparison.figures(&outputs.codes, &outputs.reproduced);
    let (of_pca, _) =
        comparison.figures(&baselines::pca_scores(&pca, comparison.profiles.as_ref()), &by_pca);
    let labels: Vec<&str> = names.keys().copied().collect();
    let distances: Vec<Distance> = others
        .into_iter()
        .map(|(group, distance)| Distance { label: labels[group].to_owned(), distance })
        .collect();
    Ok(Unseen {
        label: name.to_owned(),
        is_held,
        n: groups.iter().filter(|&&group| group == names[name]).count(),
        n_train: train.rows.len(),
        model: of_model,
        pca: of_pca,
        rejection,
        nearest: distances.first().map_or(String::new(), |one| one.label.clone()),
        distances,
    })
}

/// Of the ids of the split's test rows.
pub(crate) fn test_digest(dataset: &Dataset, annotations: &Annotations) -> Option<String> {
    let split = annotations.split.as_ref()?;
    let test: Vec<usize> =
        (0..split.len()).filter(|&row| split[row] == Some(SplitPart::Test)).collect();
    Some(hex(&part_digest(dataset.names_of(&test))))
}

impl Rejection {
    /// Of cells with their types, where these were seen.
    fn of(
        model: &Model<'_>,
        cells: &AlignedMatrix,
        truth: &[Option<&str>],
    ) -> Result<Option<Self>, Failure> {
        let Some(novelty) = model.novelty() else { return Ok(None) };
        let calls = Calls::run(model, cells, false)?.calls;
        let thorough = match novelty.error_limit(u64::MAX) {
            Some(_) => Calls::run(model, cells, true)?.calls,
            None => Vec::new(),
        };
        let all = || calls.iter().zip(truth);
        let scores = |calls: &[Call], is_unseen: bool| -> Vec<f64> {
            // Each of these cells has values, and so a score.
            let some = calls.iter().zip(truth).filter(|(_, truth)| truth.is_none() == is_unseen);
            some.map(|(call, _)| f64::from(call.novelty)).collect()
        };
        let rejected = |is_unseen: bool| {
            let some = || all().filter(|(_, truth)| truth.is_none() == is_unseen);
            some().filter(|(call, _)| call.reject.is_some()).count() as f64 / some().count() as f64
        };
        let is_right = |(call, truth): &(&Call, &Option<&str>)| {
            truth.is_some_and(|truth| call.best_guess(model) == truth)
        };
        let kept = || all().filter(|(call, _)| call.reject.is_none());
        Ok(Some(Self {
            auroc: auroc(&scores(&calls, true), &scores(&calls, false)),
            auroc_thorough: auroc(&scores(&thorough, true), &scores(&thorough, false)),
            false_at_95: false_share_at(0.95, &scores(&calls, true), &scores(&calls, false)),
            false_at_95_thorough: false_share_at(
                0.95,
                &scores(&thorough, true),
                &scores(&thorough, false),
            ),
            rejected: rejected(true),
            rejected_seen: rejected(false),
            accuracy: all().filter(is_right).count() as f64 / calls.len() as f64,
            accuracy_kept: kept().filter(is_right).count() as f64 / kept().count() as f64,
        }))
    }
}

/// The test profiles of all types, and those of one that was not seen.
struct Comparison<'a> {
    profiles: Mat<f64>,
    genes: Vec<usize>,
    mean: Vec<f32>,
    groups: &'a [usize],
    group: usize,
}

impl Comparison<'_> {
    fn figures(&self, codes: &Mat<f64>, reproduced: &Mat<f64>) -> (Figures, Vec<(usize, f64)>) {
        let profiles = genes_of(&self.profiles, &self.genes);
        let reproduced = genes_of(reproduced, &self.genes);
        let mean: Vec<f32> = self.genes.iter().map(|&gene| self.mean[gene]).collect();
        let (unseen, seen): (Vec<usize>, Vec<usize>) =
            (0..self.groups.len()).partition(|&at| self.groups[at] == self.group);
        let of_unseen = scores(&profiles, &reproduced, &mean, &unseen);
        let of_seen = scores(&profiles, &reproduced, &mean, &seen);
        // Of a type with fewer cells, all of its own could be among them.
        let n_neighbours = N_NEIGHBOURS.min(unseen.len().saturating_sub(1));
        let lie = separation(codes.as_ref(), self.groups, self.group, n_neighbours);
        let figures = Figures {
            r2: of_unseen.r2,
            spearman: of_unseen.spearman,
            r2_seen: of_seen.r2,
            // Of a single cell there is none.
            silhouette: if unseen.len() > 1 { lie.silhouette } else { f64::NAN },
            purity: lie.purity,
        };
        (figures, lie.others)
    }
}

impl Report {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let has_held = self.types.iter().any(|one| one.is_held);
        let labels = self.types.iter().map(|one| one.label.chars().count());
        let width = labels.max().unwrap_or(0).max(8);
        writeln!(
            out,
            "{:width$}  {:>5}  {:>15}  {:>15}  {:>15}  {:>15}  {:>15}  nearest",
            "left out", "n", "R2", "R2 of seen", "Spearman", "silhouette", "own neighbours"
        )?;
        writeln!(
            out,
            "{:width$}  {:>5}  {:>15}  {:>15}  {:>15}  {:>15}  {:>15}",
            "", "", "codes    PCA", "codes    PCA", "codes    PCA", "codes    PCA", "codes    PCA"
        )?;
        for one in &self.types {
            let number = |value: f64| match value.is_finite() {
                true => format!("{value:.3}"),
                false => "-".to_owned(),
            };
            let pair = |of: fn(&Figures) -> f64| {
                format!("{}  {:>6}", number(of(&one.model)), number(of(&one.pca)))
            };
            writeln!(
                out,
                "{:width$}  {:>5}  {:>15}  {:>15}  {:>15}  {:>15}  {:>15}  {}",
                cic_data::sanitise_for_terminal(&one.label),
                format!("{}{}", one.n, if has_held && !one.is_held { "*" } else { "" }),
                pair(|figures| figures.r2),
                pair(|figures| figures.r2_seen),
                pair(|figures| figures.spearman),
                pair(|figures| figures.silhouette),
                pair(|figures| figures.purity),
                cic_data::sanitise_for_terminal(&one.nearest),
            )?;
        }
        self.write_rejection(out, width)?;
        writeln!(
            out,
            "\ndistance of its mean code from those of the types that were seen, test cells"
        )?;
        for one in &self.types {
            let to = |other: &Distance| format!("{} {:.2}", other.label, other.distance);
            let all: Vec<String> = one.distances.iter().map(to).collect();
            writeln!(
                out,
                "{:width$}  {}",
                cic_data::sanitise_for_terminal(&one.label),
                cic_data::sanitise_for_terminal(&all.join(", "))
            )?;
        }
        writeln!(
            out,
            "\nEach type was left out of training in turn. R2 and Spearman are of its reproduced \
             profiles; silhouette, and the\nshare of its own among {N_NEIGHBOURS} neighbours (or as many as it has others), of \
             its codes among test cells of all types, beside as many\nprincipal components. \
             AUROC: how well cic_novelty tells cells of the type from test cells of types that were seen, by the code alone and with\n\
             --thorough. Rejected: by the model's own limits. Accuracy: of all these cells, and of those that were kept.\n\
             Nearest: the type that was seen whose codes are nearest. Genes: the {N_GENES} of largest training variance."
        )?;
        match has_held {
            true => writeln!(
                out,
                "n: test rows of the type, or of groups that were not trained on; *: it has none, so all of its rows"
            ),
            false => Ok(()),
        }
    }

    fn write_rejection(&self, out: &mut dyn Write, width: usize) -> io::Result<()> {
        let known: Vec<(&str, Rejection)> =
            self.types.iter().filter_map(|one| Some((&one.label[..], one.rejection?))).collect();
        if known.is_empty() {
            return Ok(());
        }
        let columns = |one: &Rejection| {
            [
                one.auroc,
                one.auroc_thorough,
                one.false_at_95,
                one.false_at_95_thorough,
                one.rejected,
                one.rejected_seen,
                one.accuracy,
                one.accuracy_kept,
            ]
        };
        writeln!(out)?;
        let mut row = |label: &str, all: [String; 8]| {
            let [auroc, thorough, at_95, thorough_at_95, rejected, of_seen, accuracy, kept] = all;
            writeln!(
                out,
                "{label:width$}  {auroc:>6} {thorough:>8}  {at_95:>6} {thorough_at_95:>8}  \
                 {rejected:>8} {of_seen:>8}  {accuracy:>8} {kept:>8}"
            )
        };
        let heads = ["AUROC", "", "FPR at", "95 % TPR", "rejected", "of seen", "accuracy", "kept"];
        row("left out", heads.map(String::from))?;
        row("", ["code", "thorough", "code", "thorough", "", "", "", ""].map(String::from))?;
        let number = |value: f64| match value.is_finite() {
            true => format!("{value:.3}"),
            false => "-".to_owned(),
        };
        for (label, one) in &known {
            row(&cic_data::sanitise_for_terminal(label), columns(one).map(number))?;
        }
        let mean = |at: usize| {
            known.iter().map(|(_, one)| columns(one)[at]).sum::<f64>() / known.len() as f64
        };
        row("mean", [0, 1, 2, 3, 4, 5, 6, 7].map(mean).map(number))
    }
}
