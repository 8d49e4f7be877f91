//! Gene sets reduced to the genes of a panel. Only these can be found among a model's genes, so only they are counted.

use std::collections::HashSet;

use cic_data::GeneSets;
use cic_model::genes::{GeneName, GenePanel};

/// A gene set, reduced to a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanelSet {
    /// Name in its collection.
    pub name: String,
    /// What its collection says about it.
    pub description: String,
    /// Different names of genes that it has in its collection.
    pub n_named: usize,
    /// Its genes in the panel, increasing.
    pub genes: Vec<u32>,
}

/// How many genes of a set may be in the panel for it to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetSizes {
    /// Fewer say little.
    pub least: usize,
    /// More say little as well.
    pub most: usize,
}

/// What became of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanelSets {
    /// Sets of a size that is looked at, in the order of the collection.
    pub sets: Vec<PanelSet>,
    /// Sets with fewer genes in the panel.
    pub n_small: usize,
    /// Sets with more.
    pub n_large: usize,
    /// Different names of genes in the whole collection.
    pub n_named: usize,
    /// Of these, names of genes of the panel.
    pub n_matched: usize,
}

impl PanelSets {
    /// Finds the genes of a collection in a panel, by symbol or by Ensembl id, as genes of expression files are found.
    /// Two names of one gene count once.
    pub fn new(collection: &GeneSets, panel: &GenePanel<'_>, sizes: SetSizes) -> Self {
        let mut found = Self { sets: Vec::new(), n_small: 0, n_large: 0, n_named: 0, n_matched: 0 };
        let (mut named, mut matched) = (HashSet::new(), HashSet::new());
        for set in &collection.sets {
            let names: HashSet<&str> = set.genes.iter().map(String::as_str).collect();
            let mut genes = Vec::new();
            for &name in &names {
                named.insert(name);
                let name = GeneName { id: name, ensembl: None, symbol: None };
                if let Some(gene) = panel.find(&name) {
                    matched.insert(name.id);
                    genes.push(gene);
                }
            }
            genes.sort_unstable();
            genes.dedup();
            match genes.len() {
                n if n < sizes.least => found.n_small += 1,
                n if n > sizes.most => found.n_large += 1,
                _ => {
                    let (name, description) = (set.name.clone(), set.description.clone());
                    let n_named = names.len();
                    found.sets.push(PanelSet { name, description, n_named, genes });
                }
            }
        }
        (found.n_named, found.n_matched) = (named.len(), matched.len());
        found
    }
}
