//! `cic verify`: types again from what an output says about itself, and compares.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cic_data::{CsrMatrix, sanitise_for_terminal};
use cic_model::{Dtype, ValueKind};
use cic_runtime::kernels::Isa;
use clap::Args;
use serde_json::{Value, json};

use crate::console::{print, print_json, tell};
use crate::dataset::DataArgs;
use crate::digests::file_sha256;
use crate::failure::Failure;
use crate::model_file;
use crate::outputs::Format;
use crate::outputs::columns::{Cell, ColumnSpec, Get};
use crate::outputs::provenance::{InputDigest, Provenance, Run};
use crate::outputs::read::{Written, read};
use crate::results::Calls;
use crate::threads::ThreadArgs;
use crate::typed::TypedCells;
use crate::typing::{CallSink, Opened, Stages, Typing};
use crate::typing_options::TypingOptions;

/// Options of `cic verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// What cic type wrote: .csv, .jsonl, .parquet, .h5ad
    output: PathBuf,
    /// The data, if it is no longer where it was
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// The model, if it is no longer where it was
    #[arg(long, short, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// What stood beside a table, if it was moved
    /// [default: OUT.json]
    #[arg(long, value_name = "JSON", verbatim_doc_comment)]
    provenance: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Say nothing on standard error, unless it fails
    #[arg(long, short)]
    quiet: bool,
}

/// Reads the output, checks model and data against their digests, types again and compares.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let written = read(&args.output, args.provenance.as_deref())?;
    let record = &written.provenance;
    let options = TypingOptions::parse(&record.arguments)
        .map_err(|error| error.context(args.output.display()))?;
    let model_path = args.model.clone().unwrap_or_else(|| PathBuf::from(&record.model_path));
    let bytes = model_file::read(&model_path).map_err(|failure| match args.model {
        None => failure.context("the model is not where it was: give it with --model"),
        Some(_) => failure,
    })?;
    let model = model_file::open(&model_path, &bytes)?;
    let found = model_file::sha256(&model);
    if found != record.model_sha256 {
        return Err(Failure::Model(anyhow::anyhow!(
            "{}: is not the model that typed {}: its SHA-256 is {found}, recorded is {}; give that \
             one with --model",
            model_path.display(),
            args.output.display(),
            record.model_sha256,
        )));
    }
    options.check_model(&model_path, &model)?;
    let data = args.data.clone().unwrap_or_else(|| PathBuf::from(&record.input_path));
    if !data.exists() {
        return Err(Failure::input(format!(
            "{}: the data that were typed are not there; give them with --data",
            data.display()
        )));
    }
    if !args.quiet {
        tell_differences(record);
    }
    let data = DataArgs { data, values: options.values.clone() };
    let typing = Typing {
        model: &model,
        data: &data,
        totals: &options.totals,
        threads: args.threads.number(),
        quiet: args.quiet,
        is_thorough: options.thorough,
        accepts_unjudged: options.unjudged.accept_unjudged,
    };
    let sink = |opened: Opened<'_>| {
        check_input(&data.data, &opened, record)?;
        check_clusters(&options, &opened, record)?;
        let cells = TypedCells::new(&model, &options, &opened)?;
        let arrays = written.codes.is_some().then(Arrays::default);
        Ok(Again { cells, options: &options, arrays })
    };
    let (cells, arrays, kind) = typing.run(sink, &Stages::default())?;
    let again = Run {
        options: &options,
        model_path: &model_path,
        data_path: &data.data,
        started: SystemTime::now(),
        kind,
        input: InputDigest::default(),
    };
    let record_again = Provenance::new(&cells, again)?;
    let mut comparison = Comparison::new(&written, &cells, arrays.as_ref());
    for (name, found, expected) in record.differences(&record_again)? {
        comparison.faults.push(format!("its provenance says {name} {found}, it is {expected}"));
    }
    match args.json {
        true => print_json(&comparison.report(&args.output, record))?,
        false => print(|out| comparison.write(&args.output, record, out))?,
    }
    match comparison.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Gate(anyhow::anyhow!(
            "{}: is not what typing again gives: {first}",
            args.output.display()
        ))),
    }
}

