//! How the range is chosen that levels express: from the values on the calibration cells to its ends.

use std::fmt;
use std::str::FromStr;

use cic_model::quant::LEVEL_MAX;

use crate::error::QuantError;

/// A way to choose a range.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RangeMethod {
    /// All values of the calibration cells, and a margin beyond them that is the larger the fewer cells there are.
    #[default]
    MinMax,
    /// The middle of the values: this percentage of them lies inside, half of the others beyond either end, or all of them above
    /// where the range begins at zero. Above 50, at most 100.
    Percentile(f64),
    /// The range whose levels lose least of the values' distribution, by Kullback–Leibler divergence (S. Migacz, 8-bit inference with
    /// TensorRT, GTC 2017).
    Entropy,
    /// The range whose levels have the smallest squared error.
    SquaredError,
}

/// Where a range may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At zero, which is level 0.
    Zero,
    /// Anywhere.
    Free,
}

impl RangeMethod {
    /// Ends of the range, without margin; infinite and the wrong way round for no values at all.
    pub(crate) fn bounds(self, values: &[f32], begin: Begin) -> (f64, f64) {
        let (lo, hi) = extremes(values);
        let lo = if begin == Begin::Zero { 0.0 } else { lo };
        if lo >= hi {
            return (lo, hi);
        }
        match self {
            Self::MinMax => (lo, hi),
            Self::Percentile(percent) => percentile(values, percent, begin),
            Self::Entropy => Histogram::new(values, lo, hi).least(begin, Histogram::divergence),
            Self::SquaredError => {
                Histogram::new(values, lo, hi).least(begin, Histogram::squared_error)
            }
        }
    }

    /// `margin` for a range that is to hold all values, 0 for one that was chosen to leave some outside.
    pub(crate) fn margin(self, margin: f64) -> f64 {
        if self == Self::MinMax { margin } else { 0.0 }
    }
}

impl fmt::Display for RangeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("minmax"),
            Self::Percentile(percent) => write!(f, "percentile:{percent}"),
            Self::Entropy => f.write_str("entropy"),
            Self::SquaredError => f.write_str("mse"),
        }
    }
}

/// `minmax`, `percentile`, `percentile:99.9`, `entropy` or `mse`.
impl FromStr for RangeMethod {
    type Err = QuantError;

    fn from_str(text: &str) -> Result<Self, QuantError> {
        let unknown = || QuantError::RangeMethod { text: text.into() };
        match text.split_once(':') {
            Some(("percentile", percent)) => {
                let percent = percent.parse().ok().filter(|p| *p > 50.0 && *p <= 100.0);
                percent.map(Self::Percentile).ok_or_else(unknown)
            }
            None if text == "percentile" => Ok(Self::Percentile(DEFAULT_PERCENTILE)),
            None if text == "minmax" => Ok(Self::MinMax),
            None if text == "entropy" => Ok(Self::Entropy),
            None if text == "mse" => Ok(Self::SquaredError),
            _ => Err(unknown()),
        }
    }
}

/// Methods by tensor: one for all, others for some of them.
///
/// By default `minmax,input=mse`: values of all genes together are many, and few of them large; of anything else a few hundred cells show
/// too little to leave some of it outside (ADR 0021).
#[derive(Clone, Debug, PartialEq)]
pub struct RangePlan {
    default: RangeMethod,
    /// By the names of [`RangePlan::method`]; the last of a name counts.
    named: Vec<(String, RangeMethod)>,
}

impl RangePlan {
    /// How the range of `input` (of `genes` where each has its own: log2_intensity), of the outputs of a hidden layer (`encoder.0`, counted in its stage), or of the 7-bit copy of the
    /// `code` is chosen.
    pub fn method(&self, tensor: &str) -> RangeMethod {
        let named = self.named.iter().rev().find(|(name, _)| name == tensor);
        named.map_or(self.default, |&(_, method)| method)
    }

    /// Refuses names that are none of `tensors`.
    pub(crate) fn check(&self, tensors: &[String]) -> Result<(), QuantError> {
        // By default there is one for inputs, also where genes have ranges of their own.
        let is_known = |name: &String| name == INPUT || tensors.contains(name);
        match self.named.iter().find(|(name, _)| !is_known(name)) {
            None => Ok(()),
            Some((name, _)) => {
                Err(QuantError::NoSuchRange { name: name.clone(), known: tensors.join(", ") })
            }
        }
    }
}

impl Default for RangePlan {
    fn default() -> Self {
        let input = (INPUT.into(), RangeMethod::SquaredError);
        Self { default: RangeMethod::MinMax, named: vec![input] }
    }
}

impl From<RangeMethod> for RangePlan {
    fn from(default: RangeMethod) -> Self {
        Self { default, named: Vec::new() }
    }
}

impl fmt::Display for RangePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.named.iter().try_for_each(|(name, method)| write!(f, ",{name}={method}"))
    }
}

