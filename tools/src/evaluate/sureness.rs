//! Whether a model is as sure as it should be: confidence against accuracy, and whether sets of labels hold what they promise.

use std::io::{self, Write};

use cic_model::Model;
use cic_model::confidence::LEVELS;
use cic_trainer::metrics::{CalibrationBin, CalibrationError};
use serde::Serialize;

use crate::results::Call;

/// A call and whether its best guess is right.
pub(crate) struct Judged<'a> {
    pub(crate) call: &'a Call,
    /// The leaf that the cell is; `None` where it is none of the model's.
    pub(crate) truth: Option<u32>,
    pub(crate) is_right: bool,
}

/// How sure the calls are of which a part is right.
#[derive(Clone, Debug, Serialize)]
pub struct Sureness {
    /// Calls that were not rejected, by confidence.
    reliability: Vec<Bin>,
    /// Expected calibration errors of 95 % of simulations of the same size in which confidence is right.
    ece_if_calibrated: [f64; 2],
    /// What the model promises of sets of labels, and what they hold; empty where it promises nothing.
    label_sets: Vec<LabelSets>,
    /// By the number of counts, quarters of the cells; empty where values are no counts.
    by_depth: Vec<Bin>,
    /// By the number of genes above zero, quarters of the cells.
    by_genes: Vec<Bin>,
}

/// Calls that have something in common.
#[derive(Clone, Copy, Debug, Serialize)]
struct Bin {
    /// Smallest value of what they have in common.
    from: f64,
    /// Largest.
    to: f64,
    /// Calls.
    n: u64,
    /// Mean confidence.
    confidence: f64,
    /// Share of right calls.
    accuracy: f64,
    /// Share of cells whose label is in the set, by level; of no meaning where none are promised. `null` in bins of confidence.
    coverage: Option<[f64; LEVELS.len()]>,
}

/// Sets of labels at one level.
#[derive(Clone, Copy, Debug, Serialize)]
struct LabelSets {
    /// The promise.
    level: f64,
    /// Share of cells whose label is in their set, rejected cells included.
    coverage: f64,
    /// Labels in a set, on average.
    mean_size: f64,
    /// Share of sets without any label.
    empty: f64,
}

