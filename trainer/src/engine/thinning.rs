//! Rows as they would be, had less been sequenced.

use super::rng::Rng;
use super::training_data::FromCounts;

/// Keeps each count of a row with probability `share` and scales the rest as a row of that depth is scaled. `values` are
/// those of the row, ln(1 + scale · count / total); `kept` becomes the same of the counts that are left, in their order.
pub(crate) fn thin_row(
    counts: FromCounts<'_>,
    row: usize,
    values: impl Iterator<Item = f32>,
    share: f64,
    rng: &mut Rng,
    kept: &mut [f32],
) {
    let total = counts.totals[row];
    let per_count = f64::from(counts.scale) / total;
    let (mut given, mut left) = (0.0, 0.0);
    for (kept, value) in kept.iter_mut().zip(values) {
        if value == 0.0 {
            *kept = 0.0;
            continue;
        }
        // Values are rounded, counts are whole.
        let count = libm::round(libm::expm1(f64::from(value)) / per_count);
        let drawn = rng.binomial(count, share);
        given += count;
        left += drawn;
        *kept = drawn as f32;
    }
    // Genes that are not among the values lose as much, about.
    let total = left + (total - given).max(0.0) * share;
    let factor = f64::from(counts.scale) / total.max(1.0);
    for kept in kept {
        *kept = libm::log1pf((f64::from(*kept) * factor) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::Purpose;

    #[test]
    fn a_thinned_row_is_that_of_thinned_counts() {
        let counts = [0.0_f32, 3.0, 1.0, 900.0, 40.0, 0.0, 7.0];
        let scale = 1e4_f32;
        // 49 more are in genes that the row does not have.
        let total = 1_000.0;
        let value =
            |count: f32, total: f64| libm::log1pf((f64::from(count * scale) / total) as f32);
        let values = counts.map(|count| value(count, total));
        let from = FromCounts { scale, totals: &[5.0, total] };
        let thin = |share: f64, at: u64| {
            let mut kept = [0.0; 7];
            let mut rng = Rng::stream(1, Purpose::Thin, at, 0);
            thin_row(from, 1, values.into_iter(), share, &mut rng, &mut kept);
            kept
        };
        for (kept, value) in thin(1.0, 0).into_iter().zip(values) {
            assert!((kept - value).abs() < 1e-5, "{kept} {value}");
        }
        let kept = thin(0.5, 0);
        assert_eq!(kept, thin(0.5, 0));
        assert_ne!(kept, thin(0.5, 1));
        // What is left is a whole number of counts, of a total that is theirs and half of the others.
        let share_of = |value: f32| f64::from(libm::expm1f(value)) / f64::from(scale);
        let n: f64 = (1..=1_000)
            .map(f64::from)
            .find(|left| {
                let total = left + 24.5;
                kept.iter().all(|&value| {
                    let count = share_of(value) * total;
                    (count - count.round()).abs() < 1e-3
                }) && (kept.iter().map(|&v| share_of(v) * total).sum::<f64>() - left).abs() < 1e-2
            })
            .expect("counts that are left");
        assert!((n - 475.5).abs() < 5.0 * (951.0_f64 / 4.0).sqrt(), "{n}");
        assert_eq!(thin(0.0, 0), [0.0; 7]);
    }
}
