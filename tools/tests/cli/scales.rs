//! Values of the right kind on the wrong scale: exit code 3, and what they seem to be.

use cic_data::{CsrMatrix, ExpressionMatrix};

use crate::sandbox::Sandbox;
use crate::writers::{cells, log_normalised, rows, write_h5ad};

const TRAIN: &str = "--labels cell_type --genes 100 --hidden 8 --epochs 2 -o log.cic";

/// The same matrix with another value in the place of each.
fn mapped(matrix: &ExpressionMatrix, map: impl Fn(f32) -> f32) -> ExpressionMatrix {
    let mut matrix = matrix.clone();
    matrix.values.data.iter_mut().for_each(|value| *value = map(*value));
    matrix
}

/// Refused by every way of typing and by `cic eval`; told by `cic check`.
fn refuses(folder: &Sandbox, file: &str, words: &[&str]) {
    for output in ["out.csv", "out.h5ad", "-"] {
        folder.refuses(&format!("type {file} -m log.cic -o {output}"), 3, words);
    }
    folder.refuses(&format!("eval {file} -m log.cic --labels cell_type"), 3, words);
}

#[test]
fn log1p_of_another_sum_than_in_training_is_refused() {
    let folder = Sandbox::new();
    let log1p = log_normalised(&cells(200));
    write_h5ad(&folder.path("cells.h5ad"), &log1p);
    folder.cic(&format!("train cells.h5ad {TRAIN}")).ok();
    let facts = folder.cic("inspect log.cic --json").json();
    assert_eq!(facts["provenance"]["data.log1p_sum"], "10000.0");
    folder.cic("type cells.h5ad -m log.cic -o -").ok();

    let thousand = mapped(&log1p, |value| (value.exp_m1() / 10.0).ln_1p());
    write_h5ad(&folder.path("thousand.h5ad"), &thousand);
    let words = ["sums to 1000.0", "that sum to 10000.0", "normalise to 10000.0 before"];
    refuses(&folder, "thousand.h5ad", &words);
    let run = folder.cic("check thousand.h5ad -m log.cic --json");
    assert_eq!(run.code, Some(3));
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(report["model"]["refusal"].as_str().unwrap().contains(words[0]), "{report}");

    // Some of the genes: the sums of the cells differ and say nothing.
    let some: Vec<usize> = (0..thousand.n_vars()).filter(|gene| gene % 3 > 0).collect();
    write_h5ad(&folder.path("some.h5ad"), &crate::writers::reorder_genes(&thousand, &some));
    folder.cic("type some.h5ad -m log.cic -o -").ok();
}

#[test]
fn a_model_of_ranks_takes_every_kind_of_values_and_gives_the_same_calls() {
    let folder = Sandbox::new();
    let counts = cells(240);
    let log1p = log_normalised(&counts);
    for (name, matrix) in [
        ("counts", counts.clone()),
        ("log1p", log1p.clone()),
        ("thousand", mapped(&log1p, |value| (value.exp_m1() / 10.0).ln_1p())),
        ("linear", mapped(&log1p, f32::exp_m1)),
    ] {
        write_h5ad(&folder.path(&format!("{name}.h5ad")), &matrix);
    }
    let train = "--labels cell_type --genes 100 --epochs 40 --set ranks=true -q -o";
    folder.cic(&format!("train counts.h5ad {train} ranks.cic")).ok();
    folder.cic(&format!("train log1p.h5ad {train} other.cic")).ok();
    assert!(folder.cic("inspect ranks.cic").ok().stdout.contains("ranks"));
    folder.quantize("ranks.cic --calibrate log1p.h5ad --to int8 -o small.cic").ok();
    for model in ["ranks.cic", "small.cic", "other.cic"] {
        let calls =
            |name: &str| folder.cic(&format!("type {name}.h5ad -m {model} -o - -q")).ok().stdout;
        // All columns but the sum of what was read.
        let without_sum = |table: String| -> Vec<String> {
            table.lines().filter_map(|line| Some(line.rsplit_once(',')?.0.to_owned())).collect()
        };
        let of_counts = without_sum(calls("counts"));
        assert!(of_counts.iter().filter(|line| line.contains(",False,")).count() > 230);
        for other in ["log1p", "thousand", "linear"] {
            assert_eq!(without_sum(calls(other)), of_counts, "{model} {other}");
        }
        let score = format!("eval thousand.h5ad -m {model} --labels cell_type --json");
        assert!(folder.cic(&score).json()["accuracy"].as_f64().unwrap() > 0.9);
    }
    // No file is said to hold them.
    folder.refuses("check counts.h5ad --kind ranks", 2, &["log2_intensity"]);
    // Noise of a lost gene is that of ranks among the others.
    let noise = "noise counts.h5ad -m ranks.cic --labels cell_type --kinds genes --repeats 1 -q";
    folder.cic(noise).ok();
}

