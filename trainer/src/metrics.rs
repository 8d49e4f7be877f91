//! How good a model is: classification, calibration and reconstruction figures.
//!
//! Every figure is accumulated row by row in double precision, so that a test set never has to be
//! held in memory.

use crate::engine::rng::{Purpose, Rng};

/// Which class was called for which, counted.
///
/// A cell may be refused (`predicted` is `None`): that is an outcome, not a class. It counts
/// against the recall of its true class and against the accuracy, and against no precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    n_classes: usize,
    /// `[n_classes × (n_classes + 1)]`, truth by row, the refused in the last column.
    counts: Vec<u64>,
}

/// The figures of one class. A ratio whose denominator is zero is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScore {
    /// Share of the cells called this class that are of it.
    pub precision: f64,
    /// Share of the cells of this class that are called it.
    pub recall: f64,
    /// `2·TP / (2·TP + FP + FN)`, the harmonic mean of precision and recall.
    pub f1: f64,
    /// Cells of this class.
    pub support: u64,
    /// Cells called this class.
    pub predicted: u64,
}

impl Confusion {
    /// Nothing counted yet. `n_classes` covers the classes of the model and those of the truth:
    /// a type that the model does not know is a class that is never called.
    pub fn new(n_classes: usize) -> Self {
        Self { n_classes, counts: vec![0; n_classes * (n_classes + 1)] }
    }

    /// Counts one cell.
    ///
    /// # Panics
    /// If a class is not below `n_classes`.
    pub fn add(&mut self, truth: usize, predicted: Option<usize>) {
        let column = predicted.unwrap_or(self.n_classes);
        assert!(truth < self.n_classes && column <= self.n_classes, "class out of range");
        self.counts[truth * (self.n_classes + 1) + column] += 1;
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// Cells of class `truth` that were called `predicted` (`None`: refused).
    ///
    /// # Panics
    /// If a class is not below `n_classes`.
    pub fn count(&self, truth: usize, predicted: Option<usize>) -> u64 {
        self.row(truth)[predicted.unwrap_or(self.n_classes)]
    }

    /// Cells counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Cells refused.
    pub fn refused(&self) -> u64 {
        (0..self.n_classes).map(|class| self.count(class, None)).sum()
    }

    /// Cells called right.
    pub fn right(&self) -> u64 {
        (0..self.n_classes).map(|class| self.count(class, Some(class))).sum()
    }

    /// Share of all cells, the refused included, that were called right.
    pub fn accuracy(&self) -> f64 {
        ratio(self.right(), self.total())
    }

    /// The figures of each class.
    pub fn per_class(&self) -> Vec<ClassScore> {
        (0..self.n_classes)
            .map(|class| {
                let right = self.count(class, Some(class));
                let support = self.row(class).iter().sum();
                let predicted = (0..self.n_classes).map(|t| self.count(t, Some(class))).sum();
                ClassScore {
                    precision: ratio(right, predicted),
                    recall: ratio(right, support),
                    f1: ratio(2 * right, support + predicted),
                    support,
                    predicted,
                }
            })
            .collect()
    }

    /// Unweighted mean of F1 over the classes that occur, in the truth or among the calls, which
    /// is scikit-learn's convention; a class that occurs nowhere does not count. Zero for nothing.
    pub fn macro_f1(&self) -> f64 {
        let scores = self.per_class();
        let occurring = || scores.iter().filter(|score| score.support + score.predicted > 0);
        let sum: f64 = occurring().map(|score| score.f1).sum();
        mean(sum, occurring().count())
    }

    fn row(&self, truth: usize) -> &[u64] {
        let width = self.n_classes + 1;
        &self.counts[truth * width..(truth + 1) * width]
    }
}

/// Expected calibration error: how far stated confidence is from the share of right calls.
///
/// Confidences fall into `n_bins` equal bins `(lower, upper]` of 0..=1 (zero belongs to the
/// first); the error is the mean over cells of their bin's |mean confidence − accuracy|.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationError {
    bins: Vec<CalibrationBin>,
}

