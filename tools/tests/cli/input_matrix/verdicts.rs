//! Whether a program does with a file what its row says.

use std::fmt::Write;

use cic_data::{ReadOptions, csv_text, read_expression};

use super::models::Precision;
use super::row::{Args, Calls, Cells, Group, Row, Verdict};
use crate::sandbox::{Run, Sandbox};

/// Tries every row and tells of all that are otherwise.
pub fn check(group: &Group) {
    let mut faults = String::new();
    for row in &group.rows {
        for precision in Precision::ALL {
            if let Err(fault) = check_row(row, precision) {
                writeln!(faults, "\n{:?}: {fault} ({precision:?})", row.name).unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

fn check_row(row: &Row, precision: Precision) -> Result<(), String> {
    let folder = Sandbox::new();
    folder.write("model.cic", row.model.bytes(precision));
    let sound = row.model.table(precision);
    let args = (row.make)(&folder).and("-m model.cic");
    let before = folder.names();
    match row.verdict {
        Verdict::Refuse(message) => {
            for output in ["-", "out.csv", "out.h5ad"] {
                let run = folder.cic_args("type", &args.clone().and("-o").and(output).0);
                expect("exit code", run.code, Some(3))?;
                // What an AnnData output would leave out is told before the values are read.
                let said = run.stderr.lines().filter(|line| !line.starts_with("note: not copied"));
                expect("message", said.collect(), vec![format!("cic: {message}").as_str()])?;
                expect("standard output", run.stdout.as_str(), "")?;
                expect("files", folder.names(), before.clone())?;
            }
            check_tells(&folder, &args, Some(message), None)
        }
        Verdict::Accept(calls) => typed(&folder, &args, sound, calls, None),
        Verdict::Normalise(calls, note) => typed(&folder, &args, sound, calls, Some(note)),
        Verdict::Reject(reason, cells) => rejected(&folder, &args, sound, reason, cells),
    }
}

fn typed(
    folder: &Sandbox,
    args: &Args,
    sound: &str,
    calls: Calls,
    note: Option<&str>,
) -> Result<(), String> {
    let table = run_type(folder, args, note)?;
    match calls {
        Calls::Same => expect("the table", table.as_str(), sound)?,
        Calls::Near(share) => {
            let (found, expected) = (labels(&table), labels(sound));
            expect("number of cells", found.len(), expected.len())?;
            let same = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
            if (same as f64) < share * expected.len() as f64 {
                return Err(format!("{same} of {} labels are the same", expected.len()));
            }
        }
        Calls::Any => {}
    }
    if labels(&table).iter().any(|label| label == "Unassigned") {
        return Err(format!("a cell has no label:\n{table}"));
    }
    check_tells(folder, args, None, note)
}

fn rejected(
    folder: &Sandbox,
    args: &Args,
    sound: &str,
    reason: &str,
    cells: Cells,
) -> Result<(), String> {
    let note = if let Cells::All(note) = cells { Some(note) } else { None };
    let table = run_type(folder, args, note)?;
    let sound: Vec<&str> = sound.lines().skip(1).collect();
    let lines: Vec<&str> = table.lines().skip(1).collect();
    expect("number of cells", lines.len(), sound.len())?;
    for (cell, (line, sound)) in lines.iter().zip(sound).enumerate() {
        let is_rejected = match cells {
            Cells::These(these) => these.contains(&cell),
            Cells::All(_) => true,
        };
        if is_rejected {
            let fields: Vec<&str> = line.split(',').collect();
            expect("the label", fields[1], "Unassigned")?;
            expect("rejected, and why", &fields[3..5], &["True", reason])?;
            expect("the ontology id", fields[7], "")?;
        } else {
            expect("the line of a sound cell", *line, sound)?;
        }
    }
    // The file is refused where its user asks for that.
    let strict = folder.cic_args("type", &args.clone().and("--strict -o out.csv").0);
    expect("exit code with --strict", strict.code, Some(3))?;
    check_tells(folder, args, None, note)
}

/// The table on standard output, of a run that says `note` and nothing else beside its summary.
fn run_type(folder: &Sandbox, args: &Args, note: Option<&str>) -> Result<String, String> {
    let run = folder.cic_args("type", &args.clone().and("-o -").0);
    let Run { code, stdout, stderr } = run;
    expect("exit code", code, Some(0)).map_err(|fault| format!("{fault}\n{stderr}"))?;
    let mut lines: Vec<&str> = stderr.lines().collect();
    let summary = lines.pop().unwrap_or_default();
    if !summary.contains("cells typed") {
        return Err(format!("no summary: {stderr}"));
    }
    let said = lines.join("\n");
    expect("notes", said.as_str(), &note.map_or(String::new(), |note| format!("note: {note}")))?;
    anndata_says_the_same(folder, args, &stdout)?;
    Ok(stdout)
}

/// The calls of a `.h5ad` output are those of the table, under the names that the file has.
fn anndata_says_the_same(folder: &Sandbox, args: &Args, table: &str) -> Result<(), String> {
    let run = folder.cic_args("type", &args.clone().and("-q -o out.h5ad").0);
    expect("exit code with out.h5ad", (run.code, run.stderr.as_str()), (Some(0), ""))?;
    let written = read_expression(&folder.path("out.h5ad"), &ReadOptions::default()).unwrap();
    let value = |column: &str, row| written.obs.value(column, row).unwrap_or_default();
    for (row, fields) in fields(table).iter().enumerate() {
        let name = csv_text(&written.obs_names[row]);
        expect("name in the table", fields[0].as_str(), &*name)?;
        expect("label in the .h5ad", &*value("predicted_labels", row), fields[1].as_str())?;
        expect("reason in the .h5ad", &*value("cic_reject_reason", row), fields[4].as_str())?;
    }
    std::fs::remove_file(folder.path("out.h5ad")).unwrap();
    Ok(())
}

/// `cic check` gives the same verdict, before anything is typed.
fn check_tells(
    folder: &Sandbox,
    args: &Args,
    refusal: Option<&str>,
    note: Option<&str>,
) -> Result<(), String> {
    // What is done about totals and in the table is a matter of typing.
    let mut args = args.clone();
    if let Some(at) = args.0.iter().position(|arg| arg == "--total-counts") {
        args.0.drain(at..at + 2);
        return expect("exit code of cic check", folder.cic_args("check", &args.0).code, Some(0));
    }
    let run = folder.cic_args("check", &args.clone().and("--json").0);
    if run.code != Some(0) {
        let said = run.stderr.strip_prefix("cic: ").unwrap_or(&run.stderr).trim_end();
        expect("exit code of cic check", run.code, Some(3))?;
        return expect("refusal by cic check", Some(said), refusal);
    }
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    expect("refusal told by cic check", report["model"]["refusal"].as_str(), refusal)?;
    if let Some(note) = note.filter(|note| !note.contains(IN_THE_TABLE)) {
        let notes = report["notes"].as_array().unwrap();
        if !notes.iter().any(|told| told.as_str() == Some(note)) {
            return Err(format!("cic check does not tell {note:?}, but {notes:?}"));
        }
    }
    let text = folder.cic_args("check", &args.0);
    expect("exit code of cic check", text.code, Some(0))?;
    match text.stdout.chars().find(|&c| c.is_control() && c != '\n') {
        Some(odd) => Err(format!("cic check prints {odd:?}")),
        None => Ok(()),
    }
}

/// What a note about written names says.
const IN_THE_TABLE: &str = "in the table";

fn labels(table: &str) -> Vec<String> {
    fields(table).into_iter().map(|mut fields| fields.swap_remove(1)).collect()
}

/// The fields of every row below the header.
fn fields(table: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let rows = reader.records().map(|record| record.unwrap());
    rows.map(|record| record.iter().map(String::from).collect()).collect()
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}:\n   found {found:?}\nexpected {expected:?}"))
}
