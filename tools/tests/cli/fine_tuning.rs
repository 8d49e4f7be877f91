//! `cic-quantize --fine-tune`.

use std::process::Command;

use cic_model::spec::{ModelSpec, NetworkSpec, QuantNetwork};
use cic_model::{AlignedBytes, Model};
use cic_runtime::S8Session;

use crate::sandbox::{Run, Sandbox};
use crate::writers::{cells, rows, write_h5ad};

const N: usize = 400;
const FINE_TUNE: &str = "net.cic --calibrate cells.h5ad --to int8 --fine-tune";

/// Cells, and a model of them with a decoder.
fn with_model() -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(N));
    let args =
        "train cells.h5ad --labels cell_type --genes 200 --hidden 16 --epochs 4 --quiet -o net.cic";
    folder.cic(args).ok();
    folder
}

fn spec(folder: &Sandbox, name: &str) -> ModelSpec {
    let bytes = AlignedBytes::new(&folder.read(name));
    ModelSpec::from_model(&Model::open_verified(&bytes).unwrap())
}

fn network(spec: &ModelSpec) -> &QuantNetwork {
    let NetworkSpec::S8(network) = &spec.network else { panic!("not int8") };
    network
}

#[test]
fn codes_stay_and_the_model_says_what_was_done() {
    let folder = with_model();
    folder.quantize("net.cic --calibrate cells.h5ad --to int8 -o plain.cic").ok();
    let args = format!("{FINE_TUNE} --labels cell_type -o tuned.cic --report r.json");
    let run = folder.quantize(&args).ok();
    assert!(run.stderr.contains("training cells, cross-validated: decoder"), "{}", run.stderr);
    assert!(run.stderr.contains("classifier"), "{}", run.stderr);
    let (plain, tuned) = (spec(&folder, "plain.cic"), spec(&folder, "tuned.cic"));
    assert_eq!(plain.profiles, tuned.profiles);
    assert_eq!(network(&plain).encoder, network(&tuned).encoder);
    assert_eq!(network(&plain).code, network(&tuned).code);
    let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
    let tuning = &report["fine_tuning"];
    let facts = &tuned.provenance;
    assert_eq!(facts["quantize.fine_tuning_cells"], tuning["n_cells"].to_string());
    assert_eq!(facts["quantize.source_model"], plain.provenance["quantize.source_model"]);
    let is_changed = |loss: &str| tuning[loss]["changed"].as_bool().unwrap();
    let fact = &facts["quantize.fine_tuned"];
    assert_eq!(fact.contains("decoder"), is_changed("decoder_unexplained"), "{fact}");
    assert_eq!(fact.contains("classifier"), is_changed("classifier_cross_entropy"), "{fact}");
    assert_eq!(
        network(&plain).decoder != network(&tuned).decoder,
        is_changed("decoder_unexplained")
    );
    let bytes = AlignedBytes::new(&folder.read("tuned.cic"));
    let model = Model::open_verified(&bytes).unwrap();
    let session = S8Session::new(&model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    for cell in model.golden().cells() {
        assert!(session.reproduces(&cell, &mut scratch).unwrap());
    }
}

#[test]
fn without_labels_only_the_decoder_is_fitted() {
    let folder = with_model();
    folder.quantize("net.cic --calibrate cells.h5ad --to int8 -o plain.cic").ok();
    let run = folder.quantize(&format!("{FINE_TUNE} -o tuned.cic")).ok();
    assert!(run.stderr.contains("decoder") && !run.stderr.contains("classifier"), "{}", run.stderr);
    let (plain, tuned) = (spec(&folder, "plain.cic"), spec(&folder, "tuned.cic"));
    assert_eq!(network(&plain).classifier, network(&tuned).classifier);
    assert_eq!(plain.rules, tuned.rules);
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let folder = with_model();
    let bytes = |threads: &str| {
        let args = format!("{FINE_TUNE} --labels cell_type -o tuned.cic --quiet");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cic-quantize"));
        command.args(args.split_whitespace()).current_dir(folder.path(""));
        assert_eq!(
            Run::of(command.env("RAYON_NUM_THREADS", threads).output().unwrap()).ok().stderr,
            ""
        );
        folder.read("tuned.cic")
    };
    let expected = bytes("1");
    assert!(bytes("1") == expected && bytes("3") == expected);
}

#[test]
fn only_rows_that_the_model_was_fitted_to_are_used() {
    let folder = with_model();
    let all = cells(N);
    let is_fitted = |row: &usize| {
        let bytes = AlignedBytes::new(&folder.read("net.cic"));
        let model = Model::open_verified(&bytes).unwrap();
        let name = [all.obs_names[*row].clone()];
        !cic_quant::rows_of(&model, &name, cic_quant::fitted_parts(&model)).is_empty()
    };
    let n_fitted = (0..N).filter(is_fitted).count();
    folder.quantize(&format!("{FINE_TUNE} -o tuned.cic --report r.json")).ok();
    let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
    assert_eq!(report["fine_tuning"]["n_cells"], n_fitted);
    let others: Vec<usize> = (0..N).filter(|row| !is_fitted(row)).collect();
    write_h5ad(&folder.path("cells.h5ad"), &rows(&all, &others));
    let run = folder.quantize(&format!("{FINE_TUNE} -o new.cic"));
    run.refused(3, &["cells.h5ad", "none of its", "fitted to", "same ids"]);
    let some: Vec<usize> = (0..N).step_by(2).collect();
    write_h5ad(&folder.path("cells.h5ad"), &rows(&all, &some));
    let run = folder.quantize(&format!("{FINE_TUNE} -o new.cic")).ok();
    assert!(run.stderr.contains(&format!("of the {n_fitted} cells")), "{}", run.stderr);
}

#[test]
fn what_cannot_be_fine_tuned_is_refused_with_the_reason() {
    let folder = with_model();
    let names = cells(N).obs_names;
    let table: String = names.iter().map(|name| format!("{name}\tneuron\t\n")).collect();
    folder.write("labels.tsv", format!("id\tkind\tempty\n{table}"));
    let before = folder.names();
    for (args, code, words) in [
        ("net.cic --calibrate cells.h5ad --to f16 --fine-tune", 2, &["for int8", "f16"][..]),
        (&format!("{FINE_TUNE} --labels kind"), 2, &["no column", "kind", "cell_type"]),
        (
            &format!("{FINE_TUNE} --no-decoder"),
            2,
            &["nothing to fine-tune", "--no-decoder", "--labels"],
        ),
        (
            "model.cic --calibrate cells.h5ad --to int8 --fine-tune",
            2,
            &["nothing to fine-tune", "the model has no decoder", "--labels"],
        ),
        (
            &format!("{FINE_TUNE} --labels-file labels.tsv --labels kind"),
            3,
            &["cells.h5ad", "training cells has a label", "neuron", "simulated", "trained with"],
        ),
        (
            &format!("{FINE_TUNE} --labels-file labels.tsv --labels empty"),
            3,
            &["cells.h5ad", "no cell has any"],
        ),
    ] {
        folder.quantize(&format!("{args} -o new.cic")).refused(code, words);
        assert_eq!(folder.names(), before, "{args}");
    }
}

#[test]
fn a_model_without_decoder_has_its_classifier_fine_tuned() {
    let folder = with_model();
    let args = "model.cic --calibrate cells.h5ad --to int8 --fine-tune --labels cell_type -o q.cic";
    let run = folder.quantize(args).ok();
    assert!(run.stderr.contains("classifier") && !run.stderr.contains("decoder"), "{}", run.stderr);
    let args = format!("{FINE_TUNE} --labels cell_type --no-decoder -o small.cic");
    folder.quantize(&args).ok();
    assert!(network(&spec(&folder, "small.cic")).decoder.is_empty());
}
