//! `cic-quantize`: int8 and f16 models from full-precision ones.

use std::io::{self, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use cic_data::{AlignedMatrix, CsrMatrix, SplitPart};
use cic_model::provenance::Part;
use cic_model::spec::LayoutPlan;
use cic_model::{AlignedBytes, Dtype, Model};
use cic_quant::{
    CalibrationSet, Comparison, Language, LayerReport, OutputReport, QuantError, QuantizeOptions,
    compare, emit, quantize, quantize_reported,
};
use cic_runtime::Pages;
use clap::Args;
use serde_json::json;

use crate::console::{print, tell};
use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs, SplitArgs, ValueArgs};
use crate::diff::{GateArgs, interval};
use crate::failure::Failure;
use crate::fine_tune::{self, FineTuning};
use crate::model_file;
#[cfg(feature = "onnx")]
use crate::onnx_in;
use crate::output;
use crate::promises::{FalseRejectArgs, PromiseCells, leaves_of};

/// Options of `cic-quantize`.
#[derive(Args, Clone, Debug)]
pub struct QuantizeArgs {
    /// The full-precision model, or a network as ONNX
    model: PathBuf,
    /// The data that the model was trained on; the model
    /// knows which of its rows are for calibration. For a
    /// network as ONNX cells like those that it was
    /// trained on
    #[arg(long, value_name = "DATA", verbatim_doc_comment)]
    calibrate: PathBuf,
    #[cfg(feature = "onnx")]
    #[command(flatten)]
    onnx: onnx_in::OnnxArgs,
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
    /// Column with cell types: temperature and sets of
    /// labels are calibrated anew; without it, the result
    /// promises no sets. Also for --fine-tune
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    labels: Option<String>,
    /// Table with these columns, if obs has them not
    #[arg(long, value_name = "TSV")]
    labels_file: Option<PathBuf>,
    /// int8 or f16; of a network as ONNX also f32
    #[arg(long, value_name = "DTYPE", value_parser = parse_dtype)]
    to: Dtype,
    /// Where the model goes
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// Write the model as source code, for firmware
    /// without files: rust or c
    #[arg(long, value_name = "LANGUAGE", value_parser = parse_language, verbatim_doc_comment)]
    emit: Option<Language>,
    /// Where a report of what changed goes, as JSON
    #[arg(long, value_name = "JSON")]
    report: Option<PathBuf>,
    /// Print what rounding did to each layer on the
    /// calibration cells
    #[arg(long, verbatim_doc_comment)]
    details: bool,
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

/// Quantises, writes the model and the report, and prints a summary to standard error.
pub fn run(args: &QuantizeArgs) -> Result<(), Failure> {
    if args.to != Dtype::S8 && args.layout.is_some() {
        return Err(Failure::usage("--layout is for int8; leave it out for f16"));
    }
    if args.fine_tune {
        fine_tune::check(args.to)?;
    }
    if args.false_rejects.asks_for_limits() && args.labels.is_none() {
        return Err(Failure::usage(
            "--rejects sets limits with labelled cells: name their column with --labels KEY",
        ));
    }
    let outputs: Vec<&Path> =
        args.report.iter().chain([&args.output]).map(PathBuf::as_path).collect();
    output::check(&outputs, &[&args.model, &args.calibrate])?;
    let source = Source::read(args)?;
    let model = source.model(args)?;
    let Source { dataset, annotations, .. } = &source;
    let cells = dataset.align(&model)?;
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
    if args.to == Dtype::F32 {
        let plan = args.layout.unwrap_or_default();
        let bytes = promises.renew(&model)?.to_bytes(plan).map_err(Failure::internal)?;
        output::write(&args.output, |file| file.write_all(&bytes))?;
        if !args.quiet {
            tell(format_args!("{}: {} bytes", args.output.display(), bytes.len()));
        }
        return Ok(());
    }
    let rows = calibration_rows(&model, dataset, annotations.split.as_deref())?;
    let options = QuantizeOptions {
        with_decoder: !args.no_decoder,
        with_rows: args.keep_rows,
        layouts: args.layout.unwrap_or(match args.to {
            Dtype::S8 => LayoutPlan::Fours,
            _ => LayoutPlan::Sparse,
        }),
        ..QuantizeOptions::new(args.to)
    };
    let calibration = Calibration::of(&cells, &rows);
    let (mut quantised, mut layers) = quantize_reported(&model, &calibration.set(), options)?;
    let mut fine_tuned = None;
    if args.fine_tune {
        let tuning = FineTuning { model: &model, dataset, cells: &cells, annotations };
        let tuned = tuning.run(&quantised, &calibration, options)?;
        quantised.clone_from(&tuned.bytes);
        // What stands behind the code is rounded anew.
        layers.retain(|layer| layer.stage == "encoder");
        fine_tuned = Some(tuned);
    }
    quantised = promises.renew_bytes(&quantised, options.layouts)?;
    let promised =
        |model: &Model<'_>| model.confidence().is_some_and(|confidence| confidence.has_sets());
    if !has_labels && promised(&model) && !args.quiet {
        tell("note: without --labels KEY the result promises no sets of labels");
    }
    let aligned = AlignedBytes::new(&quantised);
    let result = model_file::open(&args.output, &aligned)?;
    let comparison = compare(&model, &result, &cells, &rows).map_err(Failure::internal)?;
    let emitted = args.emit.map(|language| {
        let name = args.output.file_stem().unwrap_or_default().to_string_lossy();
        emit(language, &quantised, &result, &name)
    });
    args.gate.check(&comparison)?;
    let written = emitted.as_ref().map_or(&quantised[..], |text| text.as_bytes());
    output::write(&args.output, |file| file.write_all(written))?;
    if let Some(path) = &args.report {
        let mut report =
            report(&model, &result, source.bytes.len(), quantised.len(), &comparison, dataset);
        report["layers"] = layers.iter().map(layer_json).collect();
        if let Some(tuned) = &fine_tuned {
            report["fine_tuning"] = tuned.report();
        }
        let text = serde_json::to_string_pretty(&report).map_err(Failure::internal)?;
        output::write(path, |file| writeln!(file, "{text}"))?;
    }
    if args.details {
        print(|out| write_layers(out, &layers))?;
    }
    if let Some(tuned) = fine_tuned.filter(|_| !args.quiet) {
        tell(tuned.summary());
    }
    if !args.quiet {
        tell(format_args!(
            "{}: {} -> {} bytes ({:.1} % of f32); on {} calibration cells: {:.2} % same label, \
             code error {:.4} of a standard deviation",
            args.output.display(),
            source.bytes.len(),
            quantised.len(),
            100.0 * quantised.len() as f64 / source.bytes.len() as f64,
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
    #[cfg(feature = "onnx")]
    Made(AlignedBytes),
}

impl Deref for SourceBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::File(bytes) => bytes,
            #[cfg(feature = "onnx")]
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
            let dataset = data.read()?;
            let annotations = Annotations::read(&dataset.matrix, &labels, &args.split, None)?;
            Ok((dataset, annotations))
        };
        let is_onnx = args.model.extension().is_some_and(|end| end.eq_ignore_ascii_case("onnx"));
        #[cfg(feature = "onnx")]
        if is_onnx {
            let (dataset, annotations) = annotated()?;
            let imported = onnx_in::import(&args.model, &args.onnx, &dataset, &annotations)?;
            if !args.quiet {
                onnx_in::tell_notes(&imported);
            }
            let bytes = SourceBytes::Made(imported.bytes);
            return Ok(Self { bytes, dataset, annotations });
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
        let bytes = SourceBytes::File(model_file::read(&args.model)?);
        let dtype = model_file::open(&args.model, &bytes)?.dtype();
        let error = match (dtype, args.to) {
            (Dtype::F32, Dtype::F32) => Some(QuantError::NothingToDo),
            (Dtype::F32, _) => None,
            (found, _) => Some(QuantError::NotFullPrecision { found }),
        };
        if let Some(error) = error {
            return Err(Failure::from(error).context(args.model.display()));
        }
        let (dataset, annotations) = annotated()?;
        Ok(Self { bytes, dataset, annotations })
    }

    fn model(&self, args: &QuantizeArgs) -> Result<Model<'_>, Failure> {
        model_file::open(&args.model, &self.bytes)
    }
}

/// Quantises with some rows of an aligned file.
pub(crate) fn quantize_rows(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    rows: &[usize],
    options: QuantizeOptions,
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

fn report(
    model: &Model<'_>,
    result: &Model<'_>,
    bytes_before: usize,
    bytes_after: usize,
    comparison: &Comparison,
    dataset: &Dataset,
) -> serde_json::Value {
    let flips: Vec<serde_json::Value> = comparison
        .flips
        .iter()
        .map(|flip| {
            json!({
                "id": dataset.matrix.obs_names[flip.row],
                "reference": model.labels().leaf_name(flip.reference_leaf),
                "quantised": result.labels().leaf_name(flip.leaf),
                "reference_confidence": flip.reference_probability,
                "quantised_confidence": flip.probability,
                "margin": flip.margin,
            })
        })
        .collect();
    json!({
        "schema_version": 1,
        "source_model": model.id().to_string(),
        "model_id": result.id().to_string(),
        "to": result.dtype().name(),
        "bytes_before": bytes_before,
        "bytes_after": bytes_after,
        "n_cells": comparison.n_cells,
        "label_agreement": comparison.agreement(),
        "label_agreement_interval": interval(comparison),
        "neighbour_overlap": comparison.neighbour_overlap,
        "flips": flips,
        "code_error_pooled": comparison.pooled_code_error,
        "code_error": comparison.code_error,
    })
}

fn layer_json(layer: &LayerReport) -> serde_json::Value {
    // JSON has no infinity: null where nothing was lost.
    let finite = |db: f64| Some(db).filter(|db| db.is_finite());
    json!({
        "stage": layer.stage,
        "layer": layer.layer,
        "inputs": layer.dims.0,
        "outputs": layer.dims.1,
        "weights_sqnr_db": finite(layer.weights_db),
        "range": layer.outputs.map(|outputs| [outputs.range.0, outputs.range.1]),
        "sqnr_db": layer.outputs.and_then(|outputs| finite(outputs.sqnr_db)),
        "clipped": layer.outputs.map(|outputs| outputs.clipped),
    })
}

fn write_layers(out: &mut dyn Write, layers: &[LayerReport]) -> io::Result<()> {
    writeln!(
        out,
        "{:<16}{:>14}{:>12}{:>22}{:>10}{:>10}",
        "layer", "shape", "weights dB", "outputs", "dB", "clipped"
    )?;
    for layer in layers {
        let name = format!("{} {}", layer.stage, layer.layer);
        let shape = format!("{} to {}", layer.dims.0, layer.dims.1);
        write!(out, "{name:<16}{shape:>14}{:>12.1}", layer.weights_db)?;
        match layer.outputs {
            None => writeln!(out)?,
            Some(OutputReport { range: (lo, hi), sqnr_db, clipped }) => {
                let range = format!("{lo:.3} to {hi:.3}");
                writeln!(out, "{range:>22}{sqnr_db:>10.1}{:>8.2} %", 100.0 * clipped)?;
            }
        }
    }
    writeln!(
        out,
        "\ndB       signal to noise, of weights, and of outputs with the errors of all layers before"
    )?;
    writeln!(out, "clipped  outputs in full precision that no level expresses")
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

fn parse_language(text: &str) -> Result<Language, String> {
    match text {
        "rust" => Ok(Language::Rust),
        "c" => Ok(Language::C),
        _ => Err("expected rust or c".into()),
    }
}

fn parse_dtype(text: &str) -> Result<Dtype, String> {
    match Dtype::from_name(text) {
        Some(dtype) => Ok(dtype),
        None => Err("expected int8 or f16, or of a network as ONNX f32".into()),
    }
}
