//! The softmax temperature, fitted on calibration cells.

use cic_model::quant::ONE_Q16;

use crate::pipeline::MIN_CALIBRATION_ROWS;

/// The temperature with the smallest mean negative log-likelihood of the labels (Guo et al. 2017,
/// "On calibration of modern neural networks", section 4.2), between 1/16 and 16. `None` with fewer than
/// 30 cells. Takes logits and label of each cell.
///
/// Labels are softened as if one more cell had been seen on either side (Platt 1999, "Probabilistic outputs for support vector
/// machines", section 2.2): where every call is right, n cells say no more than that about one in n may be wrong.
pub(crate) fn fit_temperature(cells: impl Iterator<Item = (Vec<f64>, usize)>) -> Option<f64> {
    let cells: Vec<(Vec<f64>, usize)> =
        cells.filter(|(logits, label)| *label < logits.len()).collect();
    if cells.len() < MIN_CALIBRATION_ROWS {
        return None;
    }
    let softness = 1.0 / (cells.len() + 2) as f64;
    let loss = |log_temperature: f64| -> f64 {
        let inverse = libm::exp(-log_temperature);
        cells
            .iter()
            .map(|(logits, label)| {
                let of = |leaf: usize| negative_log_likelihood(logits, leaf, inverse);
                let others = (0..logits.len()).filter(|leaf| leaf != label);
                let n_others = logits.len().saturating_sub(1).max(1) as f64;
                (1.0 - softness) * of(*label) + softness / n_others * others.map(of).sum::<f64>()
            })
            .sum()
    };
    // The loss is convex in the inverse temperature, hence has one minimum here too: golden
    // section.
    let ratio = 0.5 * (5.0_f64.sqrt() - 1.0);
    let limit = 16.0_f64.ln();
    let (mut low, mut high) = (-limit, limit);
    for _ in 0..60 {
        let step = ratio * (high - low);
        if loss(high - step) < loss(low + step) { high = low + step } else { low = high - step }
    }
    Some(libm::exp(0.5 * (low + high)))
}

/// What the rules of a model hold of a temperature.
pub(crate) fn inverse_q16(temperature: f64) -> u32 {
    (f64::from(ONE_Q16) / temperature).round().max(1.0) as u32
}

fn negative_log_likelihood(logits: &[f64], label: usize, inverse_temperature: f64) -> f64 {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| libm::exp((logit - max) * inverse_temperature)).sum();
    libm::log(sum) - (logits[label] - max) * inverse_temperature
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfident_logits_get_the_temperature_that_makes_them_honest() {
        // Logits of ±3 claim 99.75 %, but one in ten is wrong: honest are ±ln(9) / 2, or a little less with softened labels.
        let right = 0.9 - 0.8 / 102.0;
        let cells = (0..100).map(|cell| (vec![3.0, -3.0], usize::from(cell % 10 == 0)));
        let expected = 6.0 / (right / (1.0_f64 - right)).ln();
        assert!((fit_temperature(cells).unwrap() - expected).abs() < 1e-4);
    }

    #[test]
    fn calls_that_are_all_right_are_not_certain() {
        let temperature = fit_temperature((0..98).map(|_| (vec![3.0, -3.0], 0))).unwrap();
        let sure = 1.0 / (1.0 + (-6.0 / temperature).exp());
        assert!((sure - 0.99).abs() < 1e-4, "{sure}");
    }

    #[test]
    fn a_few_cells_leave_the_temperature_alone() {
        assert_eq!(fit_temperature((0..29).map(|_| (vec![3.0, -3.0], 1))), None);
    }
}
