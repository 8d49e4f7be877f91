//! How well a score tells what should be found from what should not.

/// Chance that one of `found` has a larger score than one of `others`, ties counting half: the area under the receiver
/// operating characteristic (Hanley, McNeil 1982, "The meaning and use of the area under a ROC curve"). NaN without either.
pub fn auroc(found: &[f64], others: &[f64]) -> f64 {
    let others = sorted(others);
    let below = |score: f64| {
        let less = others.partition_point(|other| *other < score);
        let not_more = others.partition_point(|other| *other <= score);
        (less + not_more) as f64 / 2.0
    };
    let sum: f64 = found.iter().map(|&score| below(score)).sum();
    sum / (found.len() * others.len()) as f64
}

/// Share of `others` whose score reaches the largest limit that `share` of `found` reach. NaN without either.
pub fn false_share_at(share: f64, found: &[f64], others: &[f64]) -> f64 {
    let found = sorted(found);
    let n_kept = (share * found.len() as f64).ceil() as usize;
    let limit = found.len().checked_sub(n_kept).and_then(|at| found.get(at));
    limit.map_or(f64::NAN, |limit| {
        others.iter().filter(|score| *score >= limit).count() as f64 / others.len() as f64
    })
}

fn sorted(scores: &[f64]) -> Vec<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sklearn.metrics.roc_auc_score` and `roc_curve` of scikit-learn 1.7 say 0.7976190476190477, and a false positive rate
    /// of 4/7 where the true positive rate first reaches 0.95.
    #[test]
    fn agrees_with_scikit_learn() {
        let found = [3.0, 1.0, 2.5, 2.0, 4.0, 0.5];
        let others = [0.1, 1.0, 2.0, 0.3, 2.0, 1.5, 0.2];
        assert!((auroc(&found, &others) - 0.797_619_047_619_047_7).abs() < 1e-15);
        assert_eq!(false_share_at(0.95, &found, &others), 4.0 / 7.0);
    }

    #[test]
    fn the_ends_are_where_they_should_be() {
        assert_eq!(auroc(&[2.0, 3.0], &[0.0, 1.0]), 1.0);
        assert_eq!(auroc(&[0.0], &[1.0, f64::INFINITY]), 0.0);
        assert_eq!(false_share_at(0.95, &[2.0, 3.0], &[0.0, 1.0]), 0.0);
        assert!(auroc(&[], &[1.0]).is_nan() && false_share_at(0.95, &[], &[1.0]).is_nan());
    }
}
