//! Simulated cells in the formats that are read.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use cic_data::simulate::Simulation;
use cic_data::{AnnDataOut, CsrMatrix, ExpressionMatrix};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Number of the cells that the fixture model was trained on.
pub const N_TRAINED: usize = 1_500;

/// The first `n` of the cells that the fixture model was trained on (the settings are those of
/// the pipeline tests' fixture).
pub fn cells(n: usize) -> ExpressionMatrix {
    static CELLS: OnceLock<ExpressionMatrix> = OnceLock::new();
    let all = CELLS.get_or_init(|| {
        let settings = Simulation {
            n_cells: N_TRAINED,
            n_genes: 1_200,
            n_types: 6,
            seed: 20_190_219,
            ..Simulation::default()
        };
        settings.run().matrix
    });
    rows(all, &(0..n).collect::<Vec<_>>())
}

/// Some cells of a matrix, with their columns of `obs`.
pub fn rows(matrix: &ExpressionMatrix, rows: &[usize]) -> ExpressionMatrix {
    let mut obs = cic_data::ObsTable::default();
    for (name, column) in matrix.obs.columns() {
        let texts: Vec<_> = rows.iter().map(|&row| column.text(row)).collect();
        obs.insert(name, cic_data::Column::categorical(texts.iter().map(|text| text.as_deref())));
    }
    ExpressionMatrix {
        obs_names: rows.iter().map(|&row| matrix.obs_names[row].clone()).collect(),
        genes: matrix.genes.clone(),
        values: matrix.values.select_rows(rows),
        obs,
        source: matrix.source.clone(),
    }
}

/// The same matrix with its genes in another order.
pub fn reorder_genes(matrix: &ExpressionMatrix, order: &[usize]) -> ExpressionMatrix {
    let dense = dense(&matrix.values);
    let values: Vec<f32> =
        dense.chunks(matrix.n_vars()).flat_map(|row| order.iter().map(|&gene| row[gene])).collect();
    ExpressionMatrix {
        genes: order.iter().map(|&gene| matrix.genes[gene].clone()).collect(),
        values: CsrMatrix::from_dense(order.len(), &values).unwrap(),
        ..matrix.clone()
    }
}

/// `ln(1 + value · 10,000 / sum)` of every value.
pub fn log_normalised(matrix: &ExpressionMatrix) -> ExpressionMatrix {
    let mut matrix = matrix.clone();
    for row in 0..matrix.n_obs() {
        let range = matrix.values.indptr[row]..matrix.values.indptr[row + 1];
        let sum: f32 = matrix.values.data[range.clone()].iter().sum();
        for value in &mut matrix.values.data[range] {
            *value = (*value * 10_000.0 / sum).ln_1p();
        }
    }
    matrix
}

pub fn write_h5ad(path: &Path, matrix: &ExpressionMatrix) {
    let genes: Vec<String> = matrix.genes.iter().map(|gene| gene.id.clone()).collect();
    let out = AnnDataOut {
        obs_names: &matrix.obs_names,
        obs: matrix.obs.clone(),
        var_names: &genes,
        x: Some(&matrix.values),
        ..AnnDataOut::default()
    };
    cic_data::write_h5ad(path, &out).unwrap();
}

/// A 10x folder with compressed files.
pub fn write_mex(folder: &Path, matrix: &ExpressionMatrix) {
    std::fs::create_dir(folder).unwrap();
    let write = |name: &str, text: String| {
        let mut file =
            GzEncoder::new(File::create(folder.join(name)).unwrap(), Compression::fast());
        file.write_all(text.as_bytes()).unwrap();
        file.finish().unwrap();
    };
    write("barcodes.tsv.gz", matrix.obs_names.join("\n") + "\n");
    let features = matrix.genes.iter();
    let features = features.map(|gene| {
        format!("{}\t{}\tGene Expression\n", gene.id, gene.symbol.as_deref().unwrap_or(""))
    });
    write("features.tsv.gz", features.collect());
    let mut text = format!(
        "%%MatrixMarket matrix coordinate integer general\n{} {} {}\n",
        matrix.n_vars(),
        matrix.n_obs(),
        matrix.values.nnz()
    );
    for row in 0..matrix.n_obs() {
        let (genes, values) = matrix.values.row(row);
        for (gene, value) in genes.iter().zip(values) {
            writeln!(text, "{} {} {value}", gene + 1, row + 1).unwrap();
        }
    }
    write("matrix.mtx.gz", text);
}

/// Cell Ranger 3's HDF5 layout.
pub fn write_cell_ranger(path: &Path, matrix: &ExpressionMatrix) {
    write_cell_ranger_of(path, matrix, &vec!["Gene Expression".into(); matrix.n_vars()]);
}

/// The same with the type of every feature.
pub fn write_cell_ranger_of(path: &Path, matrix: &ExpressionMatrix, types: &[String]) {
    let file = rust_hdf5::H5File::create(path).unwrap();
    let group = file.root_group().create_group("matrix").unwrap();
    let numbers = |name: &str, values: &[i64]| {
        let dataset = group.new_dataset::<i64>().shape([values.len()]).create(name).unwrap();
        dataset.write_raw(values).unwrap();
    };
    let values = &matrix.values;
    numbers("data", &values.data.iter().map(|&value| value as i64).collect::<Vec<_>>());
    numbers("indices", &values.indices.iter().map(|&gene| i64::from(gene)).collect::<Vec<_>>());
    numbers("indptr", &values.indptr.iter().map(|&at| at as i64).collect::<Vec<_>>());
    numbers("shape", &[matrix.n_vars() as i64, matrix.n_obs() as i64]);
    let names: Vec<&str> = matrix.obs_names.iter().map(String::as_str).collect();
    group.write_vlen_strings("barcodes", &names).unwrap();
    let features = group.create_group("features").unwrap();
    let ids: Vec<&str> = matrix.genes.iter().map(|gene| gene.id.as_str()).collect();
    let kinds: Vec<&str> = types.iter().map(String::as_str).collect();
    for (name, texts) in [("id", &ids), ("name", &ids), ("feature_type", &kinds)] {
        features.write_vlen_strings(name, texts).unwrap();
    }
    file.close().unwrap();
}

/// A table with a row per cell.
pub fn write_tsv(path: &Path, matrix: &ExpressionMatrix) {
    let genes: Vec<&str> = matrix.genes.iter().map(|gene| gene.id.as_str()).collect();
    let mut text = format!("cell\t{}\n", genes.join("\t"));
    for (name, row) in matrix.obs_names.iter().zip(dense(&matrix.values).chunks(genes.len())) {
        let values: Vec<String> = row.iter().map(f32::to_string).collect();
        writeln!(text, "{name}\t{}", values.join("\t")).unwrap();
    }
    std::fs::write(path, text).unwrap();
}

fn dense(values: &CsrMatrix) -> Vec<f32> {
    let mut dense = vec![0.0; values.n_rows() * values.n_cols];
    for row in 0..values.n_rows() {
        let (genes, data) = values.row(row);
        for (&gene, &value) in genes.iter().zip(data) {
            dense[row * values.n_cols + gene as usize] = value;
        }
    }
    dense
}
