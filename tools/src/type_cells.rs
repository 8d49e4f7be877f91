//! `cic type`: names the cells of a file.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use cic_data::{AnnDataPlan, AnnDataWriter, AtomicFile, CsrMatrix, DataError, Orientation};
use cic_model::{Model, ValueKind};
use clap::Args;

use crate::console::tell;
use crate::coverage::unknown_impostors;
use crate::dataset::DataArgs;
use crate::digests::Digesting;
use crate::failure::Failure;
use crate::model_file;
use crate::notes;
use crate::output;
use crate::outputs::provenance::{InputDigest, Provenance, Run};
use crate::outputs::{
    Format, LABELS, PROBABILITIES, Target, anndata, columns, write_probability_row, write_table,
};
use crate::results::Calls;
use crate::threads::ThreadArgs;
use crate::typed::TypedCells;
use crate::typing::{CallSink, Opened, Stages, Typing};
use crate::typing_options::TypingOptions;

/// Options of `cic type`. Names and meanings that CellTypist has are its own.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = columns::help())]
pub struct TypeArgs {
    /// Expression data: .h5ad, Cell Ranger .h5, 10x folder or
    /// matrix.mtx[.gz], GEO series matrix, TSV, CSV [.gz];
    /// with the features of their names Parquet, Zarr
    #[arg(required_unless_present = "indata", verbatim_doc_comment)]
    data: Option<PathBuf>,
    /// The same, as CellTypist calls it
    #[arg(long, short, value_name = "DATA", conflicts_with = "data")]
    indata: Option<PathBuf>,
    /// The model
    #[arg(long, short, value_name = "MODEL")]
    model: PathBuf,
    /// Where the calls go: NAME.csv, NAME.jsonl,
    /// NAME.parquet, NAME.h5ad (AnnData: obs, its
    /// columns by name, is kept, and as X the matrix
    /// that was typed; layers, obsm, obsp, varm, varp,
    /// uns, raw and columns of var are not), or - for
    /// CSV on standard output
    #[arg(
        long,
        short,
        value_name = "OUT",
        required_unless_present = "outdir",
        verbatim_doc_comment
    )]
    output: Option<PathBuf>,
    /// csv, celltypist, jsonl, parquet or h5ad
    /// [default: by the name's ending]
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    format: Option<Format>,
    /// Write CellTypist's predicted_labels.csv and
    /// probability_matrix.csv into this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "format"], verbatim_doc_comment)]
    outdir: Option<PathBuf>,
    /// What the names of these files begin with
    #[arg(
        long,
        value_name = "TEXT",
        requires = "outdir",
        default_value = "",
        hide_default_value = true
    )]
    prefix: String,
    /// CellTypist's --rows genes
    #[arg(long, conflicts_with = "rows")]
    transpose_input: bool,
    #[command(flatten)]
    options: TypingOptions,
    /// Exit with 3 and write nothing if any cell is
    /// rejected
    #[arg(long, verbatim_doc_comment)]
    strict: bool,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
    /// Tell the time of reading, typing and writing
    #[arg(long, short, conflicts_with = "quiet")]
    verbose: bool,
}

/// Reads, types and writes, block by block. Calls are held back, or written under a temporary name,
/// until the whole file was read: a fault in its last cell leaves no label behind.
pub fn run(args: &TypeArgs) -> Result<(), Failure> {
    let plan = Plan::new(args)?;
    plan.check_outputs()?;
    let bytes = model_file::read(&args.model)?;
    let model = model_file::open(&args.model, &bytes)?;
    if model.n_leaves() == 0 && plan.target.format != Format::H5ad {
        return Err(Failure::usage(format!(
            "{}: the model names no cell types; write its codes to a .h5ad file",
            args.model.display()
        )));
    }
    plan.options.check_model(&args.model, &model)?;
    let (started, stages) = (Instant::now(), Stages::default());
    let typing = Typing {
        model: &model,
        data: &plan.data,
        totals: &plan.options.totals,
        threads: args.threads.number(),
        quiet: args.quiet,
        is_thorough: plan.options.thorough,
        accepts_unjudged: plan.options.unjudged.accept_unjudged,
    };
    let done = match plan.target.format {
        Format::H5ad => typing.run(|opened| AnnDataSink::new(&plan, &model, &opened), &stages)?,
        _ => typing.run(|opened| TableSink::new(&plan, &model, &opened), &stages)?,
    };
    if !args.quiet {
        if let Some(votes) = &done.votes {
            tell(votes);
        }
        tell(format_args!(
            "{} cells typed, {} rejected{}; {} of {} genes of the model present",
            done.n_cells - done.n_rejected,
            done.n_rejected,
            unknown_impostors(&model)
                .map_or(String::new(), |unknown| format!(" (the model {})", unknown.brief)),
            done.n_present,
            model.n_genes(),
        ));
    }
    if args.verbose {
        tell(stages.report(done.n_cells, started.elapsed()));
    }
    Ok(())
}

