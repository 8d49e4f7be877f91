//! `cic-quantize`: int8, f16 and mixed models from full-precision ones.

pub(crate) mod aware;
mod report;
mod search;

use std::ops::Deref;
use std::path::{Path, PathBuf};

use cic_data::{AlignedMatrix, AnnDataOut, Column, CsrMatrix, ObsTable, SplitPart, write_h5ad};
use cic_model::provenance::Part;
use cic_model::spec::LayoutPlan;
use cic_model::{AlignedBytes, Dtype, Model};
use cic_quant::{
    CalibrationSet, Comparison, Int8Options, Language, MAX_CALIBRATION_ROWS, QuantError,
    QuantizeOptions, RangePlan, Rounding, compare, emit, quantize, quantize_reported,
};
use cic_runtime::Pages;
use clap::Args;

use crate::adopted::Imported;
use crate::celltypist_in;
use crate::console::{print, tell};
use crate::coverage::unknown_impostors;
use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs, SplitArgs, ValueArgs};
use crate::diff::GateArgs;
use crate::failure::Failure;
use crate::fine_tune::{self, FineTuning};
use crate::model_file;
#[cfg(feature = "onnx")]
use crate::onnx_in;
use crate::onnx_out;
use crate::output;
use crate::progress::Progress;
use crate::promises::{FalseRejectArgs, PromiseCells, evenly, leaves_of};
use crate::totals::TotalArgs;

use report::Report;
use search::{SearchArgs, Trial};

