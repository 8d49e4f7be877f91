//! `cic train`: a full-precision model from labelled data.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cic_data::AlignedMatrix;
use cic_model::profile::Library;
use cic_model::spec::{FalseRejects, LayoutPlan, ModelSpec};
use cic_model::{Activation, AlignedBytes, Model};
use cic_quant::AwareReport;
use cic_trainer::panel::PanelSize;
use cic_trainer::parts::{Assigned, Division, Parts};
use cic_trainer::pipeline::{Request, TrainedModel, train};
use cic_trainer::settings::Setting;
use cic_trainer::{CheckpointPolicy, EpochReport, FitControl, FitPass, TrainError};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::console::tell;
use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs, SplitArgs};
use crate::failure::Failure;
use crate::gene_args::GeneArgs;
use crate::label_tree::LabelTree;
use crate::onnx_out;
use crate::output;
use crate::promises::{FalseRejectArgs, PromiseCells, leaves_of};
use crate::quantize::aware;
use crate::same_scale::note_scale;
use crate::threads::ThreadArgs;

/// Options of `cic train`.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
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
    /// What counts and linear values are divided by:
    /// panel, the sum over the panel's genes, or
    /// all_measured, which typing needs too: from all
    /// genes of its file or --total-counts
    #[arg(
        long,
        value_name = "SUM",
        default_value = "panel",
        value_parser = parse_library,
        verbatim_doc_comment
    )]
    library: Library,
    /// Table with the columns label, parent (several with
    /// |) and ontology_id: what stands above the types,
    /// for cic_node of cic type; ids go into all outputs
    #[arg(long, value_name = "TSV", verbatim_doc_comment)]
    label_tree: Option<PathBuf>,
    #[command(flatten)]
    genes: GeneArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    false_rejects: FalseRejectArgs,
    /// Where the model goes
    #[arg(long, short, value_name = "MODEL")]
    output: PathBuf,
    /// Also write the network as ONNX
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Also write an int8 model, its integers tuned on the
    /// training rows in the arithmetic of the runtime, as
    /// cic-quantize --qat does with its default options
    #[arg(long, value_name = "MODEL", verbatim_doc_comment)]
    qat: Option<PathBuf>,
    /// Keep the state of the run here; the same command
    /// continues a run that was interrupted
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    checkpoint: Option<PathBuf>,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
}

/// How to train, for commands that leave the rest to the data.
#[derive(Args, Clone, Debug)]
pub(crate) struct RecipeArgs {
    /// Genes of the panel, or all
    #[arg(long, value_name = "N|all", default_value = "2000", value_parser = parse_panel)]
    pub(crate) genes: PanelSize,
    /// Hidden layers of the encoder, which the decoder
    /// mirrors [default: 128, fewer for few genes]
    #[arg(long, value_name = "N,N", value_delimiter = ',', verbatim_doc_comment)]
    pub(crate) hidden: Option<Vec<usize>>,
    /// Of the hidden layers: relu, sigmoid, tanh,
    /// log_sigmoid, soft_plus, soft_shrink or
    /// identity [default: relu]
    #[arg(long, value_name = "NAME", value_parser = parse_activation, verbatim_doc_comment)]
    pub(crate) activation: Option<Activation>,
    /// Dimensions of the cell identity code [default: 30]
    #[arg(long, value_name = "N")]
    pub(crate) code: Option<usize>,
    /// Epochs at most [default: by the number of rows]
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<usize>,
    /// Another parameter of training, by its name: see
    /// cic sweep --help; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", verbatim_doc_comment)]
    pub(crate) settings: Vec<Setting>,
    /// The same seed gives the same bytes and
    /// figures
    #[arg(long, value_name = "N", default_value_t = 1, verbatim_doc_comment)]
    pub(crate) seed: u64,
}

impl RecipeArgs {
    /// What was asked for; refused where something is given twice.
    pub(crate) fn recipe(&self) -> Result<Recipe<'_>, Failure> {
        self.check()?;
        let default = Recipe::new(self.genes, &self.settings, self.seed);
        Ok(Recipe {
            hidden: self.hidden.as_deref(),
            activation: self.activation.unwrap_or(default.activation),
            code: self.code.unwrap_or(default.code),
            epochs: self.epochs,
            ..default
        })
    }

    fn check(&self) -> Result<(), Failure> {
        let options = [
            ("--hidden", "hidden", self.hidden.is_some()),
            ("--activation", "activation", self.activation.is_some()),
            ("--code", "code", self.code.is_some()),
            ("--epochs", "max_epochs", self.epochs.is_some()),
        ];
        for setting in &self.settings {
            let is_it = |(_, name, is_given): &&(_, &str, bool)| *is_given && *name == setting.name;
            if let Some((option, ..)) = options.iter().find(is_it) {
                return Err(given_twice(setting, option));
            }
        }
        check_once(&self.settings)
    }
}