/// What is asked for, synonyms resolved.
struct Plan<'a> {
    args: &'a TypeArgs,
    data: DataArgs,
    options: TypingOptions,
    target: Target,
    /// Where CellTypist's matrix of probabilities goes, if it is asked for.
    probabilities: Option<PathBuf>,
    started: SystemTime,
}

impl<'a> Plan<'a> {
    fn new(args: &'a TypeArgs) -> Result<Self, Failure> {
        let mut options = args.options.clone();
        options.vote.check()?;
        if args.transpose_input {
            options.values.rows = Some(Orientation::GenesByObs);
        }
        let data = args.data.as_ref().or(args.indata.as_ref());
        let data = data.ok_or_else(|| Failure::usage("no data to type: name a file or folder"))?;
        let (output, format, probabilities) = match (&args.outdir, &args.output) {
            (Some(folder), _) => {
                let file = |name: &str| folder.join(format!("{}{name}.csv", args.prefix));
                let labels = file(LABELS);
                (labels, Some(Format::Celltypist), Some(file(PROBABILITIES)))
            }
            (None, Some(output)) => (output.clone(), args.format, None),
            (None, None) => return Err(Failure::usage("no place for the calls: give -o OUT")),
        };
        Ok(Self {
            args,
            data: DataArgs { data: data.clone(), values: options.values.clone() },
            options,
            target: Target::new(&output, format)?,
            probabilities,
            started: SystemTime::now(),
        })
    }

    fn check_outputs(&self) -> Result<(), Failure> {
        let mut files = self.target.files();
        files.extend(self.probabilities.clone());
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let mut inputs = vec![self.data.data.as_path(), self.args.model.as_path()];
        inputs.extend(self.options.vote.over_clustering.as_deref().map(Path::new));
        output::check(&files, &inputs)
    }
}

/// What was done.
struct Summary {
    n_cells: usize,
    n_rejected: usize,
    n_present: u32,
    votes: Option<String>,
}

/// The calls of a file, held until all are there.
struct Held<'a> {
    plan: &'a Plan<'a>,
    cells: TypedCells<'a>,
    input: InputDigest,
}

impl<'a> Held<'a> {
    fn new(plan: &'a Plan<'a>, model: &'a Model<'a>, opened: &Opened<'_>) -> Result<Self, Failure> {
        let cells = TypedCells::new(model, &plan.options, opened)?;
        Ok(Self { plan, cells, input: InputDigest::start(&opened.head.source.files) })
    }

    /// Refuses rejected cells where the user does; counts votes and says where all comes from.
    fn finish(self, kind: ValueKind) -> Result<(TypedCells<'a>, Provenance, Summary), Failure> {
        let Self { plan, mut cells, input } = self;
        let n_rejected = cells.n_rejected();
        let rejected = cells.calls.iter().zip(&cells.head.obs_names);
        let mut rejected =
            rejected.filter_map(|(call, name)| call.reject.map(|reason| (name, reason.name())));
        if let Some((name, reason)) = rejected.next().filter(|_| plan.args.strict) {
            return Err(Failure::input(format!(
                "{}: {n_rejected} of {} cells are rejected, the first is {name} ({reason}); \
                 without --strict they are written as Unassigned",
                plan.data.data.display(),
                cells.calls.len(),
            )));
        }
        cells.count_votes(&plan.options);
        let run = Run {
            options: &plan.options,
            model_path: &plan.args.model,
            data_path: &plan.data.data,
            started: plan.started,
            kind,
            input,
        };
        let provenance = Provenance::new(&cells, run)?;
        let summary = Summary {
            n_cells: cells.calls.len(),
            n_rejected,
            n_present: cells.overlap.n_present,
            votes: cells.vote_summary(),
        };
        Ok((cells, provenance, summary))
    }
}

/// A table, written at the end: a call is small, and an output that nobody can take back waits for
/// the verdict.
struct TableSink<'a> {
    held: Held<'a>,
    /// Written as the cells come, under a temporary name.
    probabilities: Option<(PathBuf, Digesting<AtomicFile>)>,
}

impl<'a> TableSink<'a> {
    fn new(plan: &'a Plan<'a>, model: &'a Model<'a>, opened: &Opened<'_>) -> Result<Self, Failure> {
        let begin = |path: &PathBuf| {
            let file = AtomicFile::create(path).map_err(|error| output::failed(path, error))?;
            let mut file = Digesting::new(file);
            write_probability_row(&mut file, model, None)
                .map_err(|error| output::not_written(path, error))?;
            Ok::<_, Failure>((path.clone(), file))
        };
        let probabilities = plan.probabilities.as_ref().map(begin).transpose()?;
        Ok(Self { held: Held::new(plan, model, opened)?, probabilities })
    }
}