/// Options of `cic-quantize`.
#[derive(Args, Clone, Debug)]
pub struct QuantizeArgs {
    /// The full-precision model, a network as ONNX, or a
    /// model of CellTypist (.pkl)
    #[arg(verbatim_doc_comment)]
    model: PathBuf,
    /// The data that the model was trained on; the model
    /// knows which of its rows are for calibration. For a
    /// network as ONNX or a model of CellTypist cells
    /// like those that it was trained on
    #[arg(long, value_name = "DATA", verbatim_doc_comment)]
    calibrate: PathBuf,
    /// Where the cells that were calibrated with go, as
    /// .h5ad: calibrating with this file gives the same
    /// without reading all of DATA. It has their counts
    /// over all genes in the column total_counts, and
    /// their --labels
    #[arg(long, value_name = "H5AD", verbatim_doc_comment)]
    keep_cells: Option<PathBuf>,
    #[command(flatten)]
    totals: TotalArgs,
    #[cfg(feature = "onnx")]
    #[command(flatten)]
    onnx: onnx_in::OnnxArgs,
    /// Of a network as ONNX or a model of CellTypist: it
    /// was trained on none of the cells in DATA, so that
    /// with --labels they tell how sure it may be;
    /// otherwise no sets of labels are promised
    #[arg(long, verbatim_doc_comment)]
    held_out: bool,
    #[command(flatten)]
    values: ValueArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// Fit the last decoder layer, and with --labels the
    /// classifier, to codes of the int8 encoder on the
    /// training rows in DATA; what gains no more than a
    /// standard error in cross-validation stays as it is
    #[arg(long, verbatim_doc_comment)]
    fine_tune: bool,
    /// Tune the integers of encoder and classifier on the
    /// training rows in DATA, in the arithmetic of the
    /// runtime, so that codes and logits come nearer to
    /// those of f32; what is no nearer on rows that were
    /// held out stays as it is
    #[arg(long, conflicts_with_all = ["fine_tune", "auto"], verbatim_doc_comment)]
    qat: bool,
    /// Column with cell types: temperature and sets of
    /// labels are calibrated anew; without it, the result
    /// promises no sets. Also for --fine-tune
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    labels: Option<String>,
    /// Table with these columns, if obs has them not
    #[arg(long, value_name = "TSV")]
    labels_file: Option<PathBuf>,
    /// int8; f16; or mixed: int8 weights where there is
    /// one for every gene, inputs and sums in floating
    /// point, hardly larger than int8 and nearer to f32,
    /// for hosts. Of a network as ONNX or a model of
    /// CellTypist also f32
    #[arg(
        long,
        value_name = "DTYPE",
        value_parser = parse_dtype,
        required_unless_present = "auto",
        verbatim_doc_comment
    )]
    to: Option<Dtype>,
    #[command(flatten)]
    search: SearchArgs,
    /// Where the model goes
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// Write the model as source code, for firmware
    /// without files: rust or c; or an int8 model as onnx
    /// with quantised operators, for other runtimes
    #[arg(long, value_name = "FORM", value_parser = parse_form, verbatim_doc_comment)]
    emit: Option<Form>,
    /// Where a report of what changed goes, as JSON
    #[arg(long, value_name = "JSON")]
    report: Option<PathBuf>,
    /// Where the same goes as a page to be read without a
    /// network, with figures
    #[arg(long, value_name = "HTML", verbatim_doc_comment)]
    html: Option<PathBuf>,
    /// Print what rounding did to each layer on the
    /// calibration cells
    #[arg(long, conflicts_with = "json", verbatim_doc_comment)]
    details: bool,
    /// Print the report as JSON, in place of tables
    #[arg(long)]
    json: bool,
    /// How ranges of int8 are chosen on the calibration
    /// cells: minmax (all values and a margin),
    /// percentile:P, entropy (Kullback-Leibler) or mse.
    /// One for all, or others for some by their names,
    /// such as minmax,encoder.0=mse; there are input (or
    /// genes, where each has a range of its own), code
    /// and the hidden layers of each stage
    /// [default: minmax,input=mse]
    #[arg(long, value_name = "METHOD", verbatim_doc_comment)]
    ranges: Option<RangePlan>,
    /// How int8 weights are rounded: nearest, or fitted
    /// to the outputs of their layer on the calibration
    /// cells
    /// [default: nearest]
    #[arg(long, value_name = "HOW", value_parser = parse_rounding, verbatim_doc_comment)]
    rounding: Option<Rounding>,
    /// Leave the decoder out: profiles cannot be
    /// reproduced, the file is about half as large
    #[arg(long, verbatim_doc_comment)]
    no_decoder: bool,
    /// For which processors int8 weights lie ready:
    /// microcontroller (no vectors), helium (Cortex-M55,
    /// M85), either with -dense where cells list most
    /// genes, or host (vectors of large processors).
    /// Every layout runs everywhere, with the same
    /// results
    /// [default: microcontroller]
    #[arg(
        long,
        value_name = "LAYOUT",
        value_parser = parse_layout,
        verbatim_doc_comment
    )]
    layout: Option<LayoutPlan>,
    /// Keep the digests of the training rows, so that
    /// evaluating on them is noticed
    #[arg(long, verbatim_doc_comment)]
    keep_rows: bool,
    #[command(flatten)]
    false_rejects: FalseRejectArgs,
    #[command(flatten)]
    gate: GateArgs,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
}

/// What a model is written as, other than a file of its own.
#[derive(Clone, Copy, Debug)]
enum Form {
    Source(Language),
    Onnx,
}

