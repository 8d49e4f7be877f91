//! `cic type`: names the cells of a file.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use cic_data::{AnnDataPlan, AnnDataWriter, CsrMatrix, DataError, ExpressionHead, UnsValue};
use cic_model::{Dtype, Model, ValueKind};
use cic_runtime::kernels::Isa;
use clap::Args;
use sha2::{Digest, Sha256};

use crate::console::{command_line, print, tell};
use crate::dataset::DataArgs;
use crate::failure::Failure;
use crate::model_file;
use crate::notes;
use crate::output;
use crate::results::{Call, Calls, anndata, write_csv};
use crate::threads::ThreadArgs;
use crate::totals::TotalArgs;
use crate::typing::{CallSink, Opened, Stages, Typing};

/// Options of `cic type`.
#[derive(Args, Clone, Debug)]
pub struct TypeArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The model
    #[arg(long, short, value_name = "MODEL")]
    model: PathBuf,
    /// Where the calls go: NAME.csv, NAME.h5ad (AnnData:
    /// obs, its columns by name, and X are kept; layers,
    /// obsm, obsp, varm, varp, uns, raw and columns of
    /// var are not), or - for CSV on standard output
    #[arg(long, short, value_name = "OUT", verbatim_doc_comment)]
    output: PathBuf,
    #[command(flatten)]
    totals: TotalArgs,
    /// Also reject cells whose profile the model cannot
    /// reproduce; takes longer
    #[arg(long, verbatim_doc_comment)]
    thorough: bool,
    /// Exit with 3 and write nothing if any cell is
    /// rejected
    #[arg(long, verbatim_doc_comment)]
    strict: bool,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
    /// Tell the time spent on reading, typing and writing
    #[arg(long, short, conflicts_with = "quiet")]
    verbose: bool,
}

/// Reads, types and writes, block by block. Calls are held back, or written under a temporary name,
/// until the whole file was read: a fault in its last cell leaves no label behind.
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
    let knows_errors =
        model.novelty().is_some_and(|novelty| novelty.error_limit(u64::MAX).is_some());
    if args.thorough && !knows_errors {
        return Err(Failure::Model(anyhow::anyhow!(
            "{}: it does not know how well it reproduces cells, which --thorough asks for; a model that cic train made \
             does, and cic-quantize keeps it with --labels and without --no-decoder",
            args.model.display()
        )));
    }
    let (started, stages) = (Instant::now(), Stages::default());
    let typing = Typing {
        model: &model,
        data: &args.data,
        totals: &args.totals,
        threads: args.threads.number(),
        quiet: args.quiet,
        is_thorough: args.thorough,
    };
    let done = match target {
        Target::AnnData => typing.run(|opened| AnnDataSink::new(args, &model, &opened), &stages)?,
        _ => typing.run(|opened| Ok(TableSink::new(args, &model, &opened)), &stages)?,
    };
    if !args.quiet {
        tell(format_args!(
            "{} cells typed, {} rejected; {} of {} genes of the model present",
            done.n_cells - done.n_rejected,
            done.n_rejected,
            done.n_present,
            model.n_genes(),
        ));
    }
    if args.verbose {
        tell(stages.report(done.n_cells, started.elapsed()));
    }
    Ok(())
}

/// What was done.
struct Summary {
    n_cells: usize,
    n_rejected: usize,
    n_present: u32,
}

/// The calls of a file, held until all are there.
struct Held<'a> {
    args: &'a TypeArgs,
    model: &'a Model<'a>,
    head: Arc<ExpressionHead>,
    n_present: u32,
    calls: Vec<Call>,
}

impl<'a> Held<'a> {
    fn new(args: &'a TypeArgs, model: &'a Model<'a>, opened: &Opened<'_>) -> Self {
        let calls = Vec::with_capacity(opened.head.obs_names.len());
        Self { args, model, head: opened.head.clone(), n_present: opened.n_present, calls }
    }

    /// Refuses rejected cells where the user does.
    fn check(&self) -> Result<Summary, Failure> {
        let rejected = || {
            self.calls
                .iter()
                .zip(&self.head.obs_names)
                .filter_map(|(call, name)| call.reject.map(|reason| (name, reason.name())))
        };
        let n_rejected = rejected().count();
        match rejected().next().filter(|_| self.args.strict) {
            Some((name, reason)) => Err(Failure::input(format!(
                "{}: {n_rejected} of {} cells are rejected, the first is {name} ({reason}); \
                 without --strict they are written as Unassigned",
                self.args.data.data.display(),
                self.calls.len(),
            ))),
            None => {
                let (n_cells, n_present) = (self.calls.len(), self.n_present);
                Ok(Summary { n_cells, n_rejected, n_present })
            }
        }
    }
}

/// A table, written at the end: a call is small, and an output that nobody can take back waits for
/// the verdict.
struct TableSink<'a>(Held<'a>);

