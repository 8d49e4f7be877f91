//! `cic verify`: outputs that are what typing again gives, and those that are not.

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad, write_mex};

const TYPE: &str = "type cells.h5ad -m model.cic -o";

fn with_outputs() -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(40));
    for output in ["out.csv", "out.jsonl", "out.h5ad"] {
        folder.cic(&format!("{TYPE} {output}")).ok();
    }
    folder
}

#[track_caller]
fn differs(folder: &Sandbox, args: &str, words: &[&str]) {
    let run = folder.cic(&format!("verify {args}"));
    assert_eq!(run.code, Some(5), "{}{}", run.stdout, run.stderr);
    for word in words {
        assert!(run.stdout.contains(word), "{word:?} is not in: {}", run.stdout);
        assert!(run.stderr.contains(word), "{word:?} is not in: {}", run.stderr);
    }
}

#[test]
fn what_was_not_touched_is_the_same() {
    let folder = with_outputs();
    for output in ["out.csv", "out.jsonl", "out.h5ad"] {
        let run = folder.cic(&format!("verify {output}")).ok();
        assert!(run.stdout.starts_with(&format!("{output}: the same, 40 cells")), "{}", run.stdout);
        assert!(run.stdout.contains("same   predicted_labels"), "{}", run.stdout);
        assert_eq!(run.stdout.contains("same   codes"), output == "out.h5ad");
    }
    let report = folder.cic("verify out.csv --json").json();
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["same"], true);
}

#[test]
fn an_edited_label_is_named() {
    let folder = with_outputs();
    let name = &cells(40).obs_names[3];
    for output in ["out.csv", "out.jsonl"] {
        let text = folder.text(output);
        let line = text.lines().find(|line| line.contains(name.as_str())).unwrap();
        let label = match output {
            "out.csv" => format!(",{}", line.split(',').nth(1).unwrap()),
            _ => {
                let cell: serde_json::Value = serde_json::from_str(line).unwrap();
                format!("\"predicted_labels\":{}", cell["predicted_labels"])
            }
        };
        let other =
            if output == "out.csv" { ",Martian" } else { "\"predicted_labels\":\"Martian\"" };
        folder.write(output, text.replacen(line, &line.replacen(&label, other, 1), 1));
        differs(&folder, output, &[name, "predicted_labels", "Martian"]);
    }
    let run = folder.cic("verify out.csv --json");
    assert_eq!(run.code, Some(5));
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["same"], false);
    assert_eq!(report["columns"][1]["first"][0]["cell"], name.as_str());
}

#[test]
fn a_confidence_that_was_raised_is_found() {
    let folder = with_outputs();
    let text = folder.text("out.csv");
    let line = text.lines().nth(9).unwrap();
    let mut fields: Vec<&str> = line.split(',').collect();
    fields[2] = "0.400000";
    folder.write("out.csv", text.replacen(line, &fields.join(","), 1));
    differs(&folder, "out.csv", &["conf_score", fields[0], "0.400000"]);
}

#[test]
fn provenance_that_was_edited_is_found() {
    let folder = with_outputs();
    let record = folder.text("out.csv.json");
    let edited = |from: &str, to: &str| {
        assert!(record.contains(from), "{from} is not in {record}");
        folder.write("out.csv.json", record.replacen(from, to, 1));
    };
    edited("\"n_rejected\": ", "\"n_rejected\": 7");
    differs(&folder, "out.csv", &["provenance says n_rejected 7"]);
    edited("\"value_kind\": \"counts\"", "\"value_kind\": \"log1p\"");
    differs(&folder, "out.csv", &["provenance says value_kind \"log1p\", it is \"counts\""]);
    edited("\"min_counts\": ", "\"min_counts\": 1");
    differs(&folder, "out.csv", &["min_counts"]);
    // When it was, nobody can know.
    edited("\"unix_time\": ", "\"unix_time\": 1");
    folder.cic("verify out.csv").ok();
}

#[test]
fn probabilities_beside_celltypists_labels_are_verified() {
    let folder = with_outputs();
    folder.cic("type cells.h5ad -m model.cic --outdir . --prefix p_").ok();
    folder.cic("verify p_predicted_labels.csv").ok();
    let table = folder.text("p_probability_matrix.csv");
    folder.write("p_probability_matrix.csv", table.replacen("0.", "1.", 1));
    differs(&folder, "p_predicted_labels.csv", &["p_probability_matrix.csv", "SHA-256"]);
    std::fs::remove_file(folder.path("p_probability_matrix.csv")).unwrap();
    differs(&folder, "p_predicted_labels.csv", &["p_probability_matrix.csv", "cannot be read"]);
}

#[test]
fn a_probability_that_was_changed_is_found() {
    let folder = with_outputs();
    let file = rust_hdf5::H5File::open(folder.path("out.h5ad")).unwrap();
    let probabilities: Vec<f32> = file.dataset("obsm/cic_prob").unwrap().read_raw().unwrap();
    drop(file);
    let row: Vec<u8> = probabilities[..6].iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut bytes = folder.read("out.h5ad");
    let at = bytes.windows(row.len()).position(|window| window == row).unwrap();
    bytes[at..at + 4].copy_from_slice(&0.123_f32.to_le_bytes());
    folder.write("out.h5ad", bytes);
    differs(&folder, "out.h5ad", &["probabilities"]);
}