/// Refuses settings of one name.
pub(crate) fn check_once(settings: &[Setting]) -> Result<(), Failure> {
    let twice = settings.iter().enumerate().find_map(|(at, setting)| {
        settings[..at]
            .iter()
            .find(|before| before.name == setting.name)
            .map(|other| (setting, other))
    });
    match twice {
        Some((setting, other)) => Err(given_twice(setting, &other.to_string())),
        None => Ok(()),
    }
}

fn given_twice(setting: &Setting, other: &str) -> Failure {
    Failure::usage(format!("{setting}: {} is given by {other} too; give it once", setting.name))
}

/// How to train.
#[derive(Clone, Copy)]
pub(crate) struct Recipe<'a> {
    pub(crate) panel: PanelSize,
    pub(crate) hidden: Option<&'a [usize]>,
    pub(crate) activation: Activation,
    /// Numbers of the code, unless the settings say otherwise.
    pub(crate) code: usize,
    pub(crate) epochs: Option<usize>,
    pub(crate) settings: &'a [Setting],
    pub(crate) seed: u64,
}

impl<'a> Recipe<'a> {
    /// What a user gets who asks for nothing else.
    pub(crate) fn new(panel: PanelSize, settings: &'a [Setting], seed: u64) -> Self {
        Self {
            panel,
            hidden: None,
            activation: Activation::Relu,
            code: 30,
            epochs: None,
            settings,
            seed,
        }
    }
}

/// What to train, independent of where the data came from.
pub(crate) struct TrainPlan<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) annotations: &'a Annotations,
    /// Whether each row takes part at all; `None` for all of them.
    pub(crate) keep: Option<&'a [bool]>,
    pub(crate) library: Library,
    pub(crate) recipe: Recipe<'a>,
    /// For comparisons with methods that are fitted on all training rows.
    pub(crate) trains_on_calibration: bool,
    pub(crate) threads: usize,
    pub(crate) checkpoint: Option<PathBuf>,
    pub(crate) quiet: bool,
}

/// Trains and writes.
pub fn run(args: &TrainArgs) -> Result<(), Failure> {
    args.labels.require()?;
    let recipe = args.recipe.recipe()?;
    let outputs =
        [Some(&args.output), args.onnx.as_ref(), args.qat.as_ref(), args.checkpoint.as_ref()];
    let outputs: Vec<&Path> = outputs.into_iter().flatten().map(PathBuf::as_path).collect();
    let inputs = [Some(&args.data.data), args.genes.aliases.as_ref()];
    let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
    output::check(&outputs, &inputs)?;
    check_model_name(&args.output)?;
    args.qat.as_deref().map(check_model_name).transpose()?;
    let aliases = args.genes.read_aliases()?;
    let mut dataset = args.data.read()?;
    if let Some(aliases) = &aliases {
        aliases.check(&dataset)?;
    }
    let genes = args.genes.resolve_duplicates(&mut dataset, &args.recipe.settings, args.quiet)?;
    let annotations =
        Annotations::read(&dataset.matrix, &args.labels, &args.split, args.groups.as_deref())?;
    let tree = args.label_tree.as_deref().map(LabelTree::read).transpose()?;
    if let Some(tree) = &tree {
        // Before the work; which labels have rows to train on is known after it.
        let labels = (0..dataset.matrix.n_obs()).filter_map(|row| annotations.label(row));
        tree.of(&labels.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>())?;
    }
    let mut trained = train_model(TrainPlan {
        dataset: &dataset,
        annotations: &annotations,
        keep: None,
        library: args.library,
        recipe,
        trains_on_calibration: false,
        threads: args.threads.number(),
        checkpoint: args.checkpoint.clone(),
        quiet: args.quiet,
    })?;
    genes.apply(&mut trained.spec);
    if let Some(aliases) = aliases {
        aliases.apply(&mut trained.spec, args.quiet);
    }
    promise(&mut trained.spec, &dataset, &annotations, args.false_rejects.rates())?;
    if let Some(tree) = &tree {
        let leaves: Vec<String> =
            trained.spec.labels.nodes.iter().map(|node| node.name.clone()).collect();
        trained.spec.labels = tree.of(&leaves)?;
        if !args.quiet {
            tree.tell_left_out(&trained.spec.labels);
        }
    }
    let bytes = trained.spec.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
    output::write(&args.output, |file| file.write_all(&bytes))?;
    if let Some(path) = &args.onnx {
        let onnx = onnx_out::full_precision(&trained.spec)?;
        output::write(path, |file| file.write_all(&onnx))?;
    }
    if !args.quiet {
        tell(format_args!(
            "{}: {} bytes, {} genes, {} cell types",
            args.output.display(),
            bytes.len(),
            trained.spec.n_genes(),
            trained.spec.labels.n_leaves(),
        ));
        tell(format_args!("rows: {}", part_sizes(&trained.parts)));
    }
    if let Some(path) = &args.qat {
        let (n, report) = write_aware(path, &bytes, &dataset, &annotations, args)?;
        if !args.quiet {
            tell(aware::summary(&report));
            tell(format_args!("{}: {n} bytes", path.display()));
        }
    }
    Ok(())
}

