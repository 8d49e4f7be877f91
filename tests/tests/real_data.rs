//! The whole line on real data: stored splits, test rows only looked at here. Prints the table
//! that the README shows: `cargo test --release -p cic-tests --test real_data -- --nocapture`.

use std::path::{Path, PathBuf};

use cic_data::{
    AlignedMatrix, ExpressionMatrix, ReadOptions, SplitPart, align, read_expression,
    read_labels_tsv, split_parts,
};
use cic_model::profile::Library;
use cic_model::spec::LayoutPlan;
use cic_model::{Activation, AlignedBytes, Dtype, Model, ValueKind};
use cic_quant::{
    CalibrationSet, CellRunner, CodeCopy, QuantizeOptions, calibration_rows, compare, quantize,
};
use cic_runtime::Session;
use cic_tests::real::data_set;
use cic_trainer::FitControl;
use cic_trainer::metrics::{Confusion, Reconstruction};
use cic_trainer::panel::PanelSize;
use cic_trainer::parts::Assigned;
use cic_trainer::pipeline::{Request, train};

/// A data set, how it is read, and the floors of its test rows.
struct Case {
    name: &'static str,
    file: &'static str,
    /// Labels and split are here rather than in `obs` and `split.tsv`.
    labels_file: Option<&'static str>,
    labels: &'static str,
    kind: ValueKind,
    min_accuracy: f64,
    min_macro_f1: f64,
    min_r2: f64,
}

/// In standard deviations of the code between cells. The last principal components vary little beside the levels that
/// inputs are rounded to: cell-lines-celseq2 has .022, the others .020 or less.
const MAX_CODE_ERROR: f64 = 0.0225;

const CASES: [Case; 6] = [
    Case {
        name: "pbmc3k",
        file: "pbmc3k.h5ad",
        labels_file: None,
        labels: "cell_type",
        kind: ValueKind::Counts,
        min_accuracy: 0.905,
        min_macro_f1: 0.915,
        min_r2: 0.0,
    },
    Case {
        name: "cbmc-panel500",
        file: "cbmc-panel500.h5ad",
        labels_file: None,
        labels: "cell_type",
        kind: ValueKind::Counts,
        min_accuracy: 0.935,
        min_macro_f1: 0.0,
        min_r2: 0.0,
    },
    Case {
        name: "cell-lines-celseq2",
        file: "cell-lines-celseq2.h5ad",
        labels_file: None,
        labels: "cell_type",
        kind: ValueKind::Counts,
        // One error of 252.
        min_accuracy: 251.0 / 252.0,
        min_macro_f1: 0.0,
        min_r2: 0.0,
    },
    Case {
        name: "cell-lines-li",
        file: "cell-lines-li.h5ad",
        labels_file: None,
        labels: "cell_type",
        kind: ValueKind::LinearNormalised,
        min_accuracy: 0.0,
        min_macro_f1: 0.0,
        min_r2: 0.0,
    },
    Case {
        name: "pollen",
        file: "pollen.h5ad",
        labels_file: None,
        labels: "cell_type",
        kind: ValueKind::LinearNormalised,
        // One error of 76.
        min_accuracy: 75.0 / 76.0,
        min_macro_f1: 0.0,
        min_r2: 0.0,
    },
    Case {
        name: "tissue-189x500",
        file: "expression.tsv.gz",
        labels_file: Some("labels.tsv"),
        labels: "tissue",
        kind: ValueKind::Log2Intensity,
        // One error of 48.
        min_accuracy: 47.0 / 48.0,
        min_macro_f1: 0.0,
        min_r2: 0.873,
    },
];

/// What one model does on the test rows.
struct Scores {
    confusion: Confusion,
    r2: f64,
}

