//! What happens to samples after training: noise, shallow sequencing, genes that another panel lacks; and how far their
//! codes move.

use faer::{Mat, MatRef};

use crate::engine::rng::{Purpose, Rng};

/// Chance for one sample under one condition, derived from the seed and both: in which order samples are looked at, and by
/// how many threads, cannot matter.
pub struct Chance(Rng);

impl Chance {
    /// For the sample `row` under `condition`; conditions of different numbers share nothing.
    pub fn new(seed: u64, condition: u64, row: u64) -> Self {
        Self(Rng::stream(seed, Purpose::Noise, condition, row))
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f32 {
        self.0.normal()
    }

    /// How many of `count` molecules are still seen when each is with the probability `share`: binomial. Beyond 10,000 the
    /// normal distribution of the same mean and variance stands in, rounded.
    pub fn thin(&mut self, count: u64, share: f64) -> u64 {
        if count <= MOST_DRAWS {
            return (0..count).map(|_| u64::from(f64::from(self.0.unit()) < share)).sum();
        }
        let mean = count as f64 * share;
        let deviation = (mean * (1.0 - share)).sqrt();
        let drawn = (mean + deviation * f64::from(self.0.normal())).round();
        // Not negative; where it is too large it saturates.
        (drawn.max(0.0) as u64).min(count)
    }

    /// The numbers below `n` in random order.
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.0.shuffle(&mut order);
        order
    }
}

/// Molecules that are drawn one by one.
const MOST_DRAWS: u64 = 10_000;

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
    fn thinned_counts_have_the_mean_and_variance_of_a_binomial() {
        // Drawn one by one, and by the normal that stands in.
        for (count, share) in [(1, 0.25), (40, 0.1), (40, 0.5), (1_000_000, 0.05)] {
            let n = 20_000_u64;
            let mut chance = Chance::new(3, 1, count);
            let drawn: Vec<f64> = (0..n).map(|_| chance.thin(count, share) as f64).collect();
            let mean = drawn.iter().sum::<f64>() / n as f64;
            let square: f64 = drawn.iter().map(|x| (x - mean) * (x - mean)).sum();
            let variance = square / (n - 1) as f64;
            let expected = count as f64 * share * (1.0 - share);
            // Five standard errors, and as much for the variance as skewed distributions need.
            let error = 5.0 * (expected / n as f64).sqrt();
            assert!((mean - count as f64 * share).abs() < error, "{count} {share}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.06, "{count} {share}: {variance}");
            assert!(drawn.iter().all(|&x| x <= count as f64));
        }
    }

    #[test]
    fn all_or_nothing_is_kept_where_the_share_is_one_or_zero() {
        let mut chance = Chance::new(1, 0, 0);
        for count in [0, 1, 300, 20_000] {
            assert_eq!((chance.thin(count, 1.0), chance.thin(count, 0.0)), (count, 0));
        }
    }

    #[test]
    fn chance_follows_from_seed_condition_and_sample() {
        let order = |seed, condition, row| Chance::new(seed, condition, row).order(50);
        assert_eq!(order(1, 2, 3), order(1, 2, 3));
        assert_ne!(order(1, 2, 3), order(2, 2, 3));
        assert_ne!(order(1, 2, 3), order(1, 3, 3));
        assert_ne!(order(1, 2, 3), order(1, 2, 4));
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
