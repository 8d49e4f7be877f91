//! Refusals that leave everything as it was, and paths. Which files are refused: `input_matrix`.

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

const TYPE: &str = "type cells.h5ad --model model.cic -o out.csv";

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
