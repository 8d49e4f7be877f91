//! `cic check`: what a file holds, and exactly what `cic type` would say to it.

use cic_data::{CsrMatrix, ExpressionMatrix, Gene};
use serde_json::Value;

use crate::sandbox::{Run, Sandbox};
use crate::writers::{cells, log_normalised, rows, write_h5ad, write_mex, write_tsv};

/// The report, whatever the exit code.
fn report(folder: &Sandbox, args: &str, code: i32) -> Value {
    let run = folder.cic(&format!("check {args} --json"));
    assert_eq!(run.code, Some(code), "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

fn renamed(matrix: &ExpressionMatrix, name: impl Fn(usize, &str) -> String) -> ExpressionMatrix {
    let mut matrix = matrix.clone();
    for (number, gene) in matrix.genes.iter_mut().enumerate() {
        *gene = Gene::new(name(number, &gene.id), None, None);
    }
    matrix
}

#[test]
fn json_tells_why_a_file_was_not_read() {
    let folder = Sandbox::new();
    folder.write("broken.tsv", "gene\ta\tb\nTP53\t1\tx\n");
    let run = folder.cic("check broken.tsv --json");
    assert_eq!(run.code, Some(3));
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["schema_version"], 1);
    assert!(report["refusal"].as_str().unwrap().contains("broken.tsv"), "{report}");
}

#[test]
fn small_counts_are_doubted() {
    let folder = Sandbox::new();
    let mut matrix = cells(80);
    matrix.values.data.iter_mut().for_each(|value| *value = 1.0);
    write_h5ad(&folder.path("yes.h5ad"), &matrix);
    let said = "no value of 80 cells is above 1";
    assert!(folder.cic("check yes.h5ad").ok().stdout.contains(said));
    assert!(folder.cic("type yes.h5ad -m model.cic -o -").ok().stderr.contains(said));
}

#[test]
fn pipes_are_refused_as_such() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(20));
    let mut command = folder.command("type /dev/stdin -m model.cic -o -");
    let output = command.stdin(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("is a pipe or a device"), "{said}");
}

#[test]
fn a_file_is_refused_exactly_where_typing_refuses_it_and_in_the_same_words() {
    let folder = Sandbox::new();
    let with = |row: usize, value: f32| {
        let mut matrix = cells(600);
        let at = matrix.values.indptr[row];
        matrix.values.data[at] = value;
        matrix
    };
    let unknown = renamed(&cells(60), |number, _| format!("Unknown{number}"));
    let mut unknown_and_damaged = unknown.clone();
    unknown_and_damaged.values.data[7] = -1.0;
    for (name, matrix, options) in [
        ("sound", cells(60), ""),
        ("declared", cells(60), "--kind counts"),
        ("log1p", log_normalised(&cells(60)), ""),
        ("log1p", log_normalised(&cells(60)), "--kind counts"),
        ("log1p", log_normalised(&cells(60)), "--kind log1p"),
        ("fraction", with(599, 0.5), ""),
        ("fraction", with(599, 0.5), "--kind counts"),
        ("large", with(3, 2e7), ""),
        ("negative", with(590, -1.0), ""),
        ("nan", with(599, f32::NAN), ""),
        (
            "half_and_nan",
            {
                let mut m = with(1, 0.5);
                let last = m.values.data.len() - 1;
                m.values.data[last] = f32::NAN;
                m
            },
            "--kind counts",
        ),
        ("unknown", unknown, ""),
        ("unknown_and_damaged", unknown_and_damaged, ""),
        ("layer", cells(30), "--layer spliced"),
    ] {
        write_h5ad(&folder.path("cells.h5ad"), &matrix);
        let typed = folder.cic(&format!("type cells.h5ad -m model.cic -o out.csv -q {options}"));
        let checked = folder.cic(&format!("check cells.h5ad -m model.cic {options}"));
        assert_eq!(checked.code, typed.code, "{name} {options}: {}", checked.stderr);
        assert_eq!(checked.stderr, typed.stderr, "{name} {options}");
        assert_eq!(typed.code == Some(0), matches!(name, "sound" | "declared"), "{name} {options}");
        let json = folder.cic(&format!("check cells.h5ad -m model.cic {options} --json"));
        assert_eq!((json.code, &json.stderr), (typed.code, &typed.stderr), "{name}");
        let report: Value = serde_json::from_str(&json.stdout).unwrap();
        let said = report["refusal"].as_str().map(|said| format!("cic: {said}\n"));
        assert_eq!(said.unwrap_or_default(), typed.stderr, "{name} {options}");
        // A file that can be read to its end is described before it is refused.
        let unreadable = ["negative", "nan", "half_and_nan", "unknown_and_damaged", "layer"];
        if unreadable.contains(&name) {
            assert_eq!(report.as_object().unwrap().len(), 2, "{name}: {report}");
        } else {
            assert_eq!(report["model"]["refusal"], report["refusal"]);
            assert_eq!(report["n_obs"], matrix.n_obs());
        }
    }
}

