//! Linear discriminant analysis with a shrunken covariance (Ledoit, Wolf 2004), as scikit-learn's
//! `LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")`.

use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef, Side};

use super::linear::LinearClassifier;
use crate::TrainError;
use crate::algebra::on_calling_thread;

/// Fits rows of features with their classes, below `n_classes`. A class without rows is never called.
///
/// The covariance is the mean of those of the classes, weighted by their size. Each is that of features scaled to unit
/// variance within the class, drawn towards the identity as far as Ledoit and Wolf's estimate says, and scaled back.
/// Altogether it is XᵀX + D with one row of X for each row and a diagonal D, which is how it is kept and solved.
///
/// # Errors
/// [`TrainError::Baseline`] where the shrunken covariance is singular.
pub fn shrinkage_lda(
    rows: MatRef<'_, f64>,
    classes: &[usize],
    n_classes: usize,
) -> Result<LinearClassifier, TrainError> {
    on_calling_thread();
    let (n, p) = (rows.nrows(), rows.ncols());
    let mut means = Mat::zeros(p, n_classes);
    let mut x = Mat::zeros(n, p);
    let mut diagonal = vec![0.0; p];
    let mut priors = vec![0.0; n_classes];
    for class in 0..n_classes {
        let members: Vec<usize> = (0..n).filter(|&row| classes[row] == class).collect();
        if members.is_empty() {
            continue;
        }
        priors[class] = members.len() as f64 / n as f64;
        let of_class = Mat::from_fn(members.len(), p, |at, feature| rows[(members[at], feature)]);
        let ClassSpread { mean, scale, shrinkage, trace } = spread(&of_class);
        let weight = (priors[class] * (1.0 - shrinkage) / members.len() as f64).sqrt();
        for feature in 0..p {
            means[(feature, class)] = mean[feature];
            diagonal[feature] += priors[class] * shrinkage * trace * scale[feature].powi(2);
            for &row in &members {
                x[(row, feature)] = weight * (rows[(row, feature)] - mean[feature]);
            }
        }
    }
    let weights = solve(&x, &diagonal, &means).ok_or(TrainError::Baseline {
        method: "linear discriminant analysis",
        n_rows: n,
        n_features: p,
    })?;
    let bias = (0..n_classes)
        .map(|class| {
            let half: f64 =
                (0..p).map(|feature| weights[(feature, class)] * means[(feature, class)]).sum();
            priors[class].ln() - 0.5 * half
        })
        .collect();
    Ok(LinearClassifier { weights, bias })
}

struct ClassSpread {
    mean: Vec<f64>,
    /// Standard deviations; 1 of a feature that does not vary.
    scale: Vec<f64>,
    /// From 0 to 1.
    shrinkage: f64,
    /// Mean variance of the scaled features: 1, but for those that do not vary.
    trace: f64,
}

fn spread(rows: &Mat<f64>) -> ClassSpread {
    let (n, p) = (rows.nrows() as f64, rows.ncols());
    let mean: Vec<f64> = rows.col_iter().map(|column| column.iter().sum::<f64>() / n).collect();
    let scale: Vec<f64> = rows
        .col_iter()
        .zip(&mean)
        .map(|(column, mean)| {
            let variance = column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
            if variance > 1e-20 * (mean * mean).max(f64::MIN_POSITIVE) {
                variance.sqrt()
            } else {
                1.0
            }
        })
        .collect();
    let z = Mat::from_fn(rows.nrows(), p, |row, at| (rows[(row, at)] - mean[at]) / scale[at]);
    // The squares of ZᵀZ and of ZZᵀ have the same sum: the smaller is made.
    let gram = if rows.nrows() < p { &z * z.transpose() } else { z.transpose() * &z };
    let square = gram.squared_norm_l2() / (n * n);
    let fourth: f64 = z.row_iter().map(|row| row.squared_norm_l2().powi(2)).sum();
    let trace = z.squared_norm_l2() / (n * p as f64);
    let delta = (square - p as f64 * trace * trace) / p as f64;
    let beta = ((fourth / n - square) / (p as f64 * n)).min(delta);
    let shrinkage = if beta > 0.0 { beta / delta } else { 0.0 };
    ClassSpread { mean, scale, shrinkage, trace }
}

/// (XᵀX + D)⁻¹ · rhs, `[p × k]`.
fn solve(x: &Mat<f64>, diagonal: &[f64], rhs: &Mat<f64>) -> Option<Mat<f64>> {
    let (n, p) = (x.nrows(), x.ncols());
    if n >= p || diagonal.iter().any(|&d| d <= 0.0) {
        let mut covariance = x.transpose() * x;
        (0..p).for_each(|at| covariance[(at, at)] += diagonal[at]);
        return Some(covariance.llt(Side::Lower).ok()?.solve(rhs));
    }
    // Woodbury: D⁻¹ − D⁻¹Xᵀ(I + XD⁻¹Xᵀ)⁻¹XD⁻¹.
    let scaled = Mat::from_fn(n, p, |row, at| x[(row, at)] / diagonal[at]);
    let mut inner = &scaled * x.transpose();
    (0..n).for_each(|at| inner[(at, at)] += 1.0);
    let correction = scaled.transpose() * inner.llt(Side::Lower).ok()?.solve(&scaled * rhs);
    Some(Mat::from_fn(p, rhs.ncols(), |at, class| {
        rhs[(at, class)] / diagonal[at] - correction[(at, class)]
    }))
}
