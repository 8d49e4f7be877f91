//! How sure a model may be of its calls: what is learnt from cells that no weight was fitted to.
//!
//! Half of these cells give the temperature, the other half the sets of labels: the promise of the sets holds whatever the
//! temperature is, and confidence and sets are not fitted to the same cells.

use cic_model::confidence::{COVERAGE_STEPS, LEVELS};
use cic_model::provenance::RowDigest;
use cic_model::quant::ONE_Q16;
use cic_model::spec::ConfidenceSpec;

use crate::engine::rng::{Purpose, Rng};
use crate::temperature::{fit_temperature, inverse_q16};

/// A calibration cell of known type.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// `[n_leaves]`
    pub logits: Vec<f64>,
    /// The leaf that it is.
    pub leaf: usize,
}

/// What calibration says.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrated {
    /// For the rules of the model; `None` with too few cells.
    pub inv_temperature_q16: Option<u32>,
    /// The promises.
    pub confidence: ConfidenceSpec,
}

/// The two halves of the calibration cells: every other one in the order of the digests of their ids, so that neither their
/// order in a file nor their number elsewhere decides.
pub fn halves<T>(mut cells: Vec<(RowDigest, T)>) -> [Vec<T>; 2] {
    cells.sort_by_key(|cell| cell.0);
    let mut halves = [Vec::new(), Vec::new()];
    for (number, (_, cell)) in cells.into_iter().enumerate() {
        halves[number % 2].push(cell);
    }
    halves
}

/// Calibrates. `lacking` gives the cells of the first half again as a file would that lacks genes, for each step of
/// [`cic_model::confidence::coverage_step`].
pub fn calibrate(
    [first, second]: &[Vec<Judged>; 2],
    lacking: &[Vec<Judged>],
    present_q16: u32,
) -> Calibrated {
    let fitted = |cells: &[Judged]| {
        fit_temperature(cells.iter().map(|cell| (cell.logits.clone(), cell.leaf))).map(inverse_q16)
    };
    let inv_temperature_q16 = fitted(first);
    let mut inv_temperatures_q16 = [0; COVERAGE_STEPS];
    // Fewer genes never make a model surer.
    let mut most = inv_temperature_q16.unwrap_or(present_q16);
    for (step, inverse) in inv_temperatures_q16.iter_mut().enumerate().rev() {
        most = lacking.get(step).and_then(|cells| fitted(cells)).unwrap_or(most).min(most);
        *inverse = most;
    }
    let margins: Vec<f64> = second.iter().filter_map(excess).collect();
    let sets = label_sets(margins);
    Calibrated {
        inv_temperature_q16,
        confidence: ConfidenceSpec {
            n_cells: sets.map_or(0, |_| second.len() as u32),
            margins_q16: sets.unwrap_or([0; LEVELS.len()]),
            inv_temperatures_q16,
        },
    }
}

/// By how much the largest logit of the others exceeds that of the cell's own type: below zero where the call is right.
/// `None` where there is no other.
pub fn excess(cell: &Judged) -> Option<f64> {
    let own = cell.logits.get(cell.leaf)?;
    let others = cell.logits.iter().enumerate().filter(|(leaf, _)| *leaf != cell.leaf);
    others.map(|(_, logit)| logit - own).reduce(f64::max)
}

/// By level, the margin within which the true label of so many cells is; see
/// [`cic_model::confidence::Confidence::margin_q16`]. `None` with too few cells for the largest level.
pub fn label_sets(mut excesses: Vec<f64>) -> Option<[i32; LEVELS.len()]> {
    excesses.sort_unstable_by(f64::total_cmp);
    let n = excesses.len();
    let margin = |percent: u32| {
        // The ⌈(n + 1) · level⌉-th smallest.
        let rank = ((n + 1) * percent as usize).div_ceil(100);
        let excess = excesses.get(rank.checked_sub(1)?)?;
        // Saturates.
        Some((excess * f64::from(ONE_Q16)).ceil() as i32)
    };
    let mut margins = [0; LEVELS.len()];
    for (to, percent) in margins.iter_mut().zip(LEVELS) {
        *to = margin(percent)?;
    }
    Some(margins)
}