/// `mse`, or `minmax,input=percentile:99.9,encoder.0=mse`: methods of single tensors have their names before them.
impl FromStr for RangePlan {
    type Err = QuantError;

    fn from_str(text: &str) -> Result<Self, QuantError> {
        // What is not spoken of stays as it is by default.
        let mut plan = match text.split(',').any(|part| !part.contains('=')) {
            true => Self::from(RangeMethod::MinMax),
            false => Self::default(),
        };
        let mut spoken_of: Vec<&str> = Vec::new();
        for part in text.split(',') {
            let (name, method) = part.split_once('=').unwrap_or(("", part));
            if spoken_of.contains(&name) {
                return Err(QuantError::RangeTwice { part: part.into() });
            }
            spoken_of.push(name);
            plan.named.retain(|(known, _)| known != name);
            match name {
                "" => plan.default = method.parse()?,
                _ => plan.named.push((name.into(), method.parse()?)),
            }
        }
        Ok(plan)
    }
}

/// What a plan calls the network inputs where one range holds for all genes, and where each has its own, and the 7-bit copy of the
/// code.
pub(crate) const INPUT: &str = "input";
pub(crate) const GENES: &str = "genes";
pub(crate) const CODE: &str = "code";

/// Smallest and largest.
pub(crate) fn extremes(values: &[f32]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), &value| {
        (lo.min(f64::from(value)), hi.max(f64::from(value)))
    })
}

/// Quantiles as NumPy has them, between neighbours by their distance.
fn percentile(values: &[f32], percent: f64, begin: Begin) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let quantile = |share: f64| {
        let place = share * (sorted.len() - 1) as f64;
        // Within the list: shares are at most one.
        let [below, above] = [place.floor(), place.ceil()].map(|at| f64::from(sorted[at as usize]));
        below + (above - below) * place.fract()
    };
    match begin {
        Begin::Zero => (0.0, quantile(percent / 100.0)),
        Begin::Free => {
            let outside = 0.5 - percent / 200.0;
            (quantile(outside), quantile(1.0 - outside))
        }
    }
}

/// Values by equal steps of their range.
struct Histogram {
    lo: f64,
    step: f64,
    /// `[N_BINS]`
    counts: Vec<f64>,
}

impl Histogram {
    /// `lo < hi`; values below `lo` are left out.
    fn new(values: &[f32], lo: f64, hi: f64) -> Self {
        let step = (hi - lo) / N_BINS as f64;
        let mut counts = vec![0.0; N_BINS];
        for &value in values.iter().filter(|&&value| f64::from(value) >= lo) {
            // Not negative; the largest value belongs to the last bin.
            let bin = ((f64::from(value) - lo) / step) as usize;
            counts[bin.min(N_BINS - 1)] += 1.0;
        }
        Self { lo, step, counts }
    }

    /// The range of least cost among those that end on one of [`N_ENDS`] places above the middle, and begin at the bottom or as far
    /// above it as below the top.
    fn least(&self, begin: Begin, cost: impl Fn(&Self, usize, usize) -> f64) -> (f64, f64) {
        let mut best = (f64::INFINITY, 0, N_BINS);
        for cut in 0..=N_ENDS {
            let outside = cut * N_BINS / 2 / N_ENDS;
            let end = N_BINS - outside;
            let begins: &[usize] = match begin {
                Begin::Zero => &[0],
                Begin::Free => &[0, outside],
            };
            for &first in begins.iter().filter(|&&first| first + N_LEVELS <= end) {
                let cost = cost(self, first, end);
                if cost < best.0 {
                    best = (cost, first, end);
                }
            }
        }
        let at = |bin: usize| self.lo + bin as f64 * self.step;
        (at(best.1), at(best.2))
    }

    /// Squared error of levels over the bins `first..end`, in bins.
    fn squared_error(&self, first: usize, end: usize) -> f64 {
        let step = (end - first) as f64 / f64::from(LEVEL_MAX);
        let error = |bin: usize| {
            // The middle of the bin.
            let place = bin as f64 + 0.5 - first as f64;
            let level = (place / step).round().clamp(0.0, f64::from(LEVEL_MAX));
            place - level * step
        };
        self.counts.iter().enumerate().map(|(bin, n)| n * error(bin).powi(2)).sum()
    }

    /// Divergence of what levels over the bins `first..end` keep from what lies there, with what lies outside in the end bins.
    fn divergence(&self, first: usize, end: usize) -> f64 {
        let total: f64 = self.counts.iter().sum();
        let mut reference = self.counts[first..end].to_vec();
        let n_bins = reference.len();
        reference[0] += self.counts[..first].iter().sum::<f64>();
        reference[n_bins - 1] += self.counts[end..].iter().sum::<f64>();
        let kept: f64 = self.counts[first..end].iter().sum();
        let mut divergence = 0.0;
        for level in 0..N_LEVELS {
            let bins = level * n_bins / N_LEVELS..(level + 1) * n_bins / N_LEVELS;
            let own = &self.counts[first..end][bins.clone()];
            // A level stands for all of its bins that have values, alike.
            let filled = own.iter().filter(|&&n| n > 0.0).count();
            let each = own.iter().sum::<f64>() / filled.max(1) as f64 / kept;
            for (&expected, &own) in reference[bins].iter().zip(own) {
                if expected > 0.0 {
                    let p = expected / total;
                    // Values that only lie outside would make it infinite.
                    let q = if own > 0.0 { each } else { UNSEEN / total };
                    divergence += p * (p / q).ln();
                }
            }
        }
        divergence
    }
}