/// Says so where the same is not done by the same program.
fn tell_differences(record: &Provenance) {
    if record.runtime_version != env!("CARGO_PKG_VERSION") {
        tell(format_args!(
            "note: typed with version {}, verified with {}",
            sanitise_for_terminal(&record.runtime_version),
            env!("CARGO_PKG_VERSION")
        ));
    }
    if record.input_sha256.is_none() {
        tell("note: there is no digest of the data to compare");
    }
}

/// Refuses other data than those that were typed.
fn check_input(data: &Path, opened: &Opened<'_>, record: &Provenance) -> Result<(), Failure> {
    let Some(recorded) = &record.input_sha256 else { return Ok(()) };
    let (found, files) = InputDigest::start(&opened.head.source.files).finish()?;
    if found.as_ref() == Some(recorded) {
        return Ok(());
    }
    let other = files.iter().filter(|line| !record.input_files.contains(line));
    let names: Vec<&str> = other.filter_map(|line| line.split("  ").nth(1)).collect();
    Err(Failure::input(format!(
        "{}: is not what was typed: {} has another SHA-256 ({}), recorded is {recorded}; give the \
         data that were typed with --data",
        data.display(),
        names.join(", "),
        found.unwrap_or_default(),
    )))
}

/// Refuses other clusters than those that were voted in.
fn check_clusters(
    options: &TypingOptions,
    opened: &Opened<'_>,
    record: &Provenance,
) -> Result<(), Failure> {
    let file = options.vote.file(opened.head);
    let found = file.as_deref().map(file_sha256).transpose()?;
    if found == record.clusters_sha256 {
        return Ok(());
    }
    Err(Failure::input(format!(
        "the clusters, {}, are not those that were voted in: SHA-256 {}, recorded is {}; put that \
         file back",
        options.vote.over_clustering.as_deref().unwrap_or("none"),
        found.as_deref().unwrap_or("of no file"),
        record.clusters_sha256.as_deref().unwrap_or("that of no file"),
    )))
}

/// The calls of the second typing.
struct Again<'a> {
    cells: TypedCells<'a>,
    options: &'a TypingOptions,
    arrays: Option<Arrays>,
}

/// Row-major, of all cells.
#[derive(Default)]
struct Arrays {
    codes: Vec<f32>,
    probabilities: Vec<f32>,
}

impl<'a> CallSink for Again<'a> {
    type Done = (TypedCells<'a>, Option<Arrays>, ValueKind);
    const TAKES_VALUES: bool = false;

    fn take(&mut self, calls: Calls, _: Option<CsrMatrix>) -> Result<(), Failure> {
        if let Some(arrays) = &mut self.arrays {
            arrays.codes.extend(&calls.codes);
            arrays.probabilities.extend(&calls.probabilities);
        }
        self.cells.take(calls);
        Ok(())
    }

    fn finish(mut self, kind: ValueKind) -> Result<Self::Done, Failure> {
        self.cells.count_votes(self.options);
        Ok((self.cells, self.arrays, kind))
    }
}

/// What is the same and what is not.
struct Comparison {
    n_cells: usize,
    faults: Vec<String>,
    columns: Vec<Compared>,
}

/// One column, or an array.
struct Compared {
    name: &'static str,
    n_different: usize,
    /// The first few.
    first: Vec<Difference>,
}

struct Difference {
    cell: String,
    found: String,
    expected: String,
}

impl Comparison {
    fn new(written: &Written, cells: &TypedCells<'_>, arrays: Option<&Arrays>) -> Self {
        let expected_names = &cells.head.obs_names;
        let mut faults = written.faults.clone();
        let text = |name: &String| match written.format {
            Format::Csv | Format::Celltypist => cic_data::csv_text(name).into_owned(),
            _ => name.clone(),
        };
        let mut names = Compared::new("name");
        for (found, expected) in written.names.iter().zip(expected_names) {
            if *found != text(expected) {
                names.add(found, found.clone(), expected.clone());
            }
        }
        let (found, expected) = (written.names.len(), expected_names.len());
        if found != expected {
            let place = match (names.first.first(), written.names.last()) {
                // Every row from there on is another cell's.
                (Some(first), _) => {
                    format!("where cell {} should stand, cell {} does", first.expected, first.found)
                }
                (None, Some(last)) => format!("the last in the file is {last}"),
                (None, None) => "the file has none".into(),
            };
            faults.push(format!("has {found} cells, typed were {expected}; {place}"));
        }
        let mut columns = vec![names];
        for column in cells.extent().columns() {
            match written.columns.column(column.name) {
                Ok(_) => columns.push(Compared::of(column, written, cells)),
                // CellTypist's table has some of them only.
                Err(_) if written.format == Format::Celltypist => {}
                Err(_) => faults.push(format!("has no column {}", column.name)),
            }
        }
        if written.is_other_file {
            faults.push("its bytes are not those that were written: SHA-256".to_owned());
        }
        if let Some(Arrays { codes, probabilities }) = arrays {
            let (dims, leaves) = (cells.model.code_dim(), cells.model.n_leaves());
            for (name, found, expected, width) in [
                ("codes", &written.codes, codes, dims),
                ("probabilities", &written.probabilities, probabilities, leaves),
            ] {
                let Some(found) = found else { continue };
                columns.push(Compared::of_rows(name, width, found, expected, cells));
            }
        }
        Self { n_cells: written.names.len(), faults, columns }
    }

