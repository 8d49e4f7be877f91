//! `cic-quantize`.

use crate::sandbox::Sandbox;
use crate::writers::{N_TRAINED, cells, rows, write_h5ad, write_tsv};

fn with_training_cells() -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(N_TRAINED));
    folder
}

#[test]
fn text_tables_calibrate_as_well() {
    let folder = with_training_cells();
    write_tsv(&folder.path("cells.tsv"), &cells(N_TRAINED));
    folder.quantize("model.cic --calibrate cells.h5ad --to int8 -o a.cic").ok();
    folder.quantize("model.cic --calibrate cells.tsv --to int8 -o b.cic").refused(3, &["--rows"]);
    folder.quantize("model.cic --calibrate cells.tsv --rows cells --to int8 -o b.cic").ok();
    assert_eq!(folder.read("a.cic"), folder.read("b.cic"));
}

#[test]
fn limits_for_what_is_no_cell_need_labels() {
    let folder = with_training_cells();
    let rejects = "model.cic --calibrate cells.h5ad --to int8 --rejects";
    folder.quantize(&format!("{rejects} 0.05 -o q.cic")).refused(2, &["--rejects", "--labels KEY"]);
    folder.quantize(&format!("{rejects} 0 -o q.cic")).ok();
}

#[test]
fn what_rounding_did_to_each_layer_is_told() {
    let folder = with_training_cells();
    let base = "model.cic --calibrate cells.h5ad -o q.cic --report r.json --details";
    for to in ["int8", "mixed", "f16"] {
        let run = folder.quantize(&format!("{base} --to {to}")).ok();
        assert!(
            run.stdout.contains("weights      dB") && run.stdout.contains("classifier 1"),
            "{}",
            run.stdout
        );
        let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
        let layers = report["layers"].as_array().unwrap();
        assert_eq!(layers[0]["stage"], "encoder");
        for layer in layers {
            assert!(layer["weights_sqnr_db"].as_f64().unwrap() > 30.0, "{to}: {layer}");
            let outputs = layer["sqnr_db"].as_f64();
            assert_eq!(outputs.is_some(), to == "int8", "{layer}");
            assert!(outputs.is_none_or(|db| db > 15.0), "{layer}");
        }
    }
}

#[test]
fn ranges_and_rounding_can_be_chosen() {
    let folder = with_training_cells();
    let base = "model.cic --calibrate cells.h5ad --to int8 -o q.cic --report r.json";
    for (options, key, value) in [
        ("--ranges mse", "quantize.ranges", "mse"),
        ("--ranges entropy,code=minmax", "quantize.ranges", "entropy,code=minmax"),
        ("--ranges percentile:99.9", "quantize.ranges", "percentile:99.9"),
        ("--ranges minmax,input=mse", "quantize.ranges", "minmax,input=mse"),
        ("--rounding fitted", "quantize.rounding", "fitted"),
    ] {
        folder.quantize(&format!("{base} {options}")).ok();
        let inspected = folder.cic("inspect q.cic --json").json();
        assert_eq!(inspected["provenance"][key], value, "{options}");
        let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
        let (agreement, error) = (&report["label_agreement"], &report["code_error_pooled"]);
        assert!(agreement.as_f64().unwrap() >= 0.98, "{options}: {agreement}");
        assert!(error.as_f64().unwrap() < 0.08, "{options}: {error}");
    }
    let refused = |options: &str, said: &[&str]| {
        folder.quantize(&format!("{base} {options}")).refused(2, said);
    };
    refused("--ranges kl", &["\"kl\"", "entropy or mse"]);
    refused("--ranges encoder.7=mse", &["encoder.7", "it has input, code, encoder.0"]);
    refused("--rounding up", &["nearest or fitted"]);
    folder
        .quantize("model.cic --calibrate cells.h5ad --to f16 -o q.cic --ranges mse")
        .refused(2, &["--ranges is for int8"]);
}

