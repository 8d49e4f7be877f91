//! Cells whose genes have symbols and Ensembl ids, and the files that they are given in.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;

use cic_data::simulate::Simulation;
use cic_data::{AnnDataOut, Column, CsrMatrix, ExpressionMatrix, Gene, ObsTable};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::row::Args;
use crate::sandbox::Sandbox;
use crate::writers;

/// The cells that the models are trained on.
pub fn every_cell() -> &'static ExpressionMatrix {
    static CELLS: OnceLock<ExpressionMatrix> = OnceLock::new();
    CELLS.get_or_init(|| {
        let settings =
            Simulation { n_cells: 240, n_genes: 300, n_types: 3, seed: 7, ..Simulation::default() };
        let mut cells = settings.run().matrix;
        for (number, gene) in cells.genes.iter_mut().enumerate() {
            *gene = Gene::new(symbol(number), None, Some(&ensembl(number)));
        }
        cells.obs_names = (0..cells.n_obs()).map(barcode).collect();
        cells
    })
}

/// The cells of the sound file: 24 of them.
pub fn some_cells() -> ExpressionMatrix {
    writers::rows(every_cell(), &(0..24).collect::<Vec<_>>())
}

/// As many cells, the same ones again and again.
pub fn many_cells(n: usize) -> ExpressionMatrix {
    let all = every_cell();
    let rows: Vec<usize> = (0..n).map(|row| row % all.n_obs()).collect();
    let mut cells = writers::rows(all, &rows);
    cells.obs_names = (0..n).map(barcode).collect();
    cells
}

/// Cells of three types and the six genes of the HDF5 fixtures.
pub fn six_genes() -> ExpressionMatrix {
    const MEANS: [[usize; 6]; 3] = [[2, 3, 2, 5, 1, 1], [2, 3, 2, 1, 6, 1], [2, 3, 2, 2, 1, 6]];
    let names = ["T", "B", "NK"];
    let n_cells = 90;
    let spread = |cell: usize, gene: usize| (cell * 7 + gene * 5 + cell / 3) % 4;
    let values: Vec<f32> = (0..n_cells)
        .flat_map(|cell| {
            (0..6).map(move |gene| (MEANS[cell % 3][gene] * spread(cell, gene) / 2) as f32)
        })
        .collect();
    let genes = [
        ("TP53", "ENSG00000141510"),
        ("ACTB", "ENSG00000075624"),
        ("GAPDH", "ENSG00000111640"),
        ("CD3D", "ENSG00000167286"),
        ("MS4A1", "ENSG00000156738"),
        ("NKG7", "ENSG00000105374"),
    ];
    let mut obs = ObsTable::default();
    obs.insert("cell_type", Column::categorical((0..n_cells).map(|cell| Some(names[cell % 3]))));
    ExpressionMatrix {
        obs_names: (0..n_cells).map(barcode).collect(),
        genes: genes.map(|(symbol, id)| Gene::new(symbol, None, Some(id))).to_vec(),
        values: CsrMatrix::from_dense(6, &values).unwrap(),
        obs,
        source: every_cell().source.clone(),
    }
}

fn symbol(number: usize) -> String {
    match SYMBOLS.get(number) {
        Some(symbol) => (*symbol).to_string(),
        None => format!("GENE{number}"),
    }
}

/// Of these, spreadsheets take the first six for dates.
const SYMBOLS: [&str; 14] = [
    "MARCH1", "MARCH2", "SEPT2", "SEPT7", "SEPT9", "DEC1", "CD3D", "CD3E", "MS4A1", "NKG7", "LYZ",
    "CST3", "ACTB", "GAPDH",
];

pub fn ensembl(number: usize) -> String {
    format!("ENSG{:011}", 100_000 + number)
}

fn barcode(cell: usize) -> String {
    // An odd multiplier permutes the 4¹² barcodes.
    let number = cell * 7_654_321 + 1_234_567;
    let bases = (0..12).map(|at| ['A', 'C', 'G', 'T'][number >> (2 * at) & 3]);
    bases.chain("-1".chars()).collect()
}

