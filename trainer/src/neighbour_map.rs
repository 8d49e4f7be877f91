//! Points of many dimensions in the plane, so that neighbours stay neighbours: exact t-SNE (van der Maaten, Hinton 2008)
//! from principal components (Kobak, Berens 2019). Nothing is drawn at random: the same points give the same map.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use crate::baselines;
use crate::error::TrainError;

/// Coordinates `[n × 2]` of points `[n × d]`. Time and memory go with the square of the points: some thousand at most.
///
/// # Errors
/// Those of [`crate::Pca::fit`].
pub fn neighbour_map(points: MatRef<'_, f64>) -> Result<Mat<f64>, TrainError> {
    let n = points.nrows();
    let mut places = Places::by_principal_components(points)?;
    if n >= FEWEST {
        let nearness = nearness(points);
        let mut steps = Steps::new(n);
        for step in 0..N_STEPS {
            let is_early = step < N_EARLY;
            let exaggeration = if is_early { 12.0 } else { 1.0 };
            let gradient = places.gradient(&nearness, exaggeration);
            steps.go(&mut places, &gradient, if is_early { 0.5 } else { 0.8 });
            places.centre();
        }
    }
    Ok(Mat::from_fn(n, 2, |row, axis| f64::from(places.axis(axis)[row])))
}

/// Below so many points, principal components say as much.
const FEWEST: usize = 8;

const N_STEPS: usize = 600;

/// Steps that pull neighbours together more than the map asks for, so that groups find each other.
const N_EARLY: usize = 200;

/// Neighbours of a point, or about so many.
const PERPLEXITY: f64 = 30.0;

/// Where points are.
struct Places {
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Places {
    /// The first two components, made small.
    fn by_principal_components(points: MatRef<'_, f64>) -> Result<Self, TrainError> {
        let (n, d) = (points.nrows(), points.ncols());
        if n == 0 || d == 0 {
            return Ok(Self { x: vec![0.0; n], y: vec![0.0; n] });
        }
        let rows: Vec<f32> =
            (0..n).flat_map(|row| (0..d).map(move |at| points[(row, at)] as f32)).collect();
        let pca = baselines::pca(&rows, d, 2, 1)?;
        let scores = baselines::pca_scores(&pca, points);
        let spread = pca.variances.first().map_or(1.0, |variance| variance.sqrt()).max(1e-30);
        let axis = |axis: usize| -> Vec<f32> {
            let is_there = axis < pca.n_components();
            (0..n)
                .map(
                    |row| if is_there { (scores[(row, axis)] * 1e-4 / spread) as f32 } else { 0.0 },
                )
                .collect()
        };
        Ok(Self { x: axis(0), y: axis(1) })
    }

    fn axis(&self, axis: usize) -> &[f32] {
        if axis == 0 { &self.x } else { &self.y }
    }

    fn centre(&mut self) {
        for axis in [&mut self.x, &mut self.y] {
            let mean = axis.iter().map(|&value| f64::from(value)).sum::<f64>() / axis.len() as f64;
            axis.iter_mut().for_each(|value| *value -= mean as f32);
        }
    }

    /// Of how ill the map shows which points are near, `[n]` pairs.
    fn gradient(&self, nearness: &[f32], exaggeration: f32) -> Vec<(f32, f32)> {
        let n = self.x.len();
        let forces: Vec<Forces> =
            nearness.par_chunks(n).enumerate().map(|(at, row)| self.forces(at, row)).collect();
        let all: f64 = forces.iter().map(|force| f64::from(force.weight)).sum();
        let push = (1.0 / all.max(1e-300)) as f32;
        let along = |force: &Forces, axis: usize| {
            4.0 * (exaggeration * force.pull[axis] - push * force.push[axis])
        };
        forces.iter().map(|force| (along(force, 0), along(force, 1))).collect()
    }

    /// Sums over all other points, in lanes so that they can be vectors.
    fn forces(&self, at: usize, nearness: &[f32]) -> Forces {
        let (x, y) = (self.x[at], self.y[at]);
        let mut lanes = [[0.0_f32; LANES]; 5];
        let blocks = nearness.chunks(LANES).zip(self.x.chunks(LANES)).zip(self.y.chunks(LANES));
        for ((nearness, xs), ys) in blocks {
            for (lane, ((&p, &other_x), &other_y)) in nearness.iter().zip(xs).zip(ys).enumerate() {
                let (dx, dy) = (x - other_x, y - other_y);
                let q = 1.0 / (1.0 + dx * dx + dy * dy);
                lanes[0][lane] += p * q * dx;
                lanes[1][lane] += p * q * dy;
                lanes[2][lane] += q * q * dx;
                lanes[3][lane] += q * q * dy;
                lanes[4][lane] += q;
            }
        }
        let [pull_x, pull_y, push_x, push_y, weight] = lanes.map(|lanes| lanes.iter().sum::<f32>());
        // The point itself is at distance zero, with a weight of one.
        Forces { pull: [pull_x, pull_y], push: [push_x, push_y], weight: weight - 1.0 }
    }
}

const LANES: usize = 16;

struct Forces {
    pull: [f32; 2],
    push: [f32; 2],
    weight: f32,
}

/// Gradient descent with momentum, and gains for each coordinate (Jacobs 1988).
struct Steps {
    rate: f32,
    velocity: Vec<[f32; 2]>,
    gains: Vec<[f32; 2]>,
}

impl Steps {
    fn new(n: usize) -> Self {
        // Belkina et al. 2019.
        let rate = (n as f32 / 48.0).max(50.0);
        Self { rate, velocity: vec![[0.0; 2]; n], gains: vec![[1.0; 2]; n] }
    }