/// What fell into one bin of confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CalibrationBin {
    /// Cells.
    pub count: u64,
    /// Cells called right.
    pub right: u64,
    /// Sum of their confidences.
    pub confidence_sum: f64,
}

impl CalibrationError {
    /// Nothing counted yet; 15 bins are customary, at least one is made.
    pub fn new(n_bins: usize) -> Self {
        Self { bins: vec![CalibrationBin::default(); n_bins.max(1)] }
    }

    /// Counts one call. A confidence outside 0..=1 counts in the nearest bin, NaN in the first.
    pub fn add(&mut self, confidence: f64, right: bool) {
        let n_bins = self.bins.len();
        let position = libm::ceil(confidence * n_bins as f64) - 1.0;
        // A float converted by `as` saturates, and NaN becomes zero.
        let bin = &mut self.bins[(position as usize).min(n_bins - 1)];
        bin.count += 1;
        bin.right += u64::from(right);
        bin.confidence_sum += confidence;
    }

    /// The bins, from low to high confidence: a reliability diagram.
    pub fn bins(&self) -> &[CalibrationBin] {
        &self.bins
    }

    /// The error, 0 (calibrated) to 1; zero for nothing.
    pub fn value(&self) -> f64 {
        let gaps: f64 =
            self.bins.iter().map(|bin| libm::fabs(bin.confidence_sum - bin.right as f64)).sum();
        let n: u64 = self.bins.iter().map(|bin| bin.count).sum();
        if n == 0 { 0.0 } else { gaps / n as f64 }
    }
}

/// Expected calibration errors of simulations in which a call is right as often as its confidence says, sorted.
pub fn calibrated_errors(confidences: &[f64], n_bins: usize, n: usize, seed: u64) -> Vec<f64> {
    let simulate = |number| {
        let mut rng = Rng::stream(seed, Purpose::JudgeCalls, number, 0);
        let mut error = CalibrationError::new(n_bins);
        for &confidence in confidences {
            error.add(confidence, f64::from(rng.unit()) < confidence);
        }
        error.value()
    };
    let mut errors: Vec<f64> = (0..n as u64).map(simulate).collect();
    errors.sort_unstable_by(f64::total_cmp);
    errors
}

/// How well profiles are reproduced, compared with the mean of the training profiles.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    train_mean: Vec<f32>,
    n_rows: usize,
    squared_error: f64,
    squared_from_mean: f64,
    pearson_sum: f64,
    spearman_sum: f64,
    ranker: Ranker,
    truth_ranks: Vec<f64>,
    reproduced_ranks: Vec<f64>,
}

/// Figures of [`Reconstruction`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReconstructionScores {
    /// Profiles compared.
    pub n_rows: usize,
    /// `1 − Σ‖x − x̂‖² / Σ‖x − μ_train‖²` over all profiles; NaN where no profile differs from the
    /// mean.
    pub r2: f64,
    /// Mean squared error over all entries, in squared units of the preprocessed values.
    pub mse: f64,
    /// Mean over profiles of the correlation of a profile with its reproduction.
    pub pearson: f64,
    /// The same of their ranks; equal values share their mean rank.
    pub spearman: f64,
}

impl Reconstruction {
    /// Nothing compared yet. `train_mean` is the mean of the preprocessed fit rows, `[n_genes]`.
    pub fn new(train_mean: Vec<f32>) -> Self {
        Self {
            train_mean,
            n_rows: 0,
            squared_error: 0.0,
            squared_from_mean: 0.0,
            pearson_sum: 0.0,
            spearman_sum: 0.0,
            ranker: Ranker::default(),
            truth_ranks: Vec::new(),
            reproduced_ranks: Vec::new(),
        }
    }

