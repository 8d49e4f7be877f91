//! `cic train`: a full-precision model from labelled data.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cic_data::{read_labels_tsv, write_atomic, SplitPart};
use cic_model::Activation;
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_trainer::onnx::{OnnxDescription, export_onnx};
use cic_trainer::panel::PanelSize;
use cic_trainer::parts::Assigned;
use cic_trainer::pipeline::{Request, TrainedModel, train};
use cic_trainer::{CheckpointPolicy, EpochReport, FitControl, FitPass};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs, SplitArgs, column};
use crate::failure::Failure;
use crate::model_file;

/// Options of `cic train`.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// Column with donors, batches or studies: parts of the training data are divided by it
    #[arg(long, value_name = "KEY")]
    groups: Option<String>,
    /// Genes of the panel, or all
    #[arg(long, value_name = "N|all", default_value = "2000", value_parser = parse_panel)]
    genes: PanelSize,
    /// Hidden layers of the encoder, mirrored in the decoder [default: 128]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    hidden: Option<Vec<usize>>,
    /// Activation of the hidden layers: relu, sigmoid, log_sigmoid, tanh, soft_plus, soft_shrink
    #[arg(long, value_name = "NAME", default_value = "relu", value_parser = parse_activation)]
    activation: Activation,
    /// Dimensions of the cell identity code
    #[arg(long, value_name = "N", default_value_t = 30)]
    code: usize,
    /// Epochs at most [default: by the number of rows]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Everything random follows from it; the same seed gives the same bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Threads, 0 for one per processor; the result does not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Where the model goes
    #[arg(long, short, value_name = "MODEL")]
    output: PathBuf,
    /// Also write the network as ONNX
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Keep the state of the run here; a run that finds its own state continues it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
}

/// Set by an interrupt: the run stops after the current epoch, its state on disk.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What to train, independent of where the data came from.
pub(crate) struct TrainPlan<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) annotations: &'a Annotations,
    pub(crate) groups: Vec<Option<String>>,
    pub(crate) panel: PanelSize,
    pub(crate) hidden: Option<Vec<usize>>,
    pub(crate) activation: Activation,
    pub(crate) code: usize,
    pub(crate) epochs: Option<usize>,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) checkpoint: Option<PathBuf>,
    pub(crate) quiet: bool,
}

/// Trains and writes.
pub fn run(args: &TrainArgs) -> Result<(), Failure> {
    if args.labels.labels.is_none() {
        return Err(Failure::usage("--labels KEY is missing: it names the column with cell types"));
    }
    let dataset = args.data.read()?;
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split)?;
    let table = args.labels.labels_file.as_deref().map(read_labels_tsv).transpose()?;
    let groups = match &args.groups {
        None => Vec::new(),
        Some(key) => {
            let groups = column(&dataset.matrix, table.as_ref(), key)?;
            let text = |row| groups.text(row).map(|text| text.into_owned());
            (0..dataset.matrix.n_obs()).map(text).collect()
        }
    };
    let trained = train_model(TrainPlan {
        dataset: &dataset,
        annotations: &annotations,
        groups,
        panel: args.genes,
        hidden: args.hidden.clone(),
        activation: args.activation,
        code: args.code,
        epochs: args.epochs,
        seed: args.seed,
        threads: args.threads,
        checkpoint: args.checkpoint.clone(),
        quiet: args.quiet,
    })?;
    let bytes = trained.spec.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
    model_file::write(&args.output, &bytes)?;
    if let Some(path) = &args.onnx {
        let onnx = onnx(&trained.spec)?;
        write_atomic(path, |file| file.write_all(&onnx))?;
    }
    if !args.quiet {
        let parts = &trained.parts;
        eprintln!(
            "{}: {} bytes, {} genes, {} cell types; {} rows fitted, {} for early stopping, {} for \
             calibration, {} for the test",
            args.output.display(),
            bytes.len(),
            trained.spec.n_genes(),
            trained.spec.labels.n_leaves(),
            parts.fit.len(),
            parts.early_stop.len(),
            parts.calibrate.len(),
            parts.test.len(),
        );
    }
    Ok(())
}