#[test]
fn calibration_cells_that_were_kept_give_the_same_model() {
    let folder = with_training_cells();
    let base = "model.cic --to int8 --quiet";
    folder.quantize(&format!("{base} --calibrate cells.h5ad --keep-cells few.h5ad -o a.cic")).ok();
    folder
        .quantize(&format!("{base} --calibrate few.h5ad --total-counts total_counts -o b.cic"))
        .ok();
    assert_eq!(folder.read("a.cic"), folder.read("b.cic"));
    assert!(folder.read("few.h5ad").len() < folder.read("cells.h5ad").len());
    let run =
        folder.quantize(&format!("{base} --calibrate cells.h5ad --keep-cells c.cic -o c.cic"));
    run.refused(2, &["c.cic", "a name of its own"]);
    // Labels too, so that what is promised is calibrated again.
    let labels = "--labels cell_type";
    let keep = format!("{base} --calibrate cells.h5ad {labels} --keep-cells few.h5ad -o a.cic");
    folder.quantize(&keep).ok();
    let kept = "--calibrate few.h5ad --total-counts total_counts --labels cell_type";
    folder.quantize(&format!("{base} {kept} -o b.cic")).ok();
    assert_eq!(folder.read("a.cic"), folder.read("b.cic"));
    folder
        .quantize(&format!("{base} --calibrate cells.h5ad -o -"))
        .refused(2, &["standard output"]);
}

#[test]
fn the_page_holds_all_that_it_shows() {
    let folder = with_training_cells();
    for to in ["int8", "mixed", "f16"] {
        let args = format!("model.cic --calibrate cells.h5ad --to {to} -o q.cic --html q.html");
        folder.quantize(&args).ok();
        let page = String::from_utf8(folder.read("q.html")).unwrap();
        for section in ["Labels that change", "Codes", "Layer by layer", "Where this comes from"] {
            assert!(page.contains(section), "{to}: {section}");
        }
        assert_eq!(page.contains("On microcontrollers"), to == "int8");
        for loaded in ["<script", "src=", "href=\"http", "@import", "url("] {
            assert!(!page.contains(loaded), "{to}: {loaded}");
        }
    }
}

#[test]
fn the_smallest_model_that_fits_is_found() {
    let folder = with_training_cells();
    let loose = "--max-label-change 0.1 --max-code-error 0.2";
    let base = format!("model.cic --calibrate cells.h5ad --auto -o q.cic --report r.json {loose}");
    let run = folder.quantize(&format!("{base} --target cortex-m4 --flash 1M --ram 192K")).ok();
    assert!(run.stdout.contains("int8 minmax,input=mse nearest"), "{}", run.stdout);
    let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
    let candidates = report["search"]["candidates"].as_array().unwrap();
    let best = &candidates[0];
    assert_eq!((&best["misses"], &best["with_decoder"]), (&serde_json::json!([]), &true.into()));
    for other in candidates {
        assert!(best["label_agreement"].as_f64() >= other["label_agreement"].as_f64());
    }
    let run = folder.quantize(&format!("{base} --target host --ram 1M")).ok();
    assert!(run.stdout.contains("\nf16 "), "{}", run.stdout);
    // Where int8 misses the gate, inputs in floating point are tried before larger weights.
    let strict = base.replace("0.2", "0.01");
    folder.quantize(&format!("{strict} --target host")).ok();
    let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
    let best = &report["search"]["candidates"][0];
    assert_eq!(best["way"], "mixed", "{}", report["search"]);
    assert_eq!(folder.cic("inspect q.cic --json").json()["dtype"], "mixed");
    // What cannot be written is not tried.
    let run = folder.quantize(&format!("{base} --target host --emit onnx")).ok();
    assert!(!run.stdout.contains("mixed") && !run.stdout.contains("f16"), "{}", run.stdout);
    folder.quantize(&format!("{base} --target host --html r.html")).ok();
    assert!(folder.text("r.html").contains("What was tried"));

    let before = folder.names();
    let refused = |options: &str, code: i32, said: &[&str]| {
        folder.quantize(&format!("{base} {options}")).refused(code, said);
    };
    let run = folder.quantize(&format!("{base} --target cortex-m4 --flash 1K"));
    assert!(run.code == Some(5) && run.stderr.contains("misses: flash"), "{}", run.stderr);
    let mut ways = run.stdout.lines().filter(|line| line.starts_with("int8"));
    assert!(ways.all(|line| line.ends_with("flash")), "{}", run.stdout);
    assert!(run.stdout.contains("calibration cells and judged on"), "{}", run.stdout);
    refused("--target cortex-m4 --max-code-error 0.0000001", 2, &["--max-code-error"]);
    refused("--target host --instructions 1000", 2, &["microcontrollers"]);
    refused("--target cortex-a5", 2, &["cortex-m4", "host"]);
    refused("--target host --flash 1.5M", 2, &["256K"]);
    refused("", 2, &["--target"]);
    refused("--target host --to int8", 2, &["--to"]);
    assert_eq!(folder.names(), before);
}

