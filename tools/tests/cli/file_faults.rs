//! Files that are refused: exit code 3, a message that says where and what next, and no output.

use cic_data::{ExpressionMatrix, Gene};

use crate::sandbox::Sandbox;
use crate::writers::{cells, log_normalised, write_h5ad, write_mex, write_tsv};

const TYPE: &str = "type cells.h5ad --model model.cic -o out.csv";

fn refuses_cells(matrix: &ExpressionMatrix, words: &[&str]) {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), matrix);
    for output in ["out.csv", "out.h5ad", "-"] {
        folder.refuses(&format!("type cells.h5ad --model model.cic -o {output}"), 3, words);
    }
}

#[test]
fn a_truncated_h5ad_is_refused() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(20));
    let bytes = folder.read("cells.h5ad");
    for part in 0..16 {
        folder.write("cells.h5ad", &bytes[..bytes.len() * part / 16]);
        folder.refuses(TYPE, 3, &["cells.h5ad"]);
    }
    folder.write("cells.h5ad", &bytes[..bytes.len() / 2]);
    folder.refuses(TYPE, 3, &["truncated", "copy it again"]);
}

#[test]
fn a_truncated_matrix_market_file_is_refused() {
    let folder = Sandbox::new();
    write_mex(&folder.path("mex"), &cells(20));
    let bytes = folder.read("mex/matrix.mtx.gz");
    for part in 0..16 {
        folder.write("mex/matrix.mtx.gz", &bytes[..bytes.len() * part / 16]);
        folder.refuses("type mex --model model.cic -o out.csv", 3, &["matrix.mtx.gz"]);
    }
    folder.refuses("type mex --model model.cic -o out.csv", 3, &["copy the file again"]);
}

#[test]
fn values_that_are_no_expression_are_refused_with_their_cell_and_gene() {
    for (value, words) in [
        (f32::NAN, ["NaN", "replace or remove it"]),
        (f32::INFINITY, ["inf", "replace or remove it"]),
        (-1.0, ["-1", "from before scaling"]),
    ] {
        let mut matrix = cells(20);
        let at = matrix.values.indptr[17] + 3;
        let gene = matrix.genes[matrix.values.indices[at] as usize].id.clone();
        matrix.values.data[at] = value;
        let cell = matrix.obs_names[17].clone();
        refuses_cells(&matrix, &["cells.h5ad", &cell, &gene, words[0], words[1]]);
    }
}

#[test]
fn logarithms_for_a_model_of_counts_are_refused_and_the_reverse() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("counts.h5ad"), &cells(200));
    write_h5ad(&folder.path("cells.h5ad"), &log_normalised(&cells(200)));
    folder.refuses(TYPE, 3, &["cells.h5ad", "log1p", "trained on counts", "--kind"]);
    let declared = format!("{TYPE} --kind counts");
    folder.refuses(&declared, 3, &["declared counts", "SIMCELL000001", "SIM0", "no integer"]);

    let train = "train cells.h5ad --labels cell_type --genes 100 --hidden 8 --epochs 2 -o log.cic";
    folder.cic(train).ok();
    folder.cic("type cells.h5ad -m log.cic -o typed.csv").ok();
    let reverse = "type counts.h5ad -m log.cic -o out.csv";
    folder.refuses(reverse, 3, &["counts.h5ad", "are counts", "trained on log1p"]);
    let declared = format!("{reverse} --kind log1p");
    folder.refuses(&declared, 3, &["declared log1p", "SIMCELL000001"]);
}

#[test]
fn a_single_logarithm_after_a_thousand_counts_is_found() {
    let mut matrix = cells(1_200);
    let at = matrix.values.indptr[1_150];
    matrix.values.data[at] = 0.693;
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let cell = matrix.obs_names[1_150].clone();
    folder.refuses(&format!("{TYPE} --kind counts"), 3, &[&cell, "0.693"]);
}

#[test]
fn genes_that_the_model_does_not_know_are_refused_with_examples_of_both() {
    let renamed = |keep: usize| {
        let mut matrix = cells(20);
        for (number, gene) in matrix.genes.iter_mut().enumerate().skip(keep) {
            *gene = Gene::new(format!("Unknown{number}"), None, None);
        }
        matrix
    };
    refuses_cells(&renamed(0), &["0 of the model's 1000 genes", "Unknown0", "SIM0", "species"]);
    refuses_cells(
        &renamed(400),
        &["of the model's 1000 genes, at least 500 are needed", "names fit"],
    );
}

