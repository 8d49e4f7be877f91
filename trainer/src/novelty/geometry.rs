//! Coordinates in which cells of one type vary by one in every direction, those that tell types apart first.

use cic_model::spec::{line, step_depth};
use faer::{Mat, Side};

use crate::error::TrainError;

/// From codes to places.
pub(super) struct Geometry {
    code_dim: usize,
    type_dims: usize,
    /// `[code_dim × code_dim]`, the coordinates that tell types apart first.
    pub(super) rows: Vec<f64>,
    /// `[code_dim]`
    pub(super) offsets: Vec<f64>,
    /// `[n_classes × type_dims]`
    pub(super) types: Vec<f64>,
}

/// How far cells lie from where they should.
pub(super) struct Spread {
    /// `[n_classes]`: typical squared distance to the own type.
    pub(super) types: Vec<f64>,
    /// `[n_classes]`: by how much the squared distance in the other coordinates differs from that of all cells.
    pub(super) rest: Vec<f64>,
    /// Of the logarithm of that distance over the logarithm of depth: intercept and slope.
    line: [f64; 2],
    depths: [f64; 2],
}

impl Geometry {
    /// The covariance is that within types, shrunk toward a multiple of the identity (Ledoit and Wolf 2004, "A well-conditioned
    /// estimator for large-dimensional covariance matrices", lemma 3.3).
    pub(super) fn fit(
        codes: &[&[f64]],
        classes: &[usize],
        n_classes: usize,
        type_dims: usize,
    ) -> Result<Self, TrainError> {
        let dim = codes.first().map_or(0, |code| code.len());
        let grand = mean(codes);
        let members = |class: usize| -> Vec<&[f64]> {
            let of = codes.iter().zip(classes).filter(|(_, c)| **c == class);
            of.map(|(code, _)| *code).collect()
        };
        let sizes: Vec<usize> = (0..n_classes).map(|class| members(class).len()).collect();
        let means: Vec<Vec<f64>> = (0..n_classes)
            .map(|class| {
                let members = members(class);
                if members.is_empty() { grand.clone() } else { mean(&members) }
            })
            .collect();
        let residuals: Vec<Vec<f64>> = codes
            .iter()
            .zip(classes)
            .map(|(code, &class)| code.iter().zip(&means[class]).map(|(a, b)| a - b).collect())
            .collect();
        let (values, vectors) = eigen(&shrunk_covariance(&residuals, dim))?;
        let white = Mat::from_fn(dim, dim, |row, d| vectors[(d, row)] / values[row].sqrt());

        // Of the means of types, weighted by their cells.
        let centred = Mat::from_fn(n_classes, dim, |class, d| {
            (sizes[class] as f64).sqrt() * (means[class][d] - grand[d])
        });
        let spread = &centred * white.transpose();
        let (_, turned) = eigen(&(spread.transpose() * &spread))?;
        let rows = turned.transpose() * &white;

        let flat = |n: usize, row_of: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            (0..n)
                .flat_map(|row| (0..dim).map(move |d| (row, d)))
                .map(|(r, d)| row_of(r, d))
                .collect()
        };
        let mut geometry = Self {
            code_dim: dim,
            type_dims,
            rows: flat(dim, &|row, d| rows[(row, d)]),
            offsets: vec![0.0; dim],
            types: Vec::new(),
        };
        geometry.offsets = geometry.place(&grand).iter().map(|place| -place).collect();
        geometry.types =
            means.iter().flat_map(|mean| geometry.place(mean)[..type_dims].to_vec()).collect();
        Ok(geometry)
    }

    /// `[code_dim]`
    pub(super) fn place(&self, code: &[f64]) -> Vec<f64> {
        let rows = self.rows.chunks_exact(self.code_dim.max(1)).zip(&self.offsets);
        rows.map(|(row, offset)| row.iter().zip(code).map(|(w, c)| w * c).sum::<f64>() + offset)
            .collect()
    }

    /// `depths` are sums of counts, 0 where there are none.
    pub(super) fn spread(&self, codes: &[&[f64]], classes: &[usize], depths: &[f64]) -> Spread {
        let types: Vec<&[f64]> = self.types.chunks_exact(self.type_dims).collect();
        let (mut own, mut rest) = (Vec::new(), Vec::new());
        for (code, &class) in codes.iter().zip(classes) {
            let place = self.place(code);
            let (in_types, in_rest) = place.split_at(self.type_dims);
            let squares = in_types.iter().zip(types[class]).map(|(a, b)| (a - b) * (a - b));
            own.push(squares.sum::<f64>().max(LEAST).ln());
            rest.push(in_rest.iter().map(|place| place * place).sum::<f64>().max(LEAST).ln());
        }
        let logs: Vec<f64> = depths.iter().map(|depth| depth.max(1.0).ln()).collect();
        let points: Vec<(f64, f64)> = logs.iter().copied().zip(rest.iter().copied()).collect();
        let (intercept, slope) = line(&points);
        rest.iter_mut().zip(&logs).for_each(|(rest, x)| *rest -= intercept + slope * x);
        // Types of few cells are taken to be like the others.
        let of_types = |values: &[f64], base: f64| -> Vec<f64> {
            let (mut sums, mut sizes) = (vec![0.0; types.len()], vec![PRIOR_CELLS; types.len()]);
            for (value, &class) in values.iter().zip(classes) {
                sums[class] += value - base;
                sizes[class] += 1.0;
            }
            sums.iter().zip(&sizes).map(|(sum, size)| (base + sum / size).exp()).collect()
        };
        let typical = own.iter().sum::<f64>() / own.len().max(1) as f64;
        let mut sorted = logs;
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
        Spread {
            types: of_types(&own, typical),
            rest: of_types(&rest, 0.0),
            line: [intercept, slope],
            depths: [at(0.01), at(0.99)],
        }
    }
}

