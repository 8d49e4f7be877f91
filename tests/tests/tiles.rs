//! Int8 sessions give the same bits on every instruction set, in every layout, one cell at a time
//! or many.

use cic_data::CsrMatrix;
use cic_model::layer::Layout;
use cic_model::profile::{GeneScale, Library, fit_value_thresholds, has_gene_scales};
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Dtype, Model, ValueKind};
use cic_quant::{CalibrationSet, QuantizeOptions, quantize};
use cic_runtime::kernels::{Isa, Kernels};
use cic_runtime::threads::Workers;
use cic_runtime::{Outcome, Presence, RunError, S8Numbers, S8Session, Sample, TileError};
use cic_tests::models::{Random, Shape, model, random_network};

/// Everything that a cell's outcome says.
type Bits = (u64, u32, Option<u32>, Option<(Vec<i16>, Vec<i32>, Vec<u32>)>);

fn bits(outcome: &Outcome<S8Numbers<'_>>) -> Bits {
    let numbers = outcome.numbers.map(|numbers| {
        (numbers.code.to_vec(), numbers.logits.to_vec(), numbers.probabilities.to_vec())
    });
    let reject = outcome.reject.map(|reason| reason.code());
    (outcome.depth.n_counts, outcome.depth.n_genes, reject, numbers)
}

/// A cell, listed and laid out.
struct Cell {
    genes: Vec<u32>,
    counts: Vec<u32>,
    dense: Vec<u32>,
}

impl Cell {
    fn new(n_genes: usize, one_in: usize, random: &mut Random) -> Self {
        let count = |random: &mut Random| match random.below(one_in) {
            0 => 1 + random.below(60) as u32,
            _ => 0,
        };
        let dense: Vec<u32> = (0..n_genes).map(|_| count(random)).collect();
        let listed = || (0..).zip(&dense).filter(|(_, count)| **count > 0);
        let genes = listed().map(|(gene, _)| gene).collect();
        let counts = listed().map(|(_, count)| *count).collect();
        Self { genes, counts, dense }
    }

    fn sparse(&self) -> Sample<'_> {
        Sample::Counts { genes: &self.genes, counts: &self.counts, total: None }
    }

    fn dense(&self) -> Sample<'_> {
        Sample::DenseCounts { counts: &self.dense, total: None }
    }
}

fn shapes() -> [Shape; 3] {
    let small = Shape::small();
    [
        small.clone(),
        Shape { hidden: vec![], carry: false, ..small.clone() },
        Shape {
            n_genes: 301,
            hidden: vec![70, 33],
            code: 30,
            n_leaves: 21,
            activations: vec![Activation::Relu, Activation::Tanh, Activation::SoftPlus],
            ..small
        },
    ]
}

fn int8(shape: &Shape, random: &mut Random) -> ModelSpec {
    let network = random_network(shape, random);
    let spec = model(NetworkSpec::F32(network), shape.n_genes, shape.n_leaves);
    let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::Sparse).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    let cells: Vec<Cell> = (0..40).map(|_| Cell::new(shape.n_genes, 3, random)).collect();
    let dense: Vec<f32> = cells.iter().flat_map(|c| &c.dense).map(|&c| c as f32).collect();
    let values = CsrMatrix::from_dense(shape.n_genes, &dense).unwrap();
    let calibration = CalibrationSet { values: &values, totals: &[0.0; 40] };
    let bytes = quantize(&model, &calibration, &QuantizeOptions::new(Dtype::S8)).unwrap();
    let bytes = AlignedBytes::new(&bytes);
    ModelSpec::from_model(&Model::open_verified(&bytes).unwrap())
}

/// The same model, and one in which the levels of most genes are limited.
fn with_and_without_limits(spec: ModelSpec, random: &mut Random) -> [ModelSpec; 2] {
    let mut limited = spec.clone();
    let profile = &mut limited.profiles[0];
    let levels = profile.levels.as_mut().unwrap();
    levels.level_limits = levels.fill_levels.iter().map(|_| 1 + random.below(127) as u8).collect();
    profile.limits = levels.level_limits.iter().map(|&level| 0.05 * f32::from(level)).collect();
    [spec, limited]
}

/// The model without its limits.
fn plain_of(model: &Model<'_>) -> AlignedBytes {
    let mut spec = ModelSpec::from_model(model);
    spec.profiles[0].limits.clear();
    spec.profiles[0].levels.as_mut().unwrap().level_limits.clear();
    AlignedBytes::new(&spec.to_bytes(LayoutPlan::Sparse).unwrap())
}

const LAYOUTS: [LayoutPlan; 7] = [
    LayoutPlan::Sparse,
    LayoutPlan::Panels,
    LayoutPlan::Fours,
    LayoutPlan::DenseFours,
    LayoutPlan::Rows,
    LayoutPlan::Uniform(Layout { block: 4, panel: 64 }),
    LayoutPlan::Uniform(Layout { block: 16, panel: 4 }),
];