#[test]
fn a_transposed_table_is_recognised() {
    let matrix = cells(20);
    let mut transposed = vec![0.0; matrix.n_obs() * matrix.n_vars()];
    for row in 0..matrix.n_obs() {
        let (genes, values) = matrix.values.row(row);
        for (&gene, &value) in genes.iter().zip(values) {
            transposed[gene as usize * matrix.n_obs() + row] = value;
        }
    }
    let values = cic_data::CsrMatrix::from_dense(matrix.n_obs(), &transposed).unwrap();
    let names = matrix.obs_names.iter().map(|name| Gene::new(name.clone(), None, None)).collect();
    let matrix = ExpressionMatrix {
        obs_names: matrix.genes.iter().map(|gene| gene.id.clone()).collect(),
        genes: names,
        values,
        obs: Default::default(),
        source: matrix.source,
    };
    refuses_cells(&matrix, &["cells.h5ad", "transposed", "swap rows and columns"]);
}

#[test]
fn a_text_table_with_its_orientation_declared_wrong_is_refused() {
    let folder = Sandbox::new();
    write_tsv(&folder.path("cells.tsv"), &cells(20));
    let args = "type cells.tsv -m model.cic -o out.csv --rows genes";
    folder.refuses(args, 3, &["cells.tsv", "transposed", "--rows"]);
    let args = "type cells.tsv -m model.cic -o out.csv";
    folder.refuses(args, 3, &["cells.tsv", "SIMCELL000001", "SIM00001", "--rows cells"]);
}

#[test]
fn what_is_no_expression_file_is_refused() {
    let folder = Sandbox::new();
    folder.write("empty.h5ad", "");
    folder.write("noise.h5ad", (0..4_096_u32).map(|n| (n * 37 + 11) as u8).collect::<Vec<_>>());
    folder.write("text.tsv", "cell\tgene\na\tlarge\n");
    std::fs::create_dir(folder.path("folder")).unwrap();
    for (data, words) in [
        ("empty.h5ad", "empty"),
        ("noise.h5ad", "unknown kind"),
        ("text.tsv", "line 2"),
        ("folder", "matrix.mtx"),
        ("absent.h5ad", "No such file"),
        ("model.cic", "is a model"),
    ] {
        folder.refuses(&format!("type {data} -m model.cic -o out.csv"), 3, &[data, words]);
        folder.refuses(&format!("check {data}"), 3, &[data, words]);
    }
}

#[test]
fn a_path_that_leads_nowhere_is_questioned() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(20));
    std::fs::create_dir(folder.path("folder")).unwrap();
    let right = "is the path right?";
    for data in ["absent.h5ad", "cells.h5ad/X", "absent"] {
        folder.refuses(&format!("check {data}"), 3, &[data, right]);
        folder.refuses(&format!("type {data} -m model.cic -o out.csv"), 3, &[data, right]);
    }
    let labels = "eval cells.h5ad -m model.cic --labels kind --labels-file";
    folder.refuses(&format!("{labels} absent.tsv"), 3, &["absent.tsv", right]);
    folder.refuses(&format!("{labels} folder"), 3, &["folder", "name a file in it"]);
    let type_cells = "type cells.h5ad -o out.csv -m";
    folder.refuses(&format!("{type_cells} absent.cic"), 4, &["absent.cic", right]);
    folder.refuses(&format!("{type_cells} folder"), 4, &["folder", "name a file in it"]);
}

/// The largest file that may be written stands for a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_behind_and_is_told_once() {
    use std::process::{Command, Stdio};

    use crate::sandbox::Run;

    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(crate::writers::N_TRAINED));
    let before = folder.names();
    for output in ["out.csv", "out.h5ad"] {
        let program = env!("CARGO_BIN_EXE_cic");
        let script = format!(
            "trap '' XFSZ; ulimit -f 8; exec '{program}' type cells.h5ad -m model.cic -o {output}"
        );
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", &script]).current_dir(folder.path("")).stdin(Stdio::null());
        let run = Run::of(shell.output().unwrap());
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        run.refused(6, &[output, "not written, and nothing is left behind", "make room"]);
        assert_eq!(folder.names(), before);
    }
}

#[test]
fn a_refusal_keeps_an_older_result() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(20));
    folder.cic(TYPE).ok();
    let before = folder.read("out.csv");
    let bytes = folder.read("cells.h5ad");
    folder.write("cells.h5ad", &bytes[..bytes.len() / 3]);
    folder.refuses(TYPE, 3, &[]);
    assert_eq!(folder.read("out.csv"), before);
}

#[test]
fn a_cause_is_said_once() {
    let run = Sandbox::new().cic("check absent.h5ad");
    assert_eq!(run.stderr.matches("No such file").count(), 1, "{}", run.stderr);
}