/// Refuses to put a model where a file of that name is expected to be data: it would be another one's.
fn check_model_name(path: &Path) -> Result<(), Failure> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match DATA_ENDINGS.contains(&ending) {
        false => Ok(()),
        true => Err(Failure::usage(format!(
            "{}: a model goes there, but the name is one of data; name it {} (calls are written by \
             cic type)",
            path.display(),
            path.with_extension("cic").display()
        ))),
    }
}

const DATA_ENDINGS: [&str; 8] = ["h5ad", "h5", "mtx", "csv", "tsv", "txt", "gz", "jsonl"];

/// Adds what a trained model promises of its calls.
pub(crate) fn promise(
    spec: &mut ModelSpec,
    dataset: &Dataset,
    annotations: &Annotations,
    false_rejects: FalseRejects,
) -> Result<(), Failure> {
    let bytes = spec.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
    let bytes = AlignedBytes::new(&bytes);
    let model = Model::open(&bytes).map_err(Failure::internal)?;
    let cells = dataset.align(&model)?;
    *spec = promise_cells(&model, dataset, &cells, annotations, false_rejects).renew(&model)?;
    Ok(())
}

fn promise_cells<'a>(
    model: &'a Model<'a>,
    dataset: &'a Dataset,
    cells: &'a AlignedMatrix,
    annotations: &Annotations,
    false_rejects: FalseRejects,
) -> PromiseCells<'a> {
    let names = &dataset.matrix.obs_names;
    let leaves = Some(leaves_of(model, names.len(), |row| annotations.label(row)));
    PromiseCells { source: model, names, cells, leaves, false_rejects }
}

/// Writes the int8 model of `--qat` and returns its size.
fn write_aware(
    path: &Path,
    full: &[u8],
    dataset: &Dataset,
    annotations: &Annotations,
    args: &TrainArgs,
) -> Result<(usize, AwareReport), Failure> {
    let full = AlignedBytes::new(full);
    let model = Model::open(&full).map_err(Failure::internal)?;
    let cells = dataset.align(&model)?;
    let rates = args.false_rejects.rates();
    let (bytes, report) =
        aware::trained(&promise_cells(&model, dataset, &cells, annotations, rates))?;
    output::write(path, |file| file.write_all(&bytes))?;
    Ok((bytes.len(), report))
}

/// How many rows each part has, in words.
pub(crate) fn part_sizes(parts: &Parts) -> String {
    format!(
        "{} fit, {} early stopping, {} calibration, {} test",
        parts.fit.len(),
        parts.early_stop.len(),
        parts.calibrate.len(),
        parts.test.len(),
    )
}