/// Every instruction set that is here, weights as they are stored and packed.
fn for_each_session(model: &Model<'_>, mut check: impl FnMut(&str, &S8Session<'_>)) {
    for kernels in Isa::ALL.into_iter().filter_map(Kernels::of) {
        let session = S8Session::with_kernels(model, 0, kernels).unwrap();
        check(kernels.isa().name(), &session);
        let mut memory = vec![0; session.packed_len()];
        let packed = session.with_packed(&mut memory).unwrap();
        check(&format!("{}, packed", kernels.isa().name()), &packed);
    }
}

/// What the reference loops give, one cell at a time.
fn expected(model: &Model<'_>, samples: &[Sample<'_>], presence: Option<&[bool]>) -> Vec<Bits> {
    let session = S8Session::with_kernels(model, 0, Kernels::SCALAR).unwrap();
    let mut correction = vec![0; session.correction_len()];
    let presence = presence.map(|mask| session.presence(mask, &mut correction).unwrap());
    let mut scratch = vec![0; session.scratch_len() / 4];
    let mut run = |sample| bits(&session.run(sample, presence.as_ref(), &mut scratch).unwrap());
    samples.iter().map(&mut run).collect()
}

fn in_tiles(
    session: &S8Session<'_>,
    samples: &[Sample<'_>],
    presence: Option<&Presence<'_>>,
    len: usize,
) -> Vec<Bits> {
    // What is in the scratch does not matter.
    let mut scratch = vec![0xA5A5_A5A5; session.tile_scratch_len(len) / 4];
    let mut found = Vec::new();
    for samples in samples.chunks(len) {
        let tile = session.run_tile(samples, presence, &mut scratch).unwrap();
        found.extend((0..samples.len()).map(|cell| bits(&tile.outcome(cell))));
    }
    found
}

#[test]
fn tiles_give_the_bits_of_single_cells_on_every_instruction_set_and_layout() {
    for shape in shapes() {
        let mut random = Random(23);
        let specs = with_and_without_limits(int8(&shape, &mut random), &mut random);
        let mut cells: Vec<Cell> =
            (0..39).map(|n| Cell::new(shape.n_genes, 1 + n % 20, &mut random)).collect();
        cells.push(Cell { genes: vec![], counts: vec![], dense: vec![0; shape.n_genes] });
        let samples: Vec<Sample<'_>> =
            cells.iter().flat_map(|cell| [cell.sparse(), cell.dense()]).collect();
        for (spec, layouts) in specs.iter().flat_map(|spec| LAYOUTS.map(|plan| (spec, plan))) {
            let bytes = AlignedBytes::new(&spec.to_bytes(layouts).unwrap());
            let model = Model::open_verified(&bytes).unwrap();
            let expected = expected(&model, &samples, None);
            for_each_session(&model, |name, session| {
                for len in [1, 2, 5, 16, 33] {
                    let found = in_tiles(session, &samples, None, len);
                    assert!(found == expected, "{name}, {layouts:?}, tiles of {len}, {shape:?}");
                }
            });
        }
    }
}

#[test]
fn counts_of_16_bits_give_the_bits_of_32() {
    for shape in shapes() {
        let mut random = Random(37);
        let specs = with_and_without_limits(int8(&shape, &mut random), &mut random);
        let mut cells: Vec<Cell> =
            (0..30).map(|n| Cell::new(shape.n_genes, 1 + n % 20, &mut random)).collect();
        // Deep enough for the largest level, and zeros that are listed.
        let deep = vec![u32::from(u16::MAX); shape.n_genes];
        cells.push(Cell {
            genes: (0..shape.n_genes as u32).collect(),
            counts: deep.clone(),
            dense: deep,
        });
        cells.push(Cell { genes: vec![1, 5], counts: vec![0, 0], dense: vec![0; shape.n_genes] });
        let narrow = |counts: &[u32]| counts.iter().map(|&count| count as u16).collect::<Vec<_>>();
        let narrowed: Vec<(Vec<u16>, Vec<u16>)> =
            cells.iter().map(|cell| (narrow(&cell.counts), narrow(&cell.dense))).collect();
        let wide: Vec<Sample<'_>> =
            cells.iter().flat_map(|cell| [cell.sparse(), cell.dense()]).collect();
        let samples: Vec<Sample<'_>> = cells
            .iter()
            .zip(&narrowed)
            .flat_map(|(cell, (counts, dense))| {
                [
                    Sample::Counts16 { genes: &cell.genes, counts, total: None },
                    Sample::DenseCounts16 { counts: dense, total: None },
                ]
            })
            .collect();
        for (spec, layouts) in specs.iter().flat_map(|spec| LAYOUTS.map(|plan| (spec, plan))) {
            let bytes = AlignedBytes::new(&spec.to_bytes(layouts).unwrap());
            let model = Model::open_verified(&bytes).unwrap();
            let expected = expected(&model, &wide, None);
            for_each_session(&model, |name, session| {
                for len in [1, 16] {
                    let found = in_tiles(session, &samples, None, len);
                    assert!(found == expected, "{name}, {layouts:?}, tiles of {len}, {shape:?}");
                }
            });
        }
    }
}

#[test]
fn encoding_alone_gives_the_code_and_neither_logits_nor_probabilities() {
    let [.., shape] = shapes();
    let mut random = Random(41);
    let bytes = int8(&shape, &mut random).to_bytes(LayoutPlan::Panels).unwrap();
    let bytes = AlignedBytes::new(&bytes);
    let model = Model::open_verified(&bytes).unwrap();
    let cells: Vec<Cell> = (0..20).map(|_| Cell::new(shape.n_genes, 3, &mut random)).collect();
    for_each_session(&model, |name, session| {
        let mut scratch = vec![0; session.scratch_len() / 4];
        for cell in &cells {
            let whole = bits(&session.run(&cell.sparse(), None, &mut scratch).unwrap());
            let encoded = bits(&session.encode(&cell.sparse(), None, &mut scratch).unwrap());
            let (n_counts, n_genes, _, Some((code, ..))) = whole else { panic!("no numbers") };
            let expected = (n_counts, n_genes, None, Some((code, vec![], vec![])));
            assert_eq!(encoded, expected, "{name}");
        }
    });
}

#[test]
fn missing_genes_are_filled_alike() {
    let [.., shape] = shapes();
    let mut random = Random(29);
    let bytes = int8(&shape, &mut random).to_bytes(LayoutPlan::Panels).unwrap();
    let bytes = AlignedBytes::new(&bytes);
    let model = Model::open_verified(&bytes).unwrap();
    let mask: Vec<bool> = (0..shape.n_genes).map(|gene| gene % 7 != 3).collect();
    let cells: Vec<Cell> = (0..20)
        .map(|_| {
            let mut cell = Cell::new(shape.n_genes, 3, &mut random);
            let kept: Vec<usize> =
                (0..cell.genes.len()).filter(|&n| mask[cell.genes[n] as usize]).collect();
            cell.genes = kept.iter().map(|&n| cell.genes[n]).collect();
            cell.counts = cell.counts[..kept.len()].to_vec();
            cell
        })
        .collect();
    let samples: Vec<Sample<'_>> = cells.iter().map(Cell::sparse).collect();
    let expected = expected(&model, &samples, Some(&mask));
    for_each_session(&model, |name, session| {
        let mut correction = vec![0; session.correction_len()];
        let presence = session.presence(&mask, &mut correction).unwrap();
        let found = in_tiles(session, &samples, Some(&presence), 16);
        assert!(found == expected, "{name}");
    });
}

/// Values at the thresholds, and the nearest floats on both sides.
#[test]
fn values_at_thresholds_have_the_levels_that_the_thresholds_say() {
    let [.., shape] = shapes();
    let mut random = Random(31);
    for (kind, offset, is_limited) in [
        (ValueKind::Log1p, 0.0, false),
        (ValueKind::Log1p, 0.0, true),
        (ValueKind::Log2Intensity, 2.75, false),
    ] {
        let [plain, limited] = with_and_without_limits(int8(&shape, &mut random), &mut random);
        let mut spec = if is_limited { limited } else { plain };
        let profile = &mut spec.profiles[0];
        (profile.kind, profile.library, profile.target_sum) = (kind, Library::None, 0);
        let levels = profile.levels.as_mut().unwrap();
        levels.scale = 0.0937;
        levels.offset = offset as f32;
        levels.shift = 0;
        levels.count_thresholds.fill(0);
        levels.value_thresholds =
            fit_value_thresholds(kind, f64::from(levels.scale), offset).into();
        let thresholds = levels.value_thresholds.clone();
        if has_gene_scales(kind) {
            let scale = |gene| GeneScale {
                offset: 0.01 * gene as f32,
                gain: 1.0 / (1.0 + 0.001 * gene as f32),
            };
            levels.gene_scales = (0..shape.n_genes).map(scale).collect();
        }
        spec.golden.is_integer = false;
        let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::Sparse).unwrap());
        let model = Model::open_verified(&bytes).unwrap();
        let value = |random: &mut Random| {
            let threshold = thresholds[random.below(thresholds.len())];
            match random.below(6) {
                0 => threshold.next_down(),
                1 => threshold.next_up(),
                2 => threshold + random.signed().abs() * 0.1,
                3 => 40.0 * random.signed().abs(),
                4 => 0.0,
                _ => threshold,
            }
        };
        let cells: Vec<Vec<f32>> =
            (0..400).map(|_| (0..shape.n_genes).map(|_| value(&mut random)).collect()).collect();
        let samples: Vec<Sample<'_>> =
            cells.iter().map(|values| Sample::DenseValues { values, total: None }).collect();
        let expected = expected(&model, &samples, None);
        let profile = model.profiles()[0];
        let lowered = |values: &Vec<f32>| -> Vec<f32> {
            let genes = values.iter().zip(profile.level_limits());
            let top = |limit: u8| thresholds.get(usize::from(limit)).copied();
            genes
                .map(|(&value, &limit)| top(limit).map_or(value, |top| value.min(top.next_down())))
                .collect()
        };
        if is_limited {
            // Values that have no higher levels to begin with.
            let lowered: Vec<Vec<f32>> = cells.iter().map(lowered).collect();
            let samples: Vec<Sample<'_>> =
                lowered.iter().map(|values| Sample::DenseValues { values, total: None }).collect();
            let plain = plain_of(&model);
            let plain = Model::open_verified(&plain).unwrap();
            assert!(self::expected(&plain, &samples, None) == expected);
        }
        for_each_session(&model, |name, session| {
            for len in [1, 32] {
                let found = in_tiles(session, &samples, None, len);
                assert!(found == expected, "{name}, {kind:?}, tiles of {len}");
            }
        });
    }
}

