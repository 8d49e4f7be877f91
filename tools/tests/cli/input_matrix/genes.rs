//! Rows about genes, and about names of cells.

use cic_data::{Column, CsrMatrix, ExpressionMatrix, Gene, ObsTable};

use super::generators::{
    Mex, ensembl, every_cell, h5ad, h5ad_with, renamed, some_cells, table_of_cells, transposed,
    with_genes,
};
use super::row::{Args, Calls, Group, row};
use crate::sandbox::Sandbox;
use crate::writers;

pub fn group() -> Group {
    Group {
        title: "Genes and names of cells",
        about: "Genes are found by Ensembl id, with or without version, then by symbol, whatever \
                their order. A file needs the share of the model's genes that the model was \
                prepared for, half by default; the summary on standard error says how many it has.",
        rows: vec![
            row("a panel of 300 genes, symbols and Ensembl ids", |f| h5ad(f, &some_cells())),
            row("the genes in another order", |f| {
                h5ad(f, &with_genes(&some_cells(), (0..300).map(|at| (at * 7 + 5) % 300)))
            }),
            row("symbols alone", |f| h5ad(f, &renamed(some_cells(), |_, gene| symbol(gene)))),
            row("Ensembl ids alone", |f| h5ad(f, &renamed(some_cells(), |at, _| id(ensembl(at))))),
            row("Ensembl ids with versions (`.12`)", |f| {
                h5ad(f, &renamed(some_cells(), |at, _| id(format!("{}.12", ensembl(at)))))
            }),
            row("200 more genes that the model does not know", |f| h5ad(f, &with_others(200))),
            row("99 % of the model's genes", |f| h5ad(f, &with_genes(&some_cells(), 0..297)))
                .accept(Calls::Near(0.95)),
            row("50 % of the model's genes", |f| h5ad(f, &with_genes(&some_cells(), 0..150)))
                .accept(Calls::Near(0.75)),
            row("49 % of the model's genes", |f| h5ad(f, &with_genes(&some_cells(), 0..147)))
                .refuse("cells.h5ad: has 144 of the model's 293 genes, at least 147 are needed; names fit, but GENE147, GENE163, GENE198, ... are not among the 147 genes of the file: give it with all that were measured, or train a model for small panels (cic train --set gene_dropout=0.51)"),
            row("3 % of the model's genes", |f| h5ad(f, &with_genes(&some_cells(), 0..9)))
                .refuse("cells.h5ad: has 9 of the model's 293 genes, at least 147 are needed; names fit, but GENE104, GENE105, GENE118, ... are not among the 9 genes of the file: give it with all that were measured, or train a model on these genes"),
            row("none of the model's genes", |f| {
                h5ad(f, &renamed(some_cells(), |at, _| id(format!("probe{at}"))))
            })
            .refuse("cells.h5ad: has 0 of the model's 293 genes, at least 147 are needed; its genes are symbols like probe0, probe1, probe2, the model's Ensembl ids like ENSG00000100104, ENSG00000100105, ENSG00000100118 (and symbols like GENE104): check species and names"),
            row("symbols in lower case", |f| {
                let lower = |_, gene: &Gene| id(gene.id.to_lowercase());
                h5ad(f, &renamed(some_cells(), lower))
            })
            .refuse("cells.h5ad: has 0 of the model's 293 genes, at least 147 are needed; 293 more of its genes would be found if capitals did not matter (march1 for MARCH1), but they do: write the names as the model has them, or map genes of fish to their orthologues"),
            row("another species: `Cd3d` for `CD3D`", |f| {
                let mouse = |_, gene: &Gene| {
                    id(format!("{}{}", &gene.id[..1], gene.id[1..].to_lowercase()))
                };
                h5ad(f, &renamed(some_cells(), mouse))
            })
            .refuse("cells.h5ad: has 0 of the model's 293 genes, at least 147 are needed; its genes look like mouse or rat (as March1: 100 % of the symbols are capitalised), the model's like human (GENE104): map them to their orthologues first, or use a model of mouse or rat"),
            row("another species, by Ensembl id", |f| {
                h5ad(f, &renamed(some_cells(), |at, _| id(ensembl(at).replace("ENSG", "ENSMUSG"))))
            })
            .refuse("cells.h5ad: has 0 of the model's 293 genes, at least 147 are needed; its genes look like mouse (as ENSMUSG00000100000: 300 ids ENSMUSG), the model's like human (GENE104): map them to their orthologues first, or use a model of mouse"),
            row("symbols that a spreadsheet took for dates: `1-Mar` for `MARCH1`", |f| {
                let dates = ["1-Mar", "2-Mar", "2-Sep", "7-Sep", "9-Sep", "1-Dec"];
                let name = |at: usize, gene: &Gene| match dates.get(at) {
                    Some(date) => id((*date).to_string()),
                    None => symbol(gene),
                };
                h5ad(f, &renamed(some_cells(), name))
            })
            .accept(Calls::Near(0.95))
            .note("6 names are what a spreadsheet made of symbols (1-Mar, 2-Mar, 2-Sep, 7-Sep, 9-Sep, ...; 1-Mar was MARCHF1 or MTARC1): such genes are not found; export the table again with its names as text"),
            row("a symbol that stands twice, with other values", |f| {
                let mut mex = Mex::of(&with_a_gene_twice());
                mex.features = "CD3D\nCD3E\nCD3D\n".into();
                let rest = (0..300).filter(|at| ![6, 7].contains(at));
                let rest = rest.map(|at| every_cell().genes[at].id.clone() + "\n");
                mex.features.extend(rest.collect::<String>().bytes());
                mex.write(f)
            })
            .note("genes of the model that stand again in the file: 1; the first of each counts, the others are left out"),
            row("antibodies and guides beside the genes, in a 10x folder", |f| {
                with_features(f, &["Antibody Capture", "CRISPR Guide Capture"])
            })
            .note("4 features are not Gene Expression and left out: 2 Antibody Capture, 2 CRISPR Guide Capture"),
            row("control probes and codewords of Xenium beside the genes", |f| {
                with_features(f, &["Negative Control Probe", "Unassigned Codeword"])
            })
            .note("4 features are not Gene Expression and left out: 2 Negative Control Probe, 2 Unassigned Codeword"),
            row("antibodies beside the genes in Cell Ranger's `.h5`", |f| {
                cell_ranger(f, "Antibody Capture")
            })
            .note("2 features are not Gene Expression and left out: 2 Antibody Capture"),
            row("antibodies beside the genes in a `.h5ad` (`var[feature_types]`)", |f| {
                let (cells, kinds) = with_other_features(&["Antibody Capture"]);
                let mut var = ObsTable::default();
                let kinds = kinds.iter().map(|kind| Some(kind.as_str()));
                var.insert("feature_types", Column::categorical(kinds));
                h5ad_with(f, &cells, var)
            })
            .note("2 features are not Gene Expression and left out: 2 Antibody Capture"),
            row("nothing but antibodies", |f| {
                Mex::sound()
                    .features(|at| format!("{}\tCD{at}\tAntibody Capture\n", ensembl(at)))
                    .write(f)
            })
            .refuse("mex has no feature of the type \"Gene Expression\"; its first feature is of the type \"Antibody Capture\"; give the file with the counts of genes"),
            row("a transposed `.h5ad`: `obs` has the genes", |f| {
                h5ad(f, &transposed(&some_cells()))
            })
            .refuse("cells.h5ad: the cells are named like the model's genes: the table is transposed; swap rows and columns (for a text table: --rows)"),
            row("a transposed `.h5ad` with as many cells as genes", |f| {
                h5ad(f, &transposed(&square()))
            })
            .refuse("cells.h5ad: the cells are named like the model's genes: the table is transposed; swap rows and columns (for a text table: --rows)"),
            row("a transposed `matrix.mtx`", |f| {
                Mex::sound()
                    .entries(|entries| entries.iter_mut().for_each(|entry| entry.swap(0, 1)))
                    .edit("300 24 ", "24 300 ")
                    .write(f)
            })
            .refuse("mex/matrix.mtx, line 2: the matrix is 24 x 300, but there are 300 features and 24 barcodes; the matrix is transposed: write it with genes as rows"),
            row("a transposed `matrix.mtx` with as many cells as genes", |f| {
                let mex = Mex::of(&square());
                let swapped = Mex { features: mex.barcodes, barcodes: mex.features, ..mex };
                swapped
                    .entries(|entries| entries.iter_mut().for_each(|entry| entry.swap(0, 1)))
                    .write(f)
            })
            .refuse("mex: the cells are named like the model's genes: the table is transposed; swap rows and columns (for a text table: --rows)"),
            row("a text table with a row per cell, `--rows genes`", |f| {
                f.write("cells.tsv", table_of_cells(&some_cells()));
                Args::from("cells.tsv --rows genes")
            })
            .refuse("cells.tsv: the cells are named like the model's genes: the table is transposed; swap rows and columns (for a text table: --rows)"),
            row("a barcode that stands twice", |f| {
                let mut cells = some_cells();
                cells.obs_names[20] = cells.obs_names[3].clone();
                h5ad(f, &cells)
            })
            .refuse("cells.h5ad: the name \"GGCGCGTACATC-1\" stands at rows 3 and 20; names must be unique (AnnData: obs_names_make_unique)"),
        ],
    }
}

