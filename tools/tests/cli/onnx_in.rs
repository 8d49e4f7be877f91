//! `cic-quantize` of networks as ONNX.
#![cfg(feature = "onnx")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

const N_CELLS: usize = 300;
const CLASSES: [&str; 4] = ["a", "b", "c", "d"];

fn network(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("quant/tests/onnx/read");
    folder.join(name).with_extension("onnx")
}

/// A network of twelve genes, and cells that have these among 1,200.
fn with_network(name: &str) -> Sandbox {
    let folder = Sandbox::new();
    fs::copy(network(name), folder.path("net.onnx")).unwrap();
    let cells = cells(N_CELLS);
    let mut sums: Vec<(f32, usize)> = (0..cells.n_vars()).map(|gene| (0.0, gene)).collect();
    for (&gene, &value) in cells.values.indices.iter().zip(&cells.values.data) {
        sums[gene as usize].0 += value;
    }
    sums.sort_by(|a, b| b.0.total_cmp(&a.0));
    let genes: Vec<&str> =
        sums[..12].iter().map(|&(_, gene)| cells.genes[gene].id.as_str()).collect();
    folder.write("genes.txt", genes.join("\n"));
    write_h5ad(&folder.path("cells.h5ad"), &cells);
    folder
}

/// Labels that a model gives to the cells.
fn labels(folder: &Sandbox, model: &str) -> Vec<String> {
    let table = folder.cic(&format!("type cells.h5ad -m {model} -o -")).ok().stdout;
    let label = |line: &str| line.split(',').nth(1).unwrap().to_string();
    table.lines().skip(1).map(label).collect()
}

#[test]
fn networks_of_others_become_models_of_every_type() {
    let folder = with_network("hand-code");
    let base = "net.onnx --genes genes.txt --preprocess log1p:10000 --calibrate cells.h5ad";
    let run = folder.quantize(&format!("{base} --to f32 -o f.cic")).ok();
    assert!(run.stderr.contains("those of the graph itself (tract) within"), "{}", run.stderr);
    let inspected = folder.cic("inspect f.cic --json").json();
    assert_eq!(inspected["provenance"]["import.code"], "code");
    assert_eq!(inspected["provenance"]["import.producer"], "by hand");
    let expected = labels(&folder, "f.cic");
    assert_eq!(expected.len(), N_CELLS);
    assert!(expected.iter().all(|label| CLASSES.contains(&label.as_str())), "{expected:?}");

    // What the model says is what is right, for want of anything better.
    let names = cells(N_CELLS).obs_names;
    let table: Vec<String> =
        names.iter().zip(&expected).map(|(id, label)| format!("{id}\t{label}")).collect();
    folder.write("labels.tsv", format!("id\tlabel\n{}\n", table.join("\n")));
    for to in ["int8", "mixed", "f16"] {
        let args = format!(
            "{base} --labels label --labels-file labels.tsv --rejects 0 --to {to} -o q.cic"
        );
        let run = folder.quantize(&args).ok();
        assert!(run.stderr.contains("% same label"), "{}", run.stderr);
        let same = expected.iter().zip(labels(&folder, "q.cic")).filter(|(a, b)| *a == b).count();
        assert!(same * 100 >= 98 * N_CELLS, "{to}: {same} of {N_CELLS}");
    }
}

/// The same cells, normalised by their owner or here.
#[test]
fn counts_and_their_logarithms_give_the_same_labels() {
    let folder = with_network("sklearn-mlp");
    write_h5ad(&folder.path("log.h5ad"), &crate::writers::log_normalised(&cells(N_CELLS)));
    let base = "net.onnx --genes genes.txt --to f32";
    folder
        .quantize(&format!("{base} --preprocess log1p:10000 --calibrate cells.h5ad -o a.cic"))
        .ok();
    folder.quantize(&format!("{base} --preprocess none --calibrate log.h5ad -o b.cic")).ok();
    let of_counts = labels(&folder, "a.cic");
    let table = folder.cic("type log.h5ad -m b.cic -o -").ok().stdout;
    let of_logs: Vec<&str> =
        table.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(of_counts, of_logs);
    assert!(of_counts.iter().any(|label| label == "B cell" || label == "T cell"), "{of_counts:?}");
}