/// Quantises, writes the model and the report, and prints a summary to standard error.
pub fn run(args: &QuantizeArgs) -> Result<(), Failure> {
    let of_int8 = [
        ("--layout", args.layout.is_some()),
        ("--ranges", args.ranges.is_some()),
        ("--rounding", args.rounding.is_some()),
        ("--qat", args.qat),
    ];
    if let Some((option, _)) = of_int8.iter().find(|(_, is_given)| *is_given)
        && let Some(to) = args.to.filter(|&to| to != Dtype::S8)
    {
        let to = to.name();
        return Err(Failure::usage(format!("{option} is for int8; leave it out for {to}")));
    }
    if matches!(args.emit, Some(Form::Onnx)) && args.to.is_some_and(|to| to != Dtype::S8) {
        return Err(Failure::usage(
            "--emit onnx is for int8: give --to int8; cic train --onnx writes the network in full precision",
        ));
    }
    if matches!(args.emit, Some(Form::Onnx)) && args.layout.is_some() {
        return Err(Failure::usage(
            "--layout says where weights lie in models of this project; leave it out with --emit onnx",
        ));
    }
    let of_search = args.search.given().filter(|_| !args.search.auto);
    if let Some(option) = of_search {
        return Err(Failure::usage(format!(
            "{option} is of --auto; give that too, or leave it out"
        )));
    }
    if args.labels_file.is_some() && args.labels.is_none() && args.split.split.is_none() {
        return Err(Failure::usage(
            "--labels-file does nothing alone: name its column with --labels KEY",
        ));
    }
    let compares = [
        ("--gate", args.gate.is_set()),
        ("--report", args.report.is_some()),
        ("--html", args.html.is_some()),
        ("--json", args.json),
        ("--details", args.details),
        ("--emit", args.emit.is_some()),
        ("--keep-cells", args.keep_cells.is_some()),
    ];
    if args.to == Some(Dtype::F32)
        && let Some((option, _)) = compares.iter().find(|(_, is_given)| *is_given)
    {
        return Err(Failure::usage(format!(
            "{option} is of what quantising changes, and f32 changes nothing; leave it out"
        )));
    }
    if let Some(to) = args.to.filter(|_| args.fine_tune) {
        fine_tune::check(to)?;
    }
    args.gate.check_used(args.search.auto)?;
    if args.output.as_os_str() == "-" {
        return Err(Failure::usage(
            "models do not go to standard output: give -o a file name (./- for one called so)",
        ));
    }
    if args.false_rejects.asks_for_limits() && args.labels.is_none() {
        return Err(Failure::usage(
            "--rejects sets limits with labelled cells: name their column with --labels KEY",
        ));
    }
    let further = [&args.report, &args.html, &args.keep_cells].into_iter().flatten();
    let outputs: Vec<&Path> = further.chain([&args.output]).map(PathBuf::as_path).collect();
    output::check(&outputs, &[&args.model, &args.calibrate])?;
    let Source { bytes: source_bytes, mut dataset, annotations } = Source::read(args)?;
    let model = model_file::open(&args.model, &source_bytes)?;
    let mut cells = dataset.align(&model)?;
    args.totals.apply(&model, &dataset.matrix, &mut cells)?;
    // They are in `cells`; together they would be most of the memory that is taken.
    dataset.matrix.values = CsrMatrix::default();
    let dataset = &dataset;
    if cells.present.iter().any(|&is_present| !is_present) {
        return Err(Failure::input(format!(
            "{}: lacks {} of the model's {} genes; calibrate with the data that the model was \
             trained on",
            args.calibrate.display(),
            model.n_genes() - cells.overlap.n_present as usize,
            model.n_genes(),
        )));
    }
    let names = &dataset.matrix.obs_names;
    let has_labels = args.labels.is_some();
    let promises = PromiseCells {
        source: &model,
        names,
        cells: &cells,
        leaves: has_labels.then(|| leaves_of(&model, names.len(), |row| annotations.label(row))),
        false_rejects: args.false_rejects.rates(),
    };
    if args.to == Some(Dtype::F32) {
        let plan = args.layout.unwrap_or_default();
        let bytes = promises.renew(&model)?.to_bytes(plan).map_err(Failure::internal)?;
        output::write(&args.output, |file| file.write_all(&bytes))?;
        if !args.quiet {
            tell(format_args!("{}: {} bytes", args.output.display(), bytes.len()));
        }
        return Ok(());
    }
    let rows = calibration_rows(&model, dataset, annotations.split.as_deref())?;
    let n_known = model.rows().part(Part::Calibrate).len();
    if rows.len() < n_known.min(LEAST_CELLS) {
        return Err(Failure::input(format!(
            "{}: has {} of the {n_known} cells that the model is calibrated with, and at least {} are needed; give the data \
             that the model was trained on",
            args.calibrate.display(),
            rows.len(),
            n_known.min(LEAST_CELLS)
        )));
    }
    if rows.len() < n_known.min(MAX_CALIBRATION_ROWS) && !args.quiet {
        tell(format_args!(
            "note: {} of the {n_known} cells that the model is calibrated with are in {}; where they are not a fair sample of \
             them, neither are ranges and the figures below",
            rows.len(),
            args.calibrate.display()
        ));
    }
    // What is searched for says it itself.
    let to = args.to.unwrap_or(Dtype::S8);
    let mut options = QuantizeOptions {
        int8: Int8Options {
            ranges: args.ranges.clone().unwrap_or_default(),
            rounding: args.rounding.unwrap_or_default(),
        },
        with_decoder: !args.no_decoder,
        with_rows: args.keep_rows,
        layouts: args.layout.unwrap_or(match to {
            Dtype::S8 => LayoutPlan::Fours,
            _ => LayoutPlan::Sparse,
        }),
        ..QuantizeOptions::new(to)
    };
    let used = evenly(&rows, MAX_CALIBRATION_ROWS);
    let calibration = Calibration::of(&cells, &used);
    let mut search = None;
    if args.search.auto {
        // Ways that fit closely look better on the cells that they were fitted to than they are.
        let half = |which: usize| -> Vec<usize> {
            used.iter().enumerate().filter(|(at, _)| at % 2 == which).map(|(_, &row)| row).collect()
        };
        let [fitted, judged] =
            if used.len() < FEW_CELLS { [used.clone(), used.clone()] } else { [half(0), half(1)] };
        let trial = Trial {
            model: &model,
            calibration: &Calibration::of(&cells, &fitted),
            cells: &cells,
            rows: &judged,
            gate: args.gate,
            quiet: args.quiet,
        };
        let found = args.search.run(&options, &trial, matches!(args.emit, Some(Form::Onnx)))?;
        if !args.json {
            print(|out| found.write(out))?;
            let (n_fitted, n_judged) = (fitted.len(), judged.len());
            print(|out| {
                writeln!(
                    out,
                    "each was fitted to {n_fitted} calibration cells and judged on {n_judged}"
                )
            })?;
        }
        // What passed on a half may not on all of them.
        let passes = |options: &QuantizeOptions| -> Result<bool, Failure> {
            let bytes = AlignedBytes::new(&quantize(&model, &calibration.set(), options)?);
            let made = Model::open(&bytes).map_err(Failure::internal)?;
            let comparison = compare(&model, &made, &cells, &rows).map_err(Failure::internal)?;
            Ok(args.gate.missed(&comparison).is_empty())
        };
        options = found.best(passes)?.options.clone();
        search = Some(found);
    }
    let progress = Progress::of_stages(args.quiet);
    progress.say("choosing ranges and rounding weights");
    let (mut quantised, mut layers) = quantize_reported(&model, &calibration.set(), &options)?;
    let mut fine_tuned = None;
    if args.fine_tune {
        progress.say("fine-tuning classifier and decoder");
        let tuning =
            FineTuning { model: &model, dataset, cells: &cells, annotations: &annotations };
        let tuned = tuning.run(&quantised, &calibration, &options)?;
        quantised.clone_from(&tuned.bytes);
        // What stands behind the code is rounded anew.
        layers.retain(|layer| layer.stage == "encoder");
        fine_tuned = Some(tuned);
    }
    let mut tuned_aware = None;
    if args.qat {
        progress.say("tuning integers");
        let (bytes, report) = aware::tune(&model, &quantised, &cells, names, options.layouts)?;
        quantised = bytes;
        tuned_aware = Some(report);
    }
    progress.say("calibrating what is promised");
    quantised = promises.renew_bytes(&quantised, options.layouts)?;
    progress.finish();
    let promised =
        |model: &Model<'_>| model.confidence().is_some_and(|confidence| confidence.has_sets());
    if !has_labels && promised(&model) && !args.quiet {
        tell("note: without --labels KEY the result promises no sets of labels");
    }
    let aligned = AlignedBytes::new(&quantised);
    let result = model_file::open(&args.output, &aligned)?;
    if let Some(unknown) = unknown_impostors(&result).filter(|_| !args.quiet) {
        tell(format_args!("note: {}", unknown.note));
    }
    let progress = Progress::of_stages(args.quiet);
    progress.say("comparing with f32");
    let comparison = compare(&model, &result, &cells, &rows).map_err(Failure::internal)?;
    progress.finish();
    let emitted = match args.emit {
        None => None,
        Some(Form::Onnx) => Some(onnx_out::int8(&result)?),
        Some(Form::Source(language)) => {
            let name = args.output.file_stem().unwrap_or_default().to_string_lossy();
            Some(emit(language, &quantised, &result, &name).into_bytes())
        }
    };
    if !args.quiet {
        tell_unlike(&comparison);
    }
    if let Some(path) = &args.keep_cells {
        let labels = args.labels.as_ref().map(|key| {
            let texts: Vec<Option<String>> =
                used.iter().map(|&row| annotations.label(row)).collect();
            (key.as_str(), Column::categorical(texts.iter().map(Option::as_deref)))
        });
        let names = used.iter().map(|&row| names[row].clone()).collect();
        calibration.write(path, &model, names, labels)?;
    }
    let written = emitted.as_deref().unwrap_or(&quantised);
    let report = Report {
        source: &model,
        result: &result,
        bytes: [source_bytes.len(), quantised.len()],
        comparison: &comparison,
        layers: &layers,
        fine_tuned: fine_tuned.as_ref(),
        aware: tuned_aware.as_ref(),
        search: search.as_ref(),
        cells: names,
    };
    if args.report.is_some() || args.json {
        let json = report.json()?;
        let text = serde_json::to_string_pretty(&json).map_err(Failure::internal)?;
        if let Some(path) = &args.report {
            output::write(path, |file| writeln!(file, "{text}"))?;
        }
        if args.json {
            print(|out| writeln!(out, "{text}"))?;
        }
    }
    if let Some(path) = &args.html {
        let page = report.html(&args.output)?;
        output::write(path, |file| file.write_all(page.as_bytes()))?;
    }
    if args.details {
        print(|out| report::write_layers(out, &layers))?;
    }
    // Why it does not pass is told, but there is no model then.
    args.gate.check(&comparison)?;
    output::write(&args.output, |file| file.write_all(written))?;
    if let Some(tuned) = fine_tuned.filter(|_| !args.quiet) {
        tell(tuned.summary());
    }
    if let Some(report) = tuned_aware.filter(|_| !args.quiet) {
        tell(aware::summary(&report));
    }
    if !args.quiet {
        // Source code holds the model; an ONNX file holds its network in another form.
        let n_bytes = match args.emit {
            Some(Form::Onnx) => written.len(),
            _ => quantised.len(),
        };
        tell(format_args!(
            "{}: {} -> {} bytes ({:.1} % of f32); on {} calibration cells: {:.2} % same label, \
             code error {:.4} of a standard deviation",
            args.output.display(),
            source_bytes.len(),
            n_bytes,
            100.0 * n_bytes as f64 / source_bytes.len() as f64,
            comparison.n_cells,
            100.0 * comparison.agreement(),
            comparison.pooled_code_error,
        ));
    }
    Ok(())
}