    /// The first thing that differs, in words.
    fn first(&self) -> Option<String> {
        let different = || self.columns.iter().filter(|column| column.n_different > 0);
        let n: usize = different().map(|column| column.n_different).sum();
        let values = different().find_map(|column| Some((column, column.first.first()?)));
        let values = values.map(|(column, first)| {
            format!(
                "{n} values differ, the first is {} of cell {}: {} in the file, {} now",
                column.name,
                sanitise_for_terminal(&first.cell),
                quoted(&first.found),
                quoted(&first.expected),
            )
        });
        match (self.faults.first().cloned(), values) {
            (Some(fault), Some(values)) => Some(format!("{values}; {fault}")),
            (fault, values) => fault.or(values),
        }
    }

    fn write(&self, path: &Path, record: &Provenance, out: &mut dyn Write) -> io::Result<()> {
        let verdict = if self.first().is_none() { "the same" } else { "DIFFERENT" };
        writeln!(out, "{}: {verdict}, {} cells", path.display(), self.n_cells)?;
        writeln!(out, "  model  {}  {}", short(&record.model_sha256), shown(&record.model_path))?;
        let input = record.input_sha256.as_deref().unwrap_or("no digest");
        writeln!(out, "  data   {}  {}", short(input), shown(&record.input_path))?;
        let kernels = match Isa::best().name() {
            now if now == record.kernel => now.to_owned(),
            now => format!("{} then, {now} now", shown(&record.kernel)),
        };
        writeln!(out, "  kernel {kernels}, {} arithmetic", shown(&record.arithmetic))?;
        for fault in &self.faults {
            writeln!(out, "  FILE   {}", sanitise_for_terminal(fault))?;
        }
        for column in &self.columns {
            match column.n_different {
                0 => writeln!(out, "  same   {}", column.name)?,
                n => writeln!(out, "  DIFFER {}, {n} of {} cells", column.name, self.n_cells)?,
            }
            for one in &column.first {
                writeln!(
                    out,
                    "         {}: {} in the file, {} now",
                    sanitise_for_terminal(&one.cell),
                    quoted(&one.found),
                    quoted(&one.expected)
                )?;
            }
        }
        Ok(())
    }

