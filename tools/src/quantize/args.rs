//! Options of `cic-quantize`, and which of them go together.

use std::path::{Path, PathBuf};

use cic_model::Dtype;
use cic_model::spec::LayoutPlan;
use cic_quant::{Int8Options, Language, QuantizeOptions, RangePlan, Rounding};
use clap::Args;

use super::search::SearchArgs;
use crate::dataset::{SplitArgs, ValueArgs};
use crate::diff::GateArgs;
use crate::failure::Failure;
use crate::fine_tune;
#[cfg(feature = "onnx")]
use crate::onnx_in;
use crate::output;
use crate::promises::FalseRejectArgs;
use crate::totals::TotalArgs;

/// Options of `cic-quantize`.
#[derive(Args, Clone, Debug)]
pub struct QuantizeArgs {
    /// The full-precision model, a network as ONNX, or a
    /// model of CellTypist (.pkl)
    #[arg(verbatim_doc_comment)]
    pub(super) model: PathBuf,
    /// The data that the model was trained on; the model
    /// knows which of its rows are for calibration. For a
    /// network as ONNX or a model of CellTypist cells
    /// like those that it was trained on
    #[arg(long, value_name = "DATA", verbatim_doc_comment)]
    pub(super) calibrate: PathBuf,
    /// Where the cells that were calibrated with go, as
    /// .h5ad: calibrating with this file gives the same
    /// without reading all of DATA. It has their counts
    /// over all genes in the column total_counts, and
    /// their --labels
    #[arg(long, value_name = "H5AD", verbatim_doc_comment)]
    pub(super) keep_cells: Option<PathBuf>,
    #[command(flatten)]
    pub(super) totals: TotalArgs,
    #[cfg(feature = "onnx")]
    #[command(flatten)]
    pub(super) onnx: onnx_in::OnnxArgs,
    /// Of a network as ONNX or a model of CellTypist: it
    /// was trained on none of the cells in DATA, so that
    /// with --labels they tell how sure it may be;
    /// otherwise no sets of labels are promised
    #[arg(long, verbatim_doc_comment)]
    pub(super) held_out: bool,
    #[command(flatten)]
    pub(super) values: ValueArgs,
    #[command(flatten)]
    pub(super) split: SplitArgs,
    /// Fit the last decoder layer, and with --labels the
    /// classifier, to codes of the int8 encoder on the
    /// training rows in DATA; what gains no more than a
    /// standard error in cross-validation stays as it is
    #[arg(long, verbatim_doc_comment)]
    pub(super) fine_tune: bool,
    /// Tune the integers of encoder and classifier on the
    /// training rows in DATA, in the arithmetic of the
    /// runtime, so that codes and logits come nearer to
    /// those of f32; what is no nearer on rows that were
    /// held out stays as it is
    #[arg(long, conflicts_with_all = ["fine_tune", "auto"], verbatim_doc_comment)]
    pub(super) qat: bool,
    /// Column with cell types: temperature and sets of
    /// labels are calibrated anew; without it, the result
    /// promises no sets. Also for --fine-tune
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    pub(super) labels: Option<String>,
    /// Table with these columns, if obs has them not
    #[arg(long, value_name = "TSV")]
    pub(super) labels_file: Option<PathBuf>,
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
    pub(super) to: Option<Dtype>,
    #[command(flatten)]
    pub(super) search: SearchArgs,
    /// Where the model goes
    #[arg(long, short, value_name = "OUT")]
    pub(super) output: PathBuf,
    /// Write the model as source code, for firmware
    /// without files: rust or c; or an int8 model as onnx
    /// with quantised operators, for other runtimes
    #[arg(long, value_name = "FORM", value_parser = parse_form, verbatim_doc_comment)]
    pub(super) emit: Option<Form>,
    /// Where a report of what changed goes, as JSON
    #[arg(long, value_name = "JSON")]
    pub(super) report: Option<PathBuf>,
    /// Where the same goes as a page to be read without a
    /// network, with figures
    #[arg(long, value_name = "HTML", verbatim_doc_comment)]
    pub(super) html: Option<PathBuf>,
    /// Print what rounding did to each layer on the
    /// calibration cells
    #[arg(long, conflicts_with = "json", verbatim_doc_comment)]
    pub(super) details: bool,
    /// Print the report as JSON, in place of tables
    #[arg(long)]
    pub(super) json: bool,
    /// How ranges of int8 are chosen on the calibration
    /// cells: minmax (all values and a margin),
    /// percentile:P, entropy (Kullback-Leibler) or mse.
    /// One for all, or others for some by their names,
    /// such as minmax,encoder.0=mse; there are input (or
    /// genes, where each has a range of its own), code
    /// and the hidden layers of each stage
    /// [default: minmax,input=mse]
    #[arg(long, value_name = "METHOD", verbatim_doc_comment)]
    pub(super) ranges: Option<RangePlan>,
    /// How int8 weights are rounded: nearest, or fitted
    /// to the outputs of their layer on the calibration
    /// cells
    /// [default: nearest]
    #[arg(long, value_name = "HOW", value_parser = parse_rounding, verbatim_doc_comment)]
    pub(super) rounding: Option<Rounding>,
    /// Leave the decoder out: profiles cannot be
    /// reproduced, the file is about half as large
    #[arg(long, verbatim_doc_comment)]
    pub(super) no_decoder: bool,
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
    pub(super) layout: Option<LayoutPlan>,
    /// Keep the digests of the training rows, so that
    /// evaluating on them is noticed
    #[arg(long, verbatim_doc_comment)]
    pub(super) keep_rows: bool,
    #[command(flatten)]
    pub(super) false_rejects: FalseRejectArgs,
    #[command(flatten)]
    pub(super) gate: GateArgs,
    /// Say nothing on standard error
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// What a model is written as, other than a file of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Source(Language),
    Onnx,
}

