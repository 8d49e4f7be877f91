//! `fixture_folder FOLDER`: the cells of the committed fixture as a 10x folder.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use cic_tests::fixture;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: fixture_folder FOLDER")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let cells = fixture::cells().matrix;
    let mut features = String::new();
    for gene in &cells.genes {
        writeln!(features, "{0}\t{0}\tGene Expression", gene.id)?;
    }
    let (n_genes, n_cells) = (cells.genes.len(), cells.obs_names.len());
    let mut matrix = String::from("%%MatrixMarket matrix coordinate integer general\n");
    writeln!(matrix, "{n_genes} {n_cells} {}", cells.values.data.len())?;
    for row in 0..n_cells {
        let (genes, counts) = cells.values.row(row);
        for (gene, count) in genes.iter().zip(counts) {
            writeln!(matrix, "{} {} {count}", gene + 1, row + 1)?;
        }
    }
    std::fs::write(folder.join("features.tsv"), features)?;
    std::fs::write(folder.join("barcodes.tsv"), cells.obs_names.join("\n") + "\n")?;
    std::fs::write(folder.join("matrix.mtx"), matrix)?;
    Ok(())
}