/// `log(1 + value · target / sum)` of every value; the logarithm may be none.
pub fn normalised(
    cells: &ExpressionMatrix,
    target: f32,
    logarithm: fn(f32) -> f32,
) -> ExpressionMatrix {
    let mut cells = cells.clone();
    for row in 0..cells.n_obs() {
        let range = cells.values.indptr[row]..cells.values.indptr[row + 1];
        let sum: f32 = cells.values.data[range.clone()].iter().sum();
        for value in &mut cells.values.data[range] {
            *value = logarithm(*value * target / sum);
        }
    }
    cells
}

/// log2 of intensities of every gene, none of them zero, as microarrays give them.
pub fn intensities(cells: &ExpressionMatrix) -> ExpressionMatrix {
    let n_genes = cells.n_vars();
    let mut dense: Vec<f32> =
        (0..cells.n_obs() * n_genes).map(|at| 16.0 + (at % 7) as f32).collect();
    for row in 0..cells.n_obs() {
        let (genes, values) = cells.values.row(row);
        for (&gene, &value) in genes.iter().zip(values) {
            dense[row * n_genes + gene as usize] += 200.0 * value;
        }
    }
    dense.iter_mut().for_each(|value| *value = value.log2());
    ExpressionMatrix { values: CsrMatrix::from_dense(n_genes, &dense).unwrap(), ..cells.clone() }
}

/// The same cells with another value in the place of the third of one of them.
pub fn with_value(mut cells: ExpressionMatrix, row: usize, value: f32) -> ExpressionMatrix {
    let at = cells.values.indptr[row] + 2;
    cells.values.data[at] = value;
    cells
}

/// The same cells, of which one keeps `n` of its values.
pub fn with_few_values(cells: &ExpressionMatrix, row: usize, n: usize) -> ExpressionMatrix {
    let mut kept = CsrMatrix { n_cols: cells.n_vars(), indptr: vec![0], ..CsrMatrix::default() };
    for at in 0..cells.n_obs() {
        let (genes, values) = cells.values.row(at);
        let n = if at == row { n } else { genes.len() };
        kept.indices.extend(&genes[..n]);
        kept.data.extend(&values[..n]);
        kept.indptr.push(kept.data.len());
    }
    ExpressionMatrix { values: kept, ..cells.clone() }
}

/// The same cells with only some of the genes, in the given order.
pub fn with_genes(
    cells: &ExpressionMatrix,
    genes: impl IntoIterator<Item = usize>,
) -> ExpressionMatrix {
    writers::reorder_genes(cells, &genes.into_iter().collect::<Vec<_>>())
}

/// The same cells with other names of the genes.
pub fn renamed(cells: ExpressionMatrix, name: impl Fn(usize, &Gene) -> Gene) -> ExpressionMatrix {
    let genes = cells.genes.iter().enumerate().map(|(number, gene)| name(number, gene));
    ExpressionMatrix { genes: genes.collect(), ..cells }
}

/// Cells and genes exchanged.
pub fn transposed(cells: &ExpressionMatrix) -> ExpressionMatrix {
    ExpressionMatrix {
        obs_names: cells.genes.iter().map(|gene| gene.id.clone()).collect(),
        genes: cells.obs_names.iter().map(|name| Gene::new(name, None, None)).collect(),
        values: cells.values.transpose(),
        obs: ObsTable::default(),
        source: cells.source.clone(),
    }
}

/// AnnData, with a column of Ensembl ids.
pub fn h5ad(folder: &Sandbox, cells: &ExpressionMatrix) -> Args {
    h5ad_with(folder, cells, ObsTable::default())
}

/// The same with more columns of `var`.
pub fn h5ad_with(folder: &Sandbox, cells: &ExpressionMatrix, mut var: ObsTable) -> Args {
    let genes: Vec<String> = cells.genes.iter().map(|gene| gene.id.clone()).collect();
    let ids = cells.genes.iter().map(|gene| Some(gene.ensembl.clone().unwrap_or_default()));
    var.insert("gene_ids", Column::Text(ids.collect()));
    let out = AnnDataOut {
        obs_names: &cells.obs_names,
        obs: cells.obs.clone(),
        var_names: &genes,
        var,
        x: Some(&cells.values),
        ..AnnDataOut::default()
    };
    cic_data::write_h5ad(&folder.path("cells.h5ad"), &out).unwrap();
    "cells.h5ad".into()
}

/// A 10x folder: the texts of `matrix.mtx`, `features.tsv` and `barcodes.tsv`.
pub struct Mex {
    pub matrix: String,
    pub features: Vec<u8>,
    pub barcodes: Vec<u8>,
}

