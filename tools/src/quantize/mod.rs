//! `cic-quantize`: int8, f16 and mixed models from full-precision ones.

mod args;
pub(crate) mod aware;
mod calibration;
mod report;
mod search;
mod source;

use cic_data::{AlignedMatrix, Column, CsrMatrix};
use cic_model::{AlignedBytes, Dtype, Model};
use cic_quant::{
    AwareReport, Comparison, LayerReport, MAX_CALIBRATION_ROWS, QuantizeOptions, compare, emit,
    quantize, quantize_reported,
};

use crate::console::{print, tell};
use crate::coverage::unknown_impostors;
use crate::dataset::{Annotations, Dataset};
use crate::failure::Failure;
use crate::fine_tune::{FineTunedModel, FineTuning};
use crate::model_file;
use crate::onnx_out;
use crate::output;
use crate::progress::Progress;
use crate::promises::{PromiseCells, evenly, leaves_of};

use args::Form;
pub use args::QuantizeArgs;
pub(crate) use calibration::{Calibration, calibration_rows, quantize_rows, refuse_test_rows};
use report::Report;
use search::{Search, Trial};
use source::Source;

/// Quantises, writes the model and the report, and prints a summary to standard error.
pub fn run(args: &QuantizeArgs) -> Result<(), Failure> {
    args.check()?;
    let Source { bytes: source_bytes, mut dataset, annotations } = Source::read(args)?;
    let model = model_file::open(&args.model, &source_bytes)?;
    let cells = aligned(args, &model, &mut dataset)?;
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
        return write_imported(args, &promises);
    }
    let rows = calibration_rows(&model, &dataset, annotations.split.as_deref())?;
    calibration::check_enough(&model, rows.len(), &args.calibrate, args.quiet)?;
    let used = evenly(&rows, MAX_CALIBRATION_ROWS);
    let job = Job {
        args,
        model: &model,
        n_source_bytes: source_bytes.len(),
        dataset: &dataset,
        cells: &cells,
        annotations: &annotations,
        calibration: Calibration::of(&cells, &used),
        rows: &rows,
        used: &used,
    };
    let (options, search) = job.choose()?;
    let made = job.quantize(&options, &promises)?;
    let aligned = AlignedBytes::new(&made.bytes);
    let result = model_file::open(&args.output, &aligned)?;
    job.tell_what_is_not_promised(&result);
    let progress = Progress::of_stages(args.quiet);
    progress.say("comparing with f32");
    let comparison = compare(&model, &result, &cells, &rows).map_err(Failure::internal)?;
    progress.finish();
    job.write(&made, &result, &comparison, search.as_ref())
}

/// The cells over the panel of `model`, which must all be there. Their values go out of `dataset`: together they would be most of the
/// memory that is taken.
fn aligned(
    args: &QuantizeArgs,
    model: &Model<'_>,
    dataset: &mut Dataset,
) -> Result<AlignedMatrix, Failure> {
    let mut cells = dataset.align(model)?;
    args.totals.apply(model, &dataset.matrix, &mut cells)?;
    dataset.matrix.values = CsrMatrix::default();
    if cells.present.iter().any(|&is_present| !is_present) {
        return Err(Failure::input(format!(
            "{}: lacks {} of the model's {} genes; calibrate with the data that the model was \
             trained on",
            args.calibrate.display(),
            model.n_genes() - cells.overlap.n_present as usize,
            model.n_genes(),
        )));
    }
    Ok(cells)
}

/// Writes what others trained in full precision.
fn write_imported(args: &QuantizeArgs, promises: &PromiseCells<'_>) -> Result<(), Failure> {
    let plan = args.layout.unwrap_or_default();
    let bytes = promises.renew(promises.source)?.to_bytes(plan).map_err(Failure::internal)?;
    output::write(&args.output, |file| file.write_all(&bytes))?;
    if !args.quiet {
        tell(format_args!("{}: {} bytes", args.output.display(), bytes.len()));
    }
    Ok(())
}

/// A model, and the cells that it is quantised with.
struct Job<'a> {
    args: &'a QuantizeArgs,
    model: &'a Model<'a>,
    n_source_bytes: usize,
    /// Without values.
    dataset: &'a Dataset,
    cells: &'a AlignedMatrix,
    annotations: &'a Annotations,
    calibration: Calibration,
    /// The model's calibration rows in `cells`; figures are of them.
    rows: &'a [usize],
    /// Those of them that are in `calibration`.
    used: &'a [usize],
}

/// A quantised model, and how it came about.
struct Made {
    bytes: Vec<u8>,
    layers: Vec<LayerReport>,
    fine_tuned: Option<FineTunedModel>,
    aware: Option<AwareReport>,
}

