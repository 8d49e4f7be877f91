//! Profiles made worse on purpose: how much of what a model tells is left, and how far do codes move?

use faer::{Mat, MatRef};

use crate::engine::rng::{Purpose, Rng};

/// A cell measured less deeply.
#[derive(Clone, Debug, PartialEq)]
pub struct Thinned {
    /// Of every value that was given, in its order.
    pub counts: Vec<f32>,
    /// Counts that are left over all genes.
    pub total: f64,
}

/// Keeps each count with probability `share`, as if so much less had been sequenced. `total` is the sum over all genes,
/// also over those that are not given. `row` and `seed` say what chance does.
pub fn thin(counts: &[f32], total: f64, share: f64, seed: u64, row: usize) -> Thinned {
    let mut rng = Rng::stream(seed, Purpose::Thin, row as u64, share.to_bits());
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 1.0 };
    let given: f64 = counts.iter().map(|&count| f64::from(count)).sum();
    let kept: Vec<f32> =
        counts.iter().map(|&count| rng.binomial(f64::from(count), share) as f32).collect();
    let others = rng.binomial((total - given).max(0.0), share);
    let total = kept.iter().map(|&count| f64::from(count)).sum::<f64>() + others;
    Thinned { counts: kept, total }
}

/// Noise on values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disturbance {
    /// Standard deviations of each gene.
    pub level: f64,
    /// No value falls below it.
    pub least: f32,
}

/// Adds normal noise. `deviations` are `[n_genes]`, as `values` are.
pub fn disturb(values: &mut [f32], deviations: &[f32], by: Disturbance, seed: u64, row: usize) {
    let Disturbance { level, least } = by;
    let mut rng = Rng::stream(seed, Purpose::Disturb, row as u64, level.to_bits());
    for (value, deviation) in values.iter_mut().zip(deviations) {
        let noise = f64::from(rng.normal()) * level * f64::from(*deviation);
        *value = ((f64::from(*value) + noise) as f32).max(least);
    }
}

/// The numbers below `n` in random order, the same for the same `seed` and `at`.
pub fn shuffled(n: usize, seed: u64, at: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    Rng::stream(seed, Purpose::LoseGenes, at, 0).shuffle(&mut order);
    order
}

/// How far codes of spoiled samples lie from those of the same samples before, in units of how far samples lie apart: 0
/// where nothing moved, 1 where a code moved as far as to that of any other sample.
pub struct CodeShift {
    clean: Mat<f64>,
    mean_distance: f64,
}

impl CodeShift {
    /// Measures the mean Euclidean distance between the codes `[n × code_dim]` of different clean samples.
    pub fn new(clean: Mat<f64>) -> Self {
        let n = clean.nrows();
        let pairs = (0..n).flat_map(|a| (0..a).map(move |b| (a, b)));
        let sum: f64 = pairs.map(|(a, b)| distance(clean.as_ref(), a, clean.as_ref(), b)).sum();
        let n_pairs = (n * n.saturating_sub(1) / 2) as f64;
        Self { clean, mean_distance: sum / n_pairs }
    }

    /// Mean distance of `rows` of `spoiled` from their clean codes, by the mean distance between different clean codes. NaN
    /// without rows, or where all clean codes are the same.
    pub fn of(&self, spoiled: MatRef<'_, f64>, rows: &[usize]) -> f64 {
        let sum: f64 =
            rows.iter().map(|&row| distance(self.clean.as_ref(), row, spoiled, row)).sum();
        match self.mean_distance > 0.0 {
            true => sum / rows.len() as f64 / self.mean_distance,
            false => f64::NAN,
        }
    }
}

