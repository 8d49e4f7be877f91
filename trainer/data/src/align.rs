//! Expression matrices in the order of a model's gene panel.

use cic_model::genes::{AlignError, GeneName, GenePanel, NOT_IN_PANEL, Overlap};

use crate::error::DataError;
use crate::expression::{ExpressionMatrix, Gene};
use crate::matrix::CsrMatrix;

/// The cells of a file, reduced to the genes of a panel.
#[derive(Clone, Debug)]
pub struct AlignedMatrix {
    /// One row per cell, one column per gene of the panel; genes that the file lacks are empty.
    pub values: CsrMatrix,
    /// `[n_genes]`: which genes of the panel the file has.
    pub present: Vec<bool>,
    /// How many these are, and what they weigh.
    pub overlap: Overlap,
    /// Sum over all genes of the file, per cell.
    pub totals: Vec<f64>,
}

/// Reduces a file to the genes of a panel, in the panel's order. What happens to genes that stand
/// twice is the panel's policy.
///
/// # Errors
/// [`DataError::DuplicateGene`] if the panel refuses duplicates and the file has one.
pub fn align(matrix: &ExpressionMatrix, panel: &GenePanel<'_>) -> Result<AlignedMatrix, DataError> {
    let mut map = vec![NOT_IN_PANEL; matrix.n_vars()];
    let mut present = vec![false; panel.len()];
    let names = matrix.genes.iter().map(gene_name);
    let overlap = panel.align_into(names, &mut map, &mut present).map_err(|error| {
        let position = match error {
            AlignError::Duplicate { position, .. } => position,
            _ => 0,
        };
        DataError::DuplicateGene {
            path: matrix.source.path.clone(),
            gene: matrix.genes.get(position).map_or_else(String::new, |gene| gene.id.clone()),
        }
    })?;
    let mut values =
        CsrMatrix { n_cols: panel.len(), indptr: vec![0], indices: Vec::new(), data: Vec::new() };
    let mut totals = Vec::with_capacity(matrix.n_obs());
    let mut entries: Vec<(u32, f32)> = Vec::new();
    for row in 0..matrix.n_obs() {
        let (columns, data) = matrix.values.row(row);
        totals.push(data.iter().map(|&value| f64::from(value)).sum());
        entries.clear();
        entries.extend(
            columns
                .iter()
                .zip(data)
                .map(|(&column, &value)| (map[column as usize], value))
                .filter(|&(gene, _)| gene != NOT_IN_PANEL),
        );
        // Stable, so that duplicates are added in the order of the file.
        entries.sort_by_key(|&(gene, _)| gene);
        for same in entries.chunk_by(|a, b| a.0 == b.0) {
            values.indices.push(same[0].0);
            values.data.push(same.iter().map(|&(_, value)| value).sum());
        }
        values.indptr.push(values.data.len());
    }
    Ok(AlignedMatrix { values, present, overlap, totals })
}

fn gene_name(gene: &Gene) -> GeneName<'_> {
    GeneName { id: &gene.id, ensembl: gene.ensembl.as_deref(), symbol: gene.symbol.as_deref() }
}