impl Sureness {
    pub(crate) fn of(
        model: &Model<'_>,
        judged: &[Judged<'_>],
        calibration: &CalibrationError,
    ) -> Self {
        let has_sets = model.confidence().is_some_and(|confidence| confidence.has_sets());
        let n_bins = calibration.bins().len() as f64;
        let reliability = calibration.bins().iter().enumerate().filter(|(_, bin)| bin.count > 0);
        let with_numbers: Vec<&Judged<'_>> =
            judged.iter().filter(|one| one.call.best().is_some()).collect();
        let has_depth = with_numbers.iter().any(|one| one.call.n_counts > 0);
        let by_depth: &dyn Fn(&Call) -> f64 = &|call| call.n_counts as f64;
        Self {
            reliability: reliability
                .map(|(number, bin)| Bin {
                    from: number as f64 / n_bins,
                    to: (number + 1) as f64 / n_bins,
                    ..Bin::of_counts(bin)
                })
                .collect(),
            ece_if_calibrated: if_calibrated(&with_numbers, calibration.bins().len()),
            label_sets: match has_sets {
                true => {
                    (0..LEVELS.len()).map(|level| LabelSets::of(&with_numbers, level)).collect()
                }
                false => Vec::new(),
            },
            by_depth: if has_depth { quarters(&with_numbers, by_depth) } else { Vec::new() },
            by_genes: quarters(&with_numbers, &|call| f64::from(call.n_genes)),
        }
    }

    /// Bounds of the expected calibration error where confidence is right.
    pub fn ece_if_calibrated(&self) -> [f64; 2] {
        self.ece_if_calibrated
    }

    pub(crate) fn write_sets(&self, out: &mut dyn Write) -> io::Result<()> {
        for sets in &self.label_sets {
            writeln!(
                out,
                "{:<15} {:.4} of the labels are in their set; {:.2} labels a set, {:.4} of the sets empty",
                format!("sets of {:.0} %", 100.0 * sets.level),
                sets.coverage,
                sets.mean_size,
                sets.empty
            )?;
        }
        Ok(())
    }

    pub(crate) fn write_bins(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_some(out, "confidence", &self.reliability, 2)?;
        self.write_some(out, "counts", &self.by_depth, 0)?;
        self.write_some(out, "genes", &self.by_genes, 0)
    }

    fn write_some(
        &self,
        out: &mut dyn Write,
        name: &str,
        bins: &[Bin],
        digits: usize,
    ) -> io::Result<()> {
        if bins.is_empty() {
            return Ok(());
        }
        write!(out, "\n{name:<16}  {:>6}  {:>10}  {:>8}", "n", "confidence", "accuracy")?;
        let has_sets = !self.label_sets.is_empty() && digits == 0;
        for percent in LEVELS.iter().filter(|_| has_sets) {
            write!(out, "  {:>8}", format!("in {percent} %"))?;
        }
        writeln!(out)?;
        for bin in bins {
            let range = format!("{:.digits$} to {:.digits$}", bin.from, bin.to);
            write!(
                out,
                "{range:<16}  {:>6}  {:>10.4}  {:>8.4}",
                bin.n, bin.confidence, bin.accuracy
            )?;
            for coverage in bin.coverage.iter().flatten().filter(|_| has_sets) {
                write!(out, "  {coverage:>8.4}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl Bin {
    fn of_counts(bin: &CalibrationBin) -> Self {
        let n = bin.count.max(1) as f64;
        Self {
            from: 0.0,
            to: 0.0,
            n: bin.count,
            confidence: bin.confidence_sum / n,
            accuracy: bin.right as f64 / n,
            coverage: None,
        }
    }
}

impl LabelSets {
    fn of(judged: &[&Judged<'_>], level: usize) -> Self {
        let n = judged.len().max(1) as f64;
        let sizes = || judged.iter().map(|one| one.call.label_set(level).len());
        Self {
            level: f64::from(LEVELS[level]) / 100.0,
            coverage: coverage(judged, level),
            mean_size: sizes().sum::<usize>() as f64 / n,
            empty: sizes().filter(|&size| size == 0).count() as f64 / n,
        }
    }
}

fn coverage(judged: &[&Judged<'_>], level: usize) -> f64 {
    let is_held = |one: &&&Judged<'_>| {
        one.truth.is_some_and(|truth| one.call.label_set(level).contains(&truth))
    };
    judged.iter().filter(is_held).count() as f64 / judged.len().max(1) as f64
}

/// Quarters of the cells by a value; cells of the same value stay together.
fn quarters(judged: &[&Judged<'_>], value: &dyn Fn(&Call) -> f64) -> Vec<Bin> {
    let mut sorted = judged.to_vec();
    sorted.sort_by(|a, b| value(a.call).total_cmp(&value(b.call)));
    let mut bins = Vec::new();
    let mut begin = 0;
    for quarter in 1..=4 {
        let mut end = (sorted.len() * quarter / 4).max(begin);
        while end > begin
            && end < sorted.len()
            && value(sorted[end].call) == value(sorted[end - 1].call)
        {
            end += 1;
        }
        let part = &sorted[begin..end];
        begin = end;
        let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
        let n = part.len() as f64;
        bins.push(Bin {
            from: value(first.call),
            to: value(last.call),
            n: part.len() as u64,
            confidence: part.iter().map(|one| f64::from(one.call.confidence)).sum::<f64>() / n,
            accuracy: part.iter().filter(|one| one.is_right).count() as f64 / n,
            coverage: Some(core::array::from_fn(|level| coverage(part, level))),
        });
    }
    bins
}

/// The middle 95 % of the expected calibration errors where each call is right as often as its confidence says.
fn if_calibrated(judged: &[&Judged<'_>], n_bins: usize) -> [f64; 2] {
    let kept: Vec<f64> = judged
        .iter()
        .filter(|one| one.call.reject.is_none())
        .map(|one| f64::from(one.call.confidence))
        .collect();
    let errors = cic_trainer::metrics::calibrated_errors(&kept, n_bins, N_SIMULATIONS, SEED);
    let at = |share: f64| errors.get((share * N_SIMULATIONS as f64) as usize).copied();
    [0.025, 0.975].map(|share| at(share).unwrap_or(0.0))
}

const N_SIMULATIONS: usize = 1_000;
const SEED: u64 = 1;
