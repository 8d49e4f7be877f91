//! ONNX files of several producers (`tests/onnx/make.py`) against what onnxruntime gives for them, and files that are refused.
#![cfg(feature = "onnx")]

use std::fs;
use std::path::{Path, PathBuf};

use cic_model::{DenseLayer, Network};
use cic_quant::onnx::{OnnxNetwork, OnnxOptions, OnnxReference, read_onnx, read_onnx_bytes};
use serde_json::Value;

/// The issue asks for 1e-5.
const TOLERANCE: f64 = 1e-5;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx").join(name)
}

/// The files of a folder, by name.
fn files(name: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder(name)).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    files.sort_by_key(|path| path.file_stem().map(std::ffi::OsStr::to_owned));
    files
}

fn numbers(rows: &Value) -> Vec<Vec<f64>> {
    let row = |row: &Value| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    rows.as_array().unwrap().iter().map(row).collect()
}

fn layer(layer: &DenseLayer, input: &[f64]) -> Vec<f64> {
    let activations = layer.segments.iter().flat_map(|s| std::iter::repeat_n(s.activation, s.len));
    let rows = layer.weights.chunks_exact(layer.in_dim).zip(&layer.bias).zip(activations);
    rows.map(|((row, &bias), activation)| {
        let products = row.iter().zip(input).map(|(&w, x)| f64::from(w) * x);
        let sum = products.sum::<f64>() + f64::from(bias);
        f64::from(activation.apply(sum as f32))
    })
    .collect()
}

fn scores(network: &Network, input: &[f64]) -> Vec<f64> {
    let layers = network.encoder.iter().chain(&network.classifier);
    layers.fold(input.to_vec(), |input, dense| layer(dense, &input))
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

fn largest_difference(found: &[Vec<f64>], expected: &[Vec<f64>]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    assert_eq!(found[0].len(), expected[0].len());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn networks_of_every_producer_give_what_onnxruntime_gives() {
    let files = files("read");
    assert!(files.len() >= 20);
    let mut worst: f64 = 0.0;
    for path in &files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let read = read_onnx(path, OnnxOptions::default());
        let OnnxNetwork { network, labels, .. } =
            read.unwrap_or_else(|error| panic!("{name}: {error}"));
        let golden = fs::read_to_string(path.with_extension("json")).unwrap();
        let golden: Value = serde_json::from_str(&golden).unwrap();
        let input = numbers(&golden["input"]);
        let found: Vec<Vec<f64>> = input.iter().map(|row| scores(&network, row)).collect();
        let off = match golden["gives"].as_str().unwrap() {
            "scores" => largest_difference(&found, &numbers(&golden["values"])),
            "probabilities" => {
                let found: Vec<_> = found.iter().map(|row| softmax(row)).collect();
                largest_difference(&found, &numbers(&golden["values"]))
            }
            _ => {
                for (row, label) in found.iter().zip(golden["values"].as_array().unwrap()) {
                    let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
                    assert_eq!(labels[best], label.as_str().unwrap(), "{name}");
                }
                0.0
            }
        };
        println!("{name}: {off:.1e}");
        worst = worst.max(off);
        assert!(off <= TOLERANCE, "{name}: {off:e}");
        let code = network.encoder.last().unwrap();
        assert!(code.segments.iter().all(|s| s.activation == cic_model::Activation::Identity));
    }
    println!("onnx: {} files, largest difference {worst:.1e}", files.len());
}

/// The graph as it is, by tract, where that has its operators.
#[test]
fn tract_runs_the_untouched_graphs() {
    let mut n = 0;
    for path in files("read") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let read = read_onnx(&path, OnnxOptions::default()).unwrap();
        let golden = fs::read_to_string(path.with_extension("json")).unwrap();
        let golden: Value = serde_json::from_str(&golden).unwrap();
        let input = numbers(&golden["input"]);
        let n_genes = input[0].len();
        let flat: Vec<f32> = input.iter().flatten().map(|&x| x as f32).collect();
        let reference = match OnnxReference::open(&path, n_genes, input.len()) {
            Ok(reference) => reference,
            Err(reason) => {
                println!("{name}: not compared: {reason}");
                continue;
            }
        };
        let expected: Vec<f64> =
            reference.run(&flat).unwrap().iter().map(|&x| f64::from(x)).collect();
        let found: Vec<f64> = input.iter().flat_map(|row| scores(&read.network, row)).collect();
        let off = largest_difference(&[found], &[expected]);
        assert!(off <= TOLERANCE, "{name}: {off:e}");
        n += 1;
    }
    assert!(n >= 12, "{n}");
}

