//! Real data sets, found through `CIC_DATA` or beside the workspace.

use std::path::{Path, PathBuf};

use cic_data::{
    DataError, ExpressionMatrix, ReadOptions, SplitPart, check_scale, read_expression,
    read_labels_tsv, read_split,
};
use cic_model::ValueKind;

/// The folder of the real data, or a notice that the test does nothing without it.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("CIC_DATA").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no real data at {}; set CIC_DATA", folder.display());
    None
}

fn read(path: &Path) -> ExpressionMatrix {
    read_expression(path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_three_forms_of_pbmc3k_give_identical_matrices() {
    let Some(data) = data() else { return };
    let folder = data.join("pbmc3k");
    let anndata = read(&folder.join("pbmc3k.h5ad"));
    assert_eq!((anndata.n_obs(), anndata.n_vars()), (2638, 13714));
    assert_eq!(anndata.values.nnz(), 2_238_732);
    for (row, sum) in (0..anndata.n_obs())
        .map(|row| anndata.values.row(row).1.iter().map(|&v| f64::from(v)).sum::<f64>())
        .enumerate()
    {
        assert_eq!(anndata.obs.number("n_counts", row), Some(sum));
    }
    for form in ["filtered_feature_bc_matrix.h5", "filtered_feature_bc_matrix"] {
        let other = read(&folder.join(form));
        assert_eq!(other.values, anndata.values, "{form}");
        for (name, expected) in other.obs_names.iter().zip(&anndata.obs_names) {
            assert_eq!(name.strip_suffix("-1"), Some(expected.as_str()), "{form}");
        }
        for (gene, expected) in other.genes.iter().zip(&anndata.genes) {
            assert_eq!(gene.symbol, expected.symbol, "{form}");
            assert_eq!(gene.ensembl, expected.ensembl, "{form}");
        }
    }
}

#[test]
fn pbmc3k_labels_and_split_join() {
    let Some(data) = data() else { return };
    let folder = data.join("pbmc3k");
    let anndata = read(&folder.join("pbmc3k.h5ad"));
    let parts = read_split(&folder.join("split.tsv"), &anndata.obs_names).unwrap();
    assert_eq!(parts.iter().filter(|part| **part == Some(SplitPart::Test)).count(), 660);
    let mex = read(&folder.join("filtered_feature_bc_matrix"));
    let labels = read_labels_tsv(&folder.join("labels.tsv")).unwrap();
    let labels = labels.joined("cell_type", &mex.obs_names).unwrap();
    for row in 0..anndata.n_obs() {
        assert_eq!(labels.text(row), anndata.obs.value("cell_type", row));
    }
    let error = read_split(&folder.join("split.tsv"), &mex.obs_names).unwrap_err();
    assert!(matches!(error, DataError::NoJoin { .. }), "{error}");
}

/// What each set is, by its README, and whether it is recognised without a declaration.
#[test]
fn every_data_set_is_read_and_its_scale_found_or_asked_for() {
    use ValueKind::{Counts, LinearNormalised, Log1p, Log2Intensity};
    let Some(data) = data() else { return };
    for (file, shape, detected, declared) in [
        ("pbmc3k/pbmc3k.h5ad", (2638, 13714), Some(Counts), Counts),
        ("cbmc-panel500/cbmc-panel500.h5ad", (8617, 500), Some(Counts), Counts),
        ("cell-lines-celseq2/cell-lines-celseq2.h5ad", (811, 27896), Some(Counts), Counts),
        ("cell-lines-li/cell-lines-li.h5ad", (561, 39028), None, LinearNormalised),
        ("pollen/pollen.h5ad", (301, 23730), Some(LinearNormalised), LinearNormalised),
        ("dendritic-two-batches/dendritic-two-batches.h5ad", (576, 859), Some(Log1p), Log1p),
        ("rna-mixture-replicates/rna-mixture-celseq2.h5ad", (340, 14777), Some(Counts), Counts),
        ("rna-mixture-replicates/rna-mixture-sortseq.h5ad", (296, 15527), Some(Counts), Counts),
        ("bulk-tissues-3-studies/expression.tsv.gz", (104, 17820), None, LinearNormalised),
        ("gnf-atlas-replicates/expression.tsv.gz", (158, 2045), None, LinearNormalised),
        ("hematopoiesis-38/expression.tsv.gz", (38, 21246), Some(Log2Intensity), Log2Intensity),
        ("sarcoma-u133a/expression.tsv.gz", (105, 22283), None, LinearNormalised),
        ("stem-cells-4-studies/expression.tsv.gz", (125, 400), Some(Log2Intensity), Log2Intensity),
        ("technical-replicates/ipsc-bulk-3x3-counts.tsv.gz", (9, 19027), Some(Counts), Counts),
        (
            "technical-replicates/marioni-kidney-liver-lanes-counts.tsv.gz",
            (10, 5088),
            Some(Counts),
            Counts,
        ),
        (
            "technical-replicates/seqc-uhrr-hbrr-rnaseq-counts.tsv.gz",
            (8, 43919),
            Some(Counts),
            Counts,
        ),
        ("tissue-189x500/expression.tsv.gz", (189, 500), Some(Log2Intensity), Log2Intensity),
    ] {
        let matrix = read(&data.join(file));
        assert_eq!((matrix.n_obs(), matrix.n_vars()), shape, "{file}");
        match (check_scale(&matrix, None), detected) {
            (Ok(verdict), Some(kind)) => assert_eq!(verdict.kind, kind, "{file}: {verdict:?}"),
            (Err(DataError::ScaleUnknown { .. }), None) => {}
            (other, _) => panic!("{file}: {other:?}"),
        }
        check_scale(&matrix, Some(declared)).unwrap_or_else(|error| panic!("{error}"));
        for wrong in [Counts, Log1p, Log2Intensity] {
            // Both logarithms have the same range: only what they are not can be seen.
            let logarithms = [Log1p, Log2Intensity];
            if wrong == declared || logarithms.contains(&wrong) && logarithms.contains(&declared) {
                continue;
            }
            assert!(check_scale(&matrix, Some(wrong)).is_err(), "{file} as {wrong:?}");
        }
    }
}

#[test]
fn an_orientation_that_names_do_not_show_is_asked_for() {
    let Some(data) = data() else { return };
    let path = data.join("technical-replicates/seqc-uhrr-hbrr-array.tsv.gz");
    let error = read_expression(&path, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::OrientationUnknown { .. }), "{error}");
    let options = ReadOptions {
        orientation: Some(cic_data::Orientation::GenesByObs),
        ..ReadOptions::default()
    };
    assert_eq!(read_expression(&path, &options).unwrap().n_obs(), 6);
}
