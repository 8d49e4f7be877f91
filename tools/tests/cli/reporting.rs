//! `cic report`.

use crate::sandbox::Sandbox;
use crate::writers::{cells, log_normalised, write_h5ad};

/// 300 cells, which rows are for testing, a model with a decoder, and its int8 form.
fn trained() -> Sandbox {
    let folder = Sandbox::new();
    let cells = cells(300);
    write_h5ad(&folder.path("cells.h5ad"), &cells);
    let part = |row: usize| if row.is_multiple_of(3) { "test" } else { "train" };
    let rows = cells.obs_names.iter().enumerate();
    let split: String = rows.map(|(row, name)| format!("{name}\t{}\n", part(row))).collect();
    folder.write("split.tsv", format!("id\tsplit\n{split}"));
    let train =
        "train cells.h5ad --labels cell_type --split split.tsv --genes 100 --code 8 -o m.cic";
    folder.cic(train).ok();
    folder.quantize("m.cic --calibrate cells.h5ad --to int8 -o q.cic").ok();
    folder
}

const SECTIONS: [&str; 10] = [
    "data",
    "confusion",
    "calibration",
    "map",
    "reproduction",
    "noise",
    "unseen",
    "pathways",
    "quantization",
    "provenance",
];

/// Text of the page, which must be well-formed and load nothing.
#[track_caller]
fn page(folder: &Sandbox, name: &str) -> String {
    let page = folder.text(name);
    assert!(page.starts_with("<!DOCTYPE html>"));
    check_nesting(&page);
    for (at, _) in page.match_indices("<svg ") {
        let end = at + page[at..].find("</svg>").unwrap() + 6;
        let figure = roxmltree::Document::parse(&page[at..end]).unwrap();
        assert_eq!(figure.root_element().tag_name().name(), "svg");
    }
    for id in SECTIONS {
        assert_eq!(page.matches(&format!("<section id=\"{id}\"")).count(), 1, "{id}");
        assert!(page.contains(&format!("href=\"#{id}\"")), "{id}");
    }
    let without_namespaces = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for loads in ["http://", "https://", "src=", "url(", "@import", "<script", "<link", "NaN"] {
        assert!(!without_namespaces.contains(loads), "{loads} is on the page");
    }
    page
}