#[test]
fn the_sample_at_fault_is_named() {
    let shape = Shape::small();
    let mut random = Random(37);
    let bytes = AlignedBytes::new(&int8(&shape, &mut random).to_bytes(LayoutPlan::Sparse).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    let session = S8Session::new(&model, 0).unwrap();
    let cell = Cell::new(shape.n_genes, 2, &mut random);
    let wrong = Sample::Counts { genes: &[40], counts: &[1], total: None };
    let mut scratch = vec![0; session.tile_scratch_len(3) / 4];
    let error = session
        .run_tile(&[cell.sparse(), wrong, cell.dense()], None, &mut scratch)
        .map(|_| ())
        .unwrap_err();
    assert_eq!((error.sample, error.error), (1, RunError::GeneOutOfRange { position: 0 }));
}

#[test]
fn threads_change_no_bit_and_name_the_first_sample_at_fault() {
    let [.., shape] = shapes();
    let mut random = Random(41);
    let bytes = AlignedBytes::new(&int8(&shape, &mut random).to_bytes(LayoutPlan::Panels).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    let cells: Vec<Cell> =
        (0..203).map(|n| Cell::new(shape.n_genes, 1 + n % 9, &mut random)).collect();
    let mut samples: Vec<Sample<'_>> = cells.iter().map(Cell::sparse).collect();
    let expected = expected(&model, &samples, None);
    let session = S8Session::new(&model, 0).unwrap();
    for n_threads in 1..=3 {
        let mut workers = Workers::new(n_threads, &session).unwrap();
        // Batches of all lengths, one after another: threads are asleep, awake or late.
        for n_samples in [samples.len(), 1, 0, 15, 16, 17, 64, samples.len()] {
            let (samples, expected) = (&samples[..n_samples], &expected[..n_samples]);
            let mut found = vec![Bits::default(); n_samples];
            let sample = |n: usize| Ok(samples[n]);
            workers
                .run(&session, sample, None, &mut found, 1, |outcome, out| out[0] = bits(outcome))
                .unwrap();
            assert!(found == expected, "{n_threads} threads, {n_samples} samples");
        }
        let mut found = vec![Bits::default(); samples.len()];
        for wrong in [150, 70] {
            samples[wrong] = Sample::Counts { genes: &[9999], counts: &[1], total: None };
        }
        let sample = |n: usize| Ok(samples[n]);
        let error = workers.run(&session, sample, None, &mut found, 1, |_, _| ()).unwrap_err();
        assert_eq!((error.sample, error.error), (70, RunError::GeneOutOfRange { position: 0 }));
        let refused = |n: usize| if n == 69 { Err(RunError::WrongValueKind) } else { sample(n) };
        let error = workers.run(&session, refused, None, &mut found, 1, |_, _| ()).unwrap_err();
        assert_eq!((error.sample, error.error), (69, RunError::WrongValueKind));
        for (width, needed) in [(2, samples.len() + 1), (0, samples.len())] {
            let error = workers.run(&session, sample, None, &mut found, width, |_, _| ());
            let wrong = RunError::LengthMismatch { needed, found: samples.len() };
            assert_eq!(error, Err(TileError { sample: 0, error: wrong }));
        }
        for right in [150, 70] {
            samples[right] = cells[right].sparse();
        }
    }
}
