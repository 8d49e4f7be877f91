//! The linear classifiers that a model is compared with, and the choice among them by cross-validation on training
//! rows.

use faer::{Mat, MatRef};

use super::discriminant::shrinkage_lda;
use super::linear::{LinearClassifier, LinearLoss};
use super::{pca, pca_scores};
use crate::{Pca, TrainError};

/// A way to classify profiles. All of them read genes scaled to unit variance over the training rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contender {
    /// Multinomial logistic regression with this C.
    Logistic(f64),
    /// Linear support vector machines, one class against the rest, with this C.
    Svm(f64),
    /// Linear discriminant analysis with shrunken covariance.
    Lda,
    /// Logistic regression with this C on principal components, as many as the code has dimensions.
    PcaLogistic(f64),
    /// The commonest class among so many nearest neighbours in as many principal components.
    PcaNeighbours(usize),
}

impl Contender {
    /// Those that are tried.
    pub const ALL: [Self; 11] = [
        Self::Logistic(0.001),
        Self::Logistic(0.01),
        Self::Logistic(0.1),
        Self::Svm(0.0001),
        Self::Svm(0.001),
        Self::Svm(0.01),
        Self::Lda,
        Self::PcaLogistic(0.01),
        Self::PcaLogistic(0.1),
        Self::PcaLogistic(1.0),
        Self::PcaNeighbours(5),
    ];

    /// For tables.
    pub fn name(self) -> String {
        match self {
            Self::Logistic(c) => format!("logistic regression, C {c}"),
            Self::Svm(c) => format!("linear SVM, C {c}"),
            Self::Lda => "shrinkage LDA".into(),
            Self::PcaLogistic(c) => format!("PCA, logistic regression, C {c}"),
            Self::PcaNeighbours(k) => format!("PCA, {k} neighbours"),
        }
    }
}

/// Profiles with their classes.
#[derive(Clone, Copy)]
pub struct Labelled<'a> {
    /// `[n × n_genes]`, row-major, in network input units.
    pub values: &'a [f32],
    /// Columns.
    pub n_genes: usize,
    /// `[n]`
    pub classes: &'a [usize],
    /// Classes are below it.
    pub n_classes: usize,
}

/// Training rows, prepared for every contender.
pub struct Prepared {
    mean: Vec<f64>,
    inverse: Vec<f64>,
    scaled: Mat<f64>,
    pca: Pca,
    scores: Mat<f64>,
    classes: Vec<usize>,
    n_classes: usize,
}

impl Prepared {
    /// Scales the rows and finds their principal components.
    ///
    /// # Errors
    /// Those of [`Pca::fit`].
    pub fn new(rows: Labelled<'_>, n_components: usize) -> Result<Self, TrainError> {
        let raw = super::matrix(rows.values, rows.n_genes);
        let n = raw.nrows().max(1) as f64;
        let mean: Vec<f64> = raw.col_iter().map(|column| column.iter().sum::<f64>() / n).collect();
        let inverse: Vec<f64> = raw
            .col_iter()
            .zip(&mean)
            .map(|(column, mean)| {
                let variance = column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
                if variance > 1e-12 { 1.0 / variance.sqrt() } else { 0.0 }
            })
            .collect();
        let scaled = scale(&raw, &mean, &inverse);
        let single: Vec<f32> =
            scaled.row_iter().flat_map(|row| row.iter().map(|&x| x as f32)).collect();
        let pca = pca(&single, rows.n_genes, n_components, 1)?;
        let scores = pca_scores(&pca, scaled.as_ref());
        let (classes, n_classes) = (rows.classes.to_vec(), rows.n_classes);
        Ok(Self { mean, inverse, scaled, pca, scores, classes, n_classes })
    }

    /// Fits a contender and classifies other rows, `[n × n_genes]`.
    ///
    /// # Errors
    /// [`TrainError::Baseline`] where it cannot be fitted.
    pub fn classify(&self, contender: Contender, rows: &[f32]) -> Result<Vec<usize>, TrainError> {
        Ok(self.fit(contender)?.classify(rows))
    }

    /// Fits a contender, for rows of many kinds.
    ///
    /// # Errors
    /// [`TrainError::Baseline`] where it cannot be fitted.
    pub fn fit(&self, contender: Contender) -> Result<Fitted<'_>, TrainError> {
        let linear = |features: &Mat<f64>, loss, c| {
            LinearClassifier::fit_within(
                STEPS,
                features.as_ref(),
                &self.classes,
                self.n_classes,
                loss,
                c,
            )
        };
        let rule = match contender {
            Contender::Logistic(c) => Rule::Genes(linear(&self.scaled, LinearLoss::Logistic, c)?),
            Contender::Svm(c) => Rule::Genes(linear(&self.scaled, LinearLoss::SquaredHinge, c)?),
            Contender::Lda => {
                Rule::Genes(shrinkage_lda(self.scaled.as_ref(), &self.classes, self.n_classes)?)
            }
            Contender::PcaLogistic(c) => {
                Rule::Components(linear(&self.scores, LinearLoss::Logistic, c)?)
            }
            Contender::PcaNeighbours(k) => Rule::Neighbours(k),
        };
        Ok(Fitted { rows: self, rule })
    }
}

