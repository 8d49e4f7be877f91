//! What `cic explain --json` tells about the dimensions of the code: which gene sets they are about.

use serde::Deserialize;

/// As much of it as the page shows; what else there is does not matter.
#[derive(Deserialize)]
pub(super) struct Explained {
    pub(super) model_id: String,
    /// Cells that it looked at.
    #[serde(default)]
    pub(super) n_cells: usize,
    pub(super) dimensions: Vec<Dimension>,
}

/// One number of the code.
#[derive(Deserialize)]
pub(super) struct Dimension {
    pub(super) dimension: usize,
    #[serde(default)]
    pub(super) types: Vec<TypeMean>,
    /// Genes that rise with it, the strongest first.
    #[serde(default)]
    pub(super) rising: Vec<Gene>,
    /// Sets of genes that are more often among its genes than chance would have them, the surest first.
    #[serde(default)]
    pub(super) over_represented: Vec<Set>,
}

/// Mean of a dimension over the cells of a type.
#[derive(Deserialize)]
pub(super) struct TypeMean {
    pub(super) label: String,
    pub(super) mean: Option<f64>,
}

/// A gene that changes with a dimension.
#[derive(Deserialize)]
pub(super) struct Gene {
    pub(super) gene: String,
}

/// A set of genes.
#[derive(Deserialize)]
pub(super) struct Set {
    #[serde(default)]
    pub(super) collection: String,
    pub(super) title: String,
    /// Its genes in the panel.
    pub(super) n_panel: usize,
    /// Those of them that are among the dimension's genes.
    pub(super) overlap: usize,
    /// Share of sets as sure as this one that are there by chance.
    pub(super) q_value: Option<f64>,
}
