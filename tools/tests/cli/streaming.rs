//! Files of several blocks, which threads read, type and write at the same time.

use std::fmt::Write;

use cic_data::{ReadOptions, read_expression};

use crate::sandbox::Sandbox;
use crate::writers::{N_TRAINED, cells, write_h5ad, write_mex};

fn with_many_cells() -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(N_TRAINED));
    folder
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let folder = with_many_cells();
    let table = |threads: u32| {
        let args = format!("type cells.h5ad -m model.cic -o - --threads {threads}");
        folder.cic(&args).ok().stdout
    };
    let expected = table(1);
    assert_eq!(expected.lines().count(), N_TRAINED + 1);
    for threads in [0, 3, 16] {
        assert_eq!(table(threads), expected, "{threads} threads");
    }
    let numbers = |threads: u32| {
        let name = format!("out{threads}.h5ad");
        folder.cic(&format!("type cells.h5ad -m model.cic -o {name} --threads {threads}")).ok();
        let file = rust_hdf5::H5File::open(folder.path(&name)).unwrap();
        let codes: Vec<f32> = file.dataset("obsm/X_cic").unwrap().read_raw().unwrap();
        let probabilities: Vec<f32> = file.dataset("obsm/cic_prob").unwrap().read_raw().unwrap();
        let matrix = read_expression(&folder.path(&name), &ReadOptions::default()).unwrap();
        (codes, probabilities, matrix.values, matrix.obs)
    };
    let one = numbers(1);
    assert_eq!(one.2, cells(N_TRAINED).values);
    assert_eq!(numbers(3), one);
}

#[test]
fn a_fault_in_the_last_cell_leaves_no_output() {
    for (value, words) in [(-1.0, "from before scaling"), (f32::NAN, "NaN"), (0.5, "cells.h5ad")] {
        let mut matrix = cells(N_TRAINED);
        let last = matrix.values.data.len() - 1;
        matrix.values.data[last] = value;
        let folder = Sandbox::new();
        write_h5ad(&folder.path("cells.h5ad"), &matrix);
        for output in ["out.csv", "out.h5ad", "-"] {
            let args = format!("type cells.h5ad -m model.cic -o {output} --threads 3");
            folder.refuses(&args, 3, &["cells.h5ad", words]);
        }
        let declared = "type cells.h5ad -m model.cic -o out.h5ad --kind counts";
        folder.refuses(declared, 3, &[&matrix.obs_names[N_TRAINED - 1]]);
    }
}

#[test]
fn a_matrix_market_file_sorted_by_gene_is_read_whole_and_gives_the_same() {
    let folder = Sandbox::new();
    let matrix = cells(N_TRAINED);
    write_mex(&folder.path("mex"), &matrix);
    let expected = folder.cic("type mex -m model.cic -o -").ok();
    assert!(!expected.stderr.contains("sorted"), "{}", expected.stderr);
    let by_gene = matrix.values.transpose();
    let mut text = format!(
        "%%MatrixMarket matrix coordinate integer general\n{} {} {}\n",
        matrix.n_vars(),
        matrix.n_obs(),
        by_gene.nnz()
    );
    for gene in 0..by_gene.n_rows() {
        let (cells, values) = by_gene.row(gene);
        for (cell, value) in cells.iter().zip(values) {
            writeln!(text, "{} {} {value}", gene + 1, cell + 1).unwrap();
        }
    }
    std::fs::remove_file(folder.path("mex/matrix.mtx.gz")).unwrap();
    folder.write("mex/matrix.mtx", text);
    for output in ["-", "out.csv"] {
        let run = folder.cic(&format!("type mex -m model.cic -o {output}")).ok();
        assert!(run.stderr.contains("note: the matrix is not sorted by cell"), "{}", run.stderr);
        let table = if output == "-" { run.stdout } else { folder.text("out.csv") };
        assert!(table == expected.stdout, "{output}");
    }
}

#[test]
fn the_time_of_each_stage_is_told_when_asked_for() {
    let folder = with_many_cells();
    let run = folder.cic("type cells.h5ad -m model.cic -o out.csv --verbose").ok();
    assert!(run.stderr.contains("1500 cells typed"), "{}", run.stderr);
    for word in ["cells/s", "read", "align and type", "write"] {
        assert!(run.stderr.contains(word), "{}", run.stderr);
    }
    let run = folder.cic("type cells.h5ad -m model.cic -o out.csv").ok();
    assert!(run.stderr.contains("(the model rejects no noise)"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "no progress but on a terminal: {}", run.stderr);
    folder.cic("type cells.h5ad -m model.cic -o out.csv -v -q").refused(2, &["--quiet"]);
}
