//! `cic noise`: what becomes of calls, codes and reproductions when held samples are spoiled, for several models and
//! linear methods side by side.

mod figures;
mod report;
mod spoil;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use cic_data::AlignedMatrix;
use cic_model::{AlignedBytes, Model, ValueKind};
use cic_runtime::Pages;
use cic_trainer::Pca;
use cic_trainer::baselines::{self, Contender, Fitted, Labelled, Prepared};
use cic_trainer::noise::CodeShift;
use cic_trainer::resplits::folds;
use clap::Args;
use rayon::prelude::*;

use crate::console::{print, print_json, tell};
use crate::countdown::Countdown;
use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs, SplitArgs, model_kind};
use crate::failure::Failure;
use crate::profiles::{N_GENES, Profiles};
use crate::reproduce::{tell_if_trained_on, train_and_test};
use crate::study::{INNER_FOLDS, part_rows};
use crate::threads::ThreadArgs;
use crate::{model_file, output};

use figures::{Bench, Contestant, Figures, of_classifier, of_components, of_refitted, type_cells};
use report::{Level, ModelReport, Report};
use spoil::{Condition, Held, Inputs, Kind, reads_inputs};

/// Options of `cic noise`.
#[derive(Args, Clone, Debug)]
#[command(after_help = ABOUT)]
pub struct NoiseArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// A model; give more than once to compare models of
    /// one panel: number formats, ways of training
    #[arg(long = "model", short, value_name = "MODEL", required = true, verbatim_doc_comment)]
    models: Vec<PathBuf>,
    /// What is done to the held cells: gaussian, thinning,
    /// genes, low_genes [default: all]
    #[arg(
        long,
        value_name = "KINDS",
        value_enum,
        value_delimiter = ',',
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    kinds: Vec<Kind>,
    /// How often a condition is repeated that chance
    /// takes part in
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=1000),
        verbatim_doc_comment
    )]
    repeats: u16,
    /// Chance follows from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Folder for the table as noise.tsv
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
}

const ABOUT: &str = "\
gaussian   noise of 0.25, 0.5, 1 and 2 standard deviations of each gene is
           added to what the network reads, after preprocessing; where that
           cannot be negative (log1p), what falls below zero is zero
thinning   each molecule is kept with a probability of 0.5, 0.25, 0.1 or
           0.05, before preprocessing; counts only
genes      10, 25, 50, 75 and 90 % of the panel's genes are missing at
           random, as if the file lacked them
low_genes  the same, the genes of lowest mean expression first

Held cells are the split's test rows, or else the model's own. Linear
classifiers and principal components are fitted on clean training rows;
where genes are missing they see what the model sees in their place, the
mean of its training profiles. Logistic regression is there also fitted
anew on the genes that are left, which needs the training rows again. Cells
are typed though the model refuses files that have too few of its genes;
the share refused tells of that.";

/// As in `cic compare`.
const LOGISTIC: Contender = Contender::Logistic(0.1);
const TSV: &str = "noise.tsv";