#[test]
fn tuning_brings_codes_nearer_to_those_of_full_precision() {
    let folder = with_training_cells();
    let base = "model.cic --calibrate cells.h5ad --to int8 --report r.json";
    folder.quantize(&format!("{base} -o plain.cic")).ok();
    let run = folder.quantize(&format!("{base} --qat -o q.cic")).ok();
    assert!(run.stderr.contains("--qat: on"), "{}", run.stderr);
    let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
    let errors = |key: &str| [0, 1].map(|at| report["qat"][key][at].as_f64().unwrap());
    let ([code, code_after], [logits, logits_after]) =
        (errors("code_error"), errors("logit_error"));
    assert!(code_after <= code && logits_after <= logits, "{}", report["qat"]);
    assert!(code_after + logits_after < code + logits, "{}", report["qat"]);
    let inspected = folder.cic("inspect q.cic --json").json();
    assert!(inspected["provenance"]["quantize.aware_epochs"].is_string());
    assert_ne!(folder.read("q.cic"), folder.read("plain.cic"));
    folder.quantize(&format!("{base} --qat --fine-tune -o q.cic")).refused(2, &["--fine-tune"]);
    folder
        .quantize("model.cic --calibrate cells.h5ad --to f16 --qat -o h.cic")
        .refused(2, &["--qat is for int8"]);
}

#[test]
fn the_report_goes_to_standard_output_as_json_too() {
    let folder = with_training_cells();
    let base = "model.cic --calibrate cells.h5ad -o q.cic --report r.json --json";
    for further in ["--to int8", "--auto --target host --max-code-error 1 --max-label-change 1"] {
        let report = folder.quantize(&format!("{base} {further}")).json();
        assert_eq!(report["schema_version"], 1);
        let written: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
        assert_eq!(report, written);
    }
    folder.quantize(&format!("{base} --to int8 --details")).refused(2, &["--details"]);
    folder.quantize(&format!("{base} --to f32")).refused(2, &["--report is of what quantising"]);
    let base = "model.cic --calibrate cells.h5ad --to int8 -o q.cic";
    for (options, words) in [
        ("--target cortex-m4", "--target is of --auto"),
        ("--labels-file l.tsv", "--labels-file does nothing alone"),
        (
            "--ranges mse,code=mse,code=minmax",
            "\"code=minmax\": a method for this is given already",
        ),
    ] {
        folder.quantize(&format!("{base} {options}")).refused(2, &[words]);
    }
    folder.quantize(&format!("{base} --ranges genes=mse")).refused(2, &["it has input, code"]);
}

#[test]
fn training_writes_the_int8_model_that_quantising_would() {
    let folder = with_training_cells();
    let train = "train cells.h5ad --labels cell_type --genes 200 --epochs 4 -o full.cic";
    let run = folder.cic(&format!("{train} --qat aware.cic")).ok();
    assert!(run.stderr.contains("--qat: on"), "{}", run.stderr);
    let quantise = "full.cic --calibrate cells.h5ad --labels cell_type --to int8 --qat -o same.cic";
    folder.quantize(quantise).ok();
    assert_eq!(folder.read("aware.cic"), folder.read("same.cic"));
    folder.cic(&format!("{train} --qat full.cic")).refused(2, &["full.cic"]);
    folder.cic(&format!("{train} --qat aware.h5ad")).refused(2, &["aware.cic"]);
}

