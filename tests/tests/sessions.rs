//! Sessions against the independent double-precision reference, and against each other.

use cic_data::CsrMatrix;
use cic_model::layer::Layout;
use cic_model::profile::{CountLevels, Library, Scaling};
use cic_model::quant::ONE_Q30;
use cic_model::spec::{LayoutPlan, MixedNetwork, ModelSpec, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Dtype, Model, Network, ValueKind};
use cic_quant::{CalibrationSet, QuantizeOptions, quantize};
use cic_runtime::kernels::{Isa, Kernels};
use cic_runtime::{FloatSession, RunError, S8Session, Sample};
use cic_tests::models::{LAYOUTS, Random, Shape, mixed, model, random_network};
use cic_tests::tolerance;
use cic_trainer::forward;

fn shapes() -> Vec<Shape> {
    let small = Shape::small();
    vec![
        small.clone(),
        Shape {
            carry: false,
            activations: vec![Activation::Tanh, Activation::SoftShrink],
            ..small.clone()
        },
        Shape { hidden: vec![], carry: false, ..small.clone() },
        Shape { hidden: vec![31], n_leaves: 0, decoder: false, ..small.clone() },
        Shape {
            activations: vec![Activation::Sigmoid, Activation::SoftPlus, Activation::Identity],
            hidden: vec![12],
            ..small
        },
    ]
}

fn counts(n_genes: usize, random: &mut Random) -> Vec<u32> {
    (0..n_genes).map(|_| if random.below(3) == 0 { random.below(40) as u32 } else { 0 }).collect()
}

fn inputs(counts: &[u32]) -> Vec<f32> {
    let scaling = Scaling { kind: ValueKind::Counts, library: Library::Panel, target_sum: 10_000 };
    let sum: u32 = counts.iter().sum();
    let factor = scaling.factor(f64::from(sum), 0.0, ONE_Q30).unwrap();
    counts.iter().map(|&count| scaling.input(count as f32, factor)).collect()
}

fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let allowed = tolerance * expected.abs().max(1.0);
        assert!((f64::from(*found) - expected).abs() < allowed, "{found} for {expected}");
    }
}

#[test]
fn float_sessions_agree_with_the_reference() {
    for shape in shapes() {
        let mut random = Random(7);
        let network = random_network(&shape, &mut random);
        for layouts in [LayoutPlan::Sparse, LayoutPlan::Uniform(Layout { block: 4, panel: 8 })] {
            let spec = model(NetworkSpec::F32(network.clone()), shape.n_genes, shape.n_leaves);
            let bytes = AlignedBytes::new(&spec.to_bytes(layouts).unwrap());
            let model = Model::open_verified(&bytes).unwrap();
            let session = FloatSession::new(&model, 0).unwrap();
            let mut scratch = vec![0; session.scratch_len() / 4];
            for _ in 0..20 {
                let counts = counts(shape.n_genes, &mut random);
                let expected = forward(&network, &inputs(&counts));
                let sample = Sample::DenseCounts { counts: &counts, total: None };
                let outcome = session.run(&sample, None, &mut scratch).unwrap();
                let numbers = outcome.numbers.unwrap();
                assert_close(numbers.code, &expected.code, tolerance::F32);
                assert_close(numbers.logits, &expected.logits, tolerance::F32);
                let code = numbers.code.to_vec();
                if shape.decoder {
                    let mut reproduced = vec![0.0; shape.n_genes];
                    session.reconstruct(&code, &mut scratch, &mut reproduced).unwrap();
                    assert_close(&reproduced, &expected.reconstruction, tolerance::F32);
                }
            }
        }
    }
}

/// Shapes and layouts that between them take every kernel and the way without one.
fn shapes_for_kernels() -> Vec<(Shape, Vec<LayoutPlan>)> {
    let plain = vec![
        LayoutPlan::Sparse,
        LayoutPlan::Rows,
        LayoutPlan::Uniform(Layout { block: 4, panel: 8 }),
    ];
    let mut cases: Vec<_> = shapes().into_iter().map(|shape| (shape, plain.clone())).collect();
    // More non-zero inputs than a block.
    let wide = Shape { n_genes: 1_100, hidden: vec![83, 40], code: 19, ..Shape::small() };
    cases.push((wide, plain));
    // The encoder's first layer has 16 + 8 outputs, the decoder's 16 + 24.
    let columns = [24, 40].map(|out_dim| LayoutPlan::Uniform(Layout::gene_major(out_dim)));
    let shape = Shape { n_genes: 24, hidden: vec![16], code: 8, ..Shape::small() };
    cases.push((shape, columns.to_vec()));
    cases
}