impl Spread {
    /// Typical squared distance in the other coordinates at a step of depth. Depths beyond those of the cells are not
    /// extrapolated to.
    pub(super) fn at_step(&self, step: usize) -> f64 {
        let depth = step_depth(step);
        let [low, high] = self.depths;
        (self.line[0] + self.line[1] * depth.ln().clamp(low, high)).exp()
    }
}

/// Mean of points, empty where there are none.
pub(super) fn mean<P: AsRef<[f64]>>(points: &[P]) -> Vec<f64> {
    let mut mean = vec![0.0; points.first().map_or(0, |point| point.as_ref().len())];
    for point in points {
        mean.iter_mut().zip(point.as_ref()).for_each(|(mean, x)| *mean += x / points.len() as f64);
    }
    mean
}

fn shrunk_covariance(residuals: &[Vec<f64>], dim: usize) -> Mat<f64> {
    let n = residuals.len().max(1) as f64;
    let x = Mat::from_fn(residuals.len(), dim, |row, d| residuals[row][d]);
    let mut covariance = x.transpose() * &x;
    let squares =
        Mat::from_fn(residuals.len(), dim, |row, d| residuals[row][d] * residuals[row][d]);
    let fourth: f64 =
        (squares.transpose() * &squares).col_iter().map(|c| c.iter().sum::<f64>()).sum();
    covariance.col_iter_mut().for_each(|column| column.iter_mut().for_each(|value| *value /= n));
    let entries = || (0..dim).flat_map(|a| (0..dim).map(move |b| (a, b)));
    let mean = (0..dim).map(|d| covariance[(d, d)]).sum::<f64>() / dim as f64;
    let square: f64 = entries().map(|at| covariance[at] * covariance[at]).sum();
    let noise = (fourth / n - square) / n;
    let distance = square - dim as f64 * mean * mean;
    let shrinkage = if distance > 0.0 { (noise / distance).clamp(0.0, 1.0) } else { 1.0 };
    for (a, b) in entries() {
        let target = if a == b { mean.max(LEAST) } else { 0.0 };
        covariance[(a, b)] = shrinkage * target + (1.0 - shrinkage) * covariance[(a, b)];
    }
    covariance
}

/// Eigenvalues from the largest on, not below [`LEAST`], and their vectors as columns.
fn eigen(matrix: &Mat<f64>) -> Result<(Vec<f64>, Mat<f64>), TrainError> {
    let dim = matrix.nrows();
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| TrainError::Eigen)?;
    // faer sorts by rising eigenvalue.
    let from_last = |place: usize| dim - 1 - place;
    let values = eigen.S().column_vector();
    let values = (0..dim).map(|place| values[from_last(place)].max(LEAST)).collect();
    Ok((values, Mat::from_fn(dim, dim, |row, place| eigen.U()[(row, from_last(place))])))
}

/// Smaller squares are nothing.
const LEAST: f64 = 1e-9;

/// As many cells of a type as count as much as all others together when its spread is estimated.
const PRIOR_CELLS: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::{Purpose, Rng};

    #[test]
    fn cells_of_a_type_vary_by_one_and_means_keep_their_order() {
        // Two types, 4 apart in the second of three dimensions; spread 0.5, 1 and 2.
        let mut codes = Vec::new();
        let mut classes = Vec::new();
        for i in 0..4_000_u32 {
            let mut rng = Rng::stream(1, Purpose::NoCell, u64::from(i), 0);
            let unit: [f64; 3] = core::array::from_fn(|_| f64::from(rng.unit()) - 0.5);
            let class = (i % 2) as usize;
            codes.push(vec![unit[0] * 0.5, unit[1] + 4.0 * class as f64, unit[2] * 2.0]);
            classes.push(class);
        }
        let points: Vec<&[f64]> = codes.iter().map(Vec::as_slice).collect();
        let geometry = Geometry::fit(&points, &classes, 2, 1).unwrap();
        for d in 0..3 {
            let of = |class: usize| {
                let own = points.iter().zip(&classes).filter(move |(_, c)| **c == class);
                own.map(|(code, _)| geometry.place(code)[d]).collect::<Vec<f64>>()
            };
            let places = of(0);
            let mean = places.iter().sum::<f64>() / places.len() as f64;
            let variance =
                places.iter().map(|p| (p - mean) * (p - mean)).sum::<f64>() / places.len() as f64;
            assert!((variance - 1.0).abs() < 0.1, "{d}: {variance}");
        }
        // 4 apart where a uniform distribution of width one has a deviation of 1/√12.
        let apart = (geometry.types[0] - geometry.types[1]).abs();
        assert!((apart - 4.0 * 12.0_f64.sqrt()).abs() < 0.3, "{apart}");
    }
}
