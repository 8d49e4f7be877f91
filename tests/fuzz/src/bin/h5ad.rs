//! AnnData files: `X`, `raw` and a layer.
#![no_main]

use std::sync::LazyLock;

use cic_data::simulate::Simulation;
use cic_data::{AnnDataOut, MatrixChoice, ReadOptions, write_h5ad};
use cic_fuzz::hdf5::mended;
use cic_fuzz::{Folder, fixtures, pass_over_panics_of, read_both_ways, write_seeds};
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::create);

fuzz_target!(init: { pass_over_panics_of("rust-hdf5"); write_seeds(seeds()) }, |bytes: &[u8]| {
    let path = FOLDER.write("cells.h5ad", &mended(bytes));
    // The last byte is seldom of use to HDF5, so it chooses.
    let layer = match bytes.last().map_or(0, |last| last % 4) {
        1 => MatrixChoice::Raw,
        2 => MatrixChoice::Layer("counts".into()),
        _ => MatrixChoice::X,
    };
    read_both_ways(&path, &ReadOptions { layer, ..ReadOptions::default() }, bytes.len());
});

/// Files of h5py and anndata, and one of our own writer.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (name, bytes) in fixtures("h5ad") {
        for choice in 0..3 {
            seeds.push((format!("{choice}-{name}"), [&bytes[..], &[choice]].concat()));
        }
    }
    let cells =
        Simulation { n_cells: 6, n_genes: 20, n_types: 2, ..Default::default() }.run().matrix;
    let genes: Vec<String> = cells.genes.iter().map(|gene| gene.id.clone()).collect();
    let out = AnnDataOut {
        obs_names: &cells.obs_names,
        obs: cells.obs.clone(),
        var_names: &genes,
        x: Some(&cells.values),
        ..AnnDataOut::default()
    };
    let path = FOLDER.path().join("seed.h5ad");
    write_h5ad(&path, &out).expect("a simulation is writable");
    seeds.push(("own".into(), std::fs::read(path).expect("it was written")));
    for (name, bytes) in &seeds {
        assert!(mended(bytes) == *bytes, "mending changes {name}, which is whole");
    }
    seeds
}