impl QuantizeArgs {
    /// Refuses options that do not go together or would do nothing, and outputs that could not be written.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let of_int8 = [
            ("--layout", self.layout.is_some()),
            ("--ranges", self.ranges.is_some()),
            ("--rounding", self.rounding.is_some()),
            ("--qat", self.qat),
        ];
        if let Some((option, _)) = of_int8.iter().find(|(_, is_given)| *is_given)
            && let Some(to) = self.to.filter(|&to| to != Dtype::S8)
        {
            let to = to.name();
            return Err(Failure::usage(format!("{option} is for int8; leave it out for {to}")));
        }
        if self.emits_onnx() && self.to.is_some_and(|to| to != Dtype::S8) {
            return Err(Failure::usage(
                "--emit onnx is for int8: give --to int8; cic train --onnx writes the network in full precision",
            ));
        }
        if self.emits_onnx() && self.layout.is_some() {
            return Err(Failure::usage(
                "--layout says where weights lie in models of this project; leave it out with --emit onnx",
            ));
        }
        let of_search = self.search.given().filter(|_| !self.search.auto);
        if let Some(option) = of_search {
            return Err(Failure::usage(format!(
                "{option} is of --auto; give that too, or leave it out"
            )));
        }
        if self.labels_file.is_some() && self.labels.is_none() && self.split.split.is_none() {
            return Err(Failure::usage(
                "--labels-file does nothing alone: name its column with --labels KEY",
            ));
        }
        let compares = [
            ("--gate", self.gate.is_set()),
            ("--report", self.report.is_some()),
            ("--html", self.html.is_some()),
            ("--json", self.json),
            ("--details", self.details),
            ("--emit", self.emit.is_some()),
            ("--keep-cells", self.keep_cells.is_some()),
        ];
        if self.to == Some(Dtype::F32)
            && let Some((option, _)) = compares.iter().find(|(_, is_given)| *is_given)
        {
            return Err(Failure::usage(format!(
                "{option} is of what quantising changes, and f32 changes nothing; leave it out"
            )));
        }
        if let Some(to) = self.to.filter(|_| self.fine_tune) {
            fine_tune::check(to)?;
        }
        self.gate.check_used(self.search.auto)?;
        if self.output.as_os_str() == "-" {
            return Err(Failure::usage(
                "models do not go to standard output: give -o a file name (./- for one called so)",
            ));
        }
        if self.false_rejects.asks_for_limits() && self.labels.is_none() {
            return Err(Failure::usage(
                "--rejects sets limits with labelled cells: name their column with --labels KEY",
            ));
        }
        let further = [&self.report, &self.html, &self.keep_cells].into_iter().flatten();
        let outputs: Vec<&Path> = further.chain([&self.output]).map(PathBuf::as_path).collect();
        output::check(&outputs, &[&self.model, &self.calibrate])
    }

    /// How to quantise; of a search what does not depend on what it finds.
    pub(super) fn options(&self) -> QuantizeOptions {
        let to = self.to.unwrap_or(Dtype::S8);
        QuantizeOptions {
            int8: Int8Options {
                ranges: self.ranges.clone().unwrap_or_default(),
                rounding: self.rounding.unwrap_or_default(),
            },
            with_decoder: !self.no_decoder,
            with_rows: self.keep_rows,
            layouts: self.layout.unwrap_or(match to {
                Dtype::S8 => LayoutPlan::Fours,
                _ => LayoutPlan::Sparse,
            }),
            ..QuantizeOptions::new(to)
        }
    }

    pub(super) fn emits_onnx(&self) -> bool {
        matches!(self.emit, Some(Form::Onnx))
    }
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