impl Job<'_> {
    /// How to quantise, and with `--auto` what else was tried.
    fn choose(&self) -> Result<(QuantizeOptions, Option<Search>), Failure> {
        let Self { args, model, cells, used, .. } = *self;
        let base = args.options();
        if !args.search.auto {
            return Ok((base, None));
        }
        // Ways that fit closely look better on the cells that they were fitted to than they are.
        let half = |which: usize| -> Vec<usize> {
            used.iter().enumerate().filter(|(at, _)| at % 2 == which).map(|(_, &row)| row).collect()
        };
        let [fitted, judged] = match used.len() < FEW_CELLS {
            true => [used.to_vec(), used.to_vec()],
            false => [half(0), half(1)],
        };
        let trial = Trial {
            model,
            calibration: &Calibration::of(cells, &fitted),
            cells,
            rows: &judged,
            gate: args.gate,
            quiet: args.quiet,
        };
        let found = args.search.run(&base, &trial, args.emits_onnx())?;
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
            let bytes = AlignedBytes::new(&quantize(model, &self.calibration.set(), options)?);
            let made = Model::open(&bytes).map_err(Failure::internal)?;
            let comparison = compare(model, &made, cells, self.rows).map_err(Failure::internal)?;
            Ok(args.gate.missed(&comparison).is_empty())
        };
        let options = found.best(passes)?.options.clone();
        Ok((options, Some(found)))
    }

    fn quantize(
        &self,
        options: &QuantizeOptions,
        promises: &PromiseCells<'_>,
    ) -> Result<Made, Failure> {
        let Self { args, model, dataset, cells, annotations, .. } = *self;
        let progress = Progress::of_stages(args.quiet);
        progress.say("choosing ranges and rounding weights");
        let (mut bytes, mut layers) = quantize_reported(model, &self.calibration.set(), options)?;
        let mut fine_tuned = None;
        if args.fine_tune {
            progress.say("fine-tuning classifier and decoder");
            let tuning = FineTuning { model, dataset, cells, annotations };
            let tuned = tuning.run(&bytes, &self.calibration, options)?;
            bytes.clone_from(&tuned.bytes);
            // What stands behind the code is rounded anew.
            layers.retain(|layer| layer.stage == "encoder");
            fine_tuned = Some(tuned);
        }
        let mut aware = None;
        if args.qat {
            progress.say("tuning integers");
            let (tuned, report) =
                aware::tune(model, &bytes, cells, promises.names, options.layouts)?;
            bytes = tuned;
            aware = Some(report);
        }
        progress.say("calibrating what is promised");
        bytes = promises.renew_bytes(&bytes, options.layouts)?;
        progress.finish();
        Ok(Made { bytes, layers, fine_tuned, aware })
    }

    fn tell_what_is_not_promised(&self, result: &Model<'_>) {
        if self.args.quiet {
            return;
        }
        let promised =
            |model: &Model<'_>| model.confidence().is_some_and(|confidence| confidence.has_sets());
        if self.args.labels.is_none() && promised(self.model) {
            tell("note: without --labels KEY the result promises no sets of labels");
        }
        if let Some(unknown) = unknown_impostors(result) {
            tell(format_args!("note: {}", unknown.note));
        }
    }

    /// Writes everything that was asked for, the model only where it passes.
    fn write(
        &self,
        made: &Made,
        result: &Model<'_>,
        comparison: &Comparison,
        search: Option<&Search>,
    ) -> Result<(), Failure> {
        let Self { args, .. } = *self;
        let emitted = match args.emit {
            None => None,
            Some(Form::Onnx) => Some(onnx_out::int8(result)?),
            Some(Form::Source(language)) => {
                let name = args.output.file_stem().unwrap_or_default().to_string_lossy();
                Some(emit(language, &made.bytes, result, &name).into_bytes())
            }
        };
        if !args.quiet {
            tell_unlike(comparison);
        }
        self.write_cells()?;
        let report = Report {
            source: self.model,
            result,
            bytes: [self.n_source_bytes, made.bytes.len()],
            comparison,
            layers: &made.layers,
            fine_tuned: made.fine_tuned.as_ref(),
            aware: made.aware.as_ref(),
            search,
            cells: &self.dataset.matrix.obs_names,
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
            print(|out| report::write_layers(out, &made.layers))?;
        }
        // Why it does not pass is told, but there is no model then.
        args.gate.check(comparison)?;
        let written = emitted.as_deref().unwrap_or(&made.bytes);
        output::write(&args.output, |file| file.write_all(written))?;
        if args.quiet {
            return Ok(());
        }
        if let Some(tuned) = &made.fine_tuned {
            tell(tuned.summary());
        }
        if let Some(report) = &made.aware {
            tell(aware::summary(report));
        }
        // Source code holds the model; an ONNX file holds its network in another form.
        let n_bytes = if args.emits_onnx() { written.len() } else { made.bytes.len() };
        tell(format_args!(
            "{}: {} -> {} bytes ({:.1} % of f32); on {} calibration cells: {:.2} % same label, \
             code error {:.4} of a standard deviation",
            args.output.display(),
            self.n_source_bytes,
            n_bytes,
            100.0 * n_bytes as f64 / self.n_source_bytes as f64,
            comparison.n_cells,
            100.0 * comparison.agreement(),
            comparison.pooled_code_error,
        ));
        Ok(())
    }

    fn write_cells(&self) -> Result<(), Failure> {
        let Self { args, annotations, used, .. } = *self;
        let Some(path) = &args.keep_cells else { return Ok(()) };
        let labels = args.labels.as_ref().map(|key| {
            let texts: Vec<Option<String>> =
                used.iter().map(|&row| annotations.label(row)).collect();
            (key.as_str(), Column::categorical(texts.iter().map(Option::as_deref)))
        });
        let names = used.iter().map(|&row| self.dataset.matrix.obs_names[row].clone()).collect();
        self.calibration.write(path, self.model, names, labels)
    }
}

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
