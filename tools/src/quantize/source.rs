//! What is quantised: a model of this project, or one that is made of a network as ONNX or of a model of CellTypist.

use std::ops::Deref;

use cic_model::{AlignedBytes, Dtype};
use cic_quant::QuantError;
use cic_runtime::Pages;

use super::args::QuantizeArgs;
use crate::adopted::Imported;
use crate::celltypist_in;
use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs};
use crate::failure::Failure;
use crate::model_file;
#[cfg(feature = "onnx")]
use crate::onnx_in;
use crate::progress::Progress;

/// What is quantised, and with what.
pub(super) struct Source {
    /// Of a full-precision model.
    pub(super) bytes: SourceBytes,
    pub(super) dataset: Dataset,
    pub(super) annotations: Annotations,
}

/// A file, or what was made of one.
pub(super) enum SourceBytes {
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
    pub(super) fn read(args: &QuantizeArgs) -> Result<Self, Failure> {
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
