//! `cic report`: one page about a model and the cells that it was not trained on, to be read without a network.

mod calls;
mod codes;
mod explained;
mod findings;
mod page;
mod provenance;
mod robustness;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;

use crate::console::tell;
use crate::dataset::{Annotations, DataArgs, LabelArgs, SplitArgs};
use crate::failure::Failure;
use crate::totals::TotalArgs;
use crate::{model_file, output};

use findings::{Extras, Findings, Sources};

/// Options of `cic report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// The model
    #[arg(long, short, value_name = "MODEL")]
    model: PathBuf,
    /// The int8 or f16 model that was made from it: what
    /// did rounding change?
    #[arg(long, value_name = "MODEL", verbatim_doc_comment)]
    quantized: Option<PathBuf>,
    #[command(flatten)]
    totals: TotalArgs,
    /// Column beside the labels, with the same text for
    /// technical replicates of a sample
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    replicates: Option<String>,
    /// What `cic unseen --json` printed
    #[arg(long, value_name = "JSON")]
    unseen: Option<PathBuf>,
    /// What `cic explain --json` printed
    #[arg(long, value_name = "JSON")]
    explained: Option<PathBuf>,
    /// Where the page goes
    #[arg(long, short, value_name = "HTML")]
    output: PathBuf,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
}

/// Measures, and writes the page.
pub fn run(args: &ReportArgs) -> Result<(), Failure> {
    args.labels.require()?;
    let inputs = [&args.data.data, &args.model];
    let others = [&args.quantized, &args.unseen, &args.explained];
    let inputs: Vec<&Path> =
        inputs.into_iter().chain(others.into_iter().flatten()).map(PathBuf::as_path).collect();
    output::check(&[&args.output], &inputs)?;
    let extras = Extras {
        unseen: args.unseen.as_deref().map(read_json).transpose()?,
        explained: args.explained.as_deref().map(read_json).transpose()?,
    };
    let bytes = model_file::read(&args.model)?;
    let model = model_file::open(&args.model, &bytes)?;
    let quantized = args.quantized.as_deref();
    let quantized_bytes = quantized.map(model_file::read).transpose()?;
    let quantized = match (quantized, &quantized_bytes) {
        (Some(path), Some(bytes)) => {
            let quantized = model_file::open(path, bytes)?;
            let source = quantized.provenance().value("quantize.source_model");
            if source != Some(model.id().to_string().as_str()) {
                return Err(Failure::Model(anyhow::anyhow!(
                    "{}: was not made from {}; give the model that cic-quantize read",
                    path.display(),
                    args.model.display()
                )));
            }
            Some(quantized)
        }
        _ => None,
    };
    let dataset = args.data.read()?;
    let annotations =
        Annotations::read(&dataset.matrix, &args.labels, &args.split, args.replicates.as_deref())?;
    let mut cells = dataset.align(&model)?;
    args.totals.apply(&model, &dataset.matrix, &mut cells)?;
    let sources = Sources {
        args,
        model: &model,
        model_bytes: bytes.len(),
        quantized: quantized.as_ref(),
        quantized_bytes: quantized_bytes.as_ref().map_or(0, |bytes| bytes.len()),
        dataset: &dataset,
        annotations: &annotations,
        cells: &cells,
    };
    let findings = Findings::gather(&sources, extras)?;
    let page = page::page(&sources, &findings);
    output::write(&args.output, |file| file.write_all(page.as_bytes()))?;
    if !args.quiet {
        tell(format_args!("{}: {} bytes", args.output.display(), page.len()));
    }
    Ok(())
}

/// What another command of this program printed.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::input(format!("{}: {error}{}", path.display(), Failure::advice(&error)))
    })?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::input(format!(
            "{}: {error}; give what the command printed with --json",
            path.display()
        ))
    })
}
