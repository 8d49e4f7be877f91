//! Whether genes of a set stand out among all genes of a panel: by how many of them are in a list (over-representation),
//! and by how they rank among all (rank sums); with p-values adjusted for many tests at once.

use crate::metrics::ranks;

/// Of `background` genes, of which `set` are in a set and `list` in a list: the p-value of
/// `overlap` or more genes in both, the upper tail of the hypergeometric distribution (Fisher's exact test, one-sided).
///
/// Terms are summed as multiples of the first, whose logarithm is never taken: the result is exact to rounding.
/// p-values below 10⁻³⁰⁰ are zero.
pub fn over_representation(overlap: usize, set: usize, list: usize, background: usize) -> f64 {
    let (set, list) = (set.min(background), list.min(background));
    let (least, most) = ((set + list).saturating_sub(background), set.min(list));
    if overlap <= least {
        return 1.0;
    }
    if overlap > most {
        return 0.0;
    }
    // Probability of k + 1 over that of k.
    let step = |k: usize| {
        let more = (set - k) as f64 * (list - k) as f64;
        let fewer = (k + 1) as f64 * (background + k + 1 - set - list) as f64;
        more / fewer
    };
    let (mut tail, mut term) = (1.0, 1.0);
    for k in overlap..most {
        term *= step(k);
        tail += term;
    }
    if tail.is_infinite() {
        return 1.0;
    }
    let (mut rest, mut term) = (0.0, 1.0);
    for k in (least..overlap).rev() {
        term /= step(k);
        rest += term;
    }
    tail / (tail + rest)
}

/// p-values adjusted as Benjamini and Hochberg (1995) do: the false discovery rate among all tests with at most this
/// value.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[b].total_cmp(&p_values[a]));
    let n = p_values.len() as f64;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut least: f64 = 1.0;
    for (above, &at) in order.iter().enumerate() {
        least = least.min(p_values[at] * n / (p_values.len() - above) as f64);
        adjusted[at] = least;
    }
    adjusted
}

/// p-values adjusted by Bonferroni: a bound of the family-wise error rate.
pub fn bonferroni(p_values: &[f64]) -> Vec<f64> {
    p_values.iter().map(|p| (p * p_values.len() as f64).min(1.0)).collect()
}

/// Genes ranked by a value of each.
#[derive(Clone, Debug)]
pub struct RankedGenes {
    /// From 1, equal values sharing their mean rank.
    ranks: Vec<f64>,
    /// `Σ t³ − t` over groups of `t` equal values.
    ties: f64,
}

/// How the genes of a set rank among all others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankSum {
    /// Above zero where they rank above the others.
    pub z: f64,
    /// Two-sided p-value.
    pub p_value: f64,
}

impl RankedGenes {
    /// Ranks values, compared in single precision.
    pub fn new(values: &[f64]) -> Self {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let ranks = ranks(&values);
        let mut sorted = ranks.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let groups = sorted.chunk_by(|a, b| a == b).map(|group| group.len() as f64);
        let ties = groups.map(|n| n * n * n - n).sum();
        Self { ranks, ties }
    }

    /// Mann and Whitney's test of the genes of a set against all others, by the normal distribution with corrections for
    /// ties and continuity: limma's `geneSetTest(ranks.only = TRUE)`, SciPy's `mannwhitneyu(method = "asymptotic")`. It
    /// takes genes for independent. Those of a set are not, so p-values are smaller than they should be.
    ///
    /// A set of no gene, or of all, has `z` 0. Indices beyond the genes are passed over.
    pub fn rank_sum(&self, set: &[u32]) -> RankSum {
        let ranks = set.iter().filter_map(|&gene| self.ranks.get(gene as usize));
        let (sum, n_set) = ranks.fold((0.0, 0.0), |(sum, n), rank| (sum + rank, n + 1.0));
        let n = self.ranks.len() as f64;
        let variance = n_set * (n - n_set) / 12.0 * (n + 1.0 - self.ties / (n * (n - 1.0)));
        if variance.is_nan() || variance <= 0.0 {
            return RankSum { z: 0.0, p_value: 1.0 };
        }
        let difference = sum - n_set * (n + 1.0) / 2.0;
        let z = (difference.abs() - 0.5) / variance.sqrt();
        let p_value = libm::erfc(z / core::f64::consts::SQRT_2).min(1.0);
        RankSum { z: z.max(0.0).copysign(difference), p_value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_that_must_be_are_certain_and_others_impossible() {
        assert_eq!(over_representation(0, 5, 10, 100), 1.0);
        assert_eq!(over_representation(6, 5, 10, 100), 0.0);
        // 60 and 50 of 100 have at least 10 in common.
        assert_eq!(over_representation(10, 60, 50, 100), 1.0);
        assert_eq!(over_representation(0, 0, 0, 0), 1.0);
        // One draw of four, two of which are in the set.
        assert_eq!(over_representation(1, 2, 1, 4), 0.5);
    }

    #[test]
    fn p_values_beyond_the_range_of_numbers_are_zero_or_one() {
        assert_eq!(over_representation(5_000, 5_000, 5_000, 100_000), 0.0);
        assert_eq!(over_representation(1, 50_000, 50_000, 100_000), 1.0);
        let common = over_representation(300, 5_000, 5_000, 100_000);
        assert!((0.0..1e-3).contains(&common) && common > 0.0, "{common}");
    }

    #[test]
    fn nothing_to_rank_says_nothing() {
        let equal = RankedGenes::new(&[1.0; 6]);
        let nothing = RankSum { z: 0.0, p_value: 1.0 };
        assert_eq!(equal.rank_sum(&[0, 3]), nothing);
        let some = RankedGenes::new(&[1.0, 2.0, 3.0]);
        assert_eq!(some.rank_sum(&[]), nothing);
        assert_eq!(some.rank_sum(&[0, 1, 2]), nothing);
        assert_eq!(RankedGenes::new(&[]).rank_sum(&[7]), nothing);
        assert!(benjamini_hochberg(&[]).is_empty() && bonferroni(&[]).is_empty());
    }
}