/// A contender that was fitted.
pub struct Fitted<'a> {
    rows: &'a Prepared,
    rule: Rule,
}

/// What a profile is classified by.
enum Rule {
    Genes(LinearClassifier),
    Components(LinearClassifier),
    Neighbours(usize),
}

impl Fitted<'_> {
    /// Classes of rows `[n × n_genes]`.
    pub fn classify(&self, rows: &[f32]) -> Vec<usize> {
        let Prepared { mean, inverse, pca, scores, classes, n_classes, .. } = self.rows;
        let scaled = scale(&super::matrix(rows, mean.len()), mean, inverse);
        let components = || pca_scores(pca, scaled.as_ref());
        match &self.rule {
            Rule::Genes(fitted) => fitted.predict(scaled.as_ref()),
            Rule::Components(fitted) => fitted.predict(components().as_ref()),
            Rule::Neighbours(k) => {
                nearest(scores.as_ref(), classes, *n_classes, *k, components().as_ref())
            }
        }
    }
}

/// The contender that is right most often over the folds; the first on a tie. `folds` has the fold of each row.
///
/// # Errors
/// Where none can be fitted.
pub fn choose(
    rows: Labelled<'_>,
    folds: &[usize],
    n_components: usize,
) -> Result<Contender, TrainError> {
    let n_folds = folds.iter().max().map_or(0, |&last| last + 1);
    let mut right = [0_usize; Contender::ALL.len()];
    for fold in 0..n_folds {
        let (held, kept): (Vec<usize>, Vec<usize>) =
            (0..rows.classes.len()).partition(|&row| folds[row] == fold);
        if held.is_empty() || kept.len() < 2 {
            continue;
        }
        let of = |at: &[usize]| -> (Vec<f32>, Vec<usize>) {
            let value = |&row: &usize| &rows.values[row * rows.n_genes..(row + 1) * rows.n_genes];
            (
                at.iter().flat_map(value).copied().collect(),
                at.iter().map(|&row| rows.classes[row]).collect(),
            )
        };
        let ((train, classes), (test, truth)) = (of(&kept), of(&held));
        let train = Labelled { values: &train, classes: &classes, ..rows };
        let prepared = Prepared::new(train, n_components)?;
        for (right, contender) in right.iter_mut().zip(Contender::ALL) {
            // A method that cannot be fitted, as LDA to constant genes, is right nowhere.
            let Ok(called) = prepared.classify(contender, &test) else { continue };
            *right += called.iter().zip(&truth).filter(|(called, truth)| called == truth).count();
        }
    }
    let best = right.iter().copied().max().unwrap_or(0);
    let at = right.iter().position(|&n| n == best).unwrap_or(0);
    Ok(Contender::ALL[at])
}

/// Steps of L-BFGS at most: scikit-learn's default.
const STEPS: u64 = 100;

fn scale(raw: &Mat<f64>, mean: &[f64], inverse: &[f64]) -> Mat<f64> {
    Mat::from_fn(raw.nrows(), raw.ncols(), |row, gene| {
        (raw[(row, gene)] - mean[gene]) * inverse[gene]
    })
}

/// The commonest class of the nearest rows by Euclidean distance; the lowest class on a tie, as scikit-learn's.
fn nearest(
    rows: MatRef<'_, f64>,
    classes: &[usize],
    n_classes: usize,
    k: usize,
    points: MatRef<'_, f64>,
) -> Vec<usize> {
    let squares: Vec<f64> = rows.row_iter().map(|row| row.squared_norm_l2()).collect();
    let products = points * rows.transpose();
    (0..points.nrows())
        .map(|point| {
            let distance = |row: usize| squares[row] - 2.0 * products[(point, row)];
            let mut order: Vec<usize> = (0..rows.nrows()).collect();
            let k = k.min(order.len());
            if k < order.len() {
                order.select_nth_unstable_by(k, |&a, &b| distance(a).total_cmp(&distance(b)));
            }
            let mut votes = vec![0_usize; n_classes];
            order[..k].iter().for_each(|&row| votes[classes[row]] += 1);
            (1..n_classes)
                .fold(0, |best, class| if votes[class] > votes[best] { class } else { best })
        })
        .collect()
}
