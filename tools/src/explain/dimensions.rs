//! What dimensions of the code stand for.

use std::collections::BTreeMap;

use cic_trainer::enrichment::{
    RankSum, RankedGenes, benjamini_hochberg, bonferroni, over_representation,
};
use cic_trainer::gene_sets::PanelSet;
use cic_trainer::interpretation::{CodeStatistics, DimensionEffect, dimension_effect};

use super::cells::by_size;
use super::{Collection, Study};

/// A dimension, explained.
pub(super) struct Dimension {
    pub(super) dimension: usize,
    /// Over the cells given.
    pub(super) mean: f64,
    pub(super) sd: f64,
    pub(super) effect: DimensionEffect,
    /// Genes by decreasing absolute change.
    pub(super) order: Vec<usize>,
    /// Mean of the dimension over the cells of each type, from high to low.
    pub(super) types: Vec<(String, f64)>,
    pub(super) sets: Vec<SetTest>,
}

/// What became of a gene set with a dimension.
pub(super) struct SetTest {
    pub(super) collection: usize,
    /// Index in the collection.
    pub(super) set: usize,
    /// Its genes among those of largest change, by decreasing absolute change.
    pub(super) overlap: Vec<usize>,
    /// How many of these rise.
    pub(super) n_rising: usize,
    pub(super) p_value: f64,
    pub(super) q_value: f64,
    pub(super) bonferroni: f64,
    /// Of the changes of all genes.
    pub(super) rank_sum: RankSum,
    pub(super) rank_q_value: f64,
}

impl Study<'_> {
    /// Explains dimensions by the `top` genes of largest change, at most all; p-values are adjusted over all sets and all of them.
    pub(super) fn explain_dimensions(
        &self,
        dimensions: &[usize],
        top: usize,
        collections: &[Collection],
    ) -> Vec<Dimension> {
        let mean = self.mean_code(&self.rows);
        let sd = self.code_sd(&mean);
        let types = self.type_means();
        let code = CodeStatistics { mean: &mean, sd: &sd };
        let explain = |&dimension: &usize| {
            let effect = dimension_effect(self.network, code, dimension, self.baseline());
            let order = by_size(&effect.change);
            let mut types: Vec<(String, f64)> =
                types.iter().map(|(name, mean)| (name.clone(), mean[dimension])).collect();
            types.sort_by(|a, b| b.1.total_cmp(&a.1));
            let sets = test_sets(&effect.change, &order[..top], collections);
            let (mean, sd) = (mean[dimension], sd[dimension]);
            Dimension { dimension, mean, sd, effect, order, types, sets }
        };
        let mut explained: Vec<Dimension> = dimensions.iter().map(explain).collect();
        adjust(&mut explained);
        explained
    }

    fn code_sd(&self, mean: &[f64]) -> Vec<f64> {
        let mut squares = vec![0.0; mean.len()];
        for &row in &self.rows {
            for ((square, &value), mean) in squares.iter_mut().zip(self.code(row)).zip(mean) {
                *square += (f64::from(value) - mean).powi(2);
            }
        }
        squares.iter().map(|sum| (sum / self.rows.len() as f64).sqrt()).collect()
    }

    /// Mean codes by label where there are labels, else by call.
    fn type_means(&self) -> Vec<(String, Vec<f64>)> {
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for &row in &self.rows {
            let called =
                self.calls.calls[row].best().map(|leaf| self.model.labels().leaf_name(leaf));
            let name = match self.annotations.labels {
                Some(_) => self.annotations.label(row),
                None => called.map(String::from),
            };
            if let Some(name) = name {
                groups.entry(name).or_default().push(row);
            }
        }
        groups.into_iter().map(|(name, rows)| (name, self.mean_code(&rows))).collect()
    }
}

/// Tests every set; q-values are still to come.
fn test_sets(change: &[f64], top: &[usize], collections: &[Collection]) -> Vec<SetTest> {
    let ranked = RankedGenes::new(change);
    let mut place = vec![usize::MAX; change.len()];
    top.iter().enumerate().for_each(|(at, &gene)| place[gene] = at);
    let test = |collection: usize, set: usize, genes: &PanelSet| {
        let mut overlap: Vec<usize> = genes.genes.iter().map(|&gene| gene as usize).collect();
        overlap.retain(|&gene| place[gene] != usize::MAX);
        overlap.sort_by_key(|&gene| place[gene]);
        let (n_set, n_overlap) = (genes.genes.len(), overlap.len());
        SetTest {
            collection,
            set,
            n_rising: overlap.iter().filter(|&&gene| change[gene] > 0.0).count(),
            p_value: over_representation(n_overlap, n_set, top.len(), change.len()),
            q_value: 1.0,
            bonferroni: 1.0,
            rank_sum: ranked.rank_sum(&genes.genes),
            rank_q_value: 1.0,
            overlap,
        }
    };
    let of_collection = |(at, collection): (usize, &Collection)| -> Vec<SetTest> {
        let sets = collection.sets.sets.iter().enumerate();
        sets.map(|(set, genes)| test(at, set, genes)).collect()
    };
    collections.iter().enumerate().flat_map(of_collection).collect()
}

fn adjust(dimensions: &mut [Dimension]) {
    let of = |p_value: fn(&SetTest) -> f64| -> Vec<f64> {
        dimensions.iter().flat_map(|one| &one.sets).map(p_value).collect()
    };
    let p_values = of(|test| test.p_value);
    let by_rank = benjamini_hochberg(&of(|test| test.rank_sum.p_value));
    let adjusted = benjamini_hochberg(&p_values).into_iter().zip(bonferroni(&p_values));
    let tests = dimensions.iter_mut().flat_map(|one| &mut one.sets);
    for ((test, (q_value, bonferroni)), rank_q_value) in tests.zip(adjusted).zip(by_rank) {
        (test.q_value, test.bonferroni, test.rank_q_value) = (q_value, bonferroni, rank_q_value);
    }
}
