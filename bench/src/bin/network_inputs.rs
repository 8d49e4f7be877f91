//! The network inputs of a model's calibration and test rows, for other programs that run or quantise the same network.
//!
//! `cargo run --release -p cic-bench --bin network-inputs MODEL.cic DATA OUT` takes a full-precision model and the file that it was
//! trained on, and writes `OUT.calibrate.npy` and `OUT.test.npy`: `[n × n_genes]` in single precision, rows in
//! the order of the file, empty cells left out.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use cic_data::{AlignedMatrix, ReadOptions, align, read_expression};
use cic_model::profile::Profile;
use cic_model::provenance::Part;
use cic_model::quant::ONE_Q30;
use cic_model::{AlignedBytes, Model};
use cic_quant::{calibration_rows, rows_of};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, data, out] = arguments.as_slice() else {
        return Err("usage: network-inputs MODEL.cic DATA OUT".into());
    };
    let bytes = AlignedBytes::new(&std::fs::read(model)?);
    let model = Model::open_verified(&bytes)?;
    let kind = model.profiles().first().map(Profile::kind);
    let options = ReadOptions { value_kind: kind, ..ReadOptions::default() };
    let matrix = read_expression(&PathBuf::from(data), &options)?;
    let cells = align(&matrix, model.genes())?;
    let calibrate = calibration_rows(&model, &matrix.obs_names);
    write(&format!("{out}.calibrate.npy"), &model, &cells, &calibrate)?;
    let test = rows_of(&model, &matrix.obs_names, &[Part::Test]);
    write(&format!("{out}.test.npy"), &model, &cells, &test)
}

/// NumPy's format 1.0.
fn write(
    path: &str,
    model: &Model<'_>,
    cells: &AlignedMatrix,
    rows: &[usize],
) -> Result<(), Box<dyn Error>> {
    let profile = model.profiles().first().ok_or("no input profile")?;
    let mut inputs: Vec<Vec<f32>> = Vec::new();
    for &row in rows {
        let (genes, values) = cells.values.row(row);
        let sum = values.iter().map(|&value| f64::from(value)).sum();
        let Some(factor) = profile.factor(sum, cells.totals[row], ONE_Q30) else { continue };
        let mut input = vec![0.0; model.n_genes()];
        for (&gene, &value) in genes.iter().zip(values) {
            input[gene as usize] = profile.input(gene as usize, value, factor);
        }
        inputs.push(input);
    }
    let shape = (inputs.len(), model.n_genes());
    let mut head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape:?}, }}");
    // Magic, version, length and head fill whole lines of 64 bytes.
    let length = (10 + head.len() + 1).next_multiple_of(64) - 10;
    head += &" ".repeat(length - head.len() - 1);
    head.push('\n');
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&u16::try_from(length)?.to_le_bytes())?;
    file.write_all(head.as_bytes())?;
    for value in inputs.iter().flatten() {
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()?;
    println!("{path}: {} cells", inputs.len());
    Ok(())
}