#[test]
fn cells_are_rejected_for_their_depth_as_typing_rejects_them() {
    let folder = Sandbox::new();
    let mut matrix = cells(300);
    let mut dense = vec![0.0; matrix.n_obs() * matrix.n_vars()];
    for row in 0..matrix.n_obs() {
        let (genes, values) = matrix.values.row(row);
        for (&gene, &value) in genes.iter().zip(values) {
            // Ever fewer genes of ever lower counts, and at last none.
            if row < 200 || (gene as usize) < 4 * (299 - row) {
                dense[row * matrix.n_vars() + gene as usize] = value;
            }
        }
    }
    // One gene with all the counts.
    dense[205 * matrix.n_vars()..206 * matrix.n_vars()].fill(0.0);
    dense[205 * matrix.n_vars() + 30] = 5_000.0;
    matrix.values = CsrMatrix::from_dense(matrix.n_vars(), &dense).unwrap();
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let table = folder.cic("type cells.h5ad -m model.cic -o -").ok().stdout;
    let report = report(&folder, "cells.h5ad -m model.cic", 0);
    let n = |reason: &str| table.lines().filter(|line| line.contains(reason)).count();
    for reason in ["empty", "too_shallow", "too_few_genes"] {
        assert!(n(reason) > 0, "no cell is {reason}");
        assert_eq!(report["model"]["rejected"][reason], n(reason), "{reason}");
    }
    let n_rejected = n("empty") + n("too_shallow") + n("too_few_genes");
    assert_eq!(report["model"]["n_rejected"], n_rejected);
    let n_empty = (0..matrix.n_obs()).filter(|&row| matrix.values.row(row).0.is_empty()).count();
    assert_eq!(report["n_empty_cells"], n_empty);
    let text = folder.cic("check cells.h5ad -m model.cic").ok().stdout;
    assert!(text.contains(&format!("{n_rejected} would be Unassigned")), "{text}");
    assert!(text.contains("cic type takes this file"), "{text}");
}

#[test]
fn depths_are_told_as_quantiles_and_bars() {
    let folder = Sandbox::new();
    let matrix = cells(201);
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let report = report(&folder, "cells.h5ad", 0);
    let mut genes: Vec<usize> = (0..201).map(|row| matrix.values.row(row).0.len()).collect();
    genes.sort_unstable();
    let quantiles = &report["genes_per_cell"];
    for (key, at) in [("min", 0), ("p1", 2), ("p25", 50), ("median", 100), ("max", 200)] {
        assert_eq!(quantiles[key], genes[at] as f64, "{key}");
    }
    assert_eq!(
        (&report["integers"], &report["n_fractional"]),
        (&Value::from(true), &Value::from(0))
    );
    let text = folder.cic("check cells.h5ad").ok().stdout;
    assert!(text.contains("counts per cell") && text.contains('█'), "{text}");
}