/// Trains with progress on standard error.
pub(crate) fn train_model(plan: TrainPlan<'_>) -> Result<TrainedModel, Failure> {
    let matrix = &plan.dataset.matrix;
    let n_rows = matrix.n_obs();
    let labels: Vec<Option<String>> =
        (0..n_rows).map(|row| plan.annotations.label(row)).collect();
    let assigned: Vec<Assigned> = match &plan.annotations.split {
        None => vec![Assigned::Open; n_rows],
        Some(split) => split
            .iter()
            .map(|part| match part {
                Some(SplitPart::Train) => Assigned::Train,
                Some(SplitPart::Test) => Assigned::Test,
                None => Assigned::Excluded,
            })
            .collect(),
    };
    if !plan.quiet {
        tell_exclusions(&labels, &assigned);
    }
    let mut progress = Progress::new(plan.quiet);
    let mut on_epoch = |report: &EpochReport| progress.tell(report);
    let mut control = FitControl {
        threads: plan.threads,
        on_epoch: Some(&mut on_epoch),
        cancel: Some(&INTERRUPTED),
        checkpoint: plan
            .checkpoint
            .map(|path| CheckpointPolicy { path, every_epochs: CHECKPOINT_EPOCHS }),
    };
    let request = Request {
        matrix,
        kind: plan.dataset.kind,
        labels: &labels,
        groups: &plan.groups,
        assigned: &assigned,
        panel: plan.panel,
        hidden: plan.hidden,
        activation: plan.activation,
        code: plan.code,
        epochs: plan.epochs,
        seed: plan.seed,
    };
    let trained = train(&request, &mut control)?;
    progress.finish();
    Ok(trained)
}

/// The network of a full-precision model as ONNX.
pub(crate) fn onnx(spec: &ModelSpec) -> Result<Vec<u8>, Failure> {
    let NetworkSpec::F32(network) = &spec.network else {
        return Err(Failure::internal("only full-precision models are exported"));
    };
    let genes: Vec<String> = spec.panel.genes.iter().map(|gene| gene.id.clone()).collect();
    let leaves = spec.labels.nodes.iter().filter(|node| node.is_leaf);
    let labels: Vec<String> = leaves.map(|node| node.name.clone()).collect();
    let profile = spec.profiles.first();
    let preprocessing = profile.map_or(String::new(), |profile| {
        if profile.target_sum == 0 {
            return format!("{}: values as they are", profile.kind.name());
        }
        format!(
            "{}: ln(1 + value * {} / sum over the genes of the panel)",
            profile.kind.name(),
            profile.target_sum
        )
    });
    let description = OnnxDescription {
        name: "cell_identity_code",
        genes: &genes,
        labels: &labels,
        preprocessing: &preprocessing,
    };
    export_onnx(network, &description).map_err(|error| Failure::Usage(error.into()))
}

/// Epochs between two checkpoints.
const CHECKPOINT_EPOCHS: usize = 5;

fn tell_exclusions(labels: &[Option<String>], assigned: &[Assigned]) {
    let excluded = assigned.iter().filter(|part| **part == Assigned::Excluded).count();
    if excluded > 0 {
        eprintln!("note: {excluded} rows are not in the split and are left out");
    }
    let unlabelled = labels
        .iter()
        .zip(assigned)
        .filter(|(label, part)| label.is_none() && **part != Assigned::Excluded)
        .count();
    if unlabelled > 0 {
        eprintln!("note: {unlabelled} rows have no label and are used for reconstruction only");
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
        let early = report.early.map_or(String::new(), |early| {
            format!(", held out: {:.3} unexplained, accuracy {:.4}", early.recon, early.accuracy)
        });
        let message = format!(
            "{:.3} unexplained, accuracy {:.4}{early}; {:.0} rows/s",
            report.train.recon, report.train.accuracy, report.rows_per_second
        );
        if std::io::stderr().is_terminal() {
            self.tell_bar(report, message);
            return;
        }
        let is_due = self.last_line.elapsed() > Duration::from_secs(10);
        if is_due || report.epoch == report.epochs {
            self.last_line = Instant::now();
            eprintln!(
                "{} epoch {}/{}: {message}, {:.0} s to go",
                pass_name(report.pass),
                report.epoch,
                report.epochs,
                report.eta.as_secs_f64()
            );
        }
    }

    fn tell_bar(&mut self, report: &EpochReport, message: String) {
        if self.pass != Some(report.pass) {
            self.finish();
            self.pass = Some(report.pass);
            let bar = ProgressBar::new(report.epochs as u64);
            let template = "{prefix} [{bar:25}] {pos}/{len} {eta} to go  {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(pass_name(report.pass));
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_message(message);
            bar.set_position(report.epoch as u64);
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

fn pass_name(pass: FitPass) -> &'static str {
    match pass {
        FitPass::Search => "train",
        FitPass::Refit => "refit",
    }
}

/// Asks a run to stop after its current epoch.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

fn parse_panel(text: &str) -> Result<PanelSize, String> {
    if text == "all" {
        return Ok(PanelSize::All);
    }
    match text.parse() {
        Ok(n) if n >= 1 => Ok(PanelSize::Genes(n)),
        _ => Err("expected a number of genes, at least 1, or all".into()),
    }
}

fn parse_activation(text: &str) -> Result<Activation, String> {
    Activation::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Activation::ALL.iter().map(|a| a.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}
