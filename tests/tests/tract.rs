//! f32 sessions of every instruction set against tract on the exported ONNX.

use cic_model::spec::{LayoutPlan, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Model, Network};
use cic_runtime::kernels::{Isa, Kernels};
use cic_runtime::{FloatSession, Sample};
use cic_tests::models::{Random, Shape, model, random_network};
use cic_tests::{fixture, tolerance};
use cic_trainer::onnx::{OnnxDescription, export_onnx};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::floats::FloatPrecisionTranslator;
use tract_onnx::tract_core::transform::ModelTransform;

/// Profiles per network.
const N_PROFILES: usize = 1_000;

#[test]
fn tract_agrees_on_the_fixture() {
    let bytes = fixture::bytes().unwrap();
    let model = Model::open_verified(&bytes).unwrap();
    let spec = cic_model::spec::ModelSpec::from_model(&model);
    let NetworkSpec::F32(network) = &spec.network else { panic!("the fixture is f32") };
    let cells = fixture::cells();
    let aligned = fixture::aligned(&model, &cells).unwrap();
    let profiles: Vec<Vec<u32>> = (0..N_PROFILES)
        .map(|row| {
            let mut counts = vec![0; model.n_genes()];
            let (genes, values) = aligned.values.row(row);
            for (&gene, &value) in genes.iter().zip(values) {
                counts[gene as usize] = value as u32;
            }
            counts
        })
        .collect();
    let (code, logits) = largest_differences(&model, network, &profiles);
    println!("tract, {N_PROFILES} profiles of the fixture: code {code:.2e}, logits {logits:.2e}");
    assert!(code <= tolerance::F32 && logits <= tolerance::F32);
}

#[test]
fn tract_agrees_on_every_activation_and_shape() {
    let mut random = Random(5);
    for activations in [
        vec![Activation::Relu, Activation::LogSigmoid],
        vec![Activation::Tanh, Activation::SoftShrink],
        vec![Activation::Sigmoid, Activation::SoftPlus, Activation::Identity],
    ] {
        let shape = Shape { activations, ..Shape::small() };
        let network = random_network(&shape, &mut random);
        let spec = model(NetworkSpec::F32(network.clone()), shape.n_genes, shape.n_leaves);
        let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
        let model = Model::open_verified(&bytes).unwrap();
        let profiles: Vec<Vec<u32>> = (0..N_PROFILES)
            .map(|_| (0..shape.n_genes).map(|_| 1 + random.below(50) as u32).collect())
            .collect();
        let (code, logits) = largest_differences(&model, &network, &profiles);
        println!("tract, {:?}: code {code:.2e}, logits {logits:.2e}", shape.activations);
        assert!(code <= tolerance::F32 && logits <= tolerance::F32);
    }
}

/// Largest absolute differences of codes and logits.
fn largest_differences(model: &Model<'_>, network: &Network, profiles: &[Vec<u32>]) -> (f64, f64) {
    let profile = model.profiles()[0];
    let inputs: Vec<f32> = profiles
        .iter()
        .flat_map(|counts| {
            let sum: u32 = counts.iter().sum();
            let factor = profile.factor(f64::from(sum), 0.0, 1 << 30).unwrap();
            let counts = counts.iter().enumerate();
            counts.map(move |(gene, &count)| profile.input(gene, count as f32, factor))
        })
        .collect();
    let [codes, logits] = tract(network, &inputs, profiles.len());
    let mut largest = (0.0_f64, 0.0_f64);
    for kernels in Isa::ALL.into_iter().filter_map(Kernels::of) {
        let session = FloatSession::with_kernels(model, 0, kernels).unwrap();
        let mut scratch = vec![0; session.scratch_len() / 4];
        let mut of_isa = (0.0_f64, 0.0_f64);
        for (row, counts) in profiles.iter().enumerate() {
            let sample = Sample::DenseCounts { counts, total: None };
            let numbers = session.run(&sample, None, &mut scratch).unwrap().numbers.unwrap();
            of_isa.0 = of_isa.0.max(difference(numbers.code, &codes, row));
            of_isa.1 = of_isa.1.max(difference(numbers.logits, &logits, row));
        }
        println!("{kernels:?}: code {:.2e}, logits {:.2e}", of_isa.0, of_isa.1);
        largest = (largest.0.max(of_isa.0), largest.1.max(of_isa.1));
    }
    largest
}

fn difference(found: &[f32], expected: &[f32], row: usize) -> f64 {
    let expected = &expected[row * found.len()..(row + 1) * found.len()];
    found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs())).fold(
        0.0,
        |largest, difference| match difference.is_nan() {
            true => f64::INFINITY,
            false => difference.max(largest),
        },
    )
}

/// Codes and logits of the exported network, in double precision but for sigmoids, which tract has in
/// single precision only: in single precision its own sums over a panel err by more than the tolerance.
fn tract(network: &Network, inputs: &[f32], n: usize) -> [Vec<f32>; 2] {
    let n_genes = network.encoder[0].in_dim;
    let n_leaves = network.classifier.last().map_or(0, |layer| layer.out_dim());
    let genes: Vec<String> = (0..n_genes).map(|gene| format!("g{gene}")).collect();
    let labels: Vec<String> = (0..n_leaves).map(|leaf| format!("l{leaf}")).collect();
    let description =
        OnnxDescription { name: "test", genes: &genes, labels: &labels, preprocessing: "" };
    let bytes = export_onnx(network, &description).unwrap();
    let mut model = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .model_for_read(&mut bytes.as_slice())
        .unwrap()
        .with_input_fact(0, f32::fact([n, n_genes]).into())
        .unwrap()
        .with_outputs_by_name(["code", "logits"])
        .unwrap()
        .into_typed()
        .unwrap();
    let (single, double) = (f32::datum_type(), f64::datum_type());
    let has_double = |node: &TypedNode| node.op.name() != "Sigmoid";
    let to_double = FloatPrecisionTranslator::with_filter(single, double, has_double);
    to_double.transform(&mut model).unwrap();
    let model = model.into_optimized().unwrap().into_runnable().unwrap();
    let inputs: Vec<f64> = inputs.iter().map(|&x| f64::from(x)).collect();
    let input = Tensor::from_shape(&[n, n_genes], &inputs).unwrap();
    let outputs = model.run(tvec!(input.into())).unwrap();
    [0, 1].map(|output| {
        let numbers = outputs[output].to_plain_array_view::<f64>().unwrap();
        numbers.iter().map(|&number| number as f32).collect()
    })
}