/// Spoils, types, compares and prints.
pub fn run(args: &NoiseArgs) -> Result<(), Failure> {
    args.labels.require()?;
    let tsv = args.out.as_ref().map(|folder| folder.join(TSV));
    if let (Some(folder), Some(tsv)) = (&args.out, &tsv) {
        fs::create_dir_all(folder).map_err(|error| Failure::output(folder, error))?;
        output::check(&[tsv], &[&args.data.data])?;
    }
    let bytes: Vec<Pages> =
        args.models.iter().map(|path| model_file::read(path)).collect::<Result<_, _>>()?;
    let opened = args.models.iter().zip(&bytes);
    let models: Vec<Model<'_>> =
        opened.map(|(path, bytes)| model_file::open(path, bytes)).collect::<Result<_, _>>()?;
    check_alike(&args.models, &models)?;
    let reader_bytes: Vec<AlignedBytes> =
        models.iter().map(reads_inputs).collect::<Result<_, _>>()?;
    let readers = reader_bytes.iter().map(|bytes| Model::open_verified(bytes));
    let readers: Vec<Model<'_>> = readers.collect::<Result<_, _>>().map_err(Failure::internal)?;

    let dataset = args.data.read()?;
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split, None)?;
    let model = &models[0];
    let cells = dataset.align(model)?;
    let (train, test) = train_and_test(model, &dataset, annotations.split.as_deref())?;
    let labelled = |rows: Vec<usize>| -> Vec<usize> {
        rows.into_iter().filter(|&row| annotations.label(row).is_some()).collect()
    };
    let train = Profiles::read(model, &cells, labelled(train));
    let test = Profiles::read(model, &cells, labelled(test));
    let names = ClassNames::new(&annotations, &train.rows, &test.rows);
    if test.rows.len() < 2 || train.rows.len() < 10 || names.n_trained < 2 {
        return Err(Failure::input(format!(
            "{}: {} training rows of {} types and {} test rows with labels and values; at least 10 \
             of 2 types and 2 are needed",
            args.data.data.display(),
            train.rows.len(),
            names.n_trained,
            test.rows.len()
        )));
    }
    tell_seen(&models, &args.models, &dataset, &test.rows);

    // Each of these rows has a label, and each label a class.
    let class =
        |row: &usize| annotations.label(*row).and_then(|label| names.class(&label)).unwrap_or(0);
    let classes: Vec<usize> = train.rows.iter().map(class).collect();
    let truth: Vec<usize> = test.rows.iter().map(class).collect();
    let labelled = Labelled {
        values: &train.values,
        n_genes: train.n_genes,
        classes: &classes,
        n_classes: names.n_trained,
    };
    args.threads.pool()?.install(|| {
        let class = |row| annotations.label(row).and_then(|label: String| names.class(&label));
        let rows = part_rows(&dataset, &[], class);
        let inner = folds(&rows, &train.rows, INNER_FOLDS, args.seed);
        let k = model.code_dim();
        let chosen = baselines::choose(labelled, &inner, k).map_err(Failure::internal)?;
        let prepared = Prepared::new(labelled, k).map_err(Failure::internal)?;
        let fit = |contender| prepared.fit(contender).map_err(Failure::internal);
        let pca = baselines::pca(&train.values, train.n_genes, k, 1).map_err(Failure::internal)?;
        let held = Held::new(model, &cells, &test.rows, &train, args.seed);
        let scores = baselines::pca_scores(&pca, test.matrix().as_ref());
        let study = Study {
            models: contestants(args, &models, &readers, &names, &held)?,
            linear: [fit(chosen)?, fit(LOGISTIC)?],
            train: labelled,
            pca_shift: CodeShift::new(scores),
            pca,
            held,
            truth,
            n_classes: names.all.len(),
            genes: train.most_variable(N_GENES),
            mean: train.mean(),
        };
        let (conditions, skipped) = conditions(args, model_kind(model)?);
        let figures = study.run(&conditions, args.quiet)?;
        let models = models.iter().zip(&args.models).zip(&study.models);
        let report = Report {
            schema_version: 1,
            data: args.data.data.display().to_string(),
            seed: args.seed,
            n_train: train.rows.len(),
            n_test: test.rows.len(),
            n_classes: names.all.len(),
            n_genes: train.n_genes,
            n_genes_reproduced: study.genes.len(),
            code_dim: k,
            best_linear: chosen.name(),
            models: models
                .map(|((model, path), contestant)| ModelReport {
                    name: contestant.name.clone(),
                    file: path.display().to_string(),
                    model_id: model.id().to_string(),
                    dtype: model.dtype().name(),
                })
                .collect(),
            levels: levels(&conditions, &study.names(), &figures),
            skipped,
        };
        if let Some(tsv) = &tsv {
            output::write(tsv, |out| report.write_tsv(out))?;
        }
        match args.json {
            true => print_json(&report),
            false => print(|out| report.write(out)),
        }
    })
}

