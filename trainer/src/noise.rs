//! Profiles made worse on purpose: how much of what a model tells is left?

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
        counts.iter().map(|&count| binomial(&mut rng, f64::from(count), share) as f32).collect();
    let others = binomial(&mut rng, (total - given).max(0.0), share);
    let total = kept.iter().map(|&count| f64::from(count)).sum::<f64>() + others;
    Thinned { counts: kept, total }
}

/// Adds normal noise, of so many standard deviations of each gene, and cuts at zero. `deviations` are `[n_genes]`, as
/// `values` are.
pub fn disturb(values: &mut [f32], deviations: &[f32], level: f64, seed: u64, row: usize) {
    let mut rng = Rng::stream(seed, Purpose::Disturb, row as u64, level.to_bits());
    for (value, deviation) in values.iter_mut().zip(deviations) {
        let noise = f64::from(rng.normal()) * level * f64::from(*deviation);
        *value = (f64::from(*value) + noise).max(0.0) as f32;
    }
}

/// How many of `n` come up. Beyond [`MOST_DRAWS`] the normal distribution is close enough, and quicker.
fn binomial(rng: &mut Rng, n: f64, share: f64) -> f64 {
    if !n.is_finite() || share >= 1.0 {
        return n;
    }
    if n > MOST_DRAWS {
        let spread = libm::sqrt(n * share * (1.0 - share));
        return libm::round(n * share + spread * f64::from(rng.normal())).clamp(0.0, n);
    }
    // At most `MOST_DRAWS`, and not below zero: values of profiles are not.
    let draws = n as u32;
    f64::from((0..draws).filter(|_| f64::from(rng.unit()) < share).count() as u32)
}

const MOST_DRAWS: f64 = 2_000.0;

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
        disturb(&mut values, &[2.0; 5_000], 0.5, 1, 0);
        let square: f32 = values.iter().map(|value| (value - 10.0).powi(2)).sum();
        assert!((square / 5_000.0 - 1.0).abs() < 0.1, "{square}");
        let mut values = vec![0.1; 100];
        disturb(&mut values, &[3.0; 100], 1.0, 1, 0);
        assert!(values.iter().all(|value| *value >= 0.0) && values.contains(&0.0));
    }
}
