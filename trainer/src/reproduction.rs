//! Whether reproduced profiles are still those of their own samples, among all others: the paper's test of ranks
//! (figure 2b, c), and its measure of what is near (figure 2e, f): the nearest other sample.

use faer::{Mat, MatRef};

use crate::metrics::ranks;

/// For every profile, where it stands among all by how near they are to its reproduction: 1 is the nearest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRanks {
    /// By Spearman's correlation.
    pub by_spearman: Vec<usize>,
    /// By mean squared error.
    pub by_error: Vec<usize>,
}

/// How near the nearest other profile is.
#[derive(Clone, Debug, PartialEq)]
pub struct NearestOther {
    /// Largest Spearman correlation with another.
    pub spearman: Vec<f64>,
    /// Smallest mean squared error to another.
    pub error: Vec<f64>,
}

/// The sample that each profile is a technical replicate of; a profile without one is its own.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Option<String>>);

impl Samples {
    /// One entry for each profile, or none at all.
    pub fn new(samples: Vec<Option<String>>) -> Self {
        Self(samples)
    }

    fn differ(&self, a: usize, b: usize) -> bool {
        let of = |at: usize| self.0.get(at).and_then(Option::as_ref);
        a != b && (of(a).is_none() || of(a) != of(b))
    }
}

/// Ranks of profiles `[n × n_genes]` among themselves for their reproductions, technical replicates of the own sample left out.
/// Others that are as near count half.
pub fn own_ranks(
    profiles: MatRef<'_, f64>,
    reproduced: MatRef<'_, f64>,
    samples: &Samples,
) -> OwnRanks {
    let correlations = correlations(reproduced, profiles);
    let distances = distances(reproduced, profiles);
    let rank = |values: &Mat<f64>, row: usize, sign: f64| {
        let own = sign * values[(row, row)];
        let others = (0..values.ncols()).filter(|&other| samples.differ(row, other));
        let halves: usize = others
            .map(|other| match sign * values[(row, other)] {
                value if value > own => 2,
                value if value == own => 1,
                _ => 0,
            })
            .sum();
        1 + halves.div_ceil(2)
    };
    let rows = 0..profiles.nrows();
    OwnRanks {
        by_spearman: rows.clone().map(|row| rank(&correlations, row, 1.0)).collect(),
        by_error: rows.map(|row| rank(&distances, row, -1.0)).collect(),
    }
}

/// The nearest other of every profile, technical replicates of the own sample left out.
pub fn nearest_other(profiles: MatRef<'_, f64>, samples: &Samples) -> NearestOther {
    let (correlations, distances) =
        (correlations(profiles, profiles), distances(profiles, profiles));
    let others = |values: &Mat<f64>, row: usize| -> Vec<f64> {
        let others = (0..values.ncols()).filter(|&at| samples.differ(row, at));
        others.map(|at| values[(row, at)]).collect()
    };
    let rows = 0..profiles.nrows();
    let most = |values: Vec<f64>| values.into_iter().fold(f64::NAN, f64::max);
    let least = |values: Vec<f64>| values.into_iter().fold(f64::NAN, f64::min);
    NearestOther {
        spearman: rows.clone().map(|row| most(others(&correlations, row))).collect(),
        error: rows.map(|row| least(others(&distances, row))).collect(),
    }
}

/// Spearman's correlation of every row of `x` with every row of `y`; zero where one is constant.
fn correlations(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Mat<f64> {
    standardised_ranks(x) * standardised_ranks(y).transpose()
}

/// Ranks of every row, less their mean, of unit length.
fn standardised_ranks(rows: MatRef<'_, f64>) -> Mat<f64> {
    let mut standardised = Mat::zeros(rows.nrows(), rows.ncols());
    for row in 0..rows.nrows() {
        let values: Vec<f32> = rows.row(row).iter().map(|&value| value as f32).collect();
        let ranks = ranks(&values);
        let mean = (values.len() + 1) as f64 / 2.0;
        let length = ranks.iter().map(|rank| (rank - mean).powi(2)).sum::<f64>().sqrt();
        for (gene, rank) in ranks.iter().enumerate() {
            standardised[(row, gene)] = if length > 0.0 { (rank - mean) / length } else { 0.0 };
        }
    }
    standardised
}

/// Mean squared difference of every row of `x` from every row of `y`.
fn distances(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Mat<f64> {
    let squares = |rows: MatRef<'_, f64>| -> Vec<f64> {
        (0..rows.nrows()).map(|row| rows.row(row).squared_norm_l2()).collect()
    };
    let (of_x, of_y) = (squares(x), squares(y));
    let mut products = x * y.transpose();
    let n_genes = x.ncols().max(1) as f64;
    for (j, column) in products.col_iter_mut().enumerate() {
        for (i, value) in column.iter_mut().enumerate() {
            *value = (of_x[i] + of_y[j] - 2.0 * *value).max(0.0) / n_genes;
        }
    }
    products
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles() -> Mat<f64> {
        let rows = [[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [2.0, 1.0, 4.0, 3.5]];
        Mat::from_fn(3, 4, |row, gene| rows[row][gene])
    }

    #[test]
    fn profiles_are_nearest_to_themselves() {
        let profiles = profiles();
        let ranks = own_ranks(profiles.as_ref(), profiles.as_ref(), &Samples::default());
        assert_eq!(ranks, OwnRanks { by_spearman: vec![1; 3], by_error: vec![1; 3] });
    }

    #[test]
    fn a_reproduction_of_another_profile_has_a_rank_below_the_first() {
        let profiles = profiles();
        let swapped = Mat::from_fn(3, 4, |row, gene| profiles[([2, 1, 0][row], gene)]);
        let ranks = own_ranks(profiles.as_ref(), swapped.as_ref(), &Samples::default());
        assert_eq!(ranks.by_spearman, [2, 1, 2]);
        assert_eq!(ranks.by_error, [2, 1, 2]);
    }

    #[test]
    fn one_reproduction_for_all_is_near_to_all_alike() {
        let same = Mat::from_fn(3, 4, |_, _| 1.0);
        let ranks = own_ranks(profiles().as_ref(), same.as_ref(), &Samples::default());
        // A constant has no correlation with any: two others count half each.
        assert_eq!(ranks.by_spearman, [2, 2, 2]);
    }

    #[test]
    fn the_nearest_other_is_another() {
        let found = nearest_other(profiles().as_ref(), &Samples::default());
        // Ranks 1 2 3 4 and 2 1 4 3: 1 − 6 · 4 / (4 · 15).
        assert!((found.spearman[0] - 0.6).abs() < 1e-12);
        assert!((found.error[0] - (1.0 + 1.0 + 1.0 + 0.25) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn replicates_of_the_own_sample_are_no_others() {
        let profiles = profiles();
        let sample = |name: &str| Some(name.to_owned());
        let samples = Samples::new(vec![sample("a"), None, sample("a")]);
        let found = nearest_other(profiles.as_ref(), &samples);
        assert!((found.spearman[0] + 1.0).abs() < 1e-12, "{found:?}");
        let swapped = Mat::from_fn(3, 4, |row, gene| profiles[([2, 1, 0][row], gene)]);
        let ranks = own_ranks(profiles.as_ref(), swapped.as_ref(), &samples);
        assert_eq!(ranks.by_spearman, [1, 1, 1]);
        let alone = Samples::new(vec![None; 3]);
        assert_eq!(own_ranks(profiles.as_ref(), swapped.as_ref(), &alone).by_spearman, [2, 1, 2]);
    }
}
