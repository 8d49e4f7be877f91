//! `cic train`: the same bytes whatever happens on the way.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::sandbox::{Run, Sandbox};
use crate::writers::{cells, write_h5ad};

const TRAIN: &str = "train cells.h5ad --labels cell_type --genes 200 --hidden 16";

fn with_cells(n: usize) -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(n));
    folder
}

#[test]
fn a_seed_gives_the_same_bytes_whatever_the_number_of_threads() {
    let folder = with_cells(300);
    let trained = |options: &str| {
        folder.cic(&format!("{TRAIN} --epochs 4 {options} -o new.cic")).ok();
        folder.read("new.cic")
    };
    let expected = trained("--seed 7");
    assert_eq!(trained("--seed 7"), expected);
    for threads in [1, 2, 3] {
        assert_eq!(trained(&format!("--seed 7 --threads {threads}")), expected, "{threads}");
    }
    assert_ne!(trained("--seed 8"), expected);
}

#[test]
fn options_shape_the_model() {
    let folder = with_cells(300);
    let args = "train cells.h5ad --labels cell_type --genes all --hidden 24,12 --code 10 \
                --activation tanh --epochs 2 -o new.cic --onnx new.onnx";
    folder.cic(args).ok();
    let report = folder.cic("inspect new.cic --json").json();
    assert_eq!(report["code_dim"], 10);
    // Every gene that is above zero somewhere.
    assert!(report["n_genes"].as_u64().unwrap() > 1_100, "{}", report["n_genes"]);
    let layers = report["layers"].as_array().unwrap();
    let encoder: Vec<_> = layers.iter().filter(|layer| layer["stage"] == "encoder").collect();
    assert_eq!(encoder.len(), 3);
    assert_eq!(encoder[0]["segments"][0]["activation"], "tanh");
    assert_eq!(encoder[0]["segments"][0]["len"], 24);
    assert_eq!(encoder[1]["segments"][0]["len"], 12);
    assert!(folder.read("new.onnx").len() > 1_000);
    assert!(report["provenance"].get("training.settings").is_none());
    folder.cic(&format!("{TRAIN} --set max_epochs=2 --set mixup=0.1 -o set.cic")).ok();
    let report = folder.cic("inspect set.cic --json").json();
    assert_eq!(report["provenance"]["training.settings"], "max_epochs=2 mixup=0.1");
}

#[test]
fn rows_without_a_label_are_no_cell_type_of_their_own() {
    let folder = with_cells(120);
    let truth = cells(120);
    let label = |row: usize| match row % 4 {
        0 => ["", "NA", "nan", "None"][row / 4 % 4].to_string(),
        _ => truth.obs.value("cell_type", row).unwrap().into_owned(),
    };
    let rows = truth.obs_names.iter().enumerate();
    let table: String = rows.map(|(row, name)| format!("{name}\t{}\n", label(row))).collect();
    folder.write("labels.tsv", format!("id\tkind\n{table}"));
    let args = "train cells.h5ad --labels-file labels.tsv --labels kind --genes 50 --hidden 8 \
                --epochs 2 -o new.cic";
    let run = folder.cic(args).ok();
    assert!(run.stderr.contains("30 rows have no label"), "{}", run.stderr);
    let report = folder.cic("inspect new.cic --json").json();
    let names = report["labels"].as_array().unwrap();
    assert!(names.iter().all(|name| name.as_str().unwrap().starts_with("simulated")), "{names:?}");
}

#[test]
fn types_of_a_few_cells_are_named() {
    let folder = with_cells(120);
    let rows = cells(120).obs_names.into_iter().enumerate();
    let label = |row: usize| if row % 30 == 7 { "rare" } else { ["A", "B"][row % 2] };
    let table: String = rows.map(|(row, name)| format!("{name}\t{}\n", label(row))).collect();
    folder.write("labels.tsv", format!("id\tkind\n{table}"));
    let args = "train cells.h5ad --labels-file labels.tsv --labels kind --genes 50 --hidden 8 \
                --epochs 2 -o new.cic";
    let run = folder.cic(args).ok();
    let says = "fewer than 10 rows to train on: rare (4); calls";
    assert!(run.stderr.contains(says), "{}", run.stderr);
}

