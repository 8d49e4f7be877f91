//! `fit_costs FOLDER COSTS`: what a unit of work costs in instructions, by least squares over the measured models
//! of `FOLDER`, written to `COSTS`. Says how far models are off that were left out of the fit.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use cic_model::{AlignedBytes, Model};
use cic_tools::budget::{CORES, Task, amounts};
use nalgebra::{DMatrix, DVector};

/// A counted task: the model's number, its work and its instructions.
struct Measured {
    model: String,
    work: Vec<(&'static str, f64)>,
    instructions: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, to] = arguments.as_slice() else {
        return Err("usage: fit_costs FOLDER COSTS".into());
    };
    let measured = read(Path::new(folder))?;
    let mut table = String::from("core\ttask\twork\tinstructions\n");
    for core in CORES {
        for group in ["open", "verify", "cell"] {
            let rows = measured
                .get(&(core.name.to_owned(), group))
                .ok_or_else(|| format!("{} was not measured", core.name))?;
            let costs = fit(rows.iter())?;
            for (work, cost) in &costs {
                writeln!(table, "{}\t{group}\t{work}\t{cost:.4}", core.name)?;
            }
            let fitted = rows.iter().map(|row| off(row, &costs)).fold(0.0, f64::max);
            let left_out = left_out(rows)?;
            println!(
                "{} {group}: {} counts, off by {:.2} % at most, by {:.2} % where left out",
                core.name,
                rows.len(),
                100.0 * fitted,
                100.0 * left_out
            );
        }
    }
    Ok(std::fs::write(to, table)?)
}

/// By core and group of tasks.
type Tables = BTreeMap<(String, &'static str), Vec<Measured>>;

fn read(folder: &Path) -> Result<Tables, Box<dyn Error>> {
    let mut found = Tables::new();
    let table = std::fs::read_to_string(folder.join("measured.tsv"))?;
    for line in table.lines().skip(1) {
        let [core, file, region, instructions] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("not four columns: {line}").into());
        };
        let bytes = AlignedBytes::new(&std::fs::read(folder.join(file))?);
        let model = Model::open_verified(&bytes)?;
        let task = Task::ALL.into_iter().find(|task| task.name() == region);
        let task = task.ok_or_else(|| format!("no task {region}"))?;
        found.entry((core.to_owned(), task.group())).or_default().push(Measured {
            model: file.split('.').next().unwrap_or_default().to_owned(),
            work: amounts(&model, task),
            instructions: instructions.parse()?,
        });
    }
    Ok(found)
}

/// Costs with the least squares of relative differences.
fn fit<'a>(
    rows: impl Iterator<Item = &'a Measured> + Clone,
) -> Result<BTreeMap<&'static str, f64>, Box<dyn Error>> {
    let names: BTreeMap<&'static str, usize> =
        rows.clone().flat_map(|row| row.work.iter().map(|(name, _)| (*name, 0))).collect();
    let position: BTreeMap<&str, usize> =
        names.keys().enumerate().map(|(position, name)| (*name, position)).collect();
    let mut work = DMatrix::zeros(rows.clone().count(), names.len());
    for (n, row) in rows.clone().enumerate() {
        for (name, amount) in &row.work {
            work[(n, position[name])] = amount / row.instructions;
        }
    }
    // Columns of the same length, so that small costs count as well as large ones.
    let lengths: Vec<f64> = work.column_iter().map(|column| column.norm()).collect();
    for (mut column, length) in work.column_iter_mut().zip(&lengths) {
        column /= *length;
    }
    let ones = DVector::repeat(work.nrows(), 1.0);
    let costs = work.svd(true, true).solve(&ones, 1e-9)?;
    Ok(names.keys().enumerate().map(|(n, name)| (*name, costs[n] / lengths[n])).collect())
}

/// How far the costs are off, relative to what was counted.
fn off(row: &Measured, costs: &BTreeMap<&'static str, f64>) -> f64 {
    let calculated: f64 = row
        .work
        .iter()
        .map(|(name, amount)| amount * costs.get(name).copied().unwrap_or(0.0))
        .sum();
    (calculated / row.instructions - 1.0).abs()
}

/// How far they are off for models that the fit did not see, at most.
fn left_out(rows: &[Measured]) -> Result<f64, Box<dyn Error>> {
    let mut most = 0.0_f64;
    let models: std::collections::BTreeSet<&str> = rows.iter().map(|row| &*row.model).collect();
    for model in models {
        let costs = fit(rows.iter().filter(|row| row.model != model))?;
        let of_model = rows.iter().filter(|row| row.model == model);
        most = of_model.map(|row| off(row, &costs)).fold(most, f64::max);
    }
    Ok(most)
}
