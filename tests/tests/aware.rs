//! Quantisation-aware tuning runs the network as the runtime does: what it says of its errors is what sessions give.

use cic_data::CsrMatrix;
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Dtype, Model};
use cic_quant::{
    AwareSettings, CalibrationSet, CellRunner, QuantError, QuantizeOptions, quantize, tune_aware,
};
use cic_runtime::{Numbers, Session};
use cic_tests::models::{Random, Shape, model, random_network};

const N_GENES: usize = 60;

#[test]
fn errors_are_those_of_the_runtime_before_and_after() {
    for (activations, hidden, carry) in [
        (vec![Activation::Relu], vec![24], true),
        (vec![Activation::LogSigmoid, Activation::Relu], vec![20, 12], true),
        (vec![Activation::Tanh, Activation::SoftShrink], vec![16], false),
    ] {
        let mut random = Random(7);
        let shape = Shape {
            n_genes: N_GENES,
            hidden,
            code: 6,
            n_leaves: 4,
            activations,
            carry,
            decoder: false,
        };
        let network = random_network(&shape, &mut random);
        let spec = model(NetworkSpec::F32(network), N_GENES, 4);
        let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
        let full = Model::open_verified(&bytes).unwrap();
        let [fit, held] = [300, 80].map(|n| cells(n, &mut random));
        let [fit_totals, held_totals] = [300, 80].map(|n| vec![0.0; n]);
        let fit_set = CalibrationSet { values: &fit, totals: &fit_totals };
        let held_set = CalibrationSet { values: &held, totals: &held_totals };
        let plain = quantize(&full, &fit_set, &QuantizeOptions::new(Dtype::S8)).unwrap();
        let plain = AlignedBytes::new(&disturbed(&plain));
        let plain = Model::open_verified(&plain).unwrap();
        let settings = AwareSettings { epochs: 6, rate: 0.05, ..AwareSettings::default() };
        let sets = [&fit_set, &held_set];
        let (tuned, report) =
            tune_aware(&full, &plain, sets, settings, LayoutPlan::default()).unwrap();
        let tuned = AlignedBytes::new(&tuned);
        let tuned = Model::open_verified(&tuned).unwrap();
        assert_eq!(report.n_cells, [300, 80]);
        assert!(report.epoch > 0, "{report:?}");
        for (at, quantised) in [&plain, &tuned].into_iter().enumerate() {
            let [code, logits] = errors(&full, quantised, &fit, &held);
            assert!((code - report.code_error[at]).abs() < 1e-9, "{code}, {report:?}");
            assert!((logits - report.logit_error[at]).abs() < 1e-9, "{logits}, {report:?}");
        }
        assert!(report.code_error[1] < 0.8 * report.code_error[0], "{report:?}");
        assert!(report.logit_error[1] <= report.logit_error[0], "{report:?}");
        let again = tune_aware(&full, &plain, sets, settings, LayoutPlan::default()).unwrap();
        assert_eq!(again.1, report, "the same every time");
        let none = CsrMatrix { n_cols: N_GENES, indptr: vec![0], ..CsrMatrix::default() };
        let none = CalibrationSet { values: &none, totals: &[] };
        let nothing = tune_aware(&full, &plain, [&fit_set, &none], settings, LayoutPlan::default());
        assert_eq!(nothing.unwrap_err(), QuantError::NoCalibration);
    }
}

/// With every third weight of the encoder three steps from where it was.
fn disturbed(int8: &[u8]) -> Vec<u8> {
    let bytes = AlignedBytes::new(int8);
    let mut spec = ModelSpec::from_model(&Model::open_verified(&bytes).unwrap());
    let NetworkSpec::S8(network) = &mut spec.network else { panic!("it is int8") };
    for layer in &mut network.encoder {
        for weight in layer.weights.iter_mut().step_by(3) {
            *weight = (*weight + 3 * if *weight > 0 { -1 } else { 1 }).clamp(-127, 127);
        }
    }
    spec.to_bytes(LayoutPlan::default()).unwrap()
}

/// A quarter of the genes, counts below 30.
fn cells(n: usize, random: &mut Random) -> CsrMatrix {
    let mut count = || if random.below(4) == 0 { random.below(30) as f32 } else { 0.0 };
    let dense: Vec<f32> = (0..n * N_GENES).map(|_| count()).collect();
    CsrMatrix::from_dense(N_GENES, &dense).unwrap()
}

/// Codes and logits of every cell, one after another.
fn run(model: &Model<'_>, cells: &CsrMatrix) -> [Vec<f64>; 2] {
    let mut runner = CellRunner::new(Session::new(model, 0).unwrap(), &[true; N_GENES]).unwrap();
    let [mut codes, mut logits] = [Vec::new(), Vec::new()];
    for row in 0..cells.n_rows() {
        let (genes, values) = cells.row(row);
        match runner.run(genes, values, 0.0).unwrap().numbers.unwrap() {
            Numbers::Float(numbers) => {
                codes.extend(numbers.code.iter().map(|&code| f64::from(code)));
                logits.extend(numbers.logits.iter().map(|&logit| f64::from(logit)));
            }
            Numbers::S8(numbers) => {
                let scaled = numbers.code.iter().zip(numbers.code_scales);
                codes.extend(scaled.map(|(&code, &scale)| f64::from(code) * f64::from(scale)));
                logits.extend(numbers.logits.iter().map(|&logit| f64::from(logit) / 65_536.0));
            }
        }
    }
    [codes, logits]
}

/// Root mean squares over `held`, in deviations between the cells of `fit`.
fn errors(full: &Model<'_>, quantised: &Model<'_>, fit: &CsrMatrix, held: &CsrMatrix) -> [f64; 2] {
    let variance = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
    };
    let dims = full.code_dim();
    let [codes, logits] = run(full, fit);
    let variances: Vec<f64> = (0..dims)
        .map(|dim| variance(&codes.iter().copied().skip(dim).step_by(dims).collect::<Vec<_>>()))
        .collect();
    let of_logits = variance(&logits);
    let [exact, found] = [full, quantised].map(|model| run(model, held));
    let codes = exact[0].iter().zip(&found[0]).enumerate();
    let codes: Vec<f64> =
        codes.map(|(at, (a, b))| (a - b).powi(2) / variances[at % dims]).collect();
    let logits = exact[1].iter().zip(&found[1]);
    let logits: Vec<f64> = logits.map(|(a, b)| (a - b).powi(2) / of_logits).collect();
    [codes, logits].map(|squares| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
}