#[test]
fn models_of_real_data_reach_their_floors_and_keep_them_when_quantised() {
    println!(
        "{:20} {:5} {:>8} {:>8} {:>8} {:>8} {:>6} {:>8}",
        "data set", "", "bytes", "accuracy", "macro-F1", "R2", "flips", "code err"
    );
    let (mut n_cells, mut flips) = (0, [0; 3]);
    let mut failures = Vec::new();
    for case in &CASES {
        let Some(folder) = data_set(case.name) else { continue };
        let (matrix, labels, assigned) = read(case, &folder);
        let request = Request {
            matrix: &matrix,
            kind: case.kind,
            library: Library::Panel,
            labels: &labels,
            groups: &[],
            assigned: &assigned,
            panel: PanelSize::Genes(2_000),
            hidden: None,
            activation: Activation::Relu,
            code: 30,
            epochs: None,
            settings: &[],
            trains_on_calibration: false,
            seed: 1,
        };
        let trained = train(&request, &mut FitControl::default()).unwrap();
        let test = &trained.parts.test;
        let full = AlignedBytes::new(&trained.spec.to_bytes(LayoutPlan::default()).unwrap());
        let model = Model::open_verified(&full).unwrap();
        let cells = align(&matrix, model.genes()).unwrap();
        let scores = score(&model, &cells, test, &labels);
        print_row(case.name, "f32", full.len(), &scores, None);
        let mut require = |what: &str, found: f64, floor: f64| {
            if found < floor {
                failures.push(format!("{}: {what} {found:.4} below {floor:.4}", case.name));
            }
        };
        require("accuracy", scores.confusion.accuracy(), case.min_accuracy);
        require("macro-F1", scores.confusion.macro_f1(), case.min_macro_f1);
        require("R2", scores.r2, case.min_r2);
        n_cells += test.len();
        let allowed = (test.len() as f64 / 100.0).ceil().max(1.0);
        for (place, dtype) in flips.iter_mut().zip([Dtype::F16, Dtype::Mixed, Dtype::S8]) {
            let bytes = AlignedBytes::new(&quantised(&model, &cells, &matrix.obs_names, dtype));
            let small = Model::open_verified(&bytes).unwrap();
            let changes = compare(&model, &small, &cells, test).unwrap();
            let scores = score(&small, &cells, test, &labels);
            let errors = Some((changes.flips.len(), changes.pooled_code_error));
            print_row(case.name, dtype.name(), bytes.len(), &scores, errors);
            for flip in &changes.flips {
                println!(
                    "    {} -> {} by a margin of {:.4}",
                    model.labels().leaf_name(flip.reference_leaf),
                    small.labels().leaf_name(flip.leaf),
                    flip.margin
                );
            }
            *place += changes.flips.len();
            require("labels kept", allowed - changes.flips.len() as f64, 0.0);
            require("code kept", MAX_CODE_ERROR - changes.pooled_code_error, 0.0);
        }
    }
    if n_cells == 0 {
        return;
    }
    let agreement = flips.map(|flips| 1.0 - flips as f64 / n_cells as f64);
    println!(
        "{n_cells} test cells: labels kept by f16 {:.4}, by mixed {:.4}, by int8 {:.4}",
        agreement[0], agreement[1], agreement[2]
    );
    let least = [0.999, 0.995, 0.99];
    assert!(agreement.iter().zip(least).all(|(kept, least)| *kept >= least), "{agreement:?}");
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn three_forms_of_the_same_cells_give_the_same_calls() {
    let Some(folder) = data_set("pbmc3k") else { return };
    let mut results: Vec<Vec<(Vec<u32>, u32)>> = Vec::new();
    let (matrix, labels, assigned) = read(&CASES[0], &folder);
    let request = Request {
        matrix: &matrix,
        kind: ValueKind::Counts,
        library: Library::Panel,
        labels: &labels,
        groups: &[],
        assigned: &assigned,
        panel: PanelSize::Genes(500),
        hidden: Some(vec![32]),
        activation: Activation::Relu,
        code: 30,
        epochs: Some(3),
        settings: &[],
        trains_on_calibration: false,
        seed: 1,
    };
    let spec = train(&request, &mut FitControl::default()).unwrap().spec;
    let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    for form in ["pbmc3k.h5ad", "filtered_feature_bc_matrix.h5", "filtered_feature_bc_matrix"] {
        let matrix = read_expression(&folder.join(form), &ReadOptions::default()).unwrap();
        let cells = align(&matrix, model.genes()).unwrap();
        assert_eq!(cells.overlap.n_present as usize, model.n_genes(), "{form}");
        let mut runner = CellRunner::new(Session::new(&model, 0).unwrap(), &cells.present).unwrap();
        let run = |row: usize| {
            let (genes, values) = cells.values.row(row);
            let numbers = runner.run(genes, values, cells.totals[row]).unwrap().numbers.unwrap();
            let code = (0..numbers.code_dim()).map(|dim| numbers.code(dim).to_bits()).collect();
            (code, numbers.best().unwrap() as u32)
        };
        results.push((0..matrix.n_obs()).map(run).collect());
    }
    assert!(results[0] == results[1] && results[1] == results[2]);
}

fn read(case: &Case, folder: &Path) -> (ExpressionMatrix, Vec<Option<String>>, Vec<Assigned>) {
    let options = ReadOptions { value_kind: Some(case.kind), ..ReadOptions::default() };
    let matrix = read_expression(&folder.join(case.file), &options).unwrap();
    let names = &matrix.obs_names;
    let split_path: PathBuf = folder.join(case.labels_file.unwrap_or("split.tsv"));
    let split = read_labels_tsv(&split_path).unwrap().joined("split", names).unwrap();
    let labels = match case.labels_file {
        Some(file) => {
            read_labels_tsv(&folder.join(file)).unwrap().joined(case.labels, names).unwrap()
        }
        None => matrix.obs.column(case.labels).unwrap().clone(),
    };
    let labels = (0..names.len()).map(|row| labels.text(row).map(|text| text.into_owned()));
    let assigned =
        split_parts(&split, "split", names).unwrap().into_iter().map(|part| match part {
            Some(SplitPart::Train) => Assigned::Train,
            Some(SplitPart::Test) => Assigned::Test,
            None => Assigned::Excluded,
        });
    let (labels, assigned) = (labels.collect(), assigned.collect());
    (matrix, labels, assigned)
}

fn quantised(model: &Model<'_>, cells: &AlignedMatrix, names: &[String], dtype: Dtype) -> Vec<u8> {
    let rows = calibration_rows(model, names);
    let values = cells.values.select_rows(&rows);
    let totals: Vec<f64> = rows.iter().map(|&row| cells.totals[row]).collect();
    let calibration = CalibrationSet { values: &values, totals: &totals };
    quantize(model, &calibration, &QuantizeOptions::new(dtype)).unwrap()
}

fn score(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    rows: &[usize],
    labels: &[Option<String>],
) -> Scores {
    let profile = model.profiles()[0];
    let mut runner = CellRunner::new(Session::new(model, 0).unwrap(), &cells.present).unwrap();
    // One class more than the model has, for labels that it does not know.
    let mut confusion = Confusion::new(model.n_leaves() + 1);
    let mut reconstruction = Reconstruction::new(profile.fill_values().to_vec());
    let mut reproduced = vec![0.0; model.n_genes()];
    for &row in rows {
        let (genes, values) = cells.values.row(row);
        let outcome = runner.run(genes, values, cells.totals[row]).unwrap();
        let numbers = outcome.numbers.unwrap();
        let truth = labels[row].as_deref().unwrap();
        let truth = (0..model.n_leaves()).find(|&leaf| model.labels().leaf_name(leaf) == truth);
        let called = numbers.best();
        confusion.add(truth.unwrap_or(model.n_leaves()), called);
        let code = CodeCopy::new(&numbers);
        runner.reconstruct(&code, &mut reproduced).unwrap();
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        let factor = profile.factor(sum, cells.totals[row], cells.overlap.share_q30).unwrap();
        let mut input = vec![0.0; model.n_genes()];
        for (&gene, &value) in genes.iter().zip(values) {
            input[gene as usize] = profile.input(gene as usize, value, factor);
        }
        reconstruction.add(&input, &reproduced);
    }
    Scores { confusion, r2: reconstruction.scores().r2 }
}

fn print_row(name: &str, dtype: &str, bytes: usize, scores: &Scores, errors: Option<(usize, f64)>) {
    let (flips, code) = errors.map_or(("-".into(), "-".into()), |(flips, code)| {
        (flips.to_string(), format!("{code:.4}"))
    });
    println!(
        "{name:20} {dtype:5} {bytes:>8} {:>8.4} {:>8.4} {:>8.4} {flips:>6} {code:>8}",
        scores.confusion.accuracy(),
        scores.confusion.macro_f1(),
        scores.r2
    );
}
