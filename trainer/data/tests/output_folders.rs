//! Folders as Cell Ranger, Xenium and DRAGEN write them, in blocks and whole.

mod streams;

use std::fs;
use std::path::Path;

use cic_data::{BlockSize, ExpressionMatrix, ReadOptions, read_expression};
use streams::assert_streams_like_whole;

/// Four features × three cells, of which the second has nothing.
const MATRIX: &str = "%%MatrixMarket matrix coordinate integer general\n%metadata_json: {}\n4 3 4\n\
                      1 1 5\n3 1 7\n2 3 9\n4 3 1\n";
const BARCODES: &str = "AAAC-1\nAAAG-1\nAAAT-1\n";
const TWO_COLUMNS: &str = "ENSG00000141510\tTP53\nENSG00000075624\tACTB\nENSG00000111640\tGAPDH\n\
                           ENSG00000167286\tCD3D\n";

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// The folder read both ways.
fn read(folder: &Path) -> ExpressionMatrix {
    let options = ReadOptions::default();
    let sizes = [BlockSize { cells: 1, values: usize::MAX }, BlockSize::default()];
    assert_streams_like_whole(folder, &options, &sizes);
    read_expression(folder, &options).unwrap()
}

fn symbols(matrix: &ExpressionMatrix) -> Vec<&str> {
    matrix.genes.iter().map(|gene| gene.symbol.as_deref().unwrap()).collect()
}

fn assert_is_whole(matrix: &ExpressionMatrix) {
    assert_eq!(matrix.obs_names, ["AAAC-1", "AAAG-1", "AAAT-1"]);
    assert_eq!(symbols(matrix), ["TP53", "ACTB", "GAPDH", "CD3D"]);
    assert_eq!(matrix.genes[0].ensembl.as_deref(), Some("ENSG00000141510"));
    assert_eq!(matrix.values.row(0), (&[0, 2][..], &[5.0, 7.0][..]));
    assert_eq!(matrix.values.row(1).0.len(), 0);
    assert_eq!(matrix.values.row(2), (&[1, 3][..], &[9.0, 1.0][..]));
}

#[test]
fn cell_ranger_2_has_a_folder_for_the_genome() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("outs/filtered_gene_bc_matrices/GRCh38/matrix.mtx", MATRIX),
            ("outs/filtered_gene_bc_matrices/GRCh38/genes.tsv", TWO_COLUMNS),
            ("outs/filtered_gene_bc_matrices/GRCh38/barcodes.tsv", BARCODES),
            ("outs/raw_gene_bc_matrices/GRCh38/matrix.mtx", "not read"),
        ],
    );
    assert_is_whole(&read(folder.path()));
}

#[test]
fn cell_ranger_3_reads_cells_and_genes_alone() {
    let features = TWO_COLUMNS
        .replace('\n', "\tGene Expression\n")
        .replace("ENSG00000167286\tCD3D\tGene Expression", "CD3\tCD3_TotalSeqB\tAntibody Capture");
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("filtered_feature_bc_matrix/matrix.mtx", MATRIX),
            ("filtered_feature_bc_matrix/features.tsv", &features),
            ("filtered_feature_bc_matrix/barcodes.tsv", BARCODES),
            ("raw_feature_bc_matrix/matrix.mtx", "not read"),
        ],
    );
    let matrix = read(folder.path());
    assert_eq!(symbols(&matrix), ["TP53", "ACTB", "GAPDH"]);
    assert_eq!(matrix.values.row(2), (&[1][..], &[9.0][..]));
}

#[test]
fn xenium_controls_are_left_out_and_counted_by_kind() {
    let features = "ENSG00000141510\tTP53\tGene Expression\n\
                    NegControlProbe_00042\tNegControlProbe_00042\tNegative Control Probe\n\
                    ENSG00000111640\tGAPDH\tGene Expression\n\
                    UnassignedCodeword_0001\tUnassignedCodeword_0001\tUnassigned Codeword\n";
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("cell_feature_matrix/matrix.mtx", MATRIX),
            ("cell_feature_matrix/features.tsv", features),
            ("cell_feature_matrix/barcodes.tsv", "aaaadpbp-1\naaaaficg-1\naaabbaka-1\n"),
            ("cells.csv.gz", ""),
            ("experiment.xenium", "{}"),
        ],
    );
    let matrix = read(folder.path());
    assert_eq!(symbols(&matrix), ["TP53", "GAPDH"]);
    assert_eq!(matrix.values.row(0), (&[0, 1][..], &[5.0, 7.0][..]));
    assert_eq!(matrix.values.row(2).0.len(), 0);
    assert_eq!(
        matrix.source.notes,
        [
            "read from cell_feature_matrix of the folder",
            "2 features are not Gene Expression and left out: 1 Negative Control Probe, \
             1 Unassigned Codeword",
        ]
    );
}

#[test]
fn dragen_shares_the_genes_between_all_barcodes_and_cells() {
    let all = "%%MatrixMarket matrix coordinate integer general\n4 4 1\n1 4 1\n";
    let all_barcodes = format!("{BARCODES}TTTT-1\n");
    let names_first: String = TWO_COLUMNS
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(id, name)| format!("{name}\t{id}\n"))
        .collect();
    for (genes, columns) in [
        ("S1.scRNA.genes.tsv", TWO_COLUMNS),
        ("S1.scRNA.features.tsv", TWO_COLUMNS),
        ("S1.scRNA.genes.tsv", &names_first),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            &[
                (genes, columns),
                ("S1.scRNA.matrix.mtx", all),
                ("S1.scRNA.barcodes.tsv", &all_barcodes),
                ("S1.scRNA.filtered.matrix.mtx", MATRIX),
                ("S1.scRNA.filtered.barcodes.tsv", BARCODES),
                ("S1.scRNA.barcodeSummary.tsv", ""),
            ],
        );
        let matrix = read(folder.path());
        assert_is_whole(&matrix);
        assert_eq!(
            matrix.source.notes,
            ["read S1.scRNA.filtered.matrix.mtx, which holds the cells alone"]
        );
        assert_is_whole(&read(&folder.path().join("S1.scRNA.filtered.matrix.mtx")));
        let asked = read(&folder.path().join("S1.scRNA.matrix.mtx"));
        assert_eq!((asked.n_obs(), asked.source.notes.len()), (4, 0));
    }
}
