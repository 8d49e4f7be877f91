//! Whether what comes back from the code of a sample is nearer to its technical replicates than the sample is: what the code
//! left out was noise then.

use std::collections::BTreeMap;
use std::io::{self, Write};

use cic_trainer::metrics::spearman;
use faer::Mat;
use serde::Serialize;

/// How near replicates are to one another, and to what comes back from one another's codes.
#[derive(Serialize)]
pub(crate) struct Denoised {
    /// Samples with at least two replicates among the test rows.
    n_samples: usize,
    /// Ordered pairs of replicates.
    n_pairs: usize,
    /// Mean squared error of one replicate to the other, over all pairs.
    mse_replicate: f64,
    /// Of what comes back from the code of one to the other.
    mse_model: f64,
    /// Of what comes back from as many principal components.
    mse_pca: f64,
    /// Of the mean training profile.
    mse_mean: f64,
    /// Of that sum of training profiles (their shares sum to 1) which is nearest to the other one: what no method falls below
    /// whose reproductions are such sums, as those of components and of a decoder that ends in a fitted layer are. `None` where
    /// there are more training rows than genes, or too many to work it out.
    mse_span: Option<f64>,
    /// The same by Spearman's correlation.
    spearman_replicate: f64,
    spearman_model: f64,
    spearman_pca: f64,
    /// Share of pairs where the error of the model is below those of the replicate and of the components.
    below_both: f64,
    below_replicate: f64,
    below_pca: f64,
}

/// Test profiles `[n × n_genes]` and their reproductions.
pub(crate) struct Reproduced<'a> {
    pub(crate) profiles: &'a Mat<f64>,
    pub(crate) by_model: &'a Mat<f64>,
    pub(crate) by_pca: &'a Mat<f64>,
    /// `[n_genes]` over the training rows.
    pub(crate) mean: &'a [f32],
    /// The nearest sums of training profiles.
    pub(crate) in_span: Option<&'a Mat<f64>>,
}

/// Rows by the sample that they are replicates of; rows without a text are of none.
pub(crate) fn by_sample<'a>(
    rows: &[usize],
    samples: &'a [Option<String>],
) -> BTreeMap<&'a str, Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, &row) in rows.iter().enumerate() {
        if let Some(sample) = samples.get(row).and_then(|sample| sample.as_deref()) {
            groups.entry(sample).or_default().push(at);
        }
    }
    groups.retain(|_, members| members.len() > 1);
    groups
}

impl Denoised {
    /// Compares within each group of rows; `None` without a pair.
    pub(crate) fn of(groups: &BTreeMap<&str, Vec<usize>>, of: &Reproduced<'_>) -> Option<Self> {
        let mut found = Self {
            n_samples: groups.len(),
            n_pairs: 0,
            mse_replicate: 0.0,
            mse_model: 0.0,
            mse_pca: 0.0,
            mse_mean: 0.0,
            mse_span: of.in_span.map(|_| 0.0),
            spearman_replicate: 0.0,
            spearman_model: 0.0,
            spearman_pca: 0.0,
            below_both: 0.0,
            below_replicate: 0.0,
            below_pca: 0.0,
        };
        for members in groups.values() {
            for &a in members {
                members.iter().filter(|&&b| b != a).for_each(|&b| found.add(of, a, b));
            }
        }
        let n = found.n_pairs as f64;
        for sum in [
            &mut found.mse_replicate,
            &mut found.mse_model,
            &mut found.mse_pca,
            &mut found.mse_mean,
            &mut found.spearman_replicate,
            &mut found.spearman_model,
            &mut found.spearman_pca,
            &mut found.below_both,
            &mut found.below_replicate,
            &mut found.below_pca,
        ] {
            *sum /= n;
        }
        found.mse_span = found.mse_span.map(|sum| sum / n);
        (found.n_pairs > 0).then_some(found)
    }