/// Every element that is opened is closed, in the right order.
#[track_caller]
fn check_nesting(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.split_whitespace().next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if name == "!DOCTYPE" || name == "meta" || tag.ends_with('/') => {}
            None => open.push(name),
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn the_page_says_what_the_other_commands_say() {
    let folder = trained();
    let report =
        "report cells.h5ad -m m.cic --quantized q.cic --labels cell_type --split split.tsv";
    assert_eq!(folder.cic(&format!("{report} -q -o a.html")).ok().stderr, "");
    let page = page(&folder, "a.html");
    for model in ["m.cic", "q.cic"] {
        let eval =
            format!("eval cells.h5ad -m {model} --labels cell_type --split split.tsv --json");
        let accuracy = folder.cic(&eval).json()["accuracy"].as_f64().unwrap();
        assert!(page.contains(&format!("{:.1}\u{a0}%", 100.0 * accuracy)), "{accuracy}");
        if model == "m.cic" {
            let figure = format!("<dd id=\"accuracy\"><data value=\"{accuracy}\">");
            assert!(page.contains(&figure), "{figure}");
        }
    }
    let reproduce = "reproduce cells.h5ad -m m.cic --labels cell_type --split split.tsv --json";
    for method in folder.cic(reproduce).json()["methods"].as_array().unwrap() {
        let spearman = method["spearman"].as_f64().unwrap();
        assert!(page.contains(&format!("{:.3}", spearman.abs())), "{method}");
    }
    assert!(page.contains("<strong>100 test rows</strong>"));
    assert!(page.contains("no part of its training"));
    // Spoiled cells are those of the other command, with the same chance.
    let noise = "noise cells.h5ad -m m.cic -m q.cic --labels cell_type --split split.tsv --repeats 1 --json -q";
    for level in folder.cic(noise).json()["levels"].as_array().unwrap() {
        let is_shown = level["kind"] != "low_genes";
        for method in level["methods"].as_array().unwrap().iter().filter(|_| is_shown).take(2) {
            let shift = method["code_shift"]["mean"].as_f64().unwrap();
            assert!(page.contains(&format!("<td>{shift:.3}</td>")), "{level}");
        }
    }
    for title in [
        "Fewer counts",
        "Noise on every gene",
        "Missing genes",
        "best linear",
        "logistic, refitted",
    ] {
        assert!(page.contains(title), "{title}");
    }
    let inspect = folder.cic("inspect m.cic --json").json();
    assert!(page.contains(inspect["model_id"].as_str().unwrap()));
    // Nothing in it depends on when it is made.
    folder.cic(&format!("{report} -o b.html")).ok();
    assert_eq!(folder.read("a.html"), folder.read("b.html"));
}

#[test]
fn without_a_split_the_rows_are_those_that_the_model_set_aside() {
    let folder = trained();
    let told = folder.cic("report cells.h5ad -m m.cic --labels cell_type -o a.html").ok().stderr;
    assert!(told.contains("a.html"), "{told}");
    let page = page(&folder, "a.html");
    assert!(page.contains("<strong>100 test rows</strong>"));
    assert!(page.contains("No quantized model was given") && !page.contains("role=\"alert\""));
}

#[test]
fn rows_of_the_training_are_told_as_such() {
    let folder = trained();
    let split = folder.text("split.tsv");
    let swapped =
        split.replace("\ttest", "\tx").replace("\ttrain", "\ttest").replace("\tx", "\ttrain");
    folder.write("swapped.tsv", swapped);
    folder.cic("report cells.h5ad -m m.cic --labels cell_type --split swapped.tsv -o a.html").ok();
    let page = page(&folder, "a.html");
    assert!(page.contains("This is no test.") && !page.contains("no part of its training"));
}

#[test]
fn what_other_commands_found_is_taken_in() {
    let folder = trained();
    let unseen = "unseen cells.h5ad --labels cell_type --genes 60 --code 4 --epochs 2 --json -q";
    folder.write("unseen.json", folder.cic(unseen).ok().stdout);
    let explained = r#"{"schema_version": 1, "model_id": "0123456789abcdef", "dimensions": [{"dimension": 3,
        "types": [{"label": "low", "mean": -1.0}, {"label": "high & mighty", "mean": 2.0}],
        "rising": [{"gene": "CD3E", "change": 1.0}], "over_represented": [
            {"collection": "hallmark", "set": "X", "title": "T cell <i>activation</i>", "n_panel": 40, "overlap": 12, "q_value": 0.001},
            {"collection": "hallmark", "set": "Y", "title": "by chance", "n_panel": 40, "overlap": 3, "q_value": 0.5}]}]}"#;
    folder.write("explained.json", explained);
    let report = "report cells.h5ad -m m.cic --labels cell_type --unseen unseen.json \
                  --explained explained.json -o a.html"
        .to_owned();
    folder.cic(&report).ok();
    let page = page(&folder, "a.html");
    assert!(page.contains("Reproduction of types left out"));
    assert!(!page.contains("other cells or other labels"));
    assert!(page.contains("T cell &lt;i&gt;activation") && page.contains("high &amp; mighty"));
    assert!(page.contains("CD3E") && !page.contains("by chance ("));
    assert!(page.contains("not of the one on this page"));
    let other = unseen.replace("cell_type", "donor");
    folder.write("unseen.json", folder.cic(&other).ok().stdout);
    folder.cic(&report).ok();
    assert!(folder.text("a.html").contains("other cells or other labels"));
    let divided = format!("{unseen} --split split.tsv");
    folder.write("unseen.json", folder.cic(&divided).ok().stdout);
    folder.cic(&report).ok();
    assert!(folder.text("a.html").contains("divided in another way"));
    assert!(folder.text("a.html").contains("--split split.tsv"));
    folder.write("unseen.json", "{}");
    folder.refuses(&report.replace("a.html", "b.html"), 3, &["unseen.json", "--json"]);
}