#[test]
fn two_models_are_compared_on_the_same_cells() {
    let folder = with_training_cells();
    folder.quantize("model.cic --calibrate cells.h5ad --to int8 -o q.cic").ok();
    let diff = "diff model.cic q.cic cells.h5ad --labels cell_type";
    let json = folder.quantize(&format!("{diff} --json")).json();
    assert_eq!((&json["schema_version"], &json["n"]), (&1.into(), &N_TRAINED.into()));
    // What typing says, cell by cell.
    let labels = |model: &str| -> Vec<String> {
        let table = folder.cic(&format!("type cells.h5ad -m {model} -o -")).ok().stdout;
        let guess =
            table.lines().next().unwrap().split(',').position(|name| name == "cic_best_guess");
        let cell = |line: &str| line.split(',').nth(guess.unwrap()).unwrap().to_string();
        table.lines().skip(1).map(cell).collect()
    };
    let (a, b) = (labels("model.cic"), labels("q.cic"));
    let n_flips = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    assert_eq!(json["flips"].as_array().unwrap().len(), n_flips);
    let of_types = json["types"].as_array().unwrap();
    let sum = |key: &str| of_types.iter().map(|of| of[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("n"), sum("n_flips")), (N_TRAINED as u64, n_flips as u64));
    assert!(json["code_error"].as_f64().unwrap() < 0.05);
    assert!(json["neighbour_overlap"].as_f64().unwrap() > 0.8);
    let text = folder.quantize(diff).ok().stdout;
    for word in ["accuracy", "same label", "code error", "nearest cells are the same"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    let same = folder.quantize("diff q.cic q.cic cells.h5ad --gate").ok().stdout;
    assert!(same.contains("same label      100.00 %"), "{same}");
    folder.quantize("diff q.cic cells.h5ad").refused(2, &["<DATA>"]);
    folder.quantize("diff q.cic cells.h5ad cells.h5ad").refused(4, &["cells.h5ad"]);
}

#[test]
fn what_changes_too_much_does_not_pass_the_gate() {
    let folder = with_training_cells();
    let base = "model.cic --calibrate cells.h5ad --to int8 -o q.cic";
    let narrow = "--gate --max-code-error 0.000001";
    folder
        .quantize(&format!("{base} {narrow}"))
        .refused(5, &["the code error is", "0.000001 may be"]);
    assert!(!folder.names().contains("q.cic"));
    folder.quantize(&format!("{base} --gate --max-code-error 1 --max-label-change 0.5")).ok();
    let run = folder.quantize(&format!("diff model.cic q.cic cells.h5ad {narrow}"));
    assert_eq!(run.code, Some(5));
    assert!(run.stdout.contains("code error"), "{}", run.stdout);
    folder.quantize(&format!("{base} --max-code-error 1")).refused(2, &["--gate"]);
}

#[test]
fn quantised_models_type_like_the_one_they_are_made_from() {
    let folder = with_training_cells();
    let labels = |model: &str| {
        let table = folder.cic(&format!("type cells.h5ad -m {model} -o -")).ok().stdout;
        let label = |line: &str| line.split(',').nth(1).unwrap().to_string();
        table.lines().skip(1).map(label).collect::<Vec<_>>()
    };
    let expected = labels("model.cic");
    for (to, agreement) in [("int8", 0.99), ("mixed", 0.995), ("f16", 0.999)] {
        let args = format!("model.cic --calibrate cells.h5ad --to {to} -o q.cic --report r.json");
        let run = folder.quantize(&args).ok();
        assert_eq!(run.stdout, "");
        let found = labels("q.cic");
        let same = expected.iter().zip(&found).filter(|(a, b)| a == b).count();
        assert!(same as f64 >= agreement * N_TRAINED as f64, "{to}: {same} of {N_TRAINED}");
        let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
        let keys = ["schema_version", "source_model", "model_id", "flips", "code_error_pooled"];
        for key in keys {
            assert!(report.get(key).is_some(), "{key}");
        }
        assert_eq!(report["to"], to);
        assert_eq!(report["n_cells"], 120);
        assert_eq!(report["bytes_after"], folder.read("q.cic").len());
        let inspected = folder.cic("inspect q.cic --json").json();
        assert_eq!(inspected["dtype"], to);
        assert_eq!(inspected["model_id"], report["model_id"]);
        assert_eq!(inspected["provenance"]["quantize.source_model"], report["source_model"]);
    }
}

#[test]
fn what_is_interrupted_leaves_nothing_behind() {
    let folder = with_training_cells();
    let before = folder.names();
    let args =
        "model.cic --calibrate cells.h5ad --to int8 --qat -o q.cic --report r.json --html q.html";
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cic-quantize"));
    command.current_dir(folder.path(".")).args(args.split(' '));
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(150));
    let signal =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    let status = child.wait().unwrap();
    if status.success() {
        // It was faster; then all of it is there.
        assert!(signal.is_ok() && folder.names().contains("q.html"));
        return;
    }
    assert_eq!(folder.names(), before);
}

