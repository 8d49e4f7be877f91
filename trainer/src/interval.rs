//! How sure a share is that was counted.

/// Bounds between which a share lies with 95 % confidence when `right` of `n` were counted: Wilson's score interval,
/// which stays within 0 and 1 and holds for few as well. All of 0 to 1 where nothing was counted.
pub fn wilson(right: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (right, n) = (right.min(n) as f64, n as f64);
    let share = right / n;
    let z2 = Z_95 * Z_95;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let spread = share * (1.0 - share) / n + z2 / (4.0 * n * n);
    let half = Z_95 * libm::sqrt(spread) / (1.0 + z2 / n);
    // Rounding must not move the bounds past what they touch.
    let low = if right == 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if right == n { 1.0 } else { (centre + half).min(1.0) };
    (low, high)
}

/// The normal distribution has 95 % within so many standard deviations.
const Z_95: f64 = 1.959_963_984_540_054;

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.binomtest(right, n).proportion_ci(method="wilson")`.
    #[test]
    fn bounds_are_those_of_scipy() {
        for (right, n, low, high) in [
            (8, 10, 0.490_162_5, 0.943_317_8),
            (0, 20, 0.0, 0.161_125),
            (600, 660, 0.884_727, 0.928_720),
        ] {
            let found = wilson(right, n);
            assert!((found.0 - low).abs() < 1e-6 && (found.1 - high).abs() < 1e-6, "{found:?}");
        }
        assert_eq!(wilson(5, 5).1, 1.0);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }
}
