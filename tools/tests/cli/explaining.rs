//! `cic explain`.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::sandbox::{Run, Sandbox};
use crate::writers::{cells, write_h5ad};

/// 300 cells, and a model with a decoder.
fn trained() -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(300));
    folder.cic("train cells.h5ad --labels cell_type --genes 100 --code 6 -o n.cic").ok();
    folder
}

const EXPLAIN: &str = "explain cells.h5ad -m n.cic --top 20";

fn names(list: &Value) -> Vec<String> {
    let genes = list.as_array().unwrap().iter();
    genes.map(|gene| gene["gene"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_set_of_the_genes_that_a_dimension_moves_is_found_by_it() {
    let folder = trained();
    let report = folder.cic(&format!("{EXPLAIN} --dimensions 2 --json")).json();
    let dimension = &report["dimensions"][0];
    let (rising, falling) = (names(&dimension["rising"]), names(&dimension["falling"]));
    assert_eq!((dimension["dimension"].as_u64(), rising.len() + falling.len()), (Some(2), 20));
    let moved: Vec<String> = rising.into_iter().chain(falling).take(8).collect();

    // The same genes twice over, one that no panel has, a set that is too small and one by chance.
    let set = moved.join("\t");
    let gmt = format!("MOVED\ta title\t{set}\t{set}\tNONE\nSMALL\t\t{}\n", moved[0]);
    folder.write("sets.gmt", &gmt);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(gmt.as_bytes()).unwrap();
    folder.write("packed.gmt.gz", packed.finish().unwrap());
    let found = folder.cic(&format!("{EXPLAIN} --dimensions 2,2 --gmt sets.gmt --json")).json();
    let collection = &found["collections"][0];
    assert_eq!((collection["n_sets"].as_u64(), collection["n_small"].as_u64()), (Some(1), Some(1)));
    assert_eq!(collection["n_genes_named"].as_u64(), Some(9));
    assert_eq!(collection["n_genes_in_panel"].as_u64(), Some(8));
    let test = &found["dimensions"][0]["over_represented"][0];
    assert_eq!((test["overlap"].as_u64(), test["n_panel"].as_u64()), (Some(8), Some(8)));
    assert_eq!(test["title"], "MOVED a title");
    // C(20, 8) / C(100, 8)
    let p_value = test["p_value"].as_f64().unwrap();
    assert!((p_value / 6.769_3e-7 - 1.0).abs() < 1e-3, "{p_value}");
    assert_eq!(test["bonferroni"], test["p_value"]);

    let packed = folder.cic(&format!("{EXPLAIN} --dimensions 2 --gmt packed.gmt.gz --json")).json();
    assert_eq!(packed["dimensions"][0]["over_represented"][0]["p_value"], test["p_value"]);
    let all = folder.cic(&format!("{EXPLAIN} --gmt sets.gmt --set-size 1..500 --json")).json();
    assert_eq!(all["n_tests"].as_u64(), Some(12));
}

#[test]
fn contributions_sum_to_the_log_odds_of_the_call() {
    let folder = trained();
    let id = &cells(300).obs_names[17];
    let explain = format!("{EXPLAIN} --dimensions none --labels cell_type --cells {id} --json");
    let report = folder.cic(&explain).json();
    assert_eq!(report["dimensions"].as_array().unwrap().len(), 0);
    assert_eq!(report["types"].as_array().unwrap().len(), 0);
    let [cell] = &report["cells"].as_array().unwrap()[..] else { panic!("{report}") };
    let number = |name: &str| cell[name].as_f64().unwrap();
    let difference = number("log_odds") - number("log_odds_of_mean_profile");
    assert!((number("sum_of_contributions") / difference - 1.0).abs() < 0.01, "{cell}");
    assert!(number("completeness_error") < 0.01);
    let confidence = number("confidence");
    let log_odds = (confidence / (1.0 - confidence)).ln();
    assert!((number("log_odds") - log_odds).abs() < 1e-2 * log_odds.abs(), "{cell}");
    folder.cic("type cells.h5ad -m n.cic -o calls.csv").ok();
    let calls = folder.text("calls.csv");
    let row = calls.lines().find(|line| line.starts_with(id.as_str())).unwrap();
    assert!(row.contains(cell["call"].as_str().unwrap()), "{row}");
}

#[test]
fn types_are_told_apart_from_all_others_or_from_one() {
    let folder = trained();
    let report = folder.cic(&format!("{EXPLAIN} --dimensions none --json")).json();
    let types = report["types"].as_array().unwrap();
    assert_eq!(types.len(), report["cells"].as_array().unwrap().len());
    assert!(types.iter().all(|one| one["against"] == "all others"));
    let worst = report["worst_completeness_error"].as_f64().unwrap();
    assert!(worst < 0.01, "{worst}");
    let one = types[0]["type"].as_str().unwrap();
    let explain = format!("{EXPLAIN} --dimensions none --json --against");
    let mut command = folder.command(&explain);
    let against = Run::of(command.arg(one).output().unwrap()).json();
    let all: Vec<&Value> =
        against["types"].as_array().unwrap().iter().map(|one| &one["against"]).collect();
    assert_eq!(*all[0], "all others");
    assert!(all[1..].iter().all(|name| **name == *one), "{all:?}");
}

#[test]
fn tables_and_plots_are_written() {
    let folder = trained();
    folder.write("sets.gmt", "A\t\t".to_owned() + &gene_ids().join("\t"));
    let run = folder.cic(&format!("{EXPLAIN} --labels cell_type --gmt sets.gmt -o out")).ok();
    assert!(run.stdout.contains("dimension 0: mean") && run.stdout.contains("calls of "));
    let lines = |name: &str| folder.text(&format!("out/{name}")).lines().count();
    assert_eq!(lines("dimensions.tsv"), 1 + 6 * 100);
    assert_eq!(lines("gene_sets.tsv"), 1 + 6);
    let n_types = (lines("types.tsv") - 1) / 100;
    assert!(n_types >= 3 && lines("cells.tsv") == lines("types.tsv"), "{n_types}");
    for plot in ["out/types.svg", "out/cells.svg"] {
        let svg = folder.text(plot);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("85 other genes together").count(), n_types);
    }
    // A table among the inputs is not replaced.
    folder.write("out/types.tsv", "A\t\tB\n");
    folder.refuses(&format!("{EXPLAIN} --gmt out/types.tsv -o out"), 3, &["none of its genes"]);
    let gmt = folder.text("sets.gmt");
    folder.write("out/types.tsv", &gmt);
    folder.refuses(&format!("{EXPLAIN} --gmt out/types.tsv -o out"), 2, &["name of its own"]);
    assert_eq!(folder.text("out/types.tsv"), gmt);
}

/// Genes of the cells; some are in any panel.
fn gene_ids() -> Vec<String> {
    cells(1).genes.iter().map(|gene| gene.id.clone()).collect()
}

#[test]
fn models_without_derivatives_or_decoder_are_refused_with_what_to_do() {
    let folder = trained();
    let quantize = "n.cic --calibrate cells.h5ad -q --to";
    folder.quantize(&format!("{quantize} int8 -o int8.cic")).ok();
    folder.quantize(&format!("{quantize} f16 --no-decoder -o f16.cic")).ok();
    folder.refuses("explain cells.h5ad -m int8.cic", 4, &["int8", "explain the f32 model"]);
    folder.refuses("explain cells.h5ad -m f16.cic", 4, &["no decoder", "--dimensions none"]);
    let calls = folder.cic("explain cells.h5ad -m f16.cic --dimensions none").ok().stdout;
    assert!(calls.contains("log-odds against all others"), "{calls}");
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let folder = trained();
    for (args, code, words) in [
        ("--dimensions 6", 2, "dimensions 0 to 5"),
        ("--dimensions x", 2, "--dimensions x"),
        ("--cells nobody", 2, "has no such cell; its first is"),
        ("--against nothing", 2, "there are "),
        ("--set-size 9..3", 2, "5..500"),
        ("--top 0", 2, "--top"),
        ("-o cells.h5ad", 2, "is no folder"),
        ("-o absent/out", 2, "create it first"),
        ("-o out --cells nobody", 2, "no such cell"),
        ("--gmt absent.gmt", 3, "is the path right?"),
    ] {
        folder.refuses(&format!("{EXPLAIN} {args}"), code, &[words]);
    }
    for (text, words) in
        [("A\tx\tG1\nB C\n", "line 2: no tab"), ("A\tx\tNONE\n", "none of its genes")]
    {
        folder.write("bad.gmt", text);
        folder.refuses(&format!("{EXPLAIN} --gmt bad.gmt"), 3, &["bad.gmt", words]);
    }
}

/// Markers that textbooks name, of calls whose cells are few and many.
const MARKERS: [(&str, &[&str]); 6] = [
    ("B", &["MS4A1", "CD79A"]),
    ("CD14+ Mono", &["LYZ", "S100A8"]),
    ("NK", &["GNLY", "NKG7"]),
    ("FCGR3A+ Mono", &["FCGR3A"]),
    ("DC", &["FCER1A"]),
    ("Platelet", &["PPBP", "PF4"]),
];

#[test]
fn genes_that_decide_calls_of_blood_cells_are_the_markers_of_their_types() {
    let root = match std::env::var_os("CIC_DATA") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
    };
    let (data, sets) = (root.join("pbmc3k/pbmc3k.h5ad"), root.join("gene-sets/hallmark_v7.0.gmt"));
    if !data.is_file() || !sets.is_file() {
        return println!("SKIPPED: explanations of blood cells: no pbmc3k or gene-sets (CIC_DATA)");
    }
    let folder = Sandbox::new();
    let run = |args: &str, more: &[&PathBuf]| {
        Run::of(folder.command(args).args(more).output().unwrap()).ok()
    };
    let split = root.join("pbmc3k/split.tsv");
    run("train --labels cell_type -q -o n.cic --split", &[&split, &data]);
    let report = run("explain -m n.cic --labels cell_type --json --gmt", &[&sets, &data]).json();
    for (name, markers) in MARKERS {
        let types = report["types"].as_array().unwrap();
        let genes = names(&types.iter().find(|one| one["type"] == name).unwrap()["genes"]);
        for &marker in markers {
            assert!(genes.iter().any(|gene| gene == marker), "{marker} of {name}: {genes:?}");
        }
    }
    assert!(report["worst_completeness_error"].as_f64().unwrap() < 0.01);
    // Stress of the cells' preparation is what a hallmark stands for, apart from types.
    let tests = report["dimensions"].as_array().unwrap().iter();
    let mut tests = tests.flat_map(|one| one["over_represented"].as_array().unwrap());
    assert!(tests.any(|test| {
        test["set"] == "HALLMARK_TNFA_SIGNALING_VIA_NFKB"
            && test["q_value"].as_f64().unwrap() < 1e-3
    }));
}
