//! `cic compare` and `cic sweep`.

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

fn with_cells() -> Sandbox {
    let folder = Sandbox::new();
    let cells = cells(240);
    write_h5ad(&folder.path("cells.h5ad"), &cells);
    let part = |row: usize| if row.is_multiple_of(4) { "test" } else { "train" };
    let rows = cells.obs_names.iter().enumerate();
    let split: String = rows.map(|(row, name)| format!("{name}\t{}\n", part(row))).collect();
    folder.write("split.tsv", format!("id\tsplit\n{split}"));
    folder
}

#[test]
fn the_model_and_linear_methods_are_compared_over_the_same_divisions() {
    let folder = with_cells();
    let compare = "compare cells.h5ad --labels cell_type --split split.tsv --resplits 3 --genes 60 --code 6 \
                   --set max_epochs=15";
    let report = folder.cic(&format!("{compare} --json --plot c.svg")).json();
    let divisions = report["divisions"].as_array().unwrap();
    assert_eq!(divisions.len(), 3);
    for one in divisions {
        let methods = one["classified"].as_array().unwrap();
        assert!(methods.len() >= 9, "{one}");
        assert!(methods[0]["accuracy"].as_f64().unwrap() > 0.5, "{one}");
        assert!(one["r2_model"].as_f64().unwrap() > 0.0);
        assert_eq!(one["n_train"].as_u64().unwrap() + one["n_test"].as_u64().unwrap(), 240);
    }
    assert_eq!(report["stored"]["n_test"], 60);
    let accuracy = &report["comparisons"][0];
    let mean: f64 =
        divisions.iter().map(|one| one["classified"][0]["accuracy"].as_f64().unwrap()).sum::<f64>()
            / 3.0;
    assert!((accuracy["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!(accuracy["corrected_half_width"].as_f64() >= accuracy["half_width"].as_f64());
    assert!(folder.text("c.svg").contains("best linear"));
    // The same on one thread, as text.
    let text = folder.cic(&format!("{compare} -q --threads 1")).ok();
    assert!(text.stdout.contains(&format!("accuracy  {:>9.4}", mean)), "{}", text.stdout);
    assert!(text.stderr.is_empty(), "{}", text.stderr);
}

#[test]
fn of_few_groups_the_number_of_different_divisions_is_told() {
    let folder = with_cells();
    let compare = "compare cells.h5ad --labels cell_type --groups donor --resplits 12 --genes 60 --code 6 \
                   --set max_epochs=2 -q";
    let report = folder.cic(&format!("{compare} --json")).json();
    let n = |key: &str| report[key].as_u64().unwrap();
    assert!(n("n_groups") == 6 && (2..12).contains(&n("n_distinct")), "{report}");
    let text = folder.cic(compare).ok().stdout;
    let told = format!("12 divisions ({} different ones) of", n("n_distinct"));
    assert!(text.contains(&told), "{text}");
}

#[test]
fn a_sweep_tries_every_combination_and_goes_on_from_its_state() {
    let folder = with_cells();
    let sweep = "sweep cells.h5ad --labels cell_type --folds 2 --genes 60 --set max_epochs=4 --set code=6 \
                 --state s.jsonl --try hidden=none|16 --try activation=relu|log_sigmoid";
    let report = folder.cic(&format!("{sweep} --json --plot s.svg")).json();
    let all = report["configurations"].as_array().unwrap();
    assert_eq!(all.len(), 4);
    for one in all {
        assert!(one["agreement"]["mean"].as_f64().unwrap() > 0.8, "{one}");
        assert!(one["r2_pca"]["mean"].as_f64().is_some());
    }
    assert!(
        all.iter().any(|one| one["settings"] == "hidden=16 activation=log_sigmoid"),
        "{report}"
    );
    assert!(folder.text("s.svg").contains("log_sigmoid"));
    let table = folder.cic(sweep).ok().stdout;
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    assert!(table.contains("hidden=16 activation=log_sigmoid\n"), "{table}");
    let state = folder.text("s.jsonl");
    assert_eq!(state.lines().count(), 9);
    // Half a line, as of a run that was killed, and one run less: only these are done again.
    let mut lines: Vec<&str> = state.lines().collect();
    lines.truncate(7);
    folder.write("s.jsonl", format!("{}\n{{\"settings\":\"hid", lines.join("\n")));
    let again = folder.cic(&format!("{sweep} --json")).ok();
    assert!(again.stderr.contains("6 of 8 runs are in the state file"), "{}", again.stderr);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&again.stdout).unwrap(), report);
    let other = folder.cic(&format!("{sweep} --seed 2"));
    assert_eq!(other.code, Some(3), "{}", other.stderr);
    assert!(other.stderr.contains("is not the state of this sweep"), "{}", other.stderr);
}

#[test]
fn a_configuration_that_diverges_is_named_and_the_others_go_on() {
    let folder = with_cells();
    let sweep = "sweep cells.h5ad --labels cell_type --folds 2 --genes 60 --preset paper --set hidden=32 --set clip_norm=none \
                 --set max_epochs=4 --set code=6 --set activation=relu --state s.jsonl \
                 --try learning_rate=0.003|100000 --plot s.svg";
    let text = folder.cic(&format!("{sweep} -q")).ok().stdout;
    assert!(text.contains("learning_rate=100000  training diverged in 2 of 2 folds"), "{text}");
    assert!(text.contains("* learning_rate=0.003 "), "{text}");
    let report = folder.cic(&format!("{sweep} --json")).json();
    assert_eq!(report["configurations"][1]["n_diverged"], 2);
    assert!(report["configurations"][1]["accuracy"]["mean"].is_null());
    assert!(!folder.text("s.svg").contains("100000"));
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    let folder = with_cells();
    for (arguments, code, says) in [
        ("compare cells.h5ad", 2, "--labels KEY is missing"),
        ("compare cells.h5ad --labels cell_type --resplits 1", 2, "at least 2"),
        ("compare cells.h5ad --labels cell_type --set width=3", 2, "hidden"),
        ("compare cells.h5ad --labels cell_type --code 6 --set code=7", 2, "--code too"),
        (
            "train cells.h5ad --labels cell_type -o m.cic --epochs 3 --set max_epochs=4",
            2,
            "--epochs too",
        ),
        (
            "unseen cells.h5ad --labels cell_type --set mixup=0.1 --set mixup=0",
            2,
            "by mixup=0.1 too",
        ),
        ("sweep cells.h5ad --labels cell_type --set code=7 --try code=8|9", 2, "by code=7 too"),
        ("sweep cells.h5ad --labels cell_type --try hidden=64|64,0", 2, "hidden"),
        ("compare cells.h5ad --labels cell_type --without nonesuch", 2, "no cell has this label"),
        ("unseen cells.h5ad --labels cell_type --without nonesuch", 2, "no cell has this label"),
        ("sweep cells.h5ad --labels cell_type --try hidden", 2, "NAME=VALUE"),
        ("sweep cells.h5ad --labels cell_type --try activation=step", 2, "activation=step"),
        ("train cells.h5ad --labels cell_type -o m.cic --set mixup=0.9", 2, "mixup"),
    ] {
        let run = folder.cic(arguments);
        assert_eq!(run.code, Some(code), "{arguments}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{arguments}: {}", run.stderr);
    }
}
