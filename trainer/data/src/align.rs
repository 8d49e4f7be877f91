//! Expression matrices in the order of a model's gene panel.

use cic_model::genes::{AlignError, GeneName, GenePanel, NOT_IN_PANEL, Overlap};

use crate::error::DataError;
use crate::expression::{ExpressionMatrix, Gene, Names};
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
    let alignment = PanelAlignment::new(matrix.names(), panel)?;
    let AlignedRows { values, totals } = alignment.align(&matrix.values);
    let PanelAlignment { present, overlap, .. } = alignment;
    Ok(AlignedMatrix { values, present, overlap, totals })
}

/// Where the genes of a file stand in a panel, for files that are aligned block by block.
#[derive(Clone, Debug)]
pub struct PanelAlignment {
    /// Panel index of every gene of the file; for those that have none one of [`SPARE`] places from the
    /// next multiple of [`SPARE`] on.
    map: Vec<u32>,
    /// `[n_genes]`: which genes of the panel the file has.
    pub present: Vec<bool>,
    /// How many these are, and what they weigh.
    pub overlap: Overlap,
}

/// Places for genes that are not in a panel: the bits of a word.
const SPARE: usize = 64;

/// Some cells, reduced to the genes of a panel.
#[derive(Clone, Debug)]
pub struct AlignedRows {
    /// One row per cell, one column per gene of the panel.
    pub values: CsrMatrix,
    /// Sum over all genes of the file, per cell.
    pub totals: Vec<f64>,
}

impl PanelAlignment {
    /// Finds the genes of a file.
    ///
    /// # Errors
    /// [`DataError::DuplicateGene`] if the panel refuses duplicates and the file has one.
    pub fn new(names: Names<'_>, panel: &GenePanel<'_>) -> Result<Self, DataError> {
        let mut map = vec![NOT_IN_PANEL; names.genes.len()];
        let mut present = vec![false; panel.len()];
        let genes = names.genes.iter().map(gene_name);
        let overlap = panel.align_into(genes, &mut map, &mut present).map_err(|error| {
            let (gene, second) = match error {
                AlignError::Duplicate { gene, position } => (gene, position),
                _ => (0, 0),
            };
            let is_it = |name: &&Gene| panel.find(&gene_name(name)) == Some(gene);
            let first = names.genes.iter().find(is_it);
            let id = |gene: Option<&Gene>| gene.map_or_else(String::new, |gene| gene.id.clone());
            DataError::DuplicateGene {
                path: names.path.to_path_buf(),
                gene: panel.display_name(gene as usize).into(),
                first: id(first),
                second: id(names.genes.get(second)),
            }
        })?;
        // Fits 32 bits, as the number of genes of a panel does by far.
        let spare = panel.len().next_multiple_of(SPARE) as u32;
        for (place, column) in map.iter_mut().zip(0..) {
            if *place == NOT_IN_PANEL {
                *place = spare + column % SPARE as u32;
            }
        }
        Ok(Self { map, present, overlap })
    }

    /// Reduces cells of the file that was given.
    ///
    /// # Panics
    /// If the rows have more columns than the file has genes.
    pub fn align(&self, rows: &CsrMatrix) -> AlignedRows {
        let n_cols = self.present.len();
        let mut values =
            CsrMatrix { n_cols, indptr: vec![0], indices: Vec::new(), data: Vec::new() };
        let mut totals = Vec::with_capacity(rows.n_rows());
        // One row of the panel, and a bit for each gene that has a value: cheaper than sorting. Others
        // go to spare places: cheaper than asking, which no processor can foretell, and several, so that
        // no sum waits for the one before.
        let n_places = n_cols.next_multiple_of(SPARE) + SPARE;
        let mut row_values = vec![0.0_f32; n_places];
        let mut occupied = vec![0_u64; n_places / SPARE];
        let n_words = n_cols.div_ceil(SPARE);
        for row in 0..rows.n_rows() {
            let (columns, data) = rows.row(row);
            totals.push(data.iter().map(|&value| f64::from(value)).sum());
            for (&column, &value) in columns.iter().zip(data) {
                let gene = self.map[column as usize] as usize;
                // Genes that stand twice are added in the order of the file.
                row_values[gene] += value;
                occupied[gene / SPARE] |= 1 << (gene % SPARE);
            }
            for (word, bits) in occupied[..n_words].iter_mut().enumerate() {
                while *bits != 0 {
                    let gene = word * SPARE + bits.trailing_zeros() as usize;
                    *bits &= *bits - 1;
                    // The number of a gene of the panel, which fits 32 bits.
                    values.indices.push(gene as u32);
                    values.data.push(std::mem::take(&mut row_values[gene]));
                }
            }
            values.indptr.push(values.data.len());
        }
        AlignedRows { values, totals }
    }
}

/// A gene of a file as a panel is asked for it.
pub fn gene_name(gene: &Gene) -> GeneName<'_> {
    GeneName { id: &gene.id, ensembl: gene.ensembl.as_deref(), symbol: gene.symbol.as_deref() }
}