/// What sets of labels hold when cells are divided by chance, `n` times: `n_calibration` of them, by what [`excess`] says of
/// them, set the margins as [`label_sets`] does, and the others are looked at. Shares of these, by level. `None` with too few
/// cells.
pub fn resplit_coverage(
    excesses: &[f64],
    n_calibration: usize,
    n: usize,
    seed: u64,
) -> Option<[Vec<f64>; LEVELS.len()]> {
    let mut coverage: [Vec<f64>; LEVELS.len()] = Default::default();
    let mut mixed = excesses.to_vec();
    for number in 0..n {
        Rng::stream(seed, Purpose::Resplit, number as u64, 0).shuffle(&mut mixed);
        let (calibration, others) = mixed.split_at_checked(n_calibration)?;
        let margins = label_sets(calibration.to_vec()).filter(|_| !others.is_empty())?;
        for (to, margin) in coverage.iter_mut().zip(margins) {
            let margin = f64::from(margin) / f64::from(ONE_Q16);
            let n_held = others.iter().filter(|&&excess| excess <= margin).count();
            to.push(n_held as f64 / others.len() as f64);
        }
    }
    Some(coverage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divided_anew_sets_hold_what_they_promise() {
        // The mean over resplits is k / (n + 1) of the k-th of n cells (Vovk et al. 2005): 91 / 101 and 96 / 101.
        let excesses: Vec<f64> = (0..1_000).map(f64::from).collect();
        let coverage = resplit_coverage(&excesses, 100, 400, 1).unwrap();
        for (shares, expected) in coverage.iter().zip([91.0 / 101.0, 96.0 / 101.0]) {
            let mean = shares.iter().sum::<f64>() / 400.0;
            assert!((mean - expected).abs() < 0.005, "{mean} for {expected}");
        }
        assert_eq!(resplit_coverage(&excesses, 18, 1, 1), None);
        assert_eq!(resplit_coverage(&excesses, 1_000, 1, 1), None);
    }

    #[test]
    fn sets_hold_the_ranked_cell_and_need_enough_of_them() {
        // Nineteen cells: 90 % is the 18th, 95 % the 19th.
        let excesses: Vec<f64> = (1..=19).rev().map(f64::from).collect();
        assert_eq!(label_sets(excesses.clone()), Some([18 << 16, 19 << 16]));
        assert_eq!(label_sets(excesses[..18].to_vec()), None);
    }

    #[test]
    fn an_excess_is_below_zero_where_the_call_is_right() {
        let cell = |leaf| Judged { logits: vec![1.0, 3.0, 2.5], leaf };
        assert_eq!(excess(&cell(1)), Some(-0.5));
        assert_eq!(excess(&cell(0)), Some(2.0));
        assert_eq!(excess(&Judged { logits: vec![1.0], leaf: 0 }), None);
    }

    #[test]
    fn halves_depend_on_names_alone() {
        let cells = |order: [u8; 5]| order.map(|name| ([name; 8], name)).to_vec();
        let expected = [vec![1, 3, 5], vec![2, 4]];
        assert_eq!(halves(cells([5, 4, 3, 2, 1])), expected);
        assert_eq!(halves(cells([2, 1, 4, 5, 3])), expected);
    }

    #[test]
    fn fewer_genes_never_make_surer() {
        // Half of the cells right with a lead of 2; with fewer genes all of them.
        let judged = |wrong: usize| -> Vec<Judged> {
            (0..40)
                .map(|i| Judged { logits: vec![2.0, 0.0], leaf: usize::from(i < wrong) })
                .collect()
        };
        let mut lacking = vec![judged(18); COVERAGE_STEPS];
        lacking[0] = judged(1);
        let calibrated = calibrate(&[judged(8), judged(8)], &lacking, 1 << 16);
        let steps = calibrated.confidence.inv_temperatures_q16;
        assert!(steps.is_sorted(), "{steps:?}");
        assert!(steps[15] < calibrated.inv_temperature_q16.unwrap());
        assert_eq!(calibrated.confidence.n_cells, 40);
    }
}
