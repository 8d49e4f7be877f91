//! `cic check`: what a file holds, before anything is done with it.

use std::io::{self, Write};
use std::path::PathBuf;

use cic_data::{align, check_scale, sanitise_for_terminal};
use cic_model::ValueKind;
use clap::Args;
use serde_json::{Value, json};

use crate::console::{print, print_json, wrap_list};
use crate::dataset::{DataArgs, Dataset, model_kind};
use crate::failure::Failure;
use crate::model_file;
use crate::notes;

/// Options of `cic check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Also tell how much of this model's panel the file has
    #[arg(long, short, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads and prints.
pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    let (matrix, declared) = (args.data.read_any()?, args.data.values.kind);
    let bytes = args.model.as_deref().map(model_file::read).transpose()?;
    let model = args.model.as_deref().zip(bytes.as_ref());
    let model = model.map(|(path, bytes)| model_file::open(path, bytes)).transpose()?;
    let dataset = if matrix.values.nnz() > 0 {
        Dataset::checked(matrix, declared)?
    } else {
        // Zeros are zeros on every scale.
        let kind = model.as_ref().map(model_kind).transpose()?.or(declared);
        Dataset {
            matrix,
            kind: kind.unwrap_or(ValueKind::Counts),
            evidence: String::new(),
            log1p_sum: None,
        }
    };
    let mut report = describe(&dataset, declared)?;
    if let Some(model) = &model {
        let overlap = align(&dataset.matrix, model.genes())?.overlap;
        let refusal = dataset.align(model).err().map(|failure| failure.to_string());
        report["model"] = json!({
            "n_genes": model.n_genes(),
            "n_present": overlap.n_present,
            "n_duplicates": overlap.n_duplicates,
            "refusal": refusal,
            "value_kind": model_kind(model)?.name(),
        });
        if let (Some(note), Some(notes)) =
            (notes::of_duplicates(model, &overlap), report["notes"].as_array_mut())
        {
            notes.push(note.into());
        }
    }
    match args.json {
        true => print_json(&report),
        false => print(|out| write_report(&report, out)),
    }
}

/// What a file holds, as printed with `--json`.
pub(crate) fn describe(dataset: &Dataset, declared: Option<ValueKind>) -> Result<Value, Failure> {
    let matrix = &dataset.matrix;
    let verdict = match matrix.values.nnz() {
        0 => None,
        _ => Some(check_scale(matrix, declared)?),
    };
    let evidence = verdict.as_ref().map_or("every value is zero", |verdict| &verdict.evidence);
    let mut notes = matrix.source.notes.clone();
    let unreadable = matrix.obs.unreadable().iter();
    notes.extend(
        unreadable.map(|(name, reason)| format!("obs column {name:?} was not read: {reason}")),
    );
    if verdict.is_none() {
        notes.push(notes::of_nothing(&matrix.source));
    }
    let mut sums: Vec<f64> = Vec::with_capacity(matrix.n_obs());
    let mut genes: Vec<f64> = Vec::with_capacity(matrix.n_obs());
    for row in 0..matrix.n_obs() {
        let (_, values) = matrix.values.row(row);
        sums.push(values.iter().map(|&value| f64::from(value)).sum());
        genes.push(values.len() as f64);
    }
    let n_ensembl = matrix.genes.iter().filter(|gene| gene.ensembl.is_some()).count();
    let n_empty = genes.iter().filter(|&&n| n == 0.0).count();
    let zeros = 1.0 - matrix.values.nnz() as f64 / (matrix.n_obs() as f64 * matrix.n_vars() as f64);
    Ok(json!({
        "schema_version": 1,
        "format": matrix.source.format,
        "matrix": matrix.source.matrix,
        "n_obs": matrix.n_obs(),
        "n_vars": matrix.n_vars(),
        "n_values": matrix.values.nnz(),
        "value_kind": verdict.as_ref().map(|verdict| verdict.kind.name()),
        "evidence": evidence,
        "max": verdict.as_ref().map_or(0.0, |verdict| verdict.scale.max),
        "zeros": zeros,
        "sum_per_cell": quantiles(sums),
        "genes_per_cell": quantiles(genes),
        "n_empty_cells": n_empty,
        "n_ensembl_ids": n_ensembl,
        "obs_columns": matrix.obs.names().collect::<Vec<_>>(),
        "notes": notes,
        "model": null,
    }))
}

fn write_report(report: &Value, out: &mut dyn Write) -> io::Result<()> {
    let text = |value: &Value| match value {
        Value::String(text) => sanitise_for_terminal(text).into_owned(),
        other => other.to_string(),
    };
    let mut line = |name: &str, value: String| writeln!(out, "{name:16} {value}");
    line("format", format!("{} ({})", text(&report["format"]), text(&report["matrix"])))?;
    line(
        "size",
        format!(
            "{} cells x {} genes, {} values, {:.1} % zeros",
            report["n_obs"],
            report["n_vars"],
            report["n_values"],
            100.0 * report["zeros"].as_f64().unwrap_or(0.0)
        ),
    )?;
    let kind = report["value_kind"].as_str().unwrap_or("of no kind");
    line("values", format!("{kind}: {}", text(&report["evidence"])))?;
    for (name, key) in [("sum per cell", "sum_per_cell"), ("genes per cell", "genes_per_cell")] {
        let q = &report[key];
        let number = |key: &str| q[key].as_f64().unwrap_or(0.0);
        line(
            name,
            format!(
                "{:.0} least, {:.0} median, {:.0} most",
                number("min"),
                number("median"),
                number("max")
            ),
        )?;
    }
    line("empty cells", report["n_empty_cells"].to_string())?;
    line("Ensembl ids", format!("{} of {}", report["n_ensembl_ids"], report["n_vars"]))?;
    let columns = report["obs_columns"].as_array().map_or(&[][..], |columns| columns);
    let columns = wrap_list(columns.iter().filter_map(Value::as_str), 17);
    line("obs columns", if columns.is_empty() { "none".into() } else { columns })?;
    for note in report["notes"].as_array().map_or(&[][..], |notes| notes) {
        line("note", text(note))?;
    }
    if let Some(model) = report["model"].as_object() {
        line(
            "model panel",
            format!("{} of {} genes present", model["n_present"], model["n_genes"]),
        )?;
        line("model input", text(&model["value_kind"]))?;
        match &model["refusal"] {
            Value::Null => line("verdict", "the model takes this file".into())?,
            reason => line("verdict", format!("refused: {}", text(reason)))?,
        }
    }
    Ok(())
}

fn quantiles(mut values: Vec<f64>) -> Value {
    values.sort_unstable_by(f64::total_cmp);
    let at = |q: f64| values.get(((values.len().max(1) - 1) as f64 * q).round() as usize);
    json!({"min": at(0.0), "median": at(0.5), "max": at(1.0)})
}