    fn report(&self, path: &Path, record: &Provenance) -> Value {
        let first = |one: &Difference| json!({"cell": one.cell, "found": one.found, "expected": one.expected});
        let columns = self.columns.iter().map(|column| {
            json!({
                "name": column.name,
                "n_different": column.n_different,
                "first": column.first.iter().map(first).collect::<Vec<_>>(),
            })
        });
        json!({
            "schema_version": 1,
            "output": path.to_string_lossy(),
            "same": self.first().is_none(),
            "n_cells": self.n_cells,
            "faults": self.faults,
            "columns": columns.collect::<Vec<_>>(),
            "model_sha256": record.model_sha256,
            "input_sha256": record.input_sha256,
            "kernel": {"then": record.kernel, "now": Isa::best().name()},
        })
    }
}

impl Compared {
    fn new(name: &'static str) -> Self {
        Self { name, n_different: 0, first: Vec::new() }
    }

    fn add(&mut self, cell: &str, found: String, expected: String) {
        self.n_different += 1;
        if self.first.len() < SHOWN {
            self.first.push(Difference { cell: cell.to_owned(), found, expected });
        }
    }

    fn of(column: &'static ColumnSpec, written: &Written, cells: &TypedCells<'_>) -> Self {
        let mut compared = Self::new(column.name);
        let Ok(found) = written.columns.column(column.name) else { return compared };
        for (row, cell) in cells.cells().enumerate().take(written.names.len()) {
            let is_same = match column.get {
                Get::Real(get) => {
                    let expected = f64::from(get(&cell));
                    let is_near = |found: f64| (found - expected).abs() <= tolerance(cells);
                    // What is not known is no number in the file either.
                    found.number(row).map_or(expected.is_nan(), is_near)
                }
                Get::Whole(get) => found.number(row) == Some(get(&cell) as f64),
                Get::Flag(get) => {
                    let text = found.text(row).unwrap_or_default();
                    text.eq_ignore_ascii_case(if get(&cell) { "true" } else { "false" })
                }
                Get::Text(_) => {
                    found.text(row).unwrap_or_default() == text_of(column, &cell, written.format)
                }
            };
            if !is_same {
                let found = found.text(row).unwrap_or_default().into_owned();
                let expected = text_of(column, &cell, written.format);
                compared.add(&cells.head.obs_names[row], found, expected);
            }
        }
        compared
    }

    /// Cells whose rows of an array differ.
    fn of_rows(
        name: &'static str,
        width: usize,
        found: &[f32],
        expected: &[f32],
        cells: &TypedCells<'_>,
    ) -> Self {
        let mut compared = Self::new(name);
        let width = width.max(1);
        let pairs = found.chunks(width).zip(expected.chunks(width)).zip(&cells.head.obs_names);
        for ((found, expected), name) in pairs {
            let is_same = |(a, b): (&f32, &f32)| match cells.model.dtype() {
                Dtype::S8 => a == b,
                _ => f64::from((a - b).abs()) <= FLOATING * f64::from(b.abs().max(1.0)),
            };
            if !found.iter().zip(expected).all(is_same) {
                let differs = |at: &usize| !is_same((&found[*at], &expected[*at]));
                let first = (0..found.len().min(expected.len())).find(differs).unwrap_or(0);
                let shown = |values: &[f32]| format!("{} at place {first}", values[first]);
                compared.add(name, shown(found), shown(expected));
            }
        }
        compared
    }
}

fn text_of(column: &ColumnSpec, cell: &Cell<'_>, format: Format) -> String {
    match (format, column.get) {
        (Format::Csv | Format::Celltypist, _) => column.text(cell).into_owned(),
        (_, Get::Text(get)) => get(cell).into_owned(),
        _ => column.text(cell).into_owned(),
    }
}

/// How far numbers may be apart: int8 has the same bits everywhere, and tables have six decimals;
/// in floating point, sums are in another order on another processor.
fn tolerance(cells: &TypedCells<'_>) -> f64 {
    match cells.model.dtype() {
        Dtype::S8 => 1e-6,
        _ => FLOATING,
    }
}

fn short(digest: &str) -> String {
    shown(&digest.chars().take(12).collect::<String>())
}

fn shown(text: &str) -> String {
    sanitise_for_terminal(text).into_owned()
}

fn quoted(text: &str) -> String {
    match text {
        "" => "nothing".into(),
        text => shown(text),
    }
}

const FLOATING: f64 = 1e-4;
/// Differences that are shown of each column.
const SHOWN: usize = 5;