#[test]
fn classes_and_genes_are_taken_from_the_file() {
    let read = |name: &str, options: OnnxOptions<'_>| {
        read_onnx(&folder("read").join(name), options).unwrap()
    };
    let own = read("hand-code.onnx", OnnxOptions::default());
    assert_eq!(
        (own.genes.len(), &own.labels[..]),
        (12, &["a", "b", "c", "d"].map(String::from)[..])
    );
    // The output called `code`, though a layer of five is narrower.
    assert_eq!((own.code.as_str(), own.network.encoder[0].out_dim()), ("code", 6));
    let other = read("hand-code.onnx", OnnxOptions { code: Some("wide"), ..Default::default() });
    assert_eq!(other.network.encoder.len(), 2);
    let sklearn = read("sklearn-logistic.onnx", OnnxOptions::default());
    assert_eq!(sklearn.labels, ["B cell", "Mono", "NK", "T cell"]);
    let encoder = OnnxOptions { is_encoder: true, ..Default::default() };
    let encoder = read("torch-legacy-relu.onnx", encoder).network;
    assert!(encoder.classifier.is_empty() && encoder.encoder.len() == 3);
    let unknown = OnnxOptions { code: Some("nothing"), ..Default::default() };
    let error = read_onnx(&folder("read").join("hand-code.onnx"), unknown).unwrap_err();
    assert!(error.to_string().contains(r#""code", "wide", "y""#), "{error}");
}

/// What a message must name.
const REFUSED: &[(&str, &str)] = &[
    ("absent", "No such file"),
    ("absolute", "no place below the model's folder"),
    ("attention", "\"scores\" (MatMul)"),
    ("beyond", "are not in its"),
    ("bias-misfit", "\"fc\" (Gemm): 5 numbers are added to 4 sums"),
    ("branch", "\"h\" is read by 2 nodes: node \"left\" (Relu), node \"right\" (Tanh)"),
    ("clip-far", "ceiling"),
    ("conv", "\"conv1\" (Conv)"),
    ("custom", "\"spell\" (Magic): it is an operator of \"com.example\""),
    ("cut", "no ONNX model"),
    ("empty", "no graph"),
    ("huge", "more than any memory"),
    ("if", "\"choice\" (If)"),
    ("integers", "\"fc\" (Gemm): its matrix holds integers"),
    ("leaky", "\"act\" (LeakyRelu)"),
    ("loop", "\"first\" (Add)"),
    ("misfit", "\"fc\" (Gemm): it is for 13 numbers, and 12 come to it"),
    ("negative", "its shape is [-12, -4]"),
    ("not-finite", "it holds NaN"),
    ("old", "operator set 6"),
    ("outside", "no place below the model's folder"),
    ("overflow", "are not finite in single precision"),
    ("relu-end", "the last layer ends in relu"),
    ("rounded", "\"whole\" (Cast): it rounds to the type 7"),
    ("short", "188 bytes, its shape [12, 4] wants 192"),
    ("softmax-batch", "\"probabilities\" (Softmax): its axis is 0"),
    ("text", "its matrix \"w\" is no constant of numbers"),
    ("text-file", "no ONNX model"),
    ("training", "\"norm\" (BatchNormalization): it is in training mode"),
    ("turned", "\"both\" (Concat)"),
    ("two-inputs", "2 inputs (x, z)"),
    ("weighted", "\"priors\" (Mul): it stands after the last layer"),
    ("written-twice", "two nodes write \"y\""),
];

#[test]
fn what_is_no_chain_is_refused_by_name() {
    let files = files("refused");
    assert_eq!(files.len(), REFUSED.len());
    for (path, (name, expected)) in files.iter().zip(REFUSED) {
        assert_eq!(path.file_stem().unwrap().to_string_lossy(), *name);
        let error = read_onnx(path, OnnxOptions::default()).unwrap_err().to_string();
        println!("{name}: {error}");
        assert!(error.contains(expected), "{name}: {error}");
    }
}

/// A link beside the model that leads out of its folder.
#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let model = temporary.path().join("absent.onnx");
    fs::copy(folder("refused").join("absent.onnx"), &model).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", temporary.path().join("weights.bin")).unwrap();
    let error = read_onnx(&model, OnnxOptions::default()).unwrap_err().to_string();
    assert!(error.contains("a link leads out"), "{error}");
    fs::remove_file(temporary.path().join("weights.bin")).unwrap();
    fs::write(temporary.path().join("weights.bin"), [0; 4 * 12 * 4]).unwrap();
    assert!(read_onnx(&model, OnnxOptions::default()).is_ok());
}

/// No panic, whatever is damaged.
#[test]
fn damaged_files_are_refused_or_read() {
    let mut n_refused = 0;
    for name in ["hand-everything", "sklearn-logistic-zipmap", "torch-legacy-softshrink"] {
        let good = fs::read(folder("read").join(name).with_extension("onnx")).unwrap();
        for at in 0..good.len() {
            for flip in [0x01, 0x08, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= flip;
                let read = read_onnx_bytes(&bytes, &folder("read"), OnnxOptions::default());
                n_refused += usize::from(read.is_err());
            }
            n_refused += usize::from(
                read_onnx_bytes(&good[..at], &folder("read"), OnnxOptions::default()).is_err(),
            );
        }
    }
    assert!(n_refused > 1_000, "{n_refused}");
}
