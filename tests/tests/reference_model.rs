//! The models that come along: intact, those that their card tells of, and still giving the numbers they were written with.

use std::fs;
use std::path::{Path, PathBuf};

use cic_model::{AlignedBytes, Dtype, Model};
use cic_runtime::S8Session;
use sha2::{Digest, Sha256};

const TYPES: [&str; 9] = [
    "B",
    "CD14+ Mono",
    "CD8 T",
    "DC",
    "FCGR3A+ Mono",
    "Memory CD4 T",
    "NK",
    "Naive CD4 T",
    "Platelet",
];

#[test]
fn the_card_tells_of_these_files() {
    let card = fs::read_to_string(folder().join("README.md")).unwrap();
    for name in ["pbmc-f32.cic", "pbmc-int8.cic"] {
        let bytes = fs::read(folder().join(name)).unwrap();
        let digest: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let row = format!("| `{name}` | {} | `{digest}` |", bytes.len());
        assert!(card.contains(&row), "{row}");
    }
}

#[test]
fn both_files_open_and_name_the_same_types() {
    for (name, dtype) in [("pbmc-f32.cic", Dtype::F32), ("pbmc-int8.cic", Dtype::S8)] {
        let bytes = AlignedBytes::new(&fs::read(folder().join(name)).unwrap());
        let model = Model::open_verified(&bytes).unwrap();
        assert_eq!(model.dtype(), dtype);
        let labels = model.labels();
        let names: Vec<&str> = (0..labels.n_leaves()).map(|leaf| labels.leaf_name(leaf)).collect();
        assert_eq!(names, TYPES);
    }
}

#[test]
fn the_int8_model_gives_the_numbers_that_it_was_written_with() {
    let bytes = AlignedBytes::new(&fs::read(folder().join("pbmc-int8.cic")).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    let session = S8Session::new(&model, model.golden().profile() as usize).unwrap();
    let mut scratch = vec![0_u32; session.scratch_len().div_ceil(4)];
    assert!(!model.golden().is_empty());
    for cell in model.golden().cells() {
        assert_eq!(session.reproduces(&cell, &mut scratch), Ok(true));
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}