impl CallSink for TableSink<'_> {
    type Done = Summary;
    const TAKES_VALUES: bool = false;

    fn take(&mut self, calls: Calls, _: Option<CsrMatrix>) -> Result<(), Failure> {
        let cells = &mut self.held.cells;
        if let Some((path, file)) = &mut self.probabilities {
            let names = cells.head.obs_names.iter().skip(cells.calls.len());
            let rows = calls.probabilities.chunks_exact(cells.model.n_leaves().max(1));
            for row in names.map(String::as_str).zip(rows) {
                write_probability_row(file, cells.model, Some(row))
                    .map_err(|error| output::not_written(path, error))?;
            }
        }
        cells.take(calls);
        Ok(())
    }

    fn finish(self, kind: ValueKind) -> Result<Summary, Failure> {
        let target = &self.held.plan.target;
        let is_quiet = self.held.plan.args.quiet;
        let (cells, mut provenance, summary) = self.held.finish(kind)?;
        let failed = |path: &Path, error| output::failed(path, error);
        let ready = self.probabilities.map(|(path, file)| {
            let (file, digest) = file.finish();
            provenance.probabilities_sha256 = Some(digest);
            match file.ready() {
                Ok(file) => Ok((path, file)),
                Err(error) => Err(failed(&path, error)),
            }
        });
        let ready = ready.transpose()?;
        write_table(target, &cells, provenance)?;
        if let Some((path, file)) = ready {
            file.commit().map_err(|error| failed(&path, error))?;
        }
        let is_csv = matches!(target.format, Format::Csv | Format::Celltypist);
        if let Some(note) = notes::of_names(&cells.head.obs_names).filter(|_| is_csv && !is_quiet) {
            tell(format_args!("note: {note}"));
        }
        Ok(summary)
    }
}

/// An AnnData file: values, codes and probabilities are written as they come, under a temporary
/// name.
struct AnnDataSink<'a> {
    held: Held<'a>,
    path: &'a Path,
    writer: AnnDataWriter,
}

impl<'a> AnnDataSink<'a> {
    fn new(plan: &'a Plan<'a>, model: &'a Model<'a>, opened: &Opened<'_>) -> Result<Self, Failure> {
        let Some(path) = plan.target.path.as_deref() else {
            return Err(Failure::internal("AnnData without a file"));
        };
        let held = Held::new(plan, model, opened)?;
        if !plan.args.quiet {
            tell_left_out(&plan.data.data, opened);
        }
        let head = opened.head;
        let mut obsm = vec![("X_cic".to_string(), model.code_dim())];
        if model.n_leaves() > 0 {
            obsm.push(("cic_prob".to_string(), model.n_leaves()));
        }
        let size = AnnDataPlan {
            n_obs: head.obs_names.len(),
            n_vars: head.genes.len(),
            expected_values: Some(opened.expected_values),
            obsm,
        };
        let writer =
            AnnDataWriter::create(path, size).map_err(|error| output::failed(path, error))?;
        Ok(Self { held, path, writer })
    }

    fn write(&mut self, calls: &Calls, values: Option<CsrMatrix>) -> Result<(), DataError> {
        let first_row = self.held.cells.calls.len();
        if let Some(values) = values {
            self.writer.append_x(&values)?;
        }
        self.writer.write_obsm(0, first_row, &calls.codes)?;
        if self.held.cells.model.n_leaves() > 0 {
            self.writer.write_obsm(1, first_row, &calls.probabilities)?;
        }
        Ok(())
    }
}

impl CallSink for AnnDataSink<'_> {
    type Done = Summary;
    const TAKES_VALUES: bool = true;

    fn take(&mut self, calls: Calls, values: Option<CsrMatrix>) -> Result<(), Failure> {
        self.write(&calls, values).map_err(|error| output::failed(self.path, error))?;
        self.held.cells.take(calls);
        Ok(())
    }

    fn finish(self, kind: ValueKind) -> Result<Summary, Failure> {
        let (cells, provenance, summary) = self.held.finish(kind)?;
        let head = cells.head.clone();
        let genes: Vec<String> = head.genes.iter().map(|gene| gene.id.clone()).collect();
        let tables = anndata(&head, &cells, &genes, &provenance)?;
        drop(cells);
        self.writer.finish(&tables).map_err(|error| output::failed(self.path, error))?;
        Ok(summary)
    }
}

/// Says what of an AnnData file is not in the new one.
fn tell_left_out(data: &Path, opened: &Opened<'_>) {
    let head = opened.head;
    for (name, reason) in head.obs.unreadable() {
        tell(format_args!("note: column {name:?} of obs is left out: {reason}"));
    }
    let is_there = |name: &&str| head.obs.column(name).is_ok();
    let ours: Vec<&str> = columns::always().filter(is_there).collect();
    if !ours.is_empty() {
        tell(format_args!("note: replaced in obs of the output: {}", ours.join(", ")));
    }
    // Those of an earlier typing are replaced.
    let left = head.source.not_read.iter().map(String::as_str);
    let left: Vec<&str> = left.filter(|name| !OWN_ARRAYS.contains(name)).collect();
    if !left.is_empty() {
        tell(format_args!("note: not copied from {}: {}", data.display(), left.join(", ")));
    }
}

/// What is written into `obsm`.
const OWN_ARRAYS: [&str; 2] = ["obsm/X_cic", "obsm/cic_prob"];
