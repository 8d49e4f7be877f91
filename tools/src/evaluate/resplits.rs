//! Whether sets of labels hold what they promise when the cells that set them and those that are looked at are divided anew.

use std::io::{self, Write};

use cic_data::AlignedMatrix;
use cic_model::Model;
use cic_model::confidence::LEVELS;
use cic_model::provenance::Part;
use cic_quant::{fitted_parts, rows_of};
use cic_trainer::calibration::{excess, resplit_coverage};
use serde::Serialize;

use crate::failure::Failure;
use crate::promises::{judge, leaves_of};

/// Coverage over the divisions.
#[derive(Clone, Debug, Serialize)]
pub struct Resplits {
    /// Divisions.
    n: usize,
    /// Cells that set the margins of each, as many as the model's own were set by.
    n_calibration: usize,
    /// Cells that are looked at.
    n_evaluated: usize,
    levels: Vec<Level>,
}

/// Sets at one level.
#[derive(Clone, Copy, Debug, Serialize)]
struct Level {
    /// The promise.
    level: f64,
    /// Share of cells whose label is in their set: its mean over the divisions.
    coverage: f64,
    /// And its standard deviation.
    sd: f64,
}

impl Resplits {
    /// Of the calibration cells of the file and `rows`. `None` where the model promises nothing, or the file lacks its
    /// calibration cells.
    pub(super) fn of(
        model: &Model<'_>,
        cells: &AlignedMatrix,
        names: &[String],
        rows: &[usize],
        label: impl Fn(usize) -> Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let n_calibration = model.confidence().map_or(0, |confidence| confidence.n_cells());
        // They are like cells that were never seen only if no weight was fitted to them.
        if n_calibration == 0 || fitted_parts(model).contains(&Part::Calibrate) {
            return Ok(None);
        }
        let mut all = rows_of(model, names, &[Part::Calibrate]);
        let n_own = all.len();
        all.extend(rows);
        all.sort_unstable();
        all.dedup();
        // Rows that were calibrated with are no others.
        if n_own == 0 || all.len() != n_own + rows.len() {
            return Ok(None);
        }
        let leaves = leaves_of(model, names.len(), label);
        let judged = judge(model, cells, None, &all, &leaves)?;
        let excesses: Vec<f64> = judged.iter().filter_map(excess).collect();
        let n_calibration = n_calibration as usize;
        let Some(coverage) = resplit_coverage(&excesses, n_calibration, N, SEED) else {
            return Ok(None);
        };
        let level = |(percent, shares): (u32, &Vec<f64>)| {
            let mean = shares.iter().sum::<f64>() / N as f64;
            let squares: f64 = shares.iter().map(|share| (share - mean).powi(2)).sum();
            let sd = (squares / (N - 1) as f64).sqrt();
            Level { level: f64::from(percent) / 100.0, coverage: mean, sd }
        };
        Ok(Some(Self {
            n: N,
            n_calibration,
            n_evaluated: excesses.len() - n_calibration,
            levels: LEVELS.into_iter().zip(&coverage).map(level).collect(),
        }))
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for level in &self.levels {
            writeln!(
                out,
                "{:<15} {:.4} ±{:.4}, mean over {} divisions of calibration and these cells into {} and {}",
                format!("sets of {:.0} %", 100.0 * level.level),
                level.coverage,
                level.sd,
                self.n,
                self.n_calibration,
                self.n_evaluated,
            )?;
        }
        Ok(())
    }
}

const N: usize = 200;
const SEED: u64 = 1;