#[test]
fn files_that_were_cut_or_reordered_are_found() {
    let folder = with_outputs();
    let names = cells(40).obs_names;
    let (table, lines) = (folder.text("out.csv"), folder.text("out.jsonl"));
    let first = |text: &str, n: usize| -> String {
        text.lines().take(n).map(|line| format!("{line}\n")).collect()
    };
    folder.write("out.csv", first(&table, 21));
    differs(&folder, "out.csv", &["has 20 cells, typed were 40", &names[19]]);
    let whole = first(&table, 21);
    folder.write("out.csv", &whole[..whole.len() - 30]);
    differs(&folder, "out.csv", &["line 21", &names[19], "fields"]);
    let mut swapped: Vec<&str> = table.lines().collect();
    swapped.swap(3, 4);
    folder.write("out.csv", swapped.join("\n") + "\n");
    differs(&folder, "out.csv", &["name", &names[2], &names[3]]);
    let mut lacking: Vec<&str> = table.lines().collect();
    lacking.remove(7);
    folder.write("out.csv", lacking.join("\n") + "\n");
    let place = format!("where cell {} should stand, cell {} does", names[6], names[7]);
    differs(&folder, "out.csv", &["has 39 cells, typed were 40", &place]);
    folder.write("out.csv", table.replace("conf_score", "score"));
    differs(&folder, "out.csv", &["no column conf_score"]);
    folder.write("out.csv", table.replacen("\n", "\r\n", 1));
    differs(&folder, "out.csv", &["its bytes are not those that were written"]);
    folder.write("out.jsonl", first(&lines, 41));
    differs(&folder, "out.jsonl", &["without the line \"verdict\"", &names[39]]);
    folder.write("out.jsonl", &lines[..lines.len() / 2]);
    differs(&folder, "out.jsonl", &["no JSON object"]);
    let bytes = folder.read("out.h5ad");
    folder.write("out.h5ad", &bytes[..bytes.len() / 2]);
    folder.cic("verify out.h5ad").refused(5, &["out.h5ad", "truncated"]);
    folder.cic("verify .").refused(2, &["no file that cic type wrote"]);
}

#[test]
fn another_model_or_other_data_are_refused_by_their_digests() {
    let folder = with_outputs();
    folder.write("cells.h5ad", folder.read("out.h5ad"));
    folder.refuses("verify out.csv", 3, &["cells.h5ad", "another SHA-256", "--data"]);
    std::fs::remove_file(folder.path("cells.h5ad")).unwrap();
    folder.refuses("verify out.csv", 3, &["cells.h5ad", "--data"]);
    write_h5ad(&folder.path("moved.h5ad"), &cells(40));
    folder.cic("verify out.csv --data moved.h5ad").ok();
    write_h5ad(&folder.path("moved.h5ad"), &cells(39));
    folder.cic("verify out.csv --data moved.h5ad").refused(3, &["moved.h5ad has another"]);
    let train = "train moved.h5ad --labels cell_type --genes 50 --hidden 8 --epochs 1";
    folder.cic(&format!("{train} -o other.cic")).ok();
    let words = ["other.cic", "SHA-256", "--model"];
    folder.refuses("verify out.csv -m other.cic", 4, &words);
    std::fs::remove_file(folder.path("model.cic")).unwrap();
    folder.refuses("verify out.csv", 4, &["model.cic", "--model"]);
}

#[test]
fn one_file_of_a_folder_that_changed_is_named() {
    let folder = Sandbox::new();
    write_mex(&folder.path("mex"), &cells(12));
    folder.cic("type mex -m model.cic -o out.csv").ok();
    folder.cic("verify out.csv").ok();
    let names: String = cells(12).obs_names.iter().map(|name| format!("{name}x\n")).collect();
    std::fs::remove_file(folder.path("mex/barcodes.tsv.gz")).unwrap();
    folder.write("mex/barcodes.tsv", names);
    folder.refuses("verify out.csv", 3, &["barcodes.tsv has another SHA-256"]);
}

#[test]
fn options_that_change_results_are_used_again() {
    let folder = Sandbox::new();
    let matrix = cells(40);
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let text = crate::writers::write_tsv;
    text(&folder.path("cells.tsv"), &matrix);
    folder.cic("type cells.tsv --rows cells --kind counts -m model.cic -o out.jsonl").ok();
    folder.cic("verify out.jsonl").ok();
}

#[test]
fn what_says_nothing_about_itself_is_refused() {
    let folder = with_outputs();
    std::fs::rename(folder.path("out.csv.json"), folder.path("kept.json")).unwrap();
    folder.refuses("verify out.csv", 3, &["out.csv.json", "--provenance"]);
    folder.cic("verify out.csv --provenance kept.json").ok();
    folder.refuses("verify out.csv --provenance out.csv", 3, &["no provenance"]);
    folder.refuses("verify cells.h5ad", 3, &["cells.h5ad", "cic type wrote"]);
    folder.refuses("verify absent.csv", 3, &["absent.csv", "is the path right?"]);
    folder.refuses("verify model.cic", 2, &["model.cic"]);
}