#[test]
fn float_sessions_of_every_instruction_set_agree_with_the_reference() {
    for (shape, layouts) in shapes_for_kernels() {
        let mut random = Random(29);
        let network = random_network(&shape, &mut random);
        let (half, cells) = quantised(&shape, &network, Dtype::F16, &mut random);
        let half = ModelSpec::from_model(&Model::open_verified(&half).unwrap());
        let (mixed, _) = quantised(&shape, &network, Dtype::Mixed, &mut random);
        let mixed = ModelSpec::from_model(&Model::open_verified(&mixed).unwrap());
        let single = model(NetworkSpec::F32(network), shape.n_genes, shape.n_leaves);
        for (spec, tolerance) in
            [(single, tolerance::F32), (half, tolerance::F16), (mixed, tolerance::F16)]
        {
            let network = match &spec.network {
                NetworkSpec::F32(network) | NetworkSpec::F16(network) => network,
                NetworkSpec::Mixed(MixedNetwork { network, .. }) => network,
                NetworkSpec::S8(_) => panic!("a float network"),
            };
            for layouts in layouts.iter().copied() {
                let bytes = AlignedBytes::new(&spec.to_bytes(layouts).unwrap());
                let model = Model::open_verified(&bytes).unwrap();
                for kernels in Isa::ALL.into_iter().filter_map(Kernels::of) {
                    let session = FloatSession::with_kernels(&model, 0, kernels).unwrap();
                    for counts in cells.iter().take(10) {
                        check_float(&session, network, counts, tolerance);
                    }
                }
            }
        }
    }
}

fn check_float(session: &FloatSession<'_>, network: &Network, counts: &[u32], tolerance: f64) {
    let expected = forward(network, &inputs(counts));
    let mut scratch = vec![u32::MAX; session.scratch_len() / 4];
    let sample = Sample::DenseCounts { counts, total: None };
    let numbers = session.run(&sample, None, &mut scratch).unwrap().numbers.unwrap();
    assert_close(numbers.code, &expected.code, tolerance);
    assert_close(numbers.logits, &expected.logits, tolerance);
    if !network.decoder.is_empty() {
        let code = numbers.code.to_vec();
        let mut reproduced = vec![f32::NAN; counts.len()];
        session.reconstruct(&code, &mut scratch, &mut reproduced).unwrap();
        assert_close(&reproduced, &expected.reconstruction, tolerance);
    }
}

#[test]
fn missing_genes_count_as_their_fill_values() {
    let shape = Shape::small();
    let mut random = Random(3);
    let network = random_network(&shape, &mut random);
    let NetworkSpec::Mixed(of_mixed) = mixed(network.clone()) else { unreachable!() };
    missing_genes(&shape, NetworkSpec::F32(network.clone()), &network, &mut random);
    missing_genes(&shape, NetworkSpec::Mixed(of_mixed.clone()), &of_mixed.network, &mut random);
}

