//! Columns of a table of genes that are about the cells instead, by names that programs give to them and no gene has.

use crate::expression::Gene;
use crate::matrix::CsrMatrix;
use crate::obs::{Column, ObsTable};

/// Whether a column of this name says something of a cell: counts, clusters, scores and batches of scanpy, Seurat, Scrublet and
/// Cell Ranger.
pub(crate) fn is_about_cells(name: &str) -> bool {
    NAMES.contains(&name)
        || ["pct_counts_", "total_counts_", "log1p_"].iter().any(|start| name.starts_with(start))
}

/// What is said of a file that has such columns.
pub(crate) fn note(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| {
        format!(
            "{} by name about cells, not genes: {}",
            if names.len() == 1 { "a column is" } else { "columns are" },
            names.join(", ")
        )
    })
}

/// Takes such columns out of a matrix of genes, into `obs`.
pub(crate) fn take_out(
    genes: &mut Vec<Gene>,
    values: &mut CsrMatrix,
    obs: &mut ObsTable,
) -> Vec<String> {
    let names: Vec<String> =
        genes.iter().map(|gene| gene.id.clone()).filter(|id| is_about_cells(id)).collect();
    if names.is_empty() {
        return names;
    }
    let mut places = Vec::with_capacity(genes.len());
    let mut n_kept = 0;
    for (at, gene) in genes.iter().enumerate() {
        if !is_about_cells(&gene.id) {
            places.push(Some(n_kept));
            n_kept += 1;
            continue;
        }
        let of_row = |row| {
            let (columns, numbers) = values.row(row);
            columns.binary_search(&(at as u32)).map_or(0.0, |found| f64::from(numbers[found]))
        };
        obs.insert(gene.id.clone(), Column::F64((0..values.n_rows()).map(of_row).collect()));
        places.push(None);
    }
    values.keep_columns(&places, n_kept as usize);
    genes.retain(|gene| !is_about_cells(&gene.id));
    names
}

const NAMES: [&str; 34] = [
    "n_counts",
    "n_genes",
    "n_genes_by_counts",
    "n_umi",
    "n_umis",
    "nUMI",
    "nGene",
    "nCount_RNA",
    "nFeature_RNA",
    "nCount_SCT",
    "nFeature_SCT",
    "total_counts",
    "total_umis",
    "percent_mt",
    "percent.mt",
    "percent_mito",
    "percent.mito",
    "pct_mito",
    "mt_frac",
    "doublet_score",
    "doublet_scores",
    "predicted_doublet",
    "predicted_doublets",
    "size_factor",
    "size_factors",
    "leiden",
    "louvain",
    "seurat_clusters",
    "cluster",
    "clusters",
    "batch",
    "S_score",
    "G2M_score",
    "dpt_pseudotime",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_cells_leaves_the_genes() {
        let mut genes: Vec<Gene> =
            ["n_counts", "TP53", "leiden", "ACTB"].map(|id| Gene::new(id, None, None)).into();
        let mut values =
            CsrMatrix::from_dense(4, &[9.0, 4.0, 0.0, 5.0, 7.0, 0.0, 2.0, 7.0]).unwrap();
        let mut obs = ObsTable::default();
        let names = take_out(&mut genes, &mut values, &mut obs);
        assert_eq!(names, ["n_counts", "leiden"]);
        assert_eq!(genes.iter().map(|gene| gene.id.as_str()).collect::<Vec<_>>(), ["TP53", "ACTB"]);
        assert_eq!(values.row(0), (&[0, 1][..], &[4.0, 5.0][..]));
        assert_eq!(values.row(1), (&[1][..], &[7.0][..]));
        assert_eq!((obs.number("n_counts", 1), obs.number("leiden", 0)), (Some(7.0), Some(0.0)));
        assert!(note(&names).is_some_and(|note| note.ends_with("n_counts, leiden")));
        assert!(!is_about_cells("NCOUNT1") && is_about_cells("pct_counts_mt"));
    }
}