/// What is quantised, and with what.
struct Source {
    /// Of a full-precision model.
    bytes: SourceBytes,
    dataset: Dataset,
    annotations: Annotations,
}

/// A file, or what was made of one.
enum SourceBytes {
    File(Pages),
    Made(AlignedBytes),
}

impl Deref for SourceBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::File(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

impl Source {
    /// The model is looked at before the data is read, which takes longer.
    fn read(args: &QuantizeArgs) -> Result<Self, Failure> {
        let data = DataArgs { data: args.calibrate.clone(), values: args.values.clone() };
        let labels = LabelArgs {
            labels: args.labels.clone(),
            labels_file: args.labels_file.clone(),
            ..LabelArgs::default()
        };
        let annotated = || -> Result<(Dataset, Annotations), Failure> {
            let progress = Progress::of_stages(args.quiet);
            progress.say("reading cells");
            let dataset = data.read()?;
            let annotations = Annotations::read(&dataset.matrix, &labels, &args.split, None)?;
            Ok((dataset, annotations))
        };
        let is_onnx = args.model.extension().is_some_and(|end| end.eq_ignore_ascii_case("onnx"));
        let is_celltypist = celltypist_in::is_celltypist(&args.model);
        if is_onnx || is_celltypist {
            for (option, is_given) in [
                ("--keep-cells", args.keep_cells.is_some()),
                ("--total-counts", args.totals.total_counts.is_some()),
            ] {
                if is_given {
                    return Err(Failure::usage(format!(
                        "{option} is for models of cic train: a network from elsewhere is imported with cells that have \
                         all measured genes; leave it out"
                    )));
                }
            }
        }
        if is_celltypist {
            #[cfg(feature = "onnx")]
            args.onnx.check_unused()?;
            let (dataset, annotations) = annotated()?;
            let imported =
                celltypist_in::import(&args.model, args.held_out, &dataset, &annotations)?;
            return Ok(Self::made(imported, args, dataset, annotations));
        }
        #[cfg(feature = "onnx")]
        if is_onnx {
            let (dataset, annotations) = annotated()?;
            let (path, is_held_out) = (&args.model, args.held_out);
            let imported = onnx_in::import(path, &args.onnx, is_held_out, &dataset, &annotations)?;
            return Ok(Self::made(imported, args, dataset, annotations));
        }
        #[cfg(not(feature = "onnx"))]
        if is_onnx {
            return Err(Failure::usage(format!(
                "{}: this build reads no ONNX; build it with --features onnx",
                args.model.display()
            )));
        }
        #[cfg(feature = "onnx")]
        args.onnx.check_unused()?;
        if args.held_out {
            return Err(Failure::usage(
                "--held-out is for networks as ONNX and models of CellTypist; leave it out",
            ));
        }
        let bytes = SourceBytes::File(model_file::read(&args.model)?);
        let dtype = model_file::open(&args.model, &bytes)?.dtype();
        let error = match (dtype, args.to) {
            (Dtype::F32, Some(Dtype::F32)) => Some(QuantError::NothingToDo),
            (Dtype::F32, _) => None,
            (found, _) => Some(QuantError::NotFullPrecision { found }),
        };
        if let Some(error) = error {
            return Err(Failure::from(error).context(args.model.display()));
        }
        let (dataset, annotations) = annotated()?;
        Ok(Self { bytes, dataset, annotations })
    }

    fn made(
        imported: Imported,
        args: &QuantizeArgs,
        dataset: Dataset,
        annotations: Annotations,
    ) -> Self {
        if !args.quiet {
            imported.tell_notes();
        }
        Self { bytes: SourceBytes::Made(imported.bytes), dataset, annotations }
    }
}

/// With fewer cells ranges and means are chance, unless the model knows no more.
const LEAST_CELLS: usize = 10;

/// With fewer calibration cells halves of them show nothing.
const FEW_CELLS: usize = 20;

/// Says where the model does not know many of the cells that it was calibrated with.
fn tell_unlike(comparison: &Comparison) {
    let (n, n_rejected) = (comparison.n_cells, comparison.n_rejected[0]);
    if n_rejected as f64 > MOST_UNLIKE * n as f64 {
        tell(format_args!(
            "note: the f32 model rejects {n_rejected} of {n} calibration cells: they are unlike what it was trained on, and \
             ranges that were chosen on them may not fit other cells; see what cic type says of DATA"
        ));
    }
}

/// Share of calibration cells that a model may reject; of those that it was trained on it rejects one in fifty.
const MOST_UNLIKE: f64 = 0.2;

/// Quantises with some rows of an aligned file.
pub(crate) fn quantize_rows(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    rows: &[usize],
    options: &QuantizeOptions,
) -> Result<Vec<u8>, Failure> {
    Ok(quantize(model, &Calibration::of(cells, rows).set(), options)?)
}

/// Some rows of an aligned file, to calibrate with.
pub(crate) struct Calibration {
    values: CsrMatrix,
    totals: Vec<f64>,
}

impl Calibration {
    fn of(cells: &AlignedMatrix, rows: &[usize]) -> Self {
        let totals = rows.iter().map(|&row| cells.totals[row]).collect();
        Self { values: cells.values.select_rows(rows), totals }
    }

    pub(crate) fn set(&self) -> CalibrationSet<'_> {
        CalibrationSet { values: &self.values, totals: &self.totals }
    }

    /// Writes the cells over the panel of `model`.
    fn write(
        &self,
        path: &Path,
        model: &Model<'_>,
        names: Vec<String>,
        labels: Option<(&str, Column)>,
    ) -> Result<(), Failure> {
        let panel = model.genes();
        let genes: Vec<String> = (0..model.n_genes()).map(|gene| panel.id(gene).into()).collect();
        let mut obs = ObsTable::default();
        obs.insert("total_counts", Column::F64(self.totals.clone()));
        if let Some((key, labels)) = labels {
            obs.insert(key, labels);
        }
        let out = AnnDataOut {
            obs_names: &names,
            obs,
            var_names: &genes,
            x: Some(&self.values),
            ..AnnDataOut::default()
        };
        write_h5ad(path, &out).map_err(|error| output::failed(path, error))
    }
}