fn distance(x: MatRef<'_, f64>, a: usize, y: MatRef<'_, f64>, b: usize) -> f64 {
    let squares = x.row(a).iter().zip(y.row(b).iter()).map(|(x, y)| (x - y) * (x - y));
    squares.sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_counts_are_whole_and_about_the_share() {
        let counts: Vec<f32> = (0..400).map(|gene| (gene % 7) as f32).chain([30_000.0]).collect();
        let given: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        let thinned = thin(&counts, given + 5_000.0, 0.25, 1, 3);
        assert!(
            thinned
                .counts
                .iter()
                .zip(&counts)
                .all(|(kept, all)| kept <= all && kept.fract() == 0.0)
        );
        let small: f32 = thinned.counts[..400].iter().sum();
        let all: f32 = counts[..400].iter().sum();
        // Within five standard deviations.
        assert!((small - all / 4.0).abs() < 5.0 * (all * 0.1875).sqrt(), "{small} of {all}");
        assert!((thinned.counts[400] - 7_500.0).abs() < 400.0);
        let kept: f64 = thinned.counts.iter().map(|&count| f64::from(count)).sum();
        assert!((thinned.total - kept - 1_250.0).abs() < 160.0);
        assert_eq!(thin(&counts, given + 5_000.0, 0.25, 1, 3), thinned);
        assert_ne!(thin(&counts, given + 5_000.0, 0.25, 1, 4), thinned);
    }

    #[test]
    fn all_is_kept_at_full_depth() {
        let thinned = thin(&[1.0, 0.0, 5.0], 9.0, 1.0, 1, 0);
        assert_eq!(thinned, Thinned { counts: vec![1.0, 0.0, 5.0], total: 9.0 });
        assert_eq!(thin(&[1.0, 5.0], 6.0, 0.0, 1, 0).counts, [0.0, 0.0]);
    }

    #[test]
    fn noise_has_the_size_asked_for_and_leaves_nothing_below_zero() {
        let mut values = vec![10.0; 5_000];
        disturb(&mut values, &[2.0; 5_000], Disturbance { level: 0.5, least: 0.0 }, 1, 0);
        let square: f32 = values.iter().map(|value| (value - 10.0).powi(2)).sum();
        assert!((square / 5_000.0 - 1.0).abs() < 0.1, "{square}");
        let mut values = vec![0.1; 100];
        disturb(&mut values, &[3.0; 100], Disturbance { level: 1.0, least: 0.0 }, 1, 0);
        assert!(values.iter().all(|value| *value >= 0.0) && values.contains(&0.0));
        let anywhere = Disturbance { level: 1.0, least: f32::NEG_INFINITY };
        disturb(&mut values, &[3.0; 100], anywhere, 1, 0);
        assert!(values.iter().any(|value| *value < 0.0));
    }

    #[test]
    fn thinned_counts_have_the_mean_and_variance_of_a_binomial() {
        // Drawn one by one, and by the normal that stands in.
        for (count, share) in [(1.0_f32, 0.25), (40.0, 0.1), (40.0, 0.5), (1_000_000.0, 0.05)] {
            let n = 20_000;
            let kept = |row| thin(&[count], f64::from(count), share, 3, row).total;
            let drawn: Vec<f64> = (0..n).map(kept).collect();
            let mean = drawn.iter().sum::<f64>() / n as f64;
            let square: f64 = drawn.iter().map(|x| (x - mean) * (x - mean)).sum();
            let variance = square / (n - 1) as f64;
            let count = f64::from(count);
            let expected = count * share * (1.0 - share);
            // Five standard errors, and as much for the variance as skewed distributions need.
            let error = 5.0 * (expected / n as f64).sqrt();
            assert!((mean - count * share).abs() < error, "{count} {share}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.06, "{count} {share}: {variance}");
            assert!(drawn.iter().all(|&x| x <= count));
        }
    }

    #[test]
    fn an_order_follows_from_its_seed_and_place() {
        let mut order = shuffled(50, 1, 2);
        assert_eq!(order, shuffled(50, 1, 2));
        assert!(order != shuffled(50, 2, 2) && order != shuffled(50, 1, 3));
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn codes_that_move_as_far_as_to_others_have_shift_one() {
        // An equilateral triangle of side 2.
        let corners = [[0.0, 0.0], [2.0, 0.0], [1.0, 3.0_f64.sqrt()]];
        let clean = Mat::from_fn(3, 2, |row, dim| corners[row][dim]);
        let shift = CodeShift::new(clean.clone());
        assert!(shift.of(clean.as_ref(), &[0, 1, 2]).abs() < 1e-15);
        let turned = Mat::from_fn(3, 2, |row, dim| corners[(row + 1) % 3][dim]);
        assert!((shift.of(turned.as_ref(), &[0, 1, 2]) - 1.0).abs() < 1e-12);
        let half = Mat::from_fn(3, 2, |row, dim| corners[row][dim] + [1.0, 0.0][dim]);
        assert!((shift.of(half.as_ref(), &[1]) - 0.5).abs() < 1e-12);
        assert!(shift.of(clean.as_ref(), &[]).is_nan());
        assert!(CodeShift::new(Mat::zeros(3, 2)).of(clean.as_ref(), &[0]).is_nan());
    }
}