/// Trains with progress on standard error.
pub(crate) fn train_model(plan: TrainPlan<'_>) -> Result<TrainedModel, Failure> {
    let matrix = &plan.dataset.matrix;
    let n_rows = matrix.n_obs();
    let labels: Vec<Option<String>> = (0..n_rows).map(|row| plan.annotations.label(row)).collect();
    let mut assigned = plan.annotations.assigned(n_rows);
    for (assigned, _) in
        assigned.iter_mut().zip(plan.keep.unwrap_or(&[])).filter(|(_, keep)| !**keep)
    {
        *assigned = Assigned::Excluded;
    }
    check_classes(&matrix.source.path, &labels, &assigned)?;
    if !plan.quiet {
        tell_exclusions(&labels, &assigned);
        tell_few(&labels, &assigned);
    }
    catch_interrupts();
    let mut progress = Progress::new(plan.quiet);
    let mut on_epoch = |report: &EpochReport| progress.tell(report);
    let mut control = FitControl {
        threads: plan.threads,
        on_epoch: Some(&mut on_epoch),
        cancel: Some(&INTERRUPTED),
        checkpoint: plan
            .checkpoint
            .clone()
            .map(|path| CheckpointPolicy { path, every_epochs: CHECKPOINT_EPOCHS }),
    };
    let recipe = &plan.recipe;
    let request = Request {
        matrix,
        kind: plan.dataset.kind,
        library: plan.library,
        labels: &labels,
        groups: &plan.annotations.groups,
        assigned: &assigned,
        panel: recipe.panel,
        hidden: recipe.hidden.map(Vec::from),
        activation: recipe.activation,
        code: recipe.code,
        epochs: recipe.epochs,
        settings: recipe.settings,
        trains_on_calibration: plan.trains_on_calibration,
        seed: recipe.seed,
    };
    let trained = train(&request, &mut control);
    progress.finish();
    let mut trained = trained.map_err(|error| match (&error, &plan.checkpoint) {
        (TrainError::Cancelled { epoch }, Some(path)) => Failure::Interrupted(anyhow::anyhow!(
            "interrupted after epoch {epoch}; the same command continues from {}",
            path.display()
        )),
        (TrainError::Cancelled { epoch }, None) => Failure::Interrupted(anyhow::anyhow!(
            "interrupted after epoch {epoch}; nothing was kept (cic train --checkpoint FILE keeps a run)"
        )),
        _ => Failure::from(error),
    })?;
    if !plan.quiet {
        tell_divided_groups(trained.parts.division);
    }
    note_scale(&mut trained.spec, plan.dataset);
    Ok(trained)
}

/// Refuses labels that leave nothing to tell apart.
fn check_classes(
    path: &Path,
    labels: &[Option<String>],
    assigned: &[Assigned],
) -> Result<(), Failure> {
    let trains = |part: &Assigned| matches!(part, Assigned::Open | Assigned::Train);
    let n_rows = assigned.iter().filter(|part| trains(part)).count();
    let rows = labels.iter().zip(assigned).filter(|(_, part)| trains(part));
    let classes: BTreeSet<&String> = rows.filter_map(|(label, _)| label.as_ref()).collect();
    let found = match (n_rows, classes.len(), classes.first()) {
        (0, ..) => "no row is left to train on, the split calls none of them train".into(),
        (_, 1, Some(only)) => format!("all labelled training rows are {only:?}"),
        (_, 0, _) => format!("none of the {n_rows} training rows has a label"),
        _ => return Ok(()),
    };
    Err(Failure::input(format!(
        "{}: {found}; at least two cell types are needed, see --labels and --split",
        path.display()
    )))
}

/// Says so where groups were not kept together.
pub(crate) fn tell_divided_groups(division: Division) {
    if division.divides_groups() {
        tell(format_args!(
            "note: groups: rows were divided {division}; a group may be in two parts"
        ));
    }
}

/// Cells of a type below which a model hardly learns it: a tenth each goes to early stopping and calibration.
const FEW_CELLS: usize = 10;

/// Types of that kind that are listed.
const FEW_SHOWN: usize = 20;

/// Says so where types have next to no cells.
fn tell_few(labels: &[Option<String>], assigned: &[Assigned]) {
    let mut cells: BTreeMap<&String, usize> = BTreeMap::new();
    let trains = |part: &Assigned| matches!(part, Assigned::Open | Assigned::Train);
    for (label, _) in labels.iter().zip(assigned).filter(|(_, part)| trains(part)) {
        label.iter().for_each(|label| *cells.entry(label).or_default() += 1);
    }
    let few: Vec<String> = (cells.iter())
        .filter(|&(_, &n)| n < FEW_CELLS)
        .map(|(label, n)| format!("{label} ({n})"))
        .collect();
    if few.is_empty() {
        return;
    }
    let more = few.len().saturating_sub(FEW_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = few[..few.len().min(FEW_SHOWN)].join(", ");
    tell(format_args!(
        "note: fewer than {FEW_CELLS} rows to train on: {shown}{more}; calls of these types may be \
         poor"
    ));
    if few.len() > FEW_SHOWN && 2 * few.len() > cells.len() {
        tell(format_args!(
            "note: there are {} cell types, most with few rows: does --labels name the right column?",
            cells.len()
        ));
    }
}

/// The first Ctrl-C stops the run after the current epoch, the second at once.
fn catch_interrupts() {
    // Where interrupts are ignored already, as in a job in the background, they stay so.
    let _ = ctrlc::try_set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        tell("stopping after this step; press Ctrl-C again to stop at once");
    });
}

