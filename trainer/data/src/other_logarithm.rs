//! Logarithms that are not log1p, known by what their cells sum to once they are undone.

use crate::scale::{EMPTY_RANGE, MAX_LOG1P, extend, is_constant};

/// What some cells of a file sum to after `2^x − 1`, `10^x − 1` and `exp(exp(x) − 1) − 1`: the
/// same in every cell where normalised values were taken to the base 2 or 10, or their logarithm was
/// taken twice.
/// A few cells are enough, and all of them would take as long as typing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OtherLogarithm {
    cells: usize,
    base_2: (f64, f64),
    base_10: (f64, f64),
    twice: (f64, f64),
}

impl Default for OtherLogarithm {
    /// Of no cell.
    fn default() -> Self {
        Self { cells: 0, base_2: EMPTY_RANGE, base_10: EMPTY_RANGE, twice: EMPTY_RANGE }
    }
}

impl OtherLogarithm {
    /// Looks at a cell, unless enough of this part of the file were seen.
    pub(crate) fn add(&mut self, values: &[f32]) {
        if self.cells >= ENOUGH_CELLS || values.is_empty() {
            return;
        }
        let sum = |limit: f32, undo: fn(f64) -> f64| -> f64 {
            let undo = |&value: &f32| match value > limit {
                // No logarithm of expression is as large.
                true => f64::INFINITY,
                false => undo(f64::from(value)),
            };
            values.iter().map(undo).sum()
        };
        let base_2 = sum(MAX_LOG1P, |value| value.exp2() - 1.0);
        let base_10 = sum(MAX_BASE_10, |value| 10_f64.powf(value) - 1.0);
        let twice = sum(MAX_TWICE, |value| value.exp_m1().exp_m1());
        self.cells += 1;
        self.base_2 = extend(self.base_2, (base_2, base_2));
        self.base_10 = extend(self.base_10, (base_10, base_10));
        self.twice = extend(self.twice, (twice, twice));
    }

    /// Adds what other cells of the same file show.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.cells += other.cells;
        self.base_2 = extend(self.base_2, other.base_2);
        self.base_10 = extend(self.base_10, other.base_10);
        self.twice = extend(self.twice, other.twice);
    }

    /// What the values are, and how they become log1p.
    pub(crate) fn found(&self) -> Option<(String, &'static str)> {
        let is_constant = |range| self.cells > 1 && is_constant(range);
        if is_constant(self.base_2) {
            let what =
                format!("log2(1 + x): every cell sums to {:.1} after 2^x - 1", self.base_2.0);
            return Some((what, "multiply by ln 2 = 0.693147 to get log1p"));
        }
        if is_constant(self.base_10) {
            let what =
                format!("log10(1 + x): every cell sums to {:.1} after 10^x - 1", self.base_10.0);
            return Some((what, "multiply by ln 10 = 2.302585 to get log1p"));
        }
        if is_constant(self.twice) {
            let what = format!(
                "logarithms of logarithms: every cell sums to {:.1} after exp(x) - 1 twice",
                self.twice.0
            );
            return Some((what, "undo one of them, exp(x) - 1, to get log1p"));
        }
        None
    }
}

/// Cells that are looked at in one part of a file.
const ENOUGH_CELLS: usize = 16;
/// `MAX_LOG1P / ln 10`, rounded up.
const MAX_BASE_10: f32 = 10.9;
/// `ln(1 + MAX_LOG1P)`, rounded up.
const MAX_TWICE: f32 = 3.3;

#[cfg(test)]
mod tests {
    use super::*;

    /// Two cells of the same sum, each value put through `log`.
    fn seen(log: fn(f64) -> f64) -> Option<(String, &'static str)> {
        let mut parts = [OtherLogarithm::default(); 2];
        let cells = [[100.0, 2_900.0, 7_000.0], [5_000.0, 4_000.0, 1_000.0]];
        for (part, cell) in parts.iter_mut().zip(cells) {
            part.add(&cell.map(|value| log(value) as f32));
        }
        let [mut all, other] = parts;
        assert_eq!(all.found(), None, "one cell shows nothing");
        all.merge(&other);
        all.found()
    }

    #[test]
    fn other_bases_and_a_second_logarithm_are_told_apart_from_log1p() {
        let (what, advice) = seen(|value| value.ln_1p() / std::f64::consts::LN_2).unwrap();
        assert!(what.starts_with("log2(1 + x)") && what.contains("10000."), "{what}");
        assert!(advice.contains("0.693147"), "{advice}");
        let (what, advice) = seen(|value| value.ln_1p() / std::f64::consts::LN_10).unwrap();
        assert!(what.starts_with("log10(1 + x)") && what.contains("10000."), "{what}");
        assert!(advice.contains("2.302585"), "{advice}");
        let (what, _) = seen(|value| value.ln_1p().ln_1p()).unwrap();
        assert!(what.starts_with("logarithms of logarithms"), "{what}");
        assert_eq!(seen(f64::ln_1p), None);
        assert_eq!(seen(f64::sqrt), None);
    }

    #[test]
    fn cells_beyond_the_first_of_a_part_cost_nothing() {
        let mut part = OtherLogarithm::default();
        for _ in 0..2 * ENOUGH_CELLS {
            part.add(&[1.5]);
            part.add(&[]);
        }
        assert_eq!(part.cells, ENOUGH_CELLS);
    }
}
