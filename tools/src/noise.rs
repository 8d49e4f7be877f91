//! `cic noise`: what becomes of calls, codes and reproductions when held samples are spoiled, for several models and
//! linear methods side by side.

mod figures;
mod levels;
mod report;
mod spoil;
mod study;

use std::fs;
use std::path::{Path, PathBuf};

use cic_model::Model;
use cic_runtime::Pages;
use clap::Args;

use crate::console::{print, print_json};
use crate::dataset::{Annotations, DataArgs, LabelArgs, SplitArgs};
use crate::failure::Failure;
use crate::reproduce::train_and_test;
use crate::seen::tell_if_seen;
use crate::threads::ThreadArgs;
use crate::{model_file, output};

pub(crate) use levels::Level;
pub(crate) use spoil::Kind;
pub(crate) use study::{BEST_NAME, Found, Plan, REFITTED_NAME, measure};

use report::{ModelReport, Report};
use study::LEAST_TRAIN;

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
genes      10, 25, 50, 75, 90 and 95 % of the panel's genes are missing at
           random, as if the file lacked them
low_genes  the same, the genes of lowest mean expression first

Held cells are the split's test rows, or else the model's own. Linear
classifiers and principal components are fitted on clean training rows;
where genes are missing they see what the model sees in their place, the
mean of its training profiles. Logistic regression is there also fitted
anew on the genes that are left, which needs the training rows again. Cells
are typed though the model refuses files that have too few of its genes;
the share refused tells of that.";

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
    let dataset = args.data.read()?;
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split, None)?;
    let model = &models[0];
    let cells = dataset.align(model)?;
    let (train, test) = train_and_test(model, &dataset, annotations.split.as_deref())?;
    for (model, path) in models.iter().zip(&args.models) {
        tell_if_seen(model, path, dataset.names_of(&test));
    }
    let names = args.models.iter().zip(&models).map(|(path, model)| name(path, model));
    let plan = Plan {
        models: names.zip(&models).collect(),
        dataset: &dataset,
        annotations: &annotations,
        cells: &cells,
        train,
        test,
        kinds: &args.kinds,
        repeats: usize::from(args.repeats),
        seed: args.seed,
        quiet: args.quiet,
    };
    let found = args.threads.pool()?.install(|| measure(&plan))?;
    let Some(best_linear) = found.best_linear else {
        return Err(Failure::input(format!(
            "{}: {} training and {} test rows with labels and values; at least {LEAST_TRAIN} of 2 \
             types and 2 are needed",
            args.data.data.display(),
            found.n_train,
            found.n_test
        )));
    };
    let report = Report {
        schema_version: 1,
        data: args.data.data.display().to_string(),
        seed: args.seed,
        n_train: found.n_train,
        n_test: found.n_test,
        n_classes: found.n_classes,
        n_genes: model.n_genes(),
        n_genes_reproduced: found.n_genes_reproduced,
        code_dim: model.code_dim(),
        best_linear,
        models: (plan.models.iter().zip(&args.models))
            .map(|((name, model), path)| ModelReport {
                name: name.clone(),
                file: path.display().to_string(),
                model_id: model.id().to_string(),
                dtype: model.dtype().name(),
            })
            .collect(),
        levels: found.levels,
        skipped: found.skipped,
    };
    if let Some(tsv) = &tsv {
        output::write(tsv, |out| report.write_tsv(out))?;
    }
    match args.json {
        true => print_json(&report),
        false => print(|out| report.write(out)),
    }
}

/// Of a model in tables.
fn name(path: &Path, model: &Model<'_>) -> String {
    let stem = path.file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into());
    format!("{stem}, {}", model.dtype().name())
}

/// Refuses models that do not read the same of a cell, or whose codes are not of one size.
fn check_alike(paths: &[PathBuf], models: &[Model<'_>]) -> Result<(), Failure> {
    let ids = |model: &Model<'_>| -> Vec<String> {
        (0..model.n_genes()).map(|gene| model.genes().id(gene).to_owned()).collect()
    };
    let scaling = |model: &Model<'_>| model.profiles().first().map(|profile| profile.scaling());
    let Some(first) = models.first() else { return Ok(()) };
    let twice = (1..paths.len()).find(|&at| paths[..at].contains(&paths[at]));
    if let Some(at) = twice {
        return Err(Failure::usage(format!("{}: is given twice", paths[at].display())));
    }
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