    /// Compares a preprocessed profile with its reproduction, both `[n_genes]`. A correlation with
    /// a constant profile is undefined and counts as zero.
    ///
    /// # Panics
    /// If a length is not that of the training mean.
    pub fn add(&mut self, profile: &[f32], reproduced: &[f32]) {
        let n_genes = self.train_mean.len();
        assert!(profile.len() == n_genes && reproduced.len() == n_genes, "profile length");
        for ((x, y), mean) in profile.iter().zip(reproduced).zip(&self.train_mean) {
            self.squared_error += square(f64::from(*x) - f64::from(*y));
            self.squared_from_mean += square(f64::from(*x) - f64::from(*mean));
        }
        self.pearson_sum += correlation(profile.iter().zip(reproduced).map(widen));
        self.ranker.rank_into(profile, &mut self.truth_ranks);
        self.ranker.rank_into(reproduced, &mut self.reproduced_ranks);
        let ranks = self.truth_ranks.iter().copied().zip(self.reproduced_ranks.iter().copied());
        self.spearman_sum += correlation(ranks);
        self.n_rows += 1;
    }

    /// The figures so far; zeros (and an `r2` of NaN) for nothing.
    pub fn scores(&self) -> ReconstructionScores {
        let r2 = if self.squared_from_mean > 0.0 {
            1.0 - self.squared_error / self.squared_from_mean
        } else {
            f64::NAN
        };
        ReconstructionScores {
            n_rows: self.n_rows,
            r2,
            mse: mean(self.squared_error, self.n_rows * self.train_mean.len()),
            pearson: mean(self.pearson_sum, self.n_rows),
            spearman: mean(self.spearman_sum, self.n_rows),
        }
    }
}

/// Pearson's correlation; zero where a side is constant or a length differs from the other's.
pub fn pearson(x: &[f32], y: &[f32]) -> f64 {
    if x.len() != y.len() {
        return 0.0;
    }
    correlation(x.iter().zip(y).map(widen))
}

/// Spearman's correlation, equal values sharing their mean rank; zero where [`pearson`] is.
pub fn spearman(x: &[f32], y: &[f32]) -> f64 {
    if x.len() != y.len() {
        return 0.0;
    }
    let mut ranker = Ranker::default();
    let (mut x_ranks, mut y_ranks) = (Vec::new(), Vec::new());
    ranker.rank_into(x, &mut x_ranks);
    ranker.rank_into(y, &mut y_ranks);
    correlation(x_ranks.into_iter().zip(y_ranks))
}

/// Ranks from 1; equal values get the mean of their ranks.
pub fn ranks(values: &[f32]) -> Vec<f64> {
    let mut ranks = Vec::new();
    Ranker::default().rank_into(values, &mut ranks);
    ranks
}

/// Ranks values with storage that is used again.
#[derive(Clone, Debug, Default)]
struct Ranker {
    order: Vec<(f32, u32)>,
}

impl Ranker {
    /// Ranks from 1; equal values get the mean of their ranks.
    fn rank_into(&mut self, values: &[f32], ranks: &mut Vec<f64>) {
        // Adding zero makes -0 equal to 0 in the total order.
        self.order.clear();
        self.order.extend((0u32..).zip(values).map(|(index, value)| (value + 0.0, index)));
        self.order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        ranks.clear();
        ranks.resize(values.len(), 0.0);
        let mut start = 0;
        for tied in self.order.chunk_by(|a, b| a.0 == b.0) {
            let end = start + tied.len();
            let rank = (start + 1 + end) as f64 / 2.0;
            for (_, index) in tied {
                ranks[*index as usize] = rank;
            }
            start = end;
        }
    }
}

