//! Ranks of the genes of a cell, for models that read [`ValueKind::Ranks`](crate::ValueKind::Ranks).
//!
//! Ranks stay the same whatever rising function the values went through: such a model takes counts, logarithms and
//! intensities alike. It needs no library size and no scale.

/// Replaces the values of a cell by ranks: (genes of a smaller value + (genes of the same value + 1) / 2) / `n_present`,
/// above 0 and at most 1. A gene of 0 or less was not detected: it has 0, and counts among those of a smaller value.
///
/// `values` are those of the genes that are listed, `n_present` is how many genes of the panel the sample has, listed or
/// not; what is not listed is undetected. `order` is room, as long as `values`.
///
/// A cell with a value that is not finite stays as it is, so that a session refuses it for what it is. So does one whose lengths
/// do not fit.
pub fn to_ranks(values: &mut [f32], n_present: usize, order: &mut [u32]) {
    let is_sound = values.iter().all(|value| value.is_finite());
    if order.len() != values.len() || n_present < values.len() || !is_sound {
        return;
    }
    // A panel has fewer than 2³² genes.
    for (at, place) in (0_u32..).zip(order.iter_mut()) {
        *place = at;
    }
    // Finite numbers all compare. What is not detected is all the same.
    order.sort_unstable_by(|&a, &b| value_of(values, a).total_cmp(&value_of(values, b)));
    // Genes that are not listed have the smallest value, too.
    let mut smaller = n_present - values.len();
    let mut rest = &order[..];
    while let Some(&first) = rest.first() {
        let of_these = value_of(values, first);
        let n_equal = rest.iter().take_while(|&&at| value_of(values, at) == of_these).count();
        let (these, others) = rest.split_at(n_equal);
        // Both are whole numbers far below 2²⁴: one division, rounded once.
        let rank = (2 * smaller + n_equal + 1) as f32 / (2 * n_present) as f32;
        for &at in these {
            if let Some(value) = values.get_mut(at as usize) {
                *value = if of_these > 0.0 { rank } else { 0.0 };
            }
        }
        smaller += n_equal;
        rest = others;
    }
}

fn value_of(values: &[f32], at: u32) -> f32 {
    values.get(at as usize).map_or(0.0, |value| value.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks<const N: usize>(mut values: [f32; N], n_present: usize) -> [f32; N] {
        to_ranks(&mut values, n_present, &mut [0; N]);
        values
    }

    #[test]
    fn ranks_are_scipys() {
        // scipy.stats.rankdata([0, 3, 1, 1, 5, 0, 0, 0]) / 8, of the values above 0.
        let found = ranks([0.0, 3.0, 1.0, 1.0, 5.0, -0.0], 8);
        assert_eq!(found, [0.0, 0.875, 0.6875, 0.6875, 1.0, 0.0]);
        // As if the negative one were 0.
        assert_eq!(ranks([4.5, -1.5, 2.0, 2.0], 4), [1.0, 0.0, 0.625, 0.625]);
    }

    #[test]
    fn a_rising_function_and_the_ranks_themselves_change_nothing() {
        let values = [0.0, 7.0, 2.0, 0.5, 0.0, 2.0];
        let once = ranks(values, 6);
        assert_eq!(ranks(values.map(f32::ln_1p), 6), once);
        assert_eq!(ranks(once, 6), once);
        let without_zeros = ranks([7.0, 2.0, 0.5, 2.0], 6);
        assert_eq!(without_zeros, [once[1], once[2], once[3], once[5]]);
    }

    #[test]
    fn what_a_session_refuses_stays_as_it_is() {
        for wrong in [f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(ranks([2.0, wrong], 2), [2.0, wrong]);
        }
        assert!(ranks([2.0, f32::NAN], 2)[1].is_nan());
        assert_eq!(ranks([2.0, 3.0], 1), [2.0, 3.0]);
        let mut values = [2.0, 3.0];
        to_ranks(&mut values, 2, &mut [0]);
        assert_eq!(values, [2.0, 3.0]);
        to_ranks(&mut [], 0, &mut []);
    }
}