#[test]
fn labels_that_leave_nothing_to_tell_apart_are_refused() {
    let folder = with_cells(30);
    let names = cells(30).obs_names;
    for (label, part, words) in [
        ("", "train", "none of the 30 training rows has a label"),
        ("B", "train", "all labelled training rows are \"B\""),
        ("B", "test", "no row is left to train on"),
    ] {
        let rows: String = names.iter().map(|name| format!("{name}\t{label}\t{part}\n")).collect();
        folder.write("labels.tsv", format!("id\tkind\tsplit\n{rows}"));
        let args = "train cells.h5ad --labels-file labels.tsv --labels kind --split split -o n.cic";
        folder.refuses(args, 3, &["cells.h5ad", words, "two cell types"]);
    }
}

#[test]
fn progress_is_no_part_of_the_output_and_bars_need_a_terminal() {
    let folder = with_cells(120);
    let run = folder.cic(&format!("{TRAIN} --epochs 2 -o new.cic")).ok();
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("epoch 2/2"), "{}", run.stderr);
    assert!(!run.stderr.contains(['\r', '\u{1b}']), "{:?}", run.stderr);
    let quiet = folder.cic(&format!("{TRAIN} --epochs 2 -o new.cic --quiet")).ok();
    assert_eq!(quiet.stderr, "");
}

/// Enough work that the run is still busy when it is stopped: no early end.
#[cfg(unix)]
const LONG: &str = "--epochs 400 --seed 3 --hidden 512 --set patience=none";

#[cfg(unix)]
const OUT: &str = "-o new.cic --checkpoint run.state";

#[cfg(unix)]
#[test]
fn a_killed_run_continues_to_the_same_bytes() {
    let folder = with_cells(1_000);
    folder.cic(&format!("{TRAIN} {LONG} -o whole.cic")).ok();
    let mut child = start(&folder);
    wait_for_checkpoint(&folder, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path("new.cic").exists(), "the run ended before it was killed");
    folder.cic(&format!("{TRAIN} {LONG} {OUT}")).ok();
    assert_eq!(folder.read("new.cic"), folder.read("whole.cic"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_ends_with_130_and_continues_to_the_same_bytes() {
    let folder = with_cells(1_000);
    folder.cic(&format!("{TRAIN} {LONG} -o whole.cic")).ok();
    let mut child = start(&folder);
    wait_for_checkpoint(&folder, &mut child);
    interrupt(&child);
    let run = Run::of(child.wait_with_output().unwrap());
    run.refused(130, &["stopping after this step", "interrupted after epoch", "run.state"]);
    let names: Vec<String> = folder.names().into_iter().collect();
    assert_eq!(names, ["cells.h5ad", "model.cic", "run.state", "whole.cic"]);
    folder.cic(&format!("{TRAIN} {LONG} {OUT}")).ok();
    assert_eq!(folder.read("new.cic"), folder.read("whole.cic"));
}

#[cfg(unix)]
#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = with_cells(120);
    folder.cic(&format!("{TRAIN} --epochs 6 -o new.cic --checkpoint run.state")).ok();
    let other = format!("{TRAIN} --epochs 6 --seed 2 -o other.cic --checkpoint run.state --quiet");
    folder.refuses(&other, 3, &["run.state", "delete it"]);
}

#[cfg(unix)]
fn start(folder: &Sandbox) -> Child {
    let cic = folder.command(&format!("{TRAIN} {LONG} {OUT}"));
    // A shell starts jobs in the background with interrupts ignored, and what they start inherits that.
    let mut command = std::process::Command::new("env");
    command.arg("--default-signal=INT").arg(cic.get_program()).args(cic.get_args());
    command.current_dir(folder.path(".")).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[cfg(unix)]
fn wait_for_checkpoint(folder: &Sandbox, child: &mut Child) {
    let started = Instant::now();
    while !folder.path("run.state").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before its first checkpoint");
        assert!(started.elapsed() < Duration::from_secs(120), "no checkpoint after two minutes");
        sleep(Duration::from_millis(1));
    }
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-INT", &child.id().to_string()]).status().unwrap().success());
}