impl<'a> TableSink<'a> {
    fn new(args: &'a TypeArgs, model: &'a Model<'a>, opened: &Opened<'_>) -> Self {
        Self(Held::new(args, model, opened))
    }
}

impl CallSink for TableSink<'_> {
    type Done = Summary;
    const TAKES_VALUES: bool = false;

    fn take(&mut self, calls: Calls, _: Option<CsrMatrix>) -> Result<(), Failure> {
        self.0.calls.extend(calls.calls);
        Ok(())
    }

    fn finish(self, _: ValueKind) -> Result<Summary, Failure> {
        let Held { args, model, head, calls, .. } = &self.0;
        let summary = self.0.check()?;
        let write_csv = |out: &mut dyn Write| write_csv(out, &head.obs_names, model, calls);
        match Target::new(&args.output)? {
            Target::StandardOutput => print(write_csv)?,
            _ => output::write(&args.output, write_csv)?,
        }
        if let Some(note) = notes::of_names(&head.obs_names).filter(|_| !args.quiet) {
            tell(format_args!("note: {note}"));
        }
        Ok(summary)
    }
}

/// An AnnData file: values, codes and probabilities are written as they come, under a temporary
/// name.
struct AnnDataSink<'a> {
    held: Held<'a>,
    writer: AnnDataWriter,
}

impl<'a> AnnDataSink<'a> {
    fn new(args: &'a TypeArgs, model: &'a Model<'a>, opened: &Opened<'_>) -> Result<Self, Failure> {
        let head = opened.head;
        if !args.quiet {
            for (name, reason) in head.obs.unreadable() {
                tell(format_args!("note: column {name:?} of obs is left out: {reason}"));
            }
            // Those of an earlier typing are replaced.
            let left = head.source.not_read.iter().map(String::as_str);
            let left: Vec<&str> = left.filter(|name| !OWN_ARRAYS.contains(name)).collect();
            if !left.is_empty() {
                tell(format_args!(
                    "note: not copied from {}: {}",
                    args.data.data.display(),
                    left.join(", ")
                ));
            }
        }
        let mut obsm = vec![("X_cic".to_string(), model.code_dim())];
        if model.n_leaves() > 0 {
            obsm.push(("cic_prob".to_string(), model.n_leaves()));
        }
        let plan = AnnDataPlan {
            n_obs: head.obs_names.len(),
            n_vars: head.genes.len(),
            expected_values: Some(opened.expected_values),
            obsm,
        };
        let writer = AnnDataWriter::create(&args.output, plan)
            .map_err(|error| output::failed(&args.output, error))?;
        Ok(Self { held: Held::new(args, model, opened), writer })
    }

    fn write(&mut self, calls: &Calls, values: Option<CsrMatrix>) -> Result<(), DataError> {
        let first_row = self.held.calls.len();
        if let Some(values) = values {
            self.writer.append_x(&values)?;
        }
        self.writer.write_obsm(0, first_row, &calls.codes)?;
        if self.held.model.n_leaves() > 0 {
            self.writer.write_obsm(1, first_row, &calls.probabilities)?;
        }
        Ok(())
    }
}

impl CallSink for AnnDataSink<'_> {
    type Done = Summary;
    const TAKES_VALUES: bool = true;

    fn take(&mut self, calls: Calls, values: Option<CsrMatrix>) -> Result<(), Failure> {
        self.write(&calls, values)
            .map_err(|error| output::failed(&self.held.args.output, error))?;
        self.held.calls.extend(calls.calls);
        Ok(())
    }

    fn finish(self, kind: ValueKind) -> Result<Summary, Failure> {
        let summary = self.held.check()?;
        let Held { args, model, head, n_present, calls } = self.held;
        let facts = facts(args, model, &head.source.format, kind, n_present)?;
        let genes: Vec<String> = head.genes.iter().map(|gene| gene.id.clone()).collect();
        let tables = anndata(&head, &genes, model, &calls, facts);
        // The columns hold all of it now.
        drop(calls);
        self.writer.finish(&tables).map_err(|error| output::failed(&args.output, error))?;
        Ok(summary)
    }
}

/// What is written into `obsm`.
const OWN_ARRAYS: [&str; 2] = ["obsm/X_cic", "obsm/cic_prob"];

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
    input_format: &str,
    kind: ValueKind,
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
        text("model_sha256", model_file::sha256(model)),
        text("runtime_version", env!("CARGO_PKG_VERSION").into()),
        text("precision", model.dtype().name().into()),
        text("kernel", Isa::best().name().into()),
        text("value_kind", kind.name().into()),
        text("input_format", input_format.into()),
        text("command", command_line(0)),
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

pub(crate) fn file_sha256(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::input(format!("{}: {error}{}", path.display(), Failure::advice(&error)))
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex(&digest.finalize())),
            n => digest.update(&buffer[..n]),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
