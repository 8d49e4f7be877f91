//! Reads an expression file block by block and says how many cells and values it has, their sum, and how long
//! that took. `bench/readers.py` compares it with Python's readers.
//!
//! ```text
//! cargo run --release -p cic-data --example read_cells -- pbmc3k.h5ad
//! ```

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use cic_data::{BlockSize, DataError, ExpressionReader, ReadOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: read_cells FILE")?;
    let (path, options) = (Path::new(&path), ReadOptions::default());
    let start = Instant::now();
    let sums = match read(ExpressionReader::open(path, &options, BlockSize::default())?) {
        Err(DataError::NotByCell { .. }) => {
            read(ExpressionReader::open_unsorted(path, &options, BlockSize::default())?)?
        }
        sums => sums?,
    };
    let seconds = start.elapsed().as_secs_f64();
    println!("{} {} {} {seconds}", sums.n_cells, sums.n_values, sums.total);
    Ok(())
}

#[derive(Default)]
struct Sums {
    n_cells: usize,
    n_values: usize,
    total: f64,
}

fn read(mut reader: ExpressionReader) -> Result<Sums, DataError> {
    let mut sums = Sums::default();
    while let Some(block) = reader.next_block()? {
        sums.n_cells += block.n_rows();
        sums.n_values += block.nnz();
        sums.total += block.data.iter().map(|&value| f64::from(value)).sum::<f64>();
    }
    Ok(sums)
}