/// Intensities of every gene, from 2⁴ on: no zeros.
pub fn log2_intensities() -> ExpressionMatrix {
    let counts = cells(120);
    let mut dense = vec![0.0; counts.n_obs() * counts.n_vars()];
    for row in 0..counts.n_obs() {
        let (genes, values) = counts.values.row(row);
        for (&gene, &value) in genes.iter().zip(values) {
            dense[row * counts.n_vars() + gene as usize] = value;
        }
    }
    for (at, value) in dense.iter_mut().enumerate() {
        *value = (16.0 + (at % 7) as f32 + 200.0 * *value).log2();
    }
    ExpressionMatrix { values: CsrMatrix::from_dense(counts.n_vars(), &dense).unwrap(), ..counts }
}

#[test]
fn log2_intensities_of_another_base_or_taken_twice_are_refused() {
    let folder = Sandbox::new();
    let log2 = log2_intensities();
    write_h5ad(&folder.path("cells.h5ad"), &log2);
    folder.cic(&format!("train cells.h5ad {TRAIN}")).ok();
    write_h5ad(&folder.path("one.h5ad"), &rows(&log2, &[17]));
    write_h5ad(&folder.path("half.h5ad"), &rows(&log2, &(0..60).collect::<Vec<_>>()));
    for file in ["cells.h5ad", "one.h5ad", "half.h5ad"] {
        folder.cic(&format!("type {file} -m log.cic -o -")).ok();
    }
    write_h5ad(&folder.path("ln.h5ad"), &mapped(&log2, |value| value * std::f32::consts::LN_2));
    write_h5ad(&folder.path("twice.h5ad"), &mapped(&log2, f32::log2));
    for file in ["ln.h5ad", "twice.h5ad"] {
        let words = ["on average", "another base", "logarithms of logarithms", "log2 intensities"];
        refuses(&folder, file, &words);
    }
}

#[test]
fn an_empty_sample_does_not_change_the_kind_of_the_others() {
    let folder = Sandbox::new();
    let mut log2 = log2_intensities();
    write_h5ad(&folder.path("cells.h5ad"), &log2);
    folder.cic(&format!("train cells.h5ad {TRAIN}")).ok();
    let mut kept = CsrMatrix { n_cols: log2.n_vars(), indptr: vec![0], ..CsrMatrix::default() };
    for row in 0..log2.n_obs() {
        let (genes, values) = log2.values.row(row);
        let n = if row == 3 { 0 } else { genes.len() };
        kept.indices.extend(&genes[..n]);
        kept.data.extend(&values[..n]);
        kept.indptr.push(kept.data.len());
    }
    log2.values = kept;
    write_h5ad(&folder.path("cells.h5ad"), &log2);
    let run = folder.cic("type cells.h5ad -m log.cic -o -").ok();
    assert!(run.stderr.contains("119 cells typed, 1 rejected"), "{}", run.stderr);
    log2.values = CsrMatrix {
        n_cols: log2.n_vars(),
        indptr: vec![0; log2.n_obs() + 1],
        ..CsrMatrix::default()
    };
    write_h5ad(&folder.path("empty.h5ad"), &log2);
    let run = folder.cic("type empty.h5ad -m log.cic -o -").ok();
    assert!(run.stderr.contains("0 cells typed, 120 rejected"), "{}", run.stderr);
    let eval = "eval empty.h5ad -m log.cic --labels cell_type";
    folder.refuses(eval, 3, &["not all zero"]);
}
