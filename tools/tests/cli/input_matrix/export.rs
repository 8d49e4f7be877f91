//! The files of the rows, for programs of others.

use std::fs;
use std::path::{Path, PathBuf};

use super::generators::{every_cell, h5ad, normalised};
use crate::sandbox::Sandbox;

/// Where `bench/celltypist_matrix.py` wants the files.
const FOLDER: &str = "CIC_INPUT_MATRIX_FILES";

/// Writes a folder for every row, `rows.tsv` with their numbers, models, arguments and names, and
/// the cells that the models are trained on as log1p of 10,000.
#[test]
fn files_are_written_for_other_programs_where_asked_for() {
    let Some(target) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut list = String::new();
    for (number, row) in super::groups().into_iter().flat_map(|group| group.rows).enumerate() {
        let folder = Sandbox::new();
        let args = (row.make)(&folder);
        let args: Option<Vec<&str>> = args.0.iter().map(|arg| arg.to_str()).collect();
        let Some(args) = args else { continue };
        copy(&folder.path(""), &target.join(number.to_string()));
        list += &format!("{number}\t{:?}\t{}\t{}\n", row.model, args.join(" "), row.name);
    }
    fs::write(target.join("rows.tsv"), list).unwrap();
    let folder = Sandbox::new();
    h5ad(&folder, &normalised(every_cell(), 1e4, f32::ln_1p));
    fs::copy(folder.path("cells.h5ad"), target.join("train.h5ad")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match source.is_dir() {
            true => copy(&source, &target),
            false => drop(fs::copy(&source, &target).unwrap()),
        }
    }
}