impl Mex {
    /// Of the sound file's cells.
    pub fn sound() -> Self {
        Self::of(&some_cells())
    }

    pub fn of(cells: &ExpressionMatrix) -> Self {
        let mut features = String::new();
        for gene in &cells.genes {
            let id = gene.ensembl.as_ref().unwrap_or(&gene.id);
            writeln!(features, "{id}\t{}\tGene Expression", gene.id).unwrap();
        }
        let mut matrix = format!(
            "%%MatrixMarket matrix coordinate integer general\n{} {} {}\n",
            cells.n_vars(),
            cells.n_obs(),
            cells.values.nnz()
        );
        for row in 0..cells.n_obs() {
            let (genes, values) = cells.values.row(row);
            for (gene, value) in genes.iter().zip(values) {
                writeln!(matrix, "{} {} {value}", gene + 1, row + 1).unwrap();
            }
        }
        let barcodes = cells.obs_names.join("\n") + "\n";
        Self { matrix, features: features.into(), barcodes: barcodes.into() }
    }

    /// With the text of the matrix changed.
    pub fn edit(mut self, from: &str, to: &str) -> Self {
        assert!(self.matrix.contains(from), "no {from:?}");
        self.matrix = self.matrix.replacen(from, to, 1);
        self
    }

    /// With each entry changed, and put in another order.
    pub fn entries(mut self, change: impl Fn(&mut Vec<[u32; 3]>)) -> Self {
        let mut lines = self.matrix.lines();
        let head: Vec<&str> = lines.by_ref().take(2).collect();
        let number = |text: &str| text.parse().unwrap();
        let mut entries: Vec<[u32; 3]> = lines
            .map(|line| {
                let fields: Vec<u32> = line.split(' ').map(number).collect();
                [fields[0], fields[1], fields[2]]
            })
            .collect();
        change(&mut entries);
        let mut text = head.join("\n") + "\n";
        for [gene, cell, value] in entries {
            writeln!(text, "{gene} {cell} {value}").unwrap();
        }
        self.matrix = text;
        self
    }

    /// Other features, one line each, of the number of the gene.
    pub fn features(self, line: impl Fn(usize) -> String) -> Self {
        let features: String = (0..300).map(line).collect();
        Self { features: features.into(), ..self }
    }

    pub fn write(self, folder: &Sandbox) -> Args {
        std::fs::create_dir(folder.path("mex")).unwrap();
        folder.write("mex/matrix.mtx", self.matrix);
        folder.write("mex/features.tsv", self.features);
        folder.write("mex/barcodes.tsv", self.barcodes);
        "mex".into()
    }

    /// With the matrix compressed, and the bytes of that changed.
    pub fn packed(self, folder: &Sandbox, change: impl Fn(&mut Vec<u8>)) -> Args {
        let mut bytes = gzip(self.matrix.as_bytes());
        change(&mut bytes);
        let args = self.write(folder);
        std::fs::remove_file(folder.path("mex/matrix.mtx")).unwrap();
        folder.write("mex/matrix.mtx.gz", bytes);
        args
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A text table of the sound file's cells, a row per gene.
pub fn table(separator: &str) -> String {
    let cells = some_cells();
    let by_gene = cells.values.transpose();
    let mut text = format!("gene{separator}{}\n", cells.obs_names.join(separator));
    for (number, gene) in cells.genes.iter().enumerate() {
        let mut row = vec!["0".to_string(); cells.n_obs()];
        let (columns, values) = by_gene.row(number);
        for (&column, value) in columns.iter().zip(values) {
            row[column as usize] = value.to_string();
        }
        writeln!(text, "{}{separator}{}", gene.id, row.join(separator)).unwrap();
    }
    text
}

/// A text table of them, a row per cell.
pub fn table_of_cells(cells: &ExpressionMatrix) -> String {
    let mut text = String::from("cell");
    for gene in &cells.genes {
        write!(text, "\t{}", gene.id).unwrap();
    }
    for cell in 0..cells.n_obs() {
        let mut row = vec!["0".to_string(); cells.n_vars()];
        let (columns, values) = cells.values.row(cell);
        for (&column, value) in columns.iter().zip(values) {
            row[column as usize] = value.to_string();
        }
        write!(text, "\n{}\t{}", cells.obs_names[cell], row.join("\t")).unwrap();
    }
    text + "\n"
}