#[test]
fn names_from_files_stay_text() {
    let folder = trained();
    let mut cells = cells(300);
    let text = |row| cells.obs.column("cell_type").unwrap().text(row).unwrap().into_owned();
    let labels: Vec<Option<String>> =
        (0..300).map(|row| Some(format!("<script>alert(\"{}\")</script>&'", text(row)))).collect();
    cells
        .obs
        .insert("cell_type", cic_data::Column::categorical(labels.iter().map(Option::as_deref)));
    write_h5ad(&folder.path("hostile.h5ad"), &cells);
    let train =
        "train hostile.h5ad --labels cell_type --split split.tsv --genes 100 --code 8 -o h.cic";
    folder.cic(train).ok();
    folder.quantize("h.cic --calibrate hostile.h5ad --to int8 -o hq.cic").ok();
    folder.cic("report hostile.h5ad -m h.cic --quantized hq.cic --labels cell_type -o a.html").ok();
    assert!(page(&folder, "a.html").contains("&lt;script&gt;alert("));
}

#[test]
fn values_that_are_no_counts_get_noise_instead_of_thinning() {
    let folder = trained();
    write_h5ad(&folder.path("log.h5ad"), &log_normalised(&cells(300)));
    folder
        .cic("train log.h5ad --labels cell_type --split split.tsv --genes 80 --code 6 -o l.cic")
        .ok();
    folder.cic("report log.h5ad -m l.cic --labels cell_type --replicates cell_type -o a.html").ok();
    let page = page(&folder, "a.html");
    assert!(page.contains("Normal noise was added") && page.contains("technical replicates"));
}

#[test]
fn a_model_without_a_decoder_still_has_its_other_figures() {
    let folder = trained();
    folder
        .quantize("m.cic --calibrate cells.h5ad --to int8 --no-decoder --keep-rows -o s.cic")
        .ok();
    folder.cic("report cells.h5ad -m s.cic --labels cell_type -o a.html").ok();
    let page = page(&folder, "a.html");
    assert!(page.contains("The model has no decoder") && page.contains("Reliability diagram"));
}

#[test]
fn what_cannot_be_reported_is_refused_with_a_reason() {
    let folder = trained();
    let report = "report cells.h5ad -m m.cic -o r.html";
    folder.refuses(report, 2, &["--labels KEY is missing"]);
    folder.refuses(&format!("{report} --labels nonesuch"), 2, &["nonesuch"]);
    let labels = format!("{report} --labels cell_type");
    // The fixture model was not made from this one, and carries other rows.
    folder.refuses(&format!("{labels} --quantized model.cic"), 4, &["was not made from m.cic"]);
    folder.refuses(&format!("{labels} --unseen nonesuch.json"), 3, &["nonesuch.json"]);
    for taken in ["m.cic", "cells.h5ad"] {
        let onto = format!("report cells.h5ad -m m.cic --labels cell_type -o {taken}");
        folder.refuses(&onto, 2, &[taken, "a name of its own"]);
    }
    folder.write("train.tsv", folder.text("split.tsv").replace("\ttest", "\ttrain"));
    folder.refuses(&format!("{labels} --split train.tsv"), 3, &["has no test row"]);
    let blank = folder.text("split.tsv").replace("split", "cell_type").replace("test", "NA");
    folder.write("labels.tsv", blank);
    let unlabelled = format!("{report} --labels cell_type --labels-file labels.tsv");
    folder.refuses(&unlabelled, 3, &["none of the 100 test rows has a label"]);
}
