//! How a number of every cell is spread: quantiles and a histogram.

use serde_json::{Map, Value, json};

/// The quantiles that are told, in per cent, and their keys in JSON.
pub(super) const QUANTILES: [(u32, &str); 9] = [
    (0, "min"),
    (1, "p1"),
    (5, "p5"),
    (25, "p25"),
    (50, "median"),
    (75, "p75"),
    (95, "p95"),
    (99, "p99"),
    (100, "max"),
];

/// One number of every cell, sorted.
pub(super) struct Spread(Vec<f64>);

/// One bar of a histogram: numbers from `from` on, up to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bin {
    /// Minus infinity in a first bar for all below the second.
    pub(super) from: f64,
    pub(super) n: usize,
}

impl Spread {
    pub(super) fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_unstable_by(f64::total_cmp);
        Self(numbers)
    }

    /// The number at a share of the cells, in per cent; zero without cells.
    pub(super) fn quantile(&self, percent: u32) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * f64::from(percent) / 100.0).round() as usize;
        self.0.get(at).copied().unwrap_or(0.0)
    }

    /// Quantiles by their keys.
    pub(super) fn json(&self) -> Value {
        let quantiles = QUANTILES.iter();
        let quantiles = quantiles.map(|&(q, key)| (key.to_owned(), json!(self.quantile(q))));
        Value::Object(quantiles.collect::<Map<_, _>>())
    }

    /// Bars of one round width over what 98 % of the cells have, with one before and one behind for
    /// the rest; nothing where all cells have about the same.
    pub(super) fn histogram(&self) -> Vec<Bin> {
        let (low, high) = (self.quantile(1), self.quantile(99));
        if high - low <= SAME * high.abs() {
            return Vec::new();
        }
        let width = round_width((high - low) / BARS);
        let first = (low / width).floor();
        let n_bars = ((high / width).floor() - first) as usize + 1;
        let edge = |bar: usize| (first + bar as f64) * width;
        let below = |edge: f64| self.0.partition_point(|&number| number < edge);
        let mut bins = Vec::new();
        if below(edge(0)) > 0 {
            bins.push(Bin { from: f64::NEG_INFINITY, n: below(edge(0)) });
        }
        for bar in 0..n_bars {
            bins.push(Bin { from: edge(bar), n: below(edge(bar + 1)) - below(edge(bar)) });
        }
        let beyond = self.0.len() - below(edge(n_bars));
        if beyond > 0 {
            bins.push(Bin { from: edge(n_bars), n: beyond });
        }
        bins
    }
}

/// 1, 2 or 5 times a power of ten, at least as large as `width`.
fn round_width(width: f64) -> f64 {
    let power = 10_f64.powf(width.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= width * 0.999_999);
    factor.unwrap_or(10.0) * power
}

/// Bars of a histogram, about.
const BARS: f64 = 8.0;

/// Numbers that differ by less than this share are the same: normalised sums differ by rounding.
const SAME: f64 = 0.002;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numbers_of_cells() {
        let spread = Spread::of((0..=200).rev().map(f64::from).collect());
        let json = spread.json();
        for (key, value) in [("min", 0.0), ("p1", 2.0), ("p25", 50.0), ("median", 100.0)] {
            assert_eq!(json[key], value, "{key}");
        }
        assert_eq!((&json["p99"], &json["max"]), (&json!(198.0), &json!(200.0)));
        assert_eq!(Spread::of(Vec::new()).quantile(50), 0.0);
    }

    #[test]
    fn every_cell_is_in_one_bar_and_outliers_do_not_stretch_them() {
        let mut numbers: Vec<f64> = (0..1_000).map(|n| f64::from(1_000 + n)).collect();
        numbers.extend([1.0, 1e6]);
        let bins = Spread::of(numbers).histogram();
        assert_eq!(bins.iter().map(|bin| bin.n).sum::<usize>(), 1_002);
        assert_eq!(bins[0], Bin { from: f64::NEG_INFINITY, n: 1 });
        assert_eq!(bins[1], Bin { from: 1_000.0, n: 200 });
        assert_eq!(bins.last(), Some(&Bin { from: 2_000.0, n: 1 }));
        assert_eq!(bins.len(), 7);
    }

    #[test]
    fn cells_that_are_all_the_same_have_no_histogram() {
        assert!(Spread::of(vec![10_000.0, 10_000.5, 9_999.8]).histogram().is_empty());
        assert!(Spread::of(vec![7.0]).histogram().is_empty());
        assert!(Spread::of(Vec::new()).histogram().is_empty());
    }

    #[test]
    fn widths_are_round() {
        for (width, round) in [(1.0, 1.0), (1.1, 2.0), (37.0, 50.0), (0.06, 0.1), (700.0, 1_000.0)]
        {
            assert!((round_width(width) - round).abs() < 1e-9 * round, "{width}");
        }
    }
}