/// `network` is what `spec` computes.
fn missing_genes(shape: &Shape, spec: NetworkSpec, network: &Network, random: &mut Random) {
    let spec = model(spec, shape.n_genes, shape.n_leaves);
    let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    let session = FloatSession::new(&model, 0).unwrap();
    let mask: Vec<bool> = (0..shape.n_genes).map(|gene| gene % 4 != 1).collect();
    let mut correction = vec![0; session.correction_len()];
    let presence = session.presence(&mask, &mut correction).unwrap();
    let genes: Vec<u32> = (0..shape.n_genes as u32).filter(|gene| gene % 4 != 1).collect();
    let values: Vec<u32> = genes.iter().map(|_| 1 + random.below(30) as u32).collect();
    let mut scratch = vec![0; session.scratch_len() / 4];
    let sample = Sample::Counts { genes: &genes, counts: &values, total: None };
    let outcome = session.run(&sample, Some(&presence), &mut scratch).unwrap();

    // Thirty of forty genes have three quarters of the library.
    let sum: u32 = values.iter().sum();
    let library = (f64::from(sum) * 4.0 / 3.0).floor();
    let mut expected_input = vec![0.5; shape.n_genes];
    for (&gene, &value) in genes.iter().zip(&values) {
        expected_input[gene as usize] = (f64::from(value) * 1e4 / library).ln_1p() as f32;
    }
    let expected = forward(network, &expected_input);
    assert_close(outcome.numbers.unwrap().code, &expected.code, tolerance::F32);

    let listed_but_missing = Sample::Counts { genes: &[1], counts: &[5], total: None };
    assert_eq!(
        session.run(&listed_but_missing, Some(&presence), &mut scratch).unwrap_err(),
        RunError::GeneNotPresent { position: 0 }
    );
    // A dense sample says something of every gene.
    let dense = Sample::DenseCounts { counts: &vec![1; shape.n_genes], total: None };
    assert_eq!(
        session.run(&dense, Some(&presence), &mut scratch).unwrap_err(),
        RunError::GeneNotPresent { position: 1 }
    );
}

/// A random network as int8, with random cells.
fn int8(shape: &Shape, network: &Network, random: &mut Random) -> (AlignedBytes, Vec<Vec<u32>>) {
    quantised(shape, network, Dtype::S8, random)
}

/// Quantises a random network with random cells.
fn quantised(
    shape: &Shape,
    network: &Network,
    to: Dtype,
    random: &mut Random,
) -> (AlignedBytes, Vec<Vec<u32>>) {
    let cells: Vec<Vec<u32>> = (0..200).map(|_| counts(shape.n_genes, random)).collect();
    let dense: Vec<f32> = cells.iter().flatten().map(|&count| count as f32).collect();
    let values = CsrMatrix::from_dense(shape.n_genes, &dense).unwrap();
    let totals = vec![0.0; cells.len()];
    let spec = model(NetworkSpec::F32(network.clone()), shape.n_genes, shape.n_leaves);
    let full = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
    let full = Model::open_verified(&full).unwrap();
    let calibration = CalibrationSet { values: &values, totals: &totals };
    let bytes = quantize(&full, &calibration, &QuantizeOptions::new(to)).unwrap();
    (AlignedBytes::new(&bytes), cells)
}

#[test]
fn int8_sessions_stay_close_to_the_reference() {
    for shape in shapes() {
        let mut random = Random(11);
        let network = random_network(&shape, &mut random);
        let (bytes, cells) = int8(&shape, &network, &mut random);
        let model = Model::open_verified(&bytes).unwrap();
        let session = S8Session::new(&model, 0).unwrap();
        let mut scratch = vec![0; session.scratch_len() / 4];
        let (mut error, mut spread, mut mean) = (0.0, 0.0, vec![0.0; shape.code]);
        let expected: Vec<_> =
            cells.iter().map(|counts| forward(&network, &inputs(counts))).collect();
        for outputs in &expected {
            mean.iter_mut().zip(&outputs.code).for_each(|(m, c)| *m += c / cells.len() as f64);
        }
        for (counts, expected) in cells.iter().zip(&expected) {
            let sample = Sample::DenseCounts { counts, total: None };
            let numbers = session.run(&sample, None, &mut scratch).unwrap().numbers.unwrap();
            for (dim, &code) in numbers.code.iter().enumerate() {
                let found = f64::from(code) * f64::from(numbers.code_scales[dim]);
                error += (found - expected.code[dim]).powi(2);
                spread += (expected.code[dim] - mean[dim]).powi(2);
            }
        }
        let relative = (error / spread).sqrt();
        println!("{shape:?}: code error {relative:.4}");
        assert!(relative < 0.05, "{shape:?}: {relative}");
    }
}

