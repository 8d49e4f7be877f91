//! `cic type`: names the cells of a file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cic_data::{UnsValue, write_h5ad};
use cic_model::{Dtype, Model};
use clap::Args;
use sha2::{Digest, Sha256};

use crate::console::{print, tell};
use crate::dataset::{DataArgs, Dataset, TotalArgs};
use crate::failure::Failure;
use crate::model_file;
use crate::output;
use crate::results::{Calls, anndata, write_csv};

/// Options of `cic type`.
#[derive(Args, Clone, Debug)]
pub struct TypeArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The model
    #[arg(long, short, value_name = "MODEL")]
    model: PathBuf,
    /// Where the calls go: NAME.csv, NAME.h5ad (AnnData
    /// with the data), or - for CSV on standard output
    #[arg(long, short, value_name = "OUT", verbatim_doc_comment)]
    output: PathBuf,
    #[command(flatten)]
    totals: TotalArgs,
    /// Exit with 3 and write nothing if any cell is
    /// rejected
    #[arg(long, verbatim_doc_comment)]
    strict: bool,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
}

/// Reads, types and writes. Nothing is written unless every cell was typed or rejected.
pub fn run(args: &TypeArgs) -> Result<(), Failure> {
    let target = Target::new(&args.output)?;
    if target != Target::StandardOutput {
        output::check(&[&args.output], &[&args.data.data, &args.model])?;
    }
    let bytes = model_file::read(&args.model)?;
    let model = model_file::open(&args.model, &bytes)?;
    if model.n_leaves() == 0 && target != Target::AnnData {
        return Err(Failure::usage(format!(
            "{}: the model names no cell types; write its codes to a .h5ad file",
            args.model.display()
        )));
    }
    let dataset = args.data.read()?;
    let mut cells = dataset.align(&model)?;
    args.totals.apply(&model, &dataset.matrix, &mut cells.totals)?;
    let calls = Calls::run(&model, &cells)?;
    let n_rejected = calls.n_rejected();
    if args.strict && n_rejected > 0 {
        let first = calls.calls.iter().position(|call| call.reject.is_some()).unwrap_or(0);
        let reason = calls.calls[first].reject.map_or("", |reason| reason.name());
        return Err(Failure::input(format!(
            "{}: {n_rejected} of {} cells are rejected, the first is {} ({reason}); without \
             --strict they are written as Unassigned",
            args.data.data.display(),
            calls.calls.len(),
            dataset.matrix.obs_names[first],
        )));
    }
    let write_csv = |out: &mut dyn Write| write_csv(out, &dataset.matrix, &model, &calls);
    match target {
        Target::StandardOutput => print(write_csv)?,
        Target::Csv => output::write(&args.output, write_csv)?,
        Target::AnnData => {
            for (name, reason) in dataset.matrix.obs.unreadable() {
                tell(format_args!("note: column {name:?} of obs is left out: {reason}"));
            }
            let facts = facts(args, &model, &dataset, cells.overlap.n_present)?;
            let genes = dataset.matrix.genes.iter();
            let genes: Vec<String> = genes.map(|gene| gene.id.clone()).collect();
            write_h5ad(&args.output, &anndata(&dataset.matrix, &genes, &model, &calls, facts))
                .map_err(|error| output::failed(&args.output, error))?;
        }
    }
    if !args.quiet {
        tell(format_args!(
            "{} cells typed, {n_rejected} rejected; {} of {} genes of the model present",
            calls.calls.len() - n_rejected,
            cells.overlap.n_present,
            model.n_genes(),
        ));
    }
    Ok(())
}

/// Where calls can go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    StandardOutput,
    Csv,
    AnnData,
}

impl Target {
    fn new(path: &Path) -> Result<Self, Failure> {
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if path == Path::new("-") => Ok(Self::StandardOutput),
            Some("csv") => Ok(Self::Csv),
            Some("h5ad") => Ok(Self::AnnData),
            _ => Err(Failure::usage(format!(
                "{}: calls are written to a name that ends in .csv or .h5ad, or to -, which is \
                 CSV on standard output",
                path.display()
            ))),
        }
    }
}

/// What `uns['cic']` says.
fn facts(
    args: &TypeArgs,
    model: &Model<'_>,
    dataset: &Dataset,
    n_present: u32,
) -> Result<Vec<(String, UnsValue)>, Failure> {
    let text = |key: &str, value: String| (key.to_string(), UnsValue::Text(value));
    let integer = |key: &str, value: i64| (key.to_string(), UnsValue::Integer(value));
    let rules = model.rules();
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    let mut facts = vec![
        text("model_id", model.id().to_string()),
        text("model_sha256", hex(&model.container().digest())),
        text("runtime_version", env!("CARGO_PKG_VERSION").into()),
        text("precision", model.dtype().name().into()),
        text("kernel", "reference".into()),
        text("value_kind", dataset.kind.name().into()),
        text("input_format", dataset.matrix.source.format.clone()),
        text("command", std::env::args().collect::<Vec<_>>().join(" ")),
        integer("n_genes_model", model.n_genes() as i64),
        integer("n_genes_present", i64::from(n_present)),
        integer("min_counts", i64::from(rules.min_counts)),
        integer("min_genes", i64::from(rules.min_genes)),
        integer("unix_time", seconds),
    ];
    if let Some(profile) = model.profiles().first() {
        facts.push(integer("target_sum", i64::from(profile.target_sum())));
    }
    if model.dtype() == Dtype::S8 {
        facts.push(text("arithmetic", "integer".into()));
    }
    if args.data.data.is_file() {
        facts.push(text("input_sha256", file_sha256(&args.data.data)?));
    }
    Ok(facts)
}

fn file_sha256(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::Input(anyhow::Error::new(error).context(format!("{}", path.display())))
    })?;
    Ok(hex(&Sha256::digest(&bytes)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