#[test]
fn the_report_fits_a_terminal_of_100_columns_and_steers_none() {
    let folder = Sandbox::new();
    let long = "a_very_long_name_of_a_gene_that_goes_on_and_on".repeat(3);
    let mut matrix = renamed(&cells(60), |number, id| match number {
        0 => "\u{1b}[31mRED".into(),
        1 => long.clone(),
        2..40 => format!("{number}-Mar"),
        _ => id.to_owned(),
    });
    matrix.obs_names[0] = "\u{1b}[2Jcell".into();
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    for args in ["cells.h5ad", "cells.h5ad -m model.cic", "cells.h5ad --kind log1p"] {
        let text = folder.cic(&format!("check {args}")).stdout;
        assert!(!text.contains('\u{1b}'), "{text}");
        for line in text.lines().filter(|line| !line.contains("a_very_long_name")) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn spoilt_symbols_controls_and_repeated_genes_are_named() {
    let folder = Sandbox::new();
    let names = [
        "1-Mar",
        "Sep-02",
        "43891",
        "2.31E+13",
        "NegControlProbe_0001",
        "BLANK_0002",
        "BLANK_0003",
        "antisense_ACTB",
        "DeprecatedCodeword_1",
        "ERCC-00002",
        "CD3_TotalSeqB",
        "AB_CD4",
        "SIM00100",
        "SIM00101",
    ];
    let matrix = renamed(&cells(40), |number, id| {
        names.get(number).map_or(id.to_owned(), |name| (*name).to_owned())
    });
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let report = report(&folder, "cells.h5ad", 0);
    let genes = &report["genes"];
    assert_eq!(genes["mangled"]["n"], 4);
    assert_eq!(genes["mangled"]["examples"], serde_json::json!(names[..4]));
    let n_of = |what: &str| genes["controls"][what]["n"].clone();
    let counts =
        ["negative controls", "blank codes", "deprecated codes", "ERCC spike-ins", "antibodies"];
    assert_eq!(counts.map(n_of), [2, 2, 1, 1, 2].map(Value::from));
    assert_eq!(
        (&genes["repeated"]["n"], &genes["id_kind"]),
        (&Value::from(2), &Value::from("symbol"))
    );
    let text = folder.cic("check cells.h5ad").ok().stdout;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in
        ["2 blank codes (BLANK_0002, BLANK_0003)", "1-Mar was MARCHF1 or MTARC1", "as text"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    // Typing says so too.
    let run = folder.cic("type cells.h5ad -m model.cic -o out.csv").ok();
    assert!(run.stderr.contains("note: 4 names are what a spreadsheet made"), "{}", run.stderr);
    assert!(run.stderr.contains("genes of the model that stand again in the file: 2; the first"));
    assert_eq!(folder.cic("type cells.h5ad -m model.cic -o out.csv -q").ok().stderr, "");
}

#[test]
fn an_unsorted_matrix_market_file_is_checked_too() {
    let folder = Sandbox::new();
    let matrix = cells(40);
    write_mex(&folder.path("mex"), &matrix);
    let expected = report(&folder, "mex -m model.cic", 0);
    let by_gene = matrix.values.transpose();
    let mut text = format!(
        "%%MatrixMarket matrix coordinate integer general\n{} {} {}\n",
        matrix.n_vars(),
        matrix.n_obs(),
        by_gene.nnz()
    );
    for gene in 0..by_gene.n_rows() {
        let (cells, values) = by_gene.row(gene);
        for (cell, value) in cells.iter().zip(values) {
            text += &format!("{} {} {value}\n", gene + 1, cell + 1);
        }
    }
    std::fs::remove_file(folder.path("mex/matrix.mtx.gz")).unwrap();
    folder.write("mex/matrix.mtx", text);
    let mut unsorted = report(&folder, "mex -m model.cic", 0);
    assert!(unsorted["notes"][0].as_str().unwrap().contains("not sorted by cell"));
    unsorted["notes"] = expected["notes"].clone();
    assert_eq!(unsorted, expected);
}

#[test]
fn a_model_is_told_with_the_genes_that_it_misses_most() {
    let folder = Sandbox::new();
    let all = folder.cic("inspect model.cic --json").json();
    assert_eq!(all["n_genes"], 1_000);
    let matrix = renamed(&rows(&cells(60), &(0..60).collect::<Vec<_>>()), |number, id| {
        if number % 3 == 0 { format!("Other{number}") } else { id.to_owned() }
    });
    write_tsv(&folder.path("cells.tsv"), &matrix);
    let report = report(&folder, "cells.tsv --rows cells -m model.cic", 0);
    let model = &report["model"];
    let n = |key: &str| model[key].as_u64().unwrap();
    assert!(n("n_present") < 700 && n("n_by_name") == n("n_present"));
    assert_eq!((n("n_by_ensembl"), n("n_by_alias"), n("n_duplicates")), (0, 0, 0));
    let missing = model["heaviest_missing"].as_array().unwrap();
    let share = |gene: &Value| gene["share"].as_f64().unwrap();
    assert_eq!(missing.len(), 20);
    assert!(missing.windows(2).all(|pair| share(&pair[0]) >= share(&pair[1])));
    let present = model["share_present"].as_f64().unwrap();
    assert!(present + missing.iter().map(share).sum::<f64>() < 1.0 && present > 0.3);
    let heaviest = missing[0]["name"].as_str().unwrap();
    let text = folder.cic("check cells.tsv --rows cells -m model.cic").ok().stdout;
    assert!(text.contains(&format!("missing, heaviest first: {heaviest}")), "{text}");
}

#[test]
fn a_refused_kind_is_told_without_a_model() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &log_normalised(&cells(40)));
    let Run { code, stdout, stderr } = folder.cic("check cells.h5ad --kind counts");
    assert_eq!(code, Some(3));
    assert!(stderr.contains("declared counts"), "{stderr}");
    assert!(stdout.contains("refused: ") && stdout.contains("is an integer"), "{stdout}");
    // The values are told though the genes are what typing refuses first.
    let unknown = renamed(&log_normalised(&cells(40)), |number, _| format!("Unknown{number}"));
    write_h5ad(&folder.path("unknown.h5ad"), &unknown);
    let both = report(&folder, "unknown.h5ad --kind linear_normalised -m model.cic", 3);
    assert!(both["refusal"].as_str().unwrap().contains("trained on counts"), "{both}");
    assert!(both["value_refusal"].as_str().unwrap().contains("declared linear_normalised"));
    let report = report(&folder, "cells.h5ad --kind counts", 3);
    assert_eq!(report["value_refusal"], report["refusal"]);
    assert_eq!((&report["value_kind"], &report["integers"]), (&Value::Null, &Value::from(false)));
    assert_eq!(report["model"], Value::Null);
}