/// Everything that is compared.
struct Study<'a> {
    models: Vec<Contestant<'a>>,
    /// The one that was chosen, and logistic regression.
    linear: [Fitted<'a>; 2],
    train: Labelled<'a>,
    pca: Pca,
    pca_shift: CodeShift,
    held: Held<'a>,
    truth: Vec<usize>,
    n_classes: usize,
    genes: Vec<usize>,
    mean: Vec<f32>,
}

impl Study<'_> {
    /// Of the methods, in the order of [`Study::measure`].
    fn names(&self) -> Vec<String> {
        let models = self.models.iter().map(|model| model.name.clone());
        let others = ["PCA", "best linear", "logistic regression", "logistic, refitted"];
        models.chain(others.map(String::from)).collect()
    }

    /// Figures of all methods under each condition.
    fn run(&self, conditions: &[Condition], quiet: bool) -> Result<Vec<Vec<Figures>>, Failure> {
        let clean = self.inputs(&Condition::CLEAN).values;
        let countdown = Countdown::new(conditions.len());
        conditions
            .par_iter()
            .map(|condition| {
                let figures = self.measure(condition, &clean)?;
                countdown.step(|n, left| {
                    if !quiet && n.is_multiple_of(10) {
                        let all = conditions.len();
                        tell(format_args!("{n} of {all} conditions; about {left} s to go"));
                    }
                });
                Ok(figures)
            })
            .collect()
    }

    fn measure(&self, condition: &Condition, clean: &[f32]) -> Result<Vec<Figures>, Failure> {
        let spoiled = self.held.spoil(condition);
        let inputs = self.held.inputs(self.reader(spoiled.is_input), &spoiled);
        let is_kept = |gene: &usize| spoiled.cells.present[*gene];
        let kept: Vec<usize> = self.genes.iter().copied().filter(is_kept).collect();
        let bench = Bench {
            truth: &self.truth,
            n_classes: self.n_classes,
            clean,
            inputs: &inputs,
            genes: &self.genes,
            kept: &kept,
            mean: &self.mean,
        };
        let models = self.models.iter().map(|model| model.figures(&spoiled, &bench));
        let mut figures: Vec<Figures> = models.collect::<Result<_, _>>()?;
        figures.push(of_components(&self.pca, &self.pca_shift, &bench));
        figures.extend(self.linear.iter().map(|fitted| of_classifier(fitted, &bench)));
        figures.push(match condition.kind {
            Some(Kind::Genes | Kind::LowGenes) => {
                of_refitted(self.train, &spoiled.cells.present, LOGISTIC, &bench)
            }
            _ => Figures::NONE,
        });
        Ok(figures)
    }

    fn inputs(&self, condition: &Condition) -> Inputs {
        let spoiled = self.held.spoil(condition);
        self.held.inputs(self.reader(spoiled.is_input), &spoiled)
    }

    /// A model that takes values as they are, or network inputs.
    fn reader(&self, is_input: bool) -> &Model<'_> {
        // There is a model at least; they read alike.
        let first = &self.models[0];
        if is_input { first.reader } else { first.model }
    }
}

fn contestants<'a>(
    args: &NoiseArgs,
    models: &'a [Model<'a>],
    readers: &'a [Model<'a>],
    names: &ClassNames,
    held: &Held<'_>,
) -> Result<Vec<Contestant<'a>>, Failure> {
    let clean: AlignedMatrix = held.spoil(&Condition::CLEAN).cells;
    let all = models.iter().zip(readers).zip(&args.models);
    all.map(|((model, reader), path)| {
        let stem = path.file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into());
        let leaves = 0..model.n_leaves();
        Ok(Contestant {
            name: format!("{stem}, {}", model.dtype().name()),
            model,
            reader,
            classes: leaves.map(|leaf| names.class(model.labels().leaf_name(leaf))).collect(),
            shift: CodeShift::new(type_cells(model, &clean, |_, _| {})?.codes),
        })
    })
    .collect()
}

