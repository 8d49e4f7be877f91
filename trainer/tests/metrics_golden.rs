//! The metrics against scikit-learn and SciPy; `fixtures/README.md` says how the values were made.

use std::collections::HashMap;

use cic_trainer::metrics::{CalibrationError, Confusion, Reconstruction};

const N_CLASSES: usize = 7;
const N_BINS: usize = 15;
/// Both sides compute in double precision, in a different order.
const TOLERANCE: f64 = 1e-12;

#[test]
fn classification_equals_scikit_learn() {
    let golden = golden();
    let mut confusion = Confusion::new(N_CLASSES);
    for (truth, called) in golden["truth"].iter().zip(&golden["called"]) {
        confusion.add(*truth as usize, Some(*called as usize));
    }
    assert_close("accuracy", confusion.accuracy(), golden["accuracy"][0]);
    assert_close("macro_f1", confusion.macro_f1(), golden["macro_f1"][0]);
    for (class, score) in confusion.per_class().iter().enumerate() {
        assert_close("precision", score.precision, golden["precision"][class]);
        assert_close("recall", score.recall, golden["recall"][class]);
        assert_close("f1", score.f1, golden["f1"][class]);
        assert_eq!(score.support as f64, golden["support"][class]);
        for called in 0..N_CLASSES {
            let expected = golden["confusion"][class * N_CLASSES + called];
            assert_eq!(confusion.count(class, Some(called)) as f64, expected);
        }
    }
}

#[test]
fn calibration_error_equals_numpy() {
    let golden = golden();
    let mut error = CalibrationError::new(N_BINS);
    for (cell, confidence) in golden["confidence"].iter().enumerate() {
        error.add(*confidence, golden["truth"][cell] == golden["called"][cell]);
    }
    assert_close("ece", error.value(), golden["ece"][0]);
}

#[test]
fn reconstruction_equals_scipy() {
    let golden = golden();
    let compare = |mean: &[f64]| {
        let mean = narrow(mean);
        let n_genes = mean.len();
        let mut reconstruction = Reconstruction::new(mean);
        let profiles = narrow(&golden["profiles"]);
        let reproduced = narrow(&golden["reproduced"]);
        for (profile, copy) in profiles.chunks(n_genes).zip(reproduced.chunks(n_genes)) {
            reconstruction.add(profile, copy);
        }
        reconstruction.scores()
    };
    let scores = compare(&golden["train_mean"]);
    assert_close("r2", scores.r2, golden["r2"][0]);
    assert_close("mse", scores.mse, golden["mse"][0]);
    assert_close("pearson", scores.pearson, golden["pearson"][0]);
    assert_close("spearman", scores.spearman, golden["spearman"][0]);

    // The mean is rounded to single precision, to which R2 is stationary.
    let own = compare(&golden["own_mean"]);
    assert_close("r2_own_mean", own.r2, golden["r2_own_mean"][0]);
}

fn golden() -> HashMap<String, Vec<f64>> {
    include_str!("fixtures/metrics.tsv")
        .lines()
        .map(|line| {
            let (name, numbers) = line.split_once('\t').unwrap();
            (name.to_owned(), numbers.split(' ').map(|number| number.parse().unwrap()).collect())
        })
        .collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn assert_close(name: &str, found: f64, expected: f64) {
    let error = (found - expected).abs();
    assert!(error <= TOLERANCE, "{name}: found {found}, expected {expected}");
}