#[test]
fn int8_results_do_not_depend_on_the_layout_or_on_how_a_sample_is_given() {
    for shape in shapes() {
        let mut random = Random(13);
        let network = random_network(&shape, &mut random);
        let (bytes, cells) = int8(&shape, &network, &mut random);
        let model = Model::open_verified(&bytes).unwrap();
        let spec = ModelSpec::from_model(&model);
        let mut results: Vec<Vec<(Vec<i16>, Vec<i32>)>> = Vec::new();
        for layouts in [
            LayoutPlan::Sparse,
            LayoutPlan::Rows,
            LayoutPlan::Uniform(Layout { block: 4, panel: 64 }),
            LayoutPlan::Uniform(Layout { block: 16, panel: 4 }),
        ] {
            let bytes = AlignedBytes::new(&spec.to_bytes(layouts).unwrap());
            let model = Model::open_verified(&bytes).unwrap();
            let session = S8Session::new(&model, 0).unwrap();
            let mut scratch = vec![u32::MAX; session.scratch_len() / 4];
            for is_sparse in [false, true] {
                let run = |counts: &Vec<u32>| {
                    let genes: Vec<u32> =
                        (0..).zip(counts).filter(|(_, c)| **c > 0).map(|(g, _)| g).collect();
                    let listed: Vec<u32> = counts.iter().copied().filter(|c| *c > 0).collect();
                    let sample = if is_sparse {
                        Sample::Counts { genes: &genes, counts: &listed, total: None }
                    } else {
                        Sample::DenseCounts { counts, total: None }
                    };
                    let outcome = session.run(&sample, None, &mut scratch).unwrap();
                    let numbers = outcome.numbers.unwrap();
                    (numbers.code.to_vec(), numbers.logits.to_vec())
                };
                results.push(cells.iter().map(run).collect());
            }
        }
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{shape:?}");
    }
}

#[test]
fn levels_give_the_numbers_of_the_counts_that_they_are_looked_up_from() {
    for shape in shapes() {
        let mut random = Random(17);
        let network = random_network(&shape, &mut random);
        let (bytes, cells) = int8(&shape, &network, &mut random);
        let spec = ModelSpec::from_model(&Model::open_verified(&bytes).unwrap());
        for (name, layouts) in LAYOUTS {
            let bytes = AlignedBytes::new(&spec.to_bytes(layouts).unwrap());
            let model = Model::open_verified(&bytes).unwrap();
            let session = S8Session::new(&model, 0).unwrap();
            let mut packed = vec![0; session.packed_len()];
            let packed = session.with_packed(&mut packed).unwrap();
            for session in [session, packed] {
                let mut scratch = vec![0; session.scratch_len() / 4];
                for counts in &cells {
                    let library: u32 = counts.iter().sum();
                    let mut rule = CountLevels::new(session.profile(), library);
                    let level = |&count: &u32| if count == 0 { 0 } else { rule.level(count) };
                    let mut levels: Vec<u8> = counts.iter().map(level).collect();
                    levels.resize(shape.n_genes.next_multiple_of(4), 0);
                    let sample = Sample::DenseCounts { counts, total: None };
                    let outcome = session.run(&sample, None, &mut scratch).unwrap();
                    let numbers = outcome.numbers.unwrap();
                    let expected = (numbers.code.to_vec(), numbers.logits.to_vec());
                    let found = session.run_levels(&levels, &mut scratch).unwrap();
                    assert_eq!((found.code.to_vec(), found.logits.to_vec()), expected, "{name}");
                    assert!(found.probabilities.is_empty());
                }
            }
        }
    }
}