/// Correlation of pairs, in two passes so that large means do not cancel the deviations. Values
/// are taken relative to the first, which makes a constant side exactly zero.
fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let Some((x_first, y_first)) = pairs.clone().next() else { return 0.0 };
    let relative = pairs.map(|(x, y)| (x - x_first, y - y_first));
    let (mut n, mut x_sum, mut y_sum) = (0usize, 0.0, 0.0);
    for (x, y) in relative.clone() {
        n += 1;
        x_sum += x;
        y_sum += y;
    }
    let (x_mean, y_mean) = (mean(x_sum, n), mean(y_sum, n));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in relative {
        xx += square(x - x_mean);
        yy += square(y - y_mean);
        xy += (x - x_mean) * (y - y_mean);
    }
    let scale = libm::sqrt(xx) * libm::sqrt(yy);
    if scale > 0.0 { (xy / scale).clamp(-1.0, 1.0) } else { 0.0 }
}

fn widen((x, y): (&f32, &f32)) -> (f64, f64) {
    (f64::from(*x), f64::from(*y))
}

fn square(x: f64) -> f64 {
    x * x
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn mean(sum: f64, n: usize) -> f64 {
    if n == 0 { 0.0 } else { sum / n as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counted_gives_zeros() {
        assert_eq!(Confusion::new(0).accuracy(), 0.0);
        assert_eq!(Confusion::new(3).macro_f1(), 0.0);
        assert_eq!(CalibrationError::new(0).value(), 0.0);
        assert!(Reconstruction::new(Vec::new()).scores().r2.is_nan());
    }

    #[test]
    fn refused_cells_lower_recall_and_no_precision() {
        let mut confusion = Confusion::new(2);
        confusion.add(0, Some(0));
        confusion.add(0, None);
        confusion.add(1, Some(1));
        let scores = confusion.per_class();
        assert_eq!((scores[0].precision, scores[0].recall), (1.0, 0.5));
        assert_eq!(scores[1].f1, 1.0);
        assert_eq!(confusion.refused(), 1);
        assert_eq!(confusion.accuracy(), 2.0 / 3.0);
    }

    #[test]
    fn a_class_that_occurs_nowhere_does_not_lower_macro_f1() {
        let mut confusion = Confusion::new(5);
        confusion.add(0, Some(0));
        confusion.add(1, Some(1));
        assert_eq!(confusion.macro_f1(), 1.0);
        confusion.add(1, Some(4));
        let expected = (1.0 + 2.0 / 3.0 + 0.0) / 3.0;
        assert!((confusion.macro_f1() - expected).abs() < 1e-15);
    }

    #[test]
    fn confidence_on_a_bin_edge_belongs_to_the_lower_bin() {
        let mut error = CalibrationError::new(10);
        for confidence in [0.0, 0.1, 0.10001, 1.0, 1.5, f64::NAN] {
            error.add(confidence, true);
        }
        let counts: Vec<u64> = error.bins().iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [3, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn constant_profiles_have_no_correlation() {
        assert_eq!(pearson(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), 0.0);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[4.0, 4.0, 4.0]), 0.0);
        assert_eq!(spearman(&[1.0], &[1.0]), 0.0);
        assert_eq!(pearson(&[], &[]), 0.0);
        assert_eq!(pearson(&[0.1; 7], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]), 0.0);
    }

    #[test]
    fn both_zeros_share_a_rank() {
        let mut ranks = Vec::new();
        Ranker::default().rank_into(&[0.0, -0.0, 3.0, -1.0], &mut ranks);
        assert_eq!(ranks, [2.5, 2.5, 4.0, 1.0]);
    }

    #[test]
    fn the_training_mean_has_an_r2_of_zero_and_the_profile_itself_of_one() {
        let mean = vec![1.0, 2.0, 3.0];
        let mut reconstruction = Reconstruction::new(mean.clone());
        reconstruction.add(&[4.0, 0.5, 2.0], &mean);
        assert_eq!(reconstruction.scores().r2, 0.0);
        let mut reconstruction = Reconstruction::new(mean);
        reconstruction.add(&[4.0, 0.5, 2.0], &[4.0, 0.5, 2.0]);
        let scores = reconstruction.scores();
        assert_eq!((scores.r2, scores.mse), (1.0, 0.0));
        assert!((scores.pearson - 1.0).abs() < 1e-15 && (scores.spearman - 1.0).abs() < 1e-15);
    }
}
