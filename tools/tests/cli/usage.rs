//! Command lines that ask for what is not possible: exit code 2.

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

fn with_cells() -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(30));
    folder
}

#[test]
fn an_unknown_column_is_refused_with_the_columns_that_exist() {
    let folder = with_cells();
    let known = ["\"typ\"", "cell_type, donor"];
    folder.refuses("eval cells.h5ad -m model.cic --labels typ", 2, &known);
    folder.refuses("train cells.h5ad --labels typ -o new.cic", 2, &known);
    let split = "eval cells.h5ad -m model.cic --labels cell_type --split part.tsv";
    folder.refuses(split, 2, &["part.tsv is no file", "cell_type, donor"]);
    folder.write("cells.tsv", "cell\tSIM00001\tSIM00002\nA\t1\t0\nB\t2\t3\n");
    let bare = "train cells.tsv --rows cells --labels typ -o new.cic";
    folder.refuses(bare, 2, &["cells.tsv", "--labels-file"]);
    folder.write("labels.tsv", "id\tkind\nSIMCELL000001\tB\n");
    let table = "eval cells.h5ad -m model.cic --labels-file labels.tsv --labels typ";
    folder.refuses(table, 2, &["labels.tsv", "\"typ\"", "kind"]);
}

#[test]
fn a_name_like_that_of_a_column_is_asked_about() {
    let folder = with_cells();
    let meant = ["is \"cell_type\" meant?"];
    folder.refuses("train cells.h5ad --labels Celltype -o new.cic", 2, &meant);
    folder.refuses("type cells.h5ad -m model.cic -o out.csv --over-clustering celltype", 2, &meant);
}

#[test]
fn model_and_data_in_each_others_place_are_told_apart() {
    let folder = with_cells();
    folder.write("cells.tsv", "cell\tSIM00001\nA\t1\n");
    for data in ["cells.h5ad", "cells.tsv"] {
        let words = [data, "are model and data swapped?"];
        folder.refuses(&format!("type model.cic -m {data} -o out.csv"), 4, &words);
        folder.refuses(&format!("eval model.cic -m {data} --labels cell_type"), 4, &words);
        let quantize = format!("{data} --calibrate model.cic --to int8 -o q.cic");
        folder.quantize(&quantize).refused(4, &words);
    }
    let words = ["model.cic is a model", "expression data here"];
    folder.refuses("check model.cic", 3, &words);
    folder.refuses("train model.cic --labels cell_type -o new.cic", 3, &words);
    for (name, instead) in [("new.h5ad", "new.cic"), ("new.csv", "new.cic")] {
        folder.refuses(&format!("train cells.h5ad --labels cell_type -o {name}"), 2, &[instead]);
    }
}

#[test]
fn manual_pages_and_completions_name_every_command() {
    let folder = Sandbox::new();
    let help = folder.cic("--help").ok().stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let mut commands: Vec<&str> =
        commands.filter_map(|line| line.split_whitespace().next()).collect();
    commands.retain(|command| *command != "help");
    assert!(commands.contains(&"verify"), "{help}");
    folder.cic("man --out man").ok();
    for command in &commands {
        let page = folder.text(&format!("man/cic-{command}.1"));
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH SEE ALSO"), "{command}");
    }
    assert!(folder.text("man/cic-quantize.1").contains("calibrate"));
    assert!(folder.text("man/cic-type.1").contains("predicted_labels"));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = folder.cic(&format!("completions {shell}")).ok().stdout;
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
        let script = folder.cic(&format!("completions {shell} --quantize")).ok().stdout;
        assert!(script.contains("calibrate"), "{shell}");
    }
    folder.refuses("completions tcsh", 2, &["fish"]);
}

#[test]
fn a_subset_needs_a_split() {
    let folder = with_cells();
    for part in ["test", "train"] {
        let args = format!("eval cells.h5ad -m model.cic --labels cell_type --subset {part}");
        folder.refuses(&args, 2, &["--split"]);
    }
}

#[test]
fn unknown_words_are_refused_with_those_that_exist() {
    let folder = with_cells();
    for (args, words) in [
        ("type cells.h5ad -m model.cic -o out.csv --kind tpm", "linear_normalised"),
        ("type cells.h5ad -m model.cic -o out.csv --rows up", "genes or cells"),
        ("eval cells.h5ad -m model.cic --subset most", "train"),
        ("train cells.h5ad --labels cell_type -o n.cic --activation gelu", "soft_plus"),
        ("train cells.h5ad --labels cell_type -o n.cic --genes some", "all"),
        ("train cells.h5ad --labels cell_type -o n.cic --hidden 8,x", "x"),
        ("train cells.h5ad --labels cell_type -o n.cic --code 0", "code"),
        ("train cells.h5ad --labels cell_type -o n.cic --epochs 0", "epochs"),
        ("train cells.h5ad -o n.cic", "--labels"),
        ("demo --data cells.h5ad", "--labels"),
        ("guess cells.h5ad", "guess"),
        ("type cells.h5ad", "--model"),
    ] {
        folder.refuses(args, 2, &[words]);
    }
    let quantize = "model.cic --calibrate cells.h5ad -o q.cic --to";
    for to in ["f32", "int4"] {
        folder.quantize(&format!("{quantize} {to}")).refused(2, &["int8, mixed or f16"]);
    }
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_the_work() {
    let folder = with_cells();
    std::fs::create_dir(folder.path("taken.csv")).unwrap();
    let type_cells = "type cells.h5ad -m model.cic -o";
    for (output, words) in [
        ("absent/out.csv", "create it first"),
        ("taken.csv", "is a folder"),
        ("out.tsv", ".csv, .h5ad"),
        ("cells.h5ad", "name of its own"),
        ("./cells.h5ad", "name of its own"),
    ] {
        folder.refuses(&format!("{type_cells} {output}"), 2, &[output, words]);
    }
    let train = "train cells.h5ad --labels cell_type -o new.cic";
    folder.refuses(&format!("{train} --onnx absent/new.onnx"), 2, &["create it first"]);
    folder.refuses(&format!("{train} --checkpoint new.cic"), 2, &["name of its own"]);
    let quantize = "model.cic --calibrate cells.h5ad --to int8 -o";
    folder.quantize(&format!("{quantize} model.cic")).refused(2, &["name of its own"]);
    assert!(folder.cic("inspect model.cic").ok().stdout.contains("f32"));
}

#[test]
fn help_fits_a_terminal_of_80_columns() {
    let folder = Sandbox::new();
    for command in [
        "",
        "train",
        "type",
        "verify",
        "eval",
        "reproduce",
        "compare",
        "unseen",
        "noise",
        "explain",
        "inspect",
        "budget",
        "check",
        "demo",
        "man",
        "completions",
    ] {
        for flag in ["-h", "--help"] {
            let help = folder.cic(&format!("{command} {flag}")).ok().stdout;
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{command}: {help}");
        }
    }
    let help = folder.quantize("--help").ok().stdout;
    assert!(help.contains("Exit codes") && help.lines().all(|line| line.chars().count() <= 80));
}
