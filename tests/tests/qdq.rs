//! Int8 models as ONNX: tract, which computes with the dequantised numbers, gives the integers of the runtime.

use cic_data::CsrMatrix;
use cic_model::spec::{LayoutPlan, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Dtype, Model};
use cic_quant::{CalibrationSet, QuantizeOptions, quantize};
use cic_runtime::{S8Session, Sample};
use cic_tests::fixture;
use cic_tests::models::{Random, Shape, model, random_network};
use cic_trainer::onnx::{OnnxDescription, OnnxError, export_qdq};
use tract_onnx::prelude::*;

/// Cells per network.
const N_CELLS: usize = 500;

#[test]
fn tract_gives_the_integers_of_the_fixture() {
    let bytes = fixture::bytes().unwrap();
    let model = Model::open_verified(&bytes).unwrap();
    let cells = fixture::cells();
    let aligned = fixture::aligned(&model, &cells).unwrap();
    let names = &cells.matrix.obs_names;
    let int8 = fixture::quantised(&model, &aligned, names, Dtype::S8).unwrap();
    let profiles: Vec<Vec<u32>> = (0..N_CELLS)
        .map(|row| {
            let mut counts = vec![0; model.n_genes()];
            let (genes, values) = aligned.values.row(row);
            for (&gene, &value) in genes.iter().zip(values) {
                counts[gene as usize] = value as u32;
            }
            counts
        })
        .collect();
    check("fixture", &int8, &profiles);
}

#[test]
fn tract_gives_the_integers_of_every_activation_and_shape() {
    let mut random = Random(11);
    let small = Shape::small();
    for shape in [
        small.clone(),
        Shape { activations: vec![Activation::Tanh, Activation::SoftShrink], ..small.clone() },
        Shape {
            activations: vec![Activation::Sigmoid, Activation::SoftPlus, Activation::Identity],
            carry: false,
            ..small.clone()
        },
        Shape { hidden: vec![31], activations: vec![Activation::Relu], ..small.clone() },
        Shape { hidden: vec![], carry: false, n_leaves: 0, decoder: false, ..small },
    ] {
        let network = NetworkSpec::F32(random_network(&shape, &mut random));
        let mut spec = model(network, shape.n_genes, shape.n_leaves);
        if shape.n_leaves == 0 {
            // From far below to far above what genes have.
            let limits = (0..shape.n_genes).map(|gene| 0.02 * 1.3_f32.powi(gene as i32 % 30));
            spec.profiles[0].limits = limits.collect();
        }
        let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
        let model = Model::open_verified(&bytes).unwrap();
        let mut gene = || if random.below(3) > 0 { 0 } else { 1 + random.below(40) as u32 };
        let profiles: Vec<Vec<u32>> =
            (0..N_CELLS).map(|_| (0..shape.n_genes).map(|_| gene()).collect()).collect();
        let values: Vec<f32> = profiles.iter().flatten().map(|&count| count as f32).collect();
        let values = CsrMatrix::from_dense(shape.n_genes, &values).unwrap();
        let set = CalibrationSet { values: &values, totals: &vec![0.0; N_CELLS] };
        let int8 = quantize(&model, &set, &QuantizeOptions::new(Dtype::S8)).unwrap();
        check(&format!("{:?}", shape.activations), &int8, &profiles);
    }
}

#[test]
fn models_that_are_not_int8_are_refused() {
    let bytes = fixture::bytes().unwrap();
    let model = Model::open_verified(&bytes).unwrap();
    let description = OnnxDescription { name: "test", genes: &[], labels: &[], preprocessing: "" };
    let error = export_qdq(&model, &description).unwrap_err();
    assert_eq!(error, OnnxError::NotInt8 { found: Dtype::F32 });
}