#[test]
fn levels_that_are_none_are_refused() {
    let shape = Shape { n_genes: 33, ..Shape::small() };
    let mut random = Random(18);
    let network = random_network(&shape, &mut random);
    let (bytes, _) = int8(&shape, &network, &mut random);
    let model = Model::open_verified(&bytes).unwrap();
    let session = S8Session::new(&model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    let mut run = |levels: &[u8]| session.run_levels(levels, &mut scratch).map(|_| ());
    assert_eq!(run(&[127; 33]), Err(RunError::LengthMismatch { needed: 36, found: 33 }));
    let mut levels = [0; 36];
    assert_eq!(run(&levels), Ok(()));
    levels[32] = 128;
    assert_eq!(run(&levels), Err(RunError::InvalidValue { position: 32 }));
    levels[32] = 127;
    assert_eq!(run(&levels), Ok(()));
    levels[33] = 1;
    assert_eq!(run(&levels), Err(RunError::InvalidValue { position: 33 }));
}

#[test]
fn stated_scratch_is_exactly_what_is_used() {
    let shape = Shape::small();
    let mut random = Random(17);
    let network = random_network(&shape, &mut random);
    let (bytes, cells) = int8(&shape, &network, &mut random);
    let model = Model::open_verified(&bytes).unwrap();
    let session = S8Session::new(&model, 0).unwrap();
    let words = session.scratch_len() / 4;
    const PAINT: u32 = 0xA5A5_A5A5;
    let mut scratch = vec![PAINT; words + 64];
    for counts in &cells {
        session.run(&Sample::DenseCounts { counts, total: None }, None, &mut scratch).unwrap();
    }
    let used = scratch.iter().rposition(|&word| word != PAINT).unwrap() + 1;
    assert_eq!(4 * used, session.scratch_len());
    let short = session.run(
        &Sample::DenseCounts { counts: &cells[0], total: None },
        None,
        &mut scratch[..words - 1],
    );
    assert_eq!(
        short.unwrap_err(),
        RunError::ScratchTooShort { needed: 4 * words, found: 4 * (words - 1) }
    );
}

#[test]
fn float_sessions_state_the_scratch_that_they_use() {
    let shape = Shape::small();
    let mut random = Random(31);
    let spec =
        model(NetworkSpec::F32(random_network(&shape, &mut random)), shape.n_genes, shape.n_leaves);
    let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    const PAINT: u32 = 0xA5A5_A5A5;
    for kernels in Isa::ALL.into_iter().filter_map(Kernels::of) {
        let session = FloatSession::with_kernels(&model, 0, kernels).unwrap();
        let words = session.scratch_len() / 4;
        let counts = counts(shape.n_genes, &mut random);
        let sample = Sample::DenseCounts { counts: &counts, total: None };
        let mut scratch = vec![PAINT; words + 64];
        session.run(&sample, None, &mut scratch).unwrap();
        let used = scratch.iter().rposition(|&word| word != PAINT).unwrap() + 1;
        assert_eq!(4 * used, session.scratch_len());
        assert_eq!(
            session.run(&sample, None, &mut scratch[..words - 1]).unwrap_err(),
            RunError::ScratchTooShort { needed: 4 * words, found: 4 * (words - 1) }
        );
    }
}

#[test]
fn samples_that_do_not_fit_are_refused_by_their_fault() {
    let shape = Shape::small();
    let mut random = Random(19);
    let network = random_network(&shape, &mut random);
    let (bytes, _) = int8(&shape, &network, &mut random);
    let model = Model::open_verified(&bytes).unwrap();
    let session = S8Session::new(&model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    let mut run = |sample: Sample<'_>| session.run(&sample, None, &mut scratch).map(|o| o.reject);
    let sparse = |genes, counts| Sample::Counts { genes, counts, total: None };
    assert_eq!(run(sparse(&[40], &[1])), Err(RunError::GeneOutOfRange { position: 0 }));
    assert_eq!(run(sparse(&[3, 3], &[1, 1])), Err(RunError::GenesNotIncreasing { position: 1 }));
    assert_eq!(run(sparse(&[3], &[1, 1])), Err(RunError::LengthMismatch { needed: 1, found: 2 }));
    assert_eq!(
        run(Sample::DenseCounts { counts: &[1], total: None }),
        Err(RunError::LengthMismatch { needed: 40, found: 1 })
    );
    assert_eq!(
        run(Sample::Values { genes: &[1], values: &[1.0], total: None }),
        Err(RunError::WrongValueKind)
    );
    assert_eq!(run(sparse(&[], &[])), Ok(Some(cic_model::rules::RejectReason::Empty)));
    assert_eq!(
        run(sparse(&[1, 2], &[u32::MAX, u32::MAX])),
        Ok(Some(cic_model::rules::RejectReason::LibraryTooLarge))
    );
}