/// The rows to calibrate with, by the digests that the model carries. A split, if given, must not
/// call any of them test.
pub(crate) fn calibration_rows(
    model: &Model<'_>,
    dataset: &Dataset,
    split: Option<&[Option<SplitPart>]>,
) -> Result<Vec<usize>, Failure> {
    let path = dataset.matrix.source.path.display();
    let rows = model.rows();
    if rows.part(Part::Calibrate).is_empty() {
        return Err(Failure::Model(anyhow::anyhow!(
            "the model does not name its calibration rows; train it with more rows"
        )));
    }
    let names = &dataset.matrix.obs_names;
    let found = cic_quant::calibration_rows(model, names);
    if found.is_empty() {
        return Err(Failure::input(format!(
            "{path}: none of its {} cells (the first is {:?}) belongs to the calibration part of \
             the model's training rows; calibrate with the data that the model was trained on, \
             with the same ids",
            names.len(),
            names.first().map_or("", |name| name),
        )));
    }
    refuse_test_rows(dataset, split, &found)?;
    Ok(found)
}

/// Refuses a split that calls rows test which the model was trained with.
pub(crate) fn refuse_test_rows(
    dataset: &Dataset,
    split: Option<&[Option<SplitPart>]>,
    trained: &[usize],
) -> Result<(), Failure> {
    let is_test = |split: &[Option<SplitPart>], row: usize| split[row] == Some(SplitPart::Test);
    let row = split.and_then(|split| trained.iter().find(|&&row| is_test(split, row)));
    let Some(&row) = row else { return Ok(()) };
    Err(Failure::input(format!(
        "{path}: the split calls cell {:?} test, but the model was trained with it; give the \
         split that the model was trained with",
        dataset.matrix.obs_names[row],
        path = dataset.matrix.source.path.display(),
    )))
}

fn parse_layout(text: &str) -> Result<LayoutPlan, String> {
    match text {
        "microcontroller" => Ok(LayoutPlan::Fours),
        "microcontroller-dense" => Ok(LayoutPlan::DenseFours),
        "helium" => Ok(LayoutPlan::Sparse),
        "helium-dense" => Ok(LayoutPlan::Rows),
        "host" => Ok(LayoutPlan::Panels),
        _ => Err("expected microcontroller, helium (either also with -dense) or host".into()),
    }
}

fn parse_rounding(text: &str) -> Result<Rounding, String> {
    Rounding::from_name(text).ok_or_else(|| "expected nearest or fitted".into())
}

fn parse_form(text: &str) -> Result<Form, String> {
    match text {
        "rust" => Ok(Form::Source(Language::Rust)),
        "c" => Ok(Form::Source(Language::C)),
        "onnx" => Ok(Form::Onnx),
        _ => Err("expected rust, c or onnx".into()),
    }
}

fn parse_dtype(text: &str) -> Result<Dtype, String> {
    match Dtype::from_name(text) {
        Some(dtype) => Ok(dtype),
        None => Err("expected int8, mixed or f16, or of what others trained f32".into()),
    }
}