/// Codes, logits and reconstructions of cells of counts, in the units of the model. tract sums in single precision:
/// where that ends at the other side of a half, an integer is another.
fn check(name: &str, int8: &[u8], profiles: &[Vec<u32>]) {
    let bytes = AlignedBytes::new(int8);
    let model = Model::open_verified(&bytes).unwrap();
    let session = S8Session::new(&model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    let [codes, logits, reconstructions] = tract(&model, profiles);
    let code_scales = model.code_scales().unwrap().scales;
    let mut reproduced = vec![0; model.reconstruction_scales().len()];
    let (mut n_units, mut n_off) = (0, 0);
    let mut worst_logit = 0.0_f64;
    for (row, counts) in profiles.iter().enumerate() {
        let sample = Sample::DenseCounts { counts, total: None };
        let numbers = session.run(&sample, None, &mut scratch).unwrap().numbers.unwrap();
        let levels = numbers.code_levels.to_vec();
        let mut compare = |expected: &[i16], found: &[f32], scales: &[f32]| {
            let found = &found[row * scales.len()..][..scales.len()];
            for ((&expected, &found), &scale) in expected.iter().zip(found).zip(scales) {
                let units = (f64::from(found) / f64::from(scale)).round() - f64::from(expected);
                n_off += usize::from(units != 0.0);
                n_units += 1;
            }
        };
        compare(numbers.code, &codes, code_scales);
        let found = logits.chunks_exact(numbers.logits.len().max(1)).nth(row).unwrap_or(&[]);
        assert_eq!(found.len(), numbers.logits.len());
        for (&expected, &found) in numbers.logits.iter().zip(found) {
            let expected = f64::from(expected) / 65_536.0;
            worst_logit = worst_logit.max((f64::from(found) - expected).abs());
        }
        let best = (0..found.len()).rev().max_by(|&a, &b| found[a].total_cmp(&found[b]));
        let expected = numbers.best().map(|best| best.leaf as usize);
        assert_eq!(best, expected, "{name}: label of cell {row}");
        if !reproduced.is_empty() {
            session.reconstruct(&levels, &mut scratch, &mut reproduced).unwrap();
            compare(&reproduced, &reconstructions, model.reconstruction_scales());
        }
    }
    println!("{name}: {n_off} of {n_units} integers differ, logits by {worst_logit:.1e}");
    assert!(n_off * MOST_OFF <= n_units, "{name}: {n_off} of {n_units} integers");
}

/// At most one integer of so many may differ: units of a reconstruction are near the last bits of a sum.
const MOST_OFF: usize = 100;

/// Codes, logits and reconstructions, where there are any.
fn tract(model: &Model<'_>, profiles: &[Vec<u32>]) -> [Vec<f32>; 3] {
    let genes: Vec<String> = (0..model.n_genes()).map(|gene| format!("g{gene}")).collect();
    let labels: Vec<String> = (0..model.n_leaves()).map(|leaf| format!("l{leaf}")).collect();
    let description =
        OnnxDescription { name: "test", genes: &genes, labels: &labels, preprocessing: "" };
    let bytes = export_qdq(model, &description).unwrap();
    let profile = model.profiles()[0];
    let inputs: Vec<f32> = profiles
        .iter()
        .flat_map(|counts| {
            let sum: u32 = counts.iter().sum();
            let factor = profile.factor(f64::from(sum), 0.0, 1 << 30).unwrap();
            // Not limited yet: the graph does it.
            counts.iter().map(move |&count| (count as f32 * factor).ln_1p())
        })
        .collect();
    let shape = [profiles.len(), genes.len()];
    let graph = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .model_for_read(&mut bytes.as_slice())
        .unwrap();
    let outputs = [
        ("code", true),
        ("logits", model.n_leaves() > 0),
        ("reconstruction", !model.reconstruction_scales().is_empty()),
    ];
    let names = outputs.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name);
    let graph = graph
        .with_input_fact(0, f32::fact(shape).into())
        .unwrap()
        .with_outputs_by_name(names)
        .unwrap()
        .into_optimized()
        .unwrap()
        .into_runnable()
        .unwrap();
    let input = Tensor::from_shape(&shape, &inputs).unwrap();
    let mut found = graph.run(tvec!(input.into())).unwrap().into_iter();
    outputs.map(|(_, is_there)| {
        let found = if is_there { found.next() } else { None };
        found.map_or(Vec::new(), |found| {
            found.to_plain_array_view::<f32>().unwrap().iter().copied().collect()
        })
    })
}