fn id(id: String) -> Gene {
    Gene::new(id, None, None)
}

/// As the file has no Ensembl ids.
fn symbol(gene: &Gene) -> Gene {
    id(gene.id.clone())
}

fn with_others(n: usize) -> ExpressionMatrix {
    let cells = some_cells();
    let genes = 0..cells.n_vars() + n;
    let mut wide = with_genes(&cells, genes.map(|gene| gene % 300));
    for (number, gene) in wide.genes.iter_mut().enumerate().skip(300) {
        *gene = id(format!("OTHER{number}"));
    }
    wide
}

/// Two of the genes in front, and the first of them again with the values of the other.
fn with_a_gene_twice() -> ExpressionMatrix {
    let rest = (0..300).filter(|at| ![6, 7].contains(at));
    with_genes(&some_cells(), [6, 7, 7].into_iter().chain(rest))
}

/// Two more features of each kind, which are named like genes that the model knows.
fn with_other_features(kinds: &[&str]) -> (ExpressionMatrix, Vec<String>) {
    let mut order: Vec<usize> = (0..300).collect();
    let mut types = vec!["Gene Expression".to_string(); 300];
    for (number, kind) in kinds.iter().enumerate() {
        for gene in [6, 8] {
            order.insert(20 * number, gene);
            types.insert(20 * number, (*kind).to_string());
        }
    }
    (with_genes(&some_cells(), order), types)
}

fn with_features(folder: &Sandbox, kinds: &[&str]) -> Args {
    let (cells, types) = with_other_features(kinds);
    let mut mex = Mex::of(&cells);
    let lines = cells.genes.iter().zip(types);
    let lines = lines.map(|(gene, kind)| format!("{0}\t{0}\t{kind}\n", gene.id));
    mex.features = lines.collect::<String>().into();
    mex.write(folder)
}

/// Cell Ranger's layout with two features of another kind, which bear the names of genes.
fn cell_ranger(folder: &Sandbox, kind: &str) -> Args {
    let (cells, types) = with_other_features(&[kind]);
    writers::write_cell_ranger_of(&folder.path("cells.h5"), &cells, &types);
    "cells.h5".into()
}

/// 300 cells of 300 genes.
fn square() -> ExpressionMatrix {
    let cells = super::generators::many_cells(300);
    assert_eq!(CsrMatrix::n_rows(&cells.values), cells.n_vars());
    cells
}