/// Classes by name, those that training rows have first.
struct ClassNames {
    all: Vec<String>,
    n_trained: usize,
}

impl ClassNames {
    fn new(annotations: &Annotations, train: &[usize], test: &[usize]) -> Self {
        let of = |rows: &[usize]| -> BTreeSet<String> {
            rows.iter().filter_map(|&row| annotations.label(row)).collect()
        };
        let (trained, tested) = (of(train), of(test));
        let n_trained = trained.len();
        let others: Vec<String> = tested.difference(&trained).cloned().collect();
        Self { all: trained.into_iter().chain(others).collect(), n_trained }
    }

    fn class(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|known| known == name)
    }
}

/// The clean samples, then every amount of every kind, repeats side by side.
fn conditions(args: &NoiseArgs, kind: ValueKind) -> (Vec<Condition>, Vec<String>) {
    let mut skipped = Vec::new();
    let mut conditions = vec![Condition::CLEAN];
    let is_asked = |kind: &Kind| args.kinds.is_empty() || args.kinds.contains(kind);
    for of in Kind::ALL.into_iter().filter(is_asked) {
        if of == Kind::Thinning && kind != ValueKind::Counts {
            skipped.push(format!("thinning: the model reads {}, no counts", kind.name()));
            continue;
        }
        let repeats = if of.is_random() { usize::from(args.repeats) } else { 1 };
        for step in 0..of.amounts().len() {
            conditions.extend((0..repeats).map(|repeat| Condition {
                kind: Some(of),
                step,
                repeat,
            }));
        }
    }
    (conditions, skipped)
}

fn levels(conditions: &[Condition], names: &[String], figures: &[Vec<Figures>]) -> Vec<Level> {
    let mut levels = Vec::new();
    let same = |a: &Condition, b: &Condition| (a.kind, a.step) == (b.kind, b.step);
    let mut begin = 0;
    for repeats in conditions.chunk_by(same) {
        let end = begin + repeats.len();
        let figures: Vec<&[Figures]> = figures[begin..end].iter().map(Vec::as_slice).collect();
        levels.push(Level::new(&repeats[0], names, &figures));
        begin = end;
    }
    levels
}

/// Refuses models that do not read the same of a cell, or whose codes are not of one size.
fn check_alike(paths: &[PathBuf], models: &[Model<'_>]) -> Result<(), Failure> {
    let ids = |model: &Model<'_>| -> Vec<String> {
        (0..model.n_genes()).map(|gene| model.genes().id(gene).to_owned()).collect()
    };
    let scaling = |model: &Model<'_>| model.profiles().first().map(|profile| profile.scaling());
    let Some(first) = models.first() else { return Ok(()) };
    for (path, model) in paths.iter().zip(models) {
        let differs = if ids(model) != ids(first) {
            "another gene panel"
        } else if scaling(model) != scaling(first) {
            "other preprocessing"
        } else if model.code_dim() != first.code_dim() {
            "codes of another size"
        } else if model.n_leaves() == 0 {
            return Err(Failure::usage(format!("{}: it names no cell types", path.display())));
        } else {
            continue;
        };
        return Err(Failure::usage(format!(
            "{}: it has {differs} than {}; models side by side have the same, train them with the \
             same --genes, --library and --code on the same data",
            path.display(),
            paths[0].display()
        )));
    }
    Ok(())
}

/// Says so where a model was trained on held rows.
fn tell_seen(models: &[Model<'_>], paths: &[PathBuf], dataset: &Dataset, test: &[usize]) {
    for (model, path) in models.iter().zip(paths) {
        tell_if_trained_on(model, path, dataset, test);
    }
}