#[test]
fn quantising_twice_gives_the_same_bytes() {
    let folder = with_training_cells();
    for to in ["int8", "mixed", "f16"] {
        for output in ["one.cic", "two.cic"] {
            let args = format!("model.cic --calibrate cells.h5ad --to {to} -o {output} --quiet");
            assert_eq!(folder.quantize(&args).ok().stderr, "");
        }
        assert_eq!(folder.read("one.cic"), folder.read("two.cic"), "{to}");
    }
}

#[test]
fn only_full_precision_models_are_quantised() {
    let folder = with_training_cells();
    folder.quantize("model.cic --calibrate cells.h5ad --to f16 -o half.cic").ok();
    let before = folder.names();
    let run = folder.quantize("half.cic --calibrate cells.h5ad --to int8 -o q.cic");
    run.refused(4, &["half.cic", "f16 already", "f32 model"]);
    assert_eq!(folder.names(), before);
}

#[test]
fn data_without_the_calibration_rows_is_refused() {
    let folder = Sandbox::new();
    let mut matrix = cells(200);
    for name in &mut matrix.obs_names {
        name.push_str("-1");
    }
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let before = folder.names();
    let run = folder.quantize("model.cic --calibrate cells.h5ad --to int8 -o q.cic");
    run.refused(3, &["cells.h5ad", "SIMCELL000001-1", "calibration part", "same ids"]);
    assert_eq!(folder.names(), before);
}

#[test]
fn a_split_that_calls_training_rows_test_is_refused() {
    let folder = with_training_cells();
    let names = cells(N_TRAINED).obs_names;
    let split: String = names.iter().map(|name| format!("{name}\ttest\n")).collect();
    folder.write("split.tsv", format!("id\tsplit\n{split}"));
    let args = "model.cic --calibrate cells.h5ad --to int8 -o q.cic --split split.tsv";
    folder.quantize(args).refused(3, &["test", "trained with"]);
}

#[test]
fn some_of_the_calibration_rows_are_enough() {
    let folder = Sandbox::new();
    let every_other: Vec<usize> = (0..N_TRAINED).step_by(2).collect();
    write_h5ad(&folder.path("cells.h5ad"), &rows(&cells(N_TRAINED), &every_other));
    let to_int8 = "model.cic --calibrate cells.h5ad --to int8 -o q.cic";
    let run = folder.quantize(to_int8).ok();
    assert!(run.stderr.contains("of the 120 cells that the model is calibrated"), "{}", run.stderr);
}

#[test]
fn a_handful_of_the_calibration_rows_is_not_enough() {
    let folder = Sandbox::new();
    let few: Vec<usize> = (0..60).collect();
    write_h5ad(&folder.path("cells.h5ad"), &rows(&cells(N_TRAINED), &few));
    for to in ["int8", "mixed"] {
        folder
            .quantize(&format!("model.cic --calibrate cells.h5ad --to {to} -o q.cic"))
            .refused(3, &["of the 120 cells", "at least 10"]);
    }
}
