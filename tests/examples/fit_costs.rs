//! `fit_costs FOLDER COSTS`: what a unit of work costs in instructions, by least squares over the measured models
//! of `FOLDER`, written to `COSTS`. Says how far models are off that were left out of the fit.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use cic_model::{AlignedBytes, Model};
use cic_tools::budget::{CORES, Core, Task, amounts};
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
        for group in ["opening", "cell"] {
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
        let Some(task) = Task::ALL.into_iter().find(|task| task.name() == region) else { continue };
        let core = Core::from_name(core).ok_or_else(|| format!("no core {core}"))?;
        found.entry((core.name.to_owned(), task.group())).or_default().push(Measured {
            model: file.split('.').next().unwrap_or_default().to_owned(),
            work: amounts(&model, task, &core),
            instructions: instructions.parse()?,
        });
    }
    Ok(found)
}

/// Costs with the least squares of relative differences. None is negative: nothing takes less for having more to do.
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
    let costs = least_squares(&work, &ones);
    let costs = names.keys().enumerate().map(|(n, name)| (*name, costs[n] / lengths[n]));
    Ok(costs.filter(|(_, cost)| *cost > 0.0).collect())
}

/// The non-negative `x` with the least squares of `work · x − counts`: Lawson and Hanson, Solving Least Squares
/// Problems, chapter 23.
fn least_squares(work: &DMatrix<f64>, counts: &DVector<f64>) -> DVector<f64> {
    let (square, right) = (work.tr_mul(work), work.tr_mul(counts));
    let mut x = DVector::zeros(work.ncols());
    let mut positive: Vec<usize> = Vec::new();
    // More rounds than any table took: rounding could make it choose the same for ever.
    for _ in 0..10 * work.ncols() {
        let slope = &right - &square * &x;
        let rest = (0..work.ncols()).filter(|n| !positive.contains(n) && slope[*n] > 1e-9);
        let Some(steepest) = rest.max_by(|a, b| slope[*a].total_cmp(&slope[*b])) else { return x };
        positive.push(steepest);
        loop {
            let part = square.select_columns(&positive).select_rows(&positive);
            let Some(part) = part.cholesky() else { return x };
            let found = part.solve(&right.select_rows(&positive));
            // As far towards these as all stay positive.
            let steps = positive.iter().zip(found.iter()).filter(|(_, found)| **found <= 0.0);
            let step = steps.map(|(n, found)| x[*n] / (x[*n] - found)).fold(1.0, f64::min);
            for (n, found) in positive.iter().zip(found.iter()) {
                x[*n] += step * (found - x[*n]);
            }
            if step == 1.0 {
                break;
            }
            positive.retain(|n| x[*n] > 1e-12);
            x.iter_mut().filter(|x| **x <= 1e-12).for_each(|x| *x = 0.0);
        }
    }
    x
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