#[test]
fn what_is_missing_or_does_not_fit_is_told() {
    let folder = with_network("torch-legacy-relu");
    folder.write("classes.txt", CLASSES.join("\n"));
    let base = "net.onnx --calibrate cells.h5ad --to int8 -o q.cic";
    let refuses = |args: &str, code: i32, words: &[&str]| {
        folder.quantize(&format!("{base} {args}")).refused(code, words);
        assert!(!folder.names().contains("q.cic"));
    };
    refuses("", 2, &["does not name its 12 inputs", "--genes FILE"]);
    refuses("--genes genes.txt", 2, &["does not name its 4 outputs", "--classes FILE"]);
    let named = "--genes genes.txt --classes classes.txt";
    refuses(named, 2, &["--preprocess is missing", "log1p:10000"]);
    refuses(&format!("{named} --preprocess none"), 2, &["its values are counts"]);
    refuses(&format!("{named} --preprocess log2"), 2, &["log1p:SUM:panel"]);
    refuses("--genes classes.txt --classes classes.txt", 3, &["4 names for the 12 inputs"]);
    folder.write("others.txt", (0..12).map(|n| format!("X{n}\n")).collect::<String>());
    let others = "--genes others.txt --classes classes.txt --preprocess log1p:10000";
    refuses(others, 3, &["lacks 12 of the 12 genes", "\"X0\""]);
    let code = format!("{named} --preprocess log1p:10000 --code nothing");
    refuses(&code, 4, &["no layer gives \"nothing\"; known:"]);
    let labels = format!("{named} --preprocess log1p:10000 --labels cell_type");
    refuses(&labels, 3, &["no label is one of the 4 classes"]);
    folder.write("broken.onnx", "no model");
    folder
        .quantize("broken.onnx --calibrate cells.h5ad --to int8 -o q.cic")
        .refused(4, &["broken.onnx", "no ONNX model"]);
    let own = "model.cic --calibrate cells.h5ad --to int8 -o q.cic";
    folder
        .quantize(&format!("{own} --genes genes.txt"))
        .refused(2, &["--genes is for ONNX models"]);
    let same = "model.cic --calibrate cells.h5ad --to f32 -o q.cic";
    folder.quantize(same).refused(2, &["not quantised to f32"]);
}

/// An encoder gives codes and names nothing.
#[test]
fn an_encoder_alone_gives_codes() {
    let folder = with_network("torch-dynamo-relu");
    let args = "net.onnx --genes genes.txt --encoder-only --preprocess log1p:10000:panel --calibrate cells.h5ad";
    let run = folder.quantize(&format!("{args} --to f32 -o e.cic")).ok();
    assert!(run.stderr.contains("codes are those of the graph itself"), "{}", run.stderr);
    assert!(!run.stderr.contains("within 0.0e0"), "{}", run.stderr);
    folder.write("classes.txt", CLASSES.join("\n"));
    folder
        .quantize(&format!("{args} --classes classes.txt --to f32 -o e.cic"))
        .refused(2, &["--classes names what --encoder-only says"]);
    folder
        .quantize(&format!("{args} --keep-cells k.h5ad --to int8 -o e.cic"))
        .refused(2, &["--keep-cells is for models of cic train"]);
    let inspected = folder.cic("inspect e.cic --json").json();
    assert_eq!(inspected["code_dim"], 4);
    folder.quantize(&format!("{args} --to int8 -o q.cic")).ok();
}

/// Whose layers go around one another: better than to say what no chain has is to say where the model is.
#[test]
fn files_of_this_project_name_the_model() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(N_CELLS));
    let train = "train cells.h5ad --labels cell_type --genes 200 --hidden 16 --epochs 2 --quiet";
    folder.cic(&format!("{train} -o net.cic --onnx net.onnx")).ok();
    folder
        .quantize("net.onnx --calibrate cells.h5ad --to int8 -o q.cic")
        .refused(4, &["net.onnx", "cic train", "the .cic file"]);
}