    fn go(&mut self, places: &mut Places, gradient: &[(f32, f32)], momentum: f32) {
        for (at, &(along_x, along_y)) in gradient.iter().enumerate() {
            for (axis, slope) in [along_x, along_y].into_iter().enumerate() {
                let (gain, velocity) = (&mut self.gains[at][axis], &mut self.velocity[at][axis]);
                let turns = (slope > 0.0) == (*velocity > 0.0);
                *gain = if turns { (*gain * 0.8).max(0.01) } else { *gain + 0.2 };
                *velocity = momentum * *velocity - self.rate * *gain * slope;
            }
            places.x[at] += self.velocity[at][0];
            places.y[at] += self.velocity[at][1];
        }
    }
}

/// `[n × n]`: how near points are, symmetric, of sum one.
fn nearness(points: MatRef<'_, f64>) -> Vec<f32> {
    let (n, d) = (points.nrows(), points.ncols());
    let rows: Vec<f64> = (0..n).flat_map(|row| (0..d).map(move |at| points[(row, at)])).collect();
    let row = |at: usize| &rows[at * d..(at + 1) * d];
    let mut conditional = vec![0.0_f32; n * n];
    conditional.par_chunks_mut(n).enumerate().for_each(|(at, to)| {
        let distance = |other: usize| -> f64 {
            row(at).iter().zip(row(other)).map(|(a, b)| (a - b).powi(2)).sum()
        };
        let distances: Vec<f64> = (0..n).map(distance).collect();
        let perplexity = PERPLEXITY.min((n - 1) as f64 / 3.0);
        for (to, weight) in to.iter_mut().zip(weights(&distances, at, perplexity)) {
            *to = weight as f32;
        }
    });
    let mut joint = vec![0.0_f32; n * n];
    for a in 0..n {
        for b in 0..n {
            joint[a * n + b] = (conditional[a * n + b] + conditional[b * n + a]) / (2 * n) as f32;
        }
    }
    joint
}

/// Weights of a point's neighbours, by a normal distribution as wide as the perplexity asks for.
fn weights(distances: &[f64], own: usize, perplexity: f64) -> Vec<f64> {
    let others = || distances.iter().enumerate().filter(move |(at, _)| *at != own).map(|(_, d)| *d);
    let nearest = others().fold(f64::INFINITY, f64::min);
    let mean = others().sum::<f64>() / (distances.len() - 1) as f64 - nearest;
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut precision = 1.0 / mean.max(1e-300);
    for _ in 0..60 {
        let (mut sum, mut moment) = (0.0, 0.0);
        for distance in others() {
            let weight = libm::exp(-precision * (distance - nearest));
            sum += weight;
            moment += weight * (distance - nearest);
        }
        let entropy = libm::log(sum) + precision * moment / sum;
        if (entropy - libm::log(perplexity)).abs() < 1e-5 {
            break;
        }
        if entropy > libm::log(perplexity) {
            low = precision;
            precision = if high.is_finite() { (low + high) / 2.0 } else { precision * 2.0 };
        } else {
            high = precision;
            precision = (low + high) / 2.0;
        }
        if !precision.is_finite() {
            // Points that coincide have no width: all are neighbours alike.
            precision = 0.0;
            break;
        }
    }
    let mut weights: Vec<f64> = distances
        .iter()
        .map(|distance| libm::exp(-precision * (distance - nearest).max(0.0)))
        .collect();
    weights[own] = 0.0;
    let sum = weights.iter().sum::<f64>().max(1e-300);
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three groups in ten dimensions, by a formula.
    fn groups(n: usize) -> Mat<f64> {
        Mat::from_fn(n, 10, |row, at| {
            let centre = if at == row % 3 { 6.0 } else { 0.0 };
            centre + ((row * 31 + at * 17) as f64).sin()
        })
    }

    #[test]
    fn groups_stay_apart_and_the_map_is_the_same_again() {
        let map = neighbour_map(groups(150).as_ref()).unwrap();
        let distance =
            |a: usize, b: usize| (map[(a, 0)] - map[(b, 0)]).hypot(map[(a, 1)] - map[(b, 1)]);
        for row in 0..150 {
            let nearest = (0..150).filter(|&other| other != row);
            let nearest = nearest.min_by(|&a, &b| distance(row, a).total_cmp(&distance(row, b)));
            assert_eq!(nearest.unwrap() % 3, row % 3, "the nearest of {row} is of another group");
        }
        assert_eq!(neighbour_map(groups(150).as_ref()).unwrap(), map);
    }

    #[test]
    fn points_are_as_near_as_the_perplexity_says() {
        let distances: Vec<f64> = (0..200).map(|at| f64::from(at).powi(2) / 50.0).collect();
        let weights = weights(&distances, 0, 30.0);
        let entropy: f64 = weights.iter().filter(|w| **w > 0.0).map(|w| -w * w.ln()).sum();
        assert!((entropy.exp() - 30.0).abs() < 0.01, "{}", entropy.exp());
        assert_eq!(weights[0], 0.0);
    }

    #[test]
    fn few_and_coinciding_points_have_finite_places() {
        for points in
            [Mat::zeros(0, 3), Mat::zeros(1, 3), groups(5), Mat::from_fn(40, 3, |_, _| 2.0)]
        {
            let map = neighbour_map(points.as_ref()).unwrap();
            assert_eq!((map.nrows(), map.ncols()), (points.nrows(), 2));
            assert!(map.col_iter().all(|column| column.iter().all(|value| value.is_finite())));
        }
    }
}