    fn add(&mut self, of: &Reproduced<'_>, a: usize, b: usize) {
        let row = |matrix: &Mat<f64>, row: usize| -> Vec<f32> {
            matrix.row(row).iter().map(|&value| value as f32).collect()
        };
        let (replicate, truth) = (row(of.profiles, a), row(of.profiles, b));
        let (by_model, by_pca) = (row(of.by_model, a), row(of.by_pca, a));
        let [unchanged, model, pca] = [&replicate, &by_model, &by_pca].map(|x| mse(x, &truth));
        self.n_pairs += 1;
        self.mse_replicate += unchanged;
        self.mse_model += model;
        self.mse_pca += pca;
        self.mse_mean += mse(of.mean, &truth);
        if let (Some(sum), Some(in_span)) = (&mut self.mse_span, of.in_span) {
            *sum += mse(&row(in_span, b), &truth);
        }
        self.spearman_replicate += spearman(&replicate, &truth);
        self.spearman_model += spearman(&by_model, &truth);
        self.spearman_pca += spearman(&by_pca, &truth);
        self.below_replicate += f64::from(u8::from(model < unchanged));
        self.below_pca += f64::from(u8::from(model < pca));
        self.below_both += f64::from(u8::from(model < unchanged && model < pca));
    }

    /// A small table.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "\n{} ordered pairs of technical replicates of {} samples, all test rows: the second one and",
            self.n_pairs, self.n_samples
        )?;
        for (what, mse, spearman) in [
            ("the first one", self.mse_replicate, Some(self.spearman_replicate)),
            ("the first one, back from its code", self.mse_model, Some(self.spearman_model)),
            ("the same by PCA", self.mse_pca, Some(self.spearman_pca)),
            ("the training mean", self.mse_mean, None),
        ] {
            let spearman = spearman.map_or(String::new(), |rho| format!("  Spearman {rho:.4}"));
            writeln!(out, "  {what:36}  MSE {mse:>8.5}{spearman}")?;
        }
        if let Some(bound) = self.mse_span {
            writeln!(
                out,
                "  {:36}  MSE {bound:>8.5}  which no such method falls below",
                "the nearest sum of training profiles"
            )?;
        }
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        writeln!(
            out,
            "back from its code has the smaller error: than the first one {}, than PCA {}, than both {}",
            percent(self.below_replicate),
            percent(self.below_pca),
            percent(self.below_both)
        )
    }
}

pub(crate) fn mse(x: &[f32], y: &[f32]) -> f64 {
    let squares = x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2));
    squares.sum::<f64>() / x.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_replicate_is_compared_with_what_comes_back_from_the_other() {
        let names = ["a", "b", "a", "c"].map(|name| Some(name.to_string()));
        let groups = by_sample(&[0, 1, 2, 3], &names);
        assert_eq!(groups.values().collect::<Vec<_>>(), [&vec![0, 2]]);
        let profiles =
            Mat::from_fn(4, 2, |row, gene| if (row, gene) == (2, 1) { 2.0 } else { 0.0 });
        // Rows 0 and 2 are (0, 0) and (0, 2). From both codes comes row 2: right once, and once as wrong as before.
        let by_model = Mat::from_fn(4, 2, |_, gene| 2.0 * gene as f64);
        // From the components of row 0 comes (0, 1), from those of row 2 (2, 2).
        let by_pca = Mat::from_fn(4, 2, |row, gene| if row == 2 { 2.0 } else { gene as f64 });
        let of = Reproduced {
            profiles: &profiles,
            by_model: &by_model,
            by_pca: &by_pca,
            mean: &[1.0, 1.0],
            in_span: Some(&by_pca),
        };
        let found = Denoised::of(&groups, &of).unwrap();
        assert_eq!((found.n_samples, found.n_pairs), (1, 2));
        let errors = [found.mse_replicate, found.mse_model, found.mse_pca, found.mse_mean];
        assert_eq!(errors, [2.0, 1.0, 2.25, 1.0]);
        // Of (0, 0) there is (0, 1), of (0, 2) there is (2, 2).
        assert_eq!(found.mse_span, Some(1.25));
        let shares = [found.below_replicate, found.below_pca, found.below_both];
        assert_eq!(shares, [0.5, 1.0, 0.5]);
        assert!(Denoised::of(&BTreeMap::new(), &of).is_none());
    }
}