/// What stands for a bin of no values, in values.
const UNSEEN: f64 = 1e-4;
/// Of all values, in percent.
const DEFAULT_PERCENTILE: f64 = 99.99;
const N_LEVELS: usize = LEVEL_MAX as usize + 1;
/// Several for each level of half the range.
const N_BINS: usize = 2_048;
/// Ranges that are tried, less one.
const N_ENDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of a bell, and one value far outside of it.
    fn values() -> Vec<f32> {
        let uniform = (0..10_000).map(|at| (f64::from(at) + 0.5) / 10_000.0);
        let mut values: Vec<f32> =
            uniform.map(|share| (-2.0 * (1.0 - share).ln()).sqrt() as f32).collect();
        values.push(20.0);
        values
    }

    #[test]
    fn outliers_are_left_outside_by_all_but_minmax() {
        let values = values();
        assert_eq!(RangeMethod::MinMax.bounds(&values, Begin::Zero), (0.0, 20.0));
        for method in [RangeMethod::Percentile(99.9), RangeMethod::Entropy] {
            let (lo, hi) = method.bounds(&values, Begin::Zero);
            assert!(lo == 0.0 && (3.0..11.0).contains(&hi), "{method}: {hi}");
        }
        // The outlier costs (20 − hi)², the steps of all others (hi / 127)² / 12 each: least where hi = 20 / (1 + n / 12 / 127²).
        let (lo, hi) = RangeMethod::SquaredError.bounds(&values, Begin::Zero);
        assert!(lo == 0.0 && (hi - 19.02).abs() < 0.2, "mse: {hi}");
    }

    /// `numpy.percentile(values, [0.05, 99.95])` of 0, 1, …, 100
    #[test]
    fn percentiles_equal_numpy() {
        let values: Vec<f32> = (0..=100_u8).rev().map(f32::from).collect();
        let (lo, hi) = RangeMethod::Percentile(99.9).bounds(&values, Begin::Free);
        assert!((lo - 0.05).abs() < 1e-9 && (hi - 99.95).abs() < 1e-9, "{lo} {hi}");
        assert_eq!(RangeMethod::Percentile(100.0).bounds(&values, Begin::Free), (0.0, 100.0));
    }

    #[test]
    fn no_other_range_has_a_smaller_squared_error() {
        let values = values();
        let error = |hi: f64| -> f64 {
            let step = hi / f64::from(LEVEL_MAX);
            let level = |x: f64| (x / step).round().clamp(0.0, f64::from(LEVEL_MAX));
            values.iter().map(|&x| f64::from(x)).map(|x| (x - step * level(x)).powi(2)).sum()
        };
        let (_, hi) = RangeMethod::SquaredError.bounds(&values, Begin::Zero);
        for other in [10.2, 12.0, 15.0, 20.0] {
            assert!(
                error(hi) <= error(other) * 1.01,
                "{hi}: {}, {other}: {}",
                error(hi),
                error(other)
            );
        }
    }

    #[test]
    fn constants_and_nothing_have_no_range() {
        for method in ["minmax", "percentile", "entropy", "mse"] {
            let method: RangeMethod = method.parse().unwrap();
            assert_eq!(method.bounds(&[3.0, 3.0], Begin::Free), (3.0, 3.0));
            assert_eq!(method.bounds(&[-1.0, 0.0], Begin::Zero), (0.0, 0.0));
            let (lo, hi) = method.bounds(&[], Begin::Free);
            assert!(lo > hi);
        }
    }

    #[test]
    fn plans_are_read_as_they_are_written() {
        for text in ["minmax", "mse,encoder.0=percentile:99.9", "entropy,input=minmax,code=mse"] {
            let plan: RangePlan = text.parse().unwrap();
            assert_eq!(plan.to_string(), text);
        }
        let plan: RangePlan = "mse,encoder.0=minmax".parse().unwrap();
        assert_eq!(plan.method("encoder.0"), RangeMethod::MinMax);
        assert_eq!(plan.method("encoder.1"), RangeMethod::SquaredError);
        assert!(plan.check(&["encoder.1".into()]).unwrap_err().to_string().contains("encoder.0"));
        for wrong in ["", "kl", "percentile:50", "percentile:x", "input=", "mse:3"] {
            assert!(wrong.parse::<RangePlan>().is_err(), "{wrong}");
        }
    }
}
