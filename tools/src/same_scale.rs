//! Whether values of the right kind are also on the scale of the training data: logarithms are
//! read as they are, so that another base or another sum would give other cells.

use cic_data::{CsrMatrix, Names};
use cic_model::spec::ModelSpec;
use cic_model::{Model, ValueKind};

use crate::dataset::Dataset;
use crate::failure::Failure;
use crate::totals::note_measured;

/// The key of what the training cells summed to before log1p.
const LOG1P_SUM: &str = "data.log1p_sum";

/// The value of [`LOG1P_SUM`], with the five digits that all cells agree in.
fn log1p_sum_text(sum: f64) -> String {
    let rounded = format!("{sum:.4e}").parse().unwrap_or(sum);
    format!("{rounded:?}")
}

/// What a model says of the scale of the cells that it was made with: what they summed to, and how many genes they had.
pub(crate) fn note_scale(spec: &mut ModelSpec, dataset: &Dataset) {
    let reads_log1p = spec.profiles.iter().any(|profile| profile.kind == ValueKind::Log1p);
    if let Some(sum) = dataset.log1p_sum.filter(|_| reads_log1p) {
        spec.provenance.insert(LOG1P_SUM.into(), log1p_sum_text(sum));
    }
    note_measured(spec, dataset.matrix.n_vars());
}

/// Refuses log1p values whose cells all sum to something else than those of the training.
pub(crate) fn check_log1p_sum(
    names: Names<'_>,
    found: Option<f64>,
    model: &Model<'_>,
) -> Result<(), Failure> {
    let trained = model.provenance().value(LOG1P_SUM).and_then(|text| text.parse::<f64>().ok());
    let (Some(found), Some(trained)) = (found, trained) else { return Ok(()) };
    if (found - trained).abs() <= SUM_TOLERANCE * trained {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{path}: every cell sums to {found} after exp(x) - 1, but the model was trained on cells \
         that sum to {trained}; normalise to {trained} before the logarithm",
        path = names.path.display(),
        found = log1p_sum_text(found),
        trained = log1p_sum_text(trained),
    )))
}

/// Sums over cells of the values of every gene of a panel.
#[derive(Clone, Debug, Default)]
pub(crate) struct GeneSums {
    n_cells: usize,
    sums: Vec<f64>,
}

impl GeneSums {
    /// Of aligned cells; nothing unless the model reads log2 intensities. Empty cells do not count.
    pub(crate) fn of(kind: ValueKind, cells: &CsrMatrix) -> Self {
        let mut all = Self::default();
        if kind != ValueKind::Log2Intensity {
            return all;
        }
        all.sums.resize(cells.n_cols, 0.0);
        for row in 0..cells.n_rows() {
            let (genes, values) = cells.row(row);
            all.n_cells += usize::from(!genes.is_empty());
            for (&gene, &value) in genes.iter().zip(values) {
                all.sums[gene as usize] += f64::from(value);
            }
        }
        all
    }

    /// Adds other cells of the same file.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.n_cells += other.n_cells;
        self.sums.resize(self.sums.len().max(other.sums.len()), 0.0);
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
    }

    /// Refuses a file whose genes are neither about as high nor about as different from each other
    /// as in training. One of the two may differ: other laboratories, other backgrounds.
    pub(crate) fn check(
        &self,
        names: Names<'_>,
        present: &[bool],
        model: &Model<'_>,
    ) -> Result<(), Failure> {
        let Some(profile) = model.profiles().first().filter(|_| self.n_cells > 0) else {
            return Ok(());
        };
        let genes = || self.sums.iter().zip(profile.fill_values()).zip(present);
        let genes = || genes().filter(|(_, is_present)| **is_present).map(|(gene, _)| gene);
        let (mean, sd) = mean_and_sd(genes().map(|(sum, _)| sum / self.n_cells as f64));
        // What stands for a missing gene is the mean of the training values.
        let (trained_mean, trained_sd) = mean_and_sd(genes().map(|(_, &fill)| f64::from(fill)));
        let is_outside = |found: f64, trained: f64, (low, high): (f64, f64)| {
            trained > 0.0 && !(low * trained..=high * trained).contains(&found)
        };
        let differs =
            is_outside(mean, trained_mean, MEAN_RATIOS) && is_outside(sd, trained_sd, SD_RATIOS);
        if !differs {
            return Ok(());
        }
        Err(Failure::input(format!(
            "{path}: the values of the model's genes are {mean:.2} on average, those of its \
             training were {trained_mean:.2}; are these logarithms of another base, or logarithms \
             of logarithms? the model was trained on log2 intensities: take log2 of the \
             intensities",
            path = names.path.display(),
        )))
    }
}

fn mean_and_sd(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// Sums agree to 0.1 % within a file; a change of the target is far more than this.
const SUM_TOLERANCE: f64 = 0.01;
/// A natural logarithm is 0.69 of the one to the base 2, a second logarithm far less.
const MEAN_RATIOS: (f64, f64) = (0.75, 1.33);
const SD_RATIOS: (f64, f64) = (0.8, 1.25);