/// Stops work between two steps of it after the first interrupt.
pub(crate) fn check_interrupted() -> Result<(), Failure> {
    match INTERRUPTED.load(Ordering::Relaxed) {
        true => Err(Failure::Interrupted(anyhow::anyhow!("interrupted"))),
        false => Ok(()),
    }
}

/// Set by the first interrupt.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Epochs between two checkpoints.
const CHECKPOINT_EPOCHS: usize = 5;

fn tell_exclusions(labels: &[Option<String>], assigned: &[Assigned]) {
    let excluded = assigned.iter().filter(|part| **part == Assigned::Excluded).count();
    if excluded > 0 {
        tell(format_args!("note: {excluded} rows are not in the split and are left out"));
    }
    let unlabelled = labels
        .iter()
        .zip(assigned)
        .filter(|(label, part)| label.is_none() && **part != Assigned::Excluded)
        .count();
    if unlabelled > 0 {
        tell(format_args!(
            "note: {unlabelled} rows have no label and are used for reconstruction only"
        ));
    }
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    quiet: bool,
    bar: Option<ProgressBar>,
    pass: Option<FitPass>,
    last_line: Instant,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { quiet, bar: None, pass: None, last_line: Instant::now() }
    }

    fn tell(&mut self, report: &EpochReport) {
        if self.quiet {
            return;
        }
        if std::io::stderr().is_terminal() {
            self.tell_bar(report);
            return;
        }
        let is_due = self.last_line.elapsed() > Duration::from_secs(10);
        if is_due || report.epoch == report.epochs {
            self.last_line = Instant::now();
            tell(format_args!(
                "{} epoch {}/{}: {}; {:.0} rows/s, {:.0} s to go",
                pass_name(report.pass),
                report.epoch,
                report.epochs,
                quality(report),
                report.rows_per_second,
                report.eta.as_secs_f64()
            ));
        }
    }

    fn tell_bar(&mut self, report: &EpochReport) {
        if self.pass != Some(report.pass) {
            self.finish();
            self.pass = Some(report.pass);
            let bar = ProgressBar::new(report.epochs as u64);
            let template = "{prefix} [{bar:15}] {pos}/{len}, {eta} to go  {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(pass_name(report.pass));
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_message(quality(report));
            bar.set_position(report.epoch as u64);
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            // Where it stands: a run may end before its last epoch.
            bar.abandon();
        }
    }
}

/// Accuracies, short enough for a bar on a terminal of 80 columns.
fn quality(report: &EpochReport) -> String {
    let early = report.early.map(|early| format!(", held out {:.3}", early.accuracy));
    format!("accuracy {:.3}{}", report.train.accuracy, early.unwrap_or_default())
}

fn pass_name(pass: FitPass) -> &'static str {
    match pass {
        FitPass::Search => "train",
        FitPass::Refit => "refit",
    }
}

pub(crate) fn parse_panel(text: &str) -> Result<PanelSize, String> {
    if text == "all" {
        return Ok(PanelSize::All);
    }
    let (variable, number) = match text.strip_prefix("variable:") {
        Some(number) => (true, number),
        None => (false, text),
    };
    match number.parse() {
        Ok(n) if n >= 1 && variable => Ok(PanelSize::MostVariable(n)),
        Ok(n) if n >= 1 => Ok(PanelSize::Genes(n)),
        _ => Err("expected a number of genes, at least 1, variable:N, or all".into()),
    }
}

fn parse_library(text: &str) -> Result<Library, String> {
    match text {
        "panel" => Ok(Library::Panel),
        "all_measured" => Ok(Library::AllMeasured),
        _ => Err("expected panel or all_measured".into()),
    }
}

pub(crate) fn parse_activation(text: &str) -> Result<Activation, String> {
    Activation::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Activation::ALL.iter().map(|a| a.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}
