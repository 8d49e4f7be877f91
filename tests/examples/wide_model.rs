//! A wide f32 model of random weights and cells to calibrate it with, for the time and memory that quantising takes.
//!
//! `cargo run --release -p cic-tests --example wide_model FOLDER` writes `wide.cic` (18,000 genes, 512 hidden units, a code of 30, 16 types,
//! and a decoder of the same widths) and `cells.h5ad` (10,000 cells, a twelfth of the genes each).

use std::error::Error;
use std::path::Path;

use cic_data::{AnnDataOut, CsrMatrix, write_h5ad};
use cic_model::Activation;
use cic_model::provenance::{Part, row_digest};
use cic_model::spec::{LayoutPlan, NetworkSpec};
use cic_tests::models::{Random, Shape, model, random_network};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: wide_model FOLDER")?;
    let folder = Path::new(&folder);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let shape = Shape {
        n_genes: N_GENES,
        hidden: vec![512],
        code: 30,
        n_leaves: 16,
        activations: vec![Activation::Relu],
        carry: true,
        decoder: true,
    };
    let network = random_network(&shape, &mut random);
    let mut spec = model(NetworkSpec::F32(network), N_GENES, 16);
    let names: Vec<String> = (0..N_CELLS).map(|cell| format!("cell{cell}")).collect();
    let mut rows: Vec<_> = names.iter().map(|name| row_digest(name)).collect();
    rows.sort_unstable();
    spec.rows[Part::Calibrate as usize] = rows;
    std::fs::write(folder.join("wide.cic"), spec.to_bytes(LayoutPlan::default())?)?;

    let mut cells = CsrMatrix { n_cols: N_GENES, indptr: vec![0], ..CsrMatrix::default() };
    for _ in 0..N_CELLS {
        // Steps of twelve on average.
        let mut gene = random.below(23);
        while gene < N_GENES {
            cells.indices.push(u32::try_from(gene)?);
            cells.data.push(1.0 + (random.below(40) * random.below(40) / 400) as f32);
            gene += 1 + random.below(23);
        }
        cells.indptr.push(cells.data.len());
    }
    let genes: Vec<String> = spec.panel.genes.iter().map(|gene| gene.id.clone()).collect();
    let out = AnnDataOut {
        obs_names: &names,
        var_names: &genes,
        x: Some(&cells),
        ..AnnDataOut::default()
    };
    write_h5ad(&folder.join("cells.h5ad"), &out)?;
    Ok(())
}

const N_GENES: usize = 18_000;
const N_CELLS: usize = 10_000;
