//! The runtime against `tests/reference/cic_reference.py`, which was written from `docs/format.md`
//! and `docs/numerics.md` alone: int8 models bit for bit, float models within the tolerance.

use std::path::Path;
use std::process::Command;

use cic_data::CsrMatrix;
use cic_model::layer::Layout;
use cic_model::profile::Library;
use cic_model::rules::RejectReason;
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Dtype, Model, ValueKind};
use cic_quant::{CalibrationSet, QuantizeOptions, quantize};
use cic_runtime::{Numbers, S8Numbers, S8Session, Sample, Session};
use cic_tests::models::{Random, Shape, model, random_network, smallest_int8};
use cic_tests::{fixture, tolerance};
use serde_json::{Value, json};

/// A cell: genes, values and the sum over all measured genes.
type Cell = (Vec<u32>, Vec<f32>, u32);

#[test]
fn golden_cells_of_the_fixture_agree_in_every_format() {
    let bytes = fixture::bytes().unwrap();
    let full = Model::open_verified(&bytes).unwrap();
    let cells = fixture::cells();
    let aligned = fixture::aligned(&full, &cells).unwrap();
    let quantised = |to| {
        let names = &cells.matrix.obs_names;
        AlignedBytes::new(&fixture::quantised(&full, &aligned, names, to).unwrap())
    };
    for bytes in
        [bytes.clone(), quantised(Dtype::F16), quantised(Dtype::Mixed), quantised(Dtype::S8)]
    {
        let model = Model::open_verified(&bytes).unwrap();
        let Some(reference) = reference(&bytes, None) else { return };
        assert_eq!(reference["model_id"], model.id().to_string());
        let found = reference["cells"].as_array().unwrap();
        assert_eq!(found.len(), model.golden().len());
        for (found, golden) in found.iter().zip(model.golden().cells()) {
            let counts = golden.values;
            let sample = Sample::Counts { genes: golden.genes, counts, total: Some(golden.total) };
            agree(&model, found, &sample, None);
            // What the file states is what was computed.
            for (name, computed, stored) in
                [("code", &found["code"], golden.code), ("logits", &found["logits"], golden.logits)]
            {
                for (number, (computed, &stored)) in
                    computed.as_array().unwrap().iter().zip(stored).enumerate()
                {
                    let is_equal = match model.dtype() {
                        Dtype::S8 => computed.as_i64() == Some(i64::from(stored as i32)),
                        _ => is_close(f64::from(f32::from_bits(stored)), computed),
                    };
                    assert!(is_equal, "{name} {number}: {computed}, {stored:#x} in the file");
                }
            }
        }
    }
}

/// It knows what is unlike its training cells, as those that are made up here do not.
#[test]
fn golden_cells_of_the_reference_model_agree_in_their_likeness_too() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/pbmc-int8.cic");
    let bytes = AlignedBytes::new(&std::fs::read(path).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    assert!(model.novelty().is_some());
    let Some(reference) = reference(&bytes, None) else { return };
    let found = reference["cells"].as_array().unwrap();
    assert_eq!(found.len(), model.golden().len());
    for (found, golden) in found.iter().zip(model.golden().cells()) {
        let (genes, counts) = (golden.genes, golden.values);
        agree(&model, found, &Sample::Counts { genes, counts, total: Some(golden.total) }, None);
    }
}

#[test]
fn made_up_models_agree_for_every_activation_kind_of_value_and_layout() {
    let small = Shape::small();
    let with =
        |activations: &[Activation]| Shape { activations: activations.to_vec(), ..small.clone() };
    let shapes = [
        small.clone(),
        with(&[Activation::Tanh, Activation::SoftShrink, Activation::Identity]),
        with(&[Activation::Sigmoid, Activation::SoftPlus]),
        Shape { hidden: vec![], carry: false, ..small.clone() },
        Shape { hidden: vec![31], n_leaves: 0, decoder: false, ..small.clone() },
    ];
    let kinds = [
        (ValueKind::Counts, Library::Panel),
        (ValueKind::Counts, Library::AllMeasured),
        (ValueKind::LinearNormalised, Library::Panel),
        (ValueKind::Log1p, Library::None),
        (ValueKind::Log2Intensity, Library::None),
    ];
    let layouts = [
        LayoutPlan::Sparse,
        LayoutPlan::Rows,
        LayoutPlan::Uniform(Layout { block: 4, panel: 64 }),
        LayoutPlan::Uniform(Layout { block: 16, panel: 4 }),
        LayoutPlan::Uniform(Layout { block: 7, panel: 3 }),
    ];
    for (number, shape) in shapes.iter().enumerate() {
        for (kind, library) in kinds {
            let mut random = Random(number as u64 + 1);
            let spec = float_model(shape, kind, library, &mut random);
            let cells: Vec<Cell> = (0..40).map(|_| cell(shape, kind, &mut random)).collect();
            let full = AlignedBytes::new(&spec.to_bytes(layouts[number]).unwrap());
            if !check(&full, &cells, shape, &mut random) {
                return;
            }
            let int8 = int8(&Model::open_verified(&full).unwrap(), &cells, layouts[4 - number]);
            check(&int8, &cells, shape, &mut random);
        }
    }
}

#[test]
fn models_with_limits_agree_for_every_kind_of_value_and_layout() {
    let shape = Shape { n_genes: 60, ..Shape::small() };
    let kinds = [
        (ValueKind::Counts, Library::AllMeasured),
        (ValueKind::LinearNormalised, Library::Panel),
        (ValueKind::Log1p, Library::None),
    ];
    let layouts = [LayoutPlan::Sparse, LayoutPlan::Rows, LayoutPlan::Panels, LayoutPlan::Fours];
    for (number, (kind, library)) in kinds.into_iter().enumerate() {
        let mut random = Random(number as u64 + 20);
        let mut spec = float_model(&shape, kind, library, &mut random);
        let cells: Vec<Cell> = (0..40).map(|_| cell(&shape, kind, &mut random)).collect();
        let plain = AlignedBytes::new(&spec.to_bytes(layouts[number]).unwrap());
        // From far below to far above what genes have.
        spec.profiles[0].limits =
            (0..shape.n_genes).map(|gene| 0.02 * 1.15_f32.powi(gene as i32 % 50)).collect();
        let full = AlignedBytes::new(&spec.to_bytes(layouts[number]).unwrap());
        let model = Model::open_verified(&full).unwrap();
        assert_ne!(model.id(), Model::open_verified(&plain).unwrap().id());
        if !check(&full, &cells, &shape, &mut random) {
            return;
        }
        for layout in layouts {
            let int8 = int8(&model, &cells, layout);
            let quantised = Model::open_verified(&int8).unwrap();
            let limits = quantised.profiles()[0].level_limits();
            assert!(limits.contains(&1) && limits.contains(&127), "{limits:?}");
            check(&int8, &cells, &shape, &mut random);
        }
    }
}

#[test]
fn the_smallest_model_agrees_at_the_ends_of_the_ranges() {
    let bytes = AlignedBytes::new(&smallest_int8().to_bytes(LayoutPlan::default()).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    let cells: Vec<(Vec<u32>, Vec<u32>)> = vec![
        (vec![], vec![]),
        (vec![0], vec![0]),
        (vec![0, 1], vec![1, 1]),
        (vec![1], vec![u32::MAX]),
        (vec![0, 1], vec![u32::MAX, 1]),
        (vec![0, 1], vec![2_000_000_000, 3]),
    ];
    let listed: Value = cells
        .iter()
        .map(|(genes, values)| json!({"profile": 0, "genes": genes, "values": values, "total": 0}))
        .collect();
    let Some(reference) = reference(&bytes, Some(listed)) else {
        return;
    };
    for (found, (genes, counts)) in reference["cells"].as_array().unwrap().iter().zip(&cells) {
        agree(&model, found, &Sample::Counts { genes, counts, total: None }, None);
    }
}

#[test]
fn a_damaged_file_is_refused_by_the_reference_too() {
    let bytes = smallest_int8().to_bytes(LayoutPlan::default()).unwrap();
    if reference(&bytes, None).is_none() {
        return;
    }
    for at in [0, 40, 70, 600, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert!(!run_python(&damaged, None).unwrap().status.success(), "byte {at}");
    }
}

fn float_model(shape: &Shape, kind: ValueKind, library: Library, random: &mut Random) -> ModelSpec {
    let network = random_network(shape, random);
    let mut spec = model(NetworkSpec::F32(network), shape.n_genes, shape.n_leaves);
    let profile = &mut spec.profiles[0];
    (profile.kind, profile.library) = (kind, library);
    if library == Library::None {
        profile.target_sum = 0;
    }
    profile.fill_values = (0..shape.n_genes).map(|_| 1.0 + random.signed()).collect();
    spec.golden.is_integer = kind == ValueKind::Counts;
    // Unequal shares, so that their use shows.
    for pair in spec.panel.genes.chunks_exact_mut(2) {
        let moved = random.below(1 << 20) as u32;
        pair[0].library_share_q30 += moved;
        pair[1].library_share_q30 -= moved;
    }
    spec
}

/// Integers are values of every kind. Where zero means nothing, all genes are listed.
fn cell(shape: &Shape, kind: ValueKind, random: &mut Random) -> Cell {
    let (mut genes, mut values) = (Vec::new(), Vec::new());
    for gene in 0..shape.n_genes as u32 {
        if kind == ValueKind::Log2Intensity || random.below(3) == 0 {
            genes.push(gene);
            values.push(match kind {
                ValueKind::Counts => random.below(40) as f32,
                ValueKind::LinearNormalised => 90.0 * random.signed().abs(),
                // Ranges differ by gene.
                ValueKind::Log2Intensity => {
                    (gene % 5) as f32 + (1 + gene % 3) as f32 * random.signed().abs()
                }
                _ => 6.0 * random.signed().abs(),
            });
        }
    }
    let total = values.iter().map(|value| value.ceil() as u32).sum::<u32>() + 100;
    (genes, values, total)
}

fn int8(full: &Model<'_>, cells: &[Cell], layouts: LayoutPlan) -> AlignedBytes {
    let n_genes = full.n_genes();
    let mut dense = vec![0.0; cells.len() * n_genes];
    for ((genes, values, _), row) in cells.iter().zip(dense.chunks_exact_mut(n_genes)) {
        for (&gene, &value) in genes.iter().zip(values) {
            row[gene as usize] = value;
        }
    }
    let values = CsrMatrix::from_dense(n_genes, &dense).unwrap();
    let totals: Vec<f64> = cells.iter().map(|cell| f64::from(cell.2)).collect();
    let mut options = QuantizeOptions::new(Dtype::S8);
    options.layouts = layouts;
    let calibration = CalibrationSet { values: &values, totals: &totals };
    AlignedBytes::new(&quantize(full, &calibration, &options).unwrap())
}

/// Compares all cells, with every gene and with a quarter of the genes missing. False without an
/// interpreter.
fn check(bytes: &AlignedBytes, cells: &[Cell], shape: &Shape, random: &mut Random) -> bool {
    let model = Model::open_verified(bytes).unwrap();
    let is_counts = model.profiles()[0].kind() == ValueKind::Counts;
    let everything = vec![true; shape.n_genes];
    let some: Vec<bool> = (0..shape.n_genes).map(|_| random.below(4) > 0).collect();
    let cells: Vec<(Cell, &[bool])> = [&everything, &some]
        .into_iter()
        .flat_map(|mask| cells.iter().map(|cell| (restricted(cell, mask), mask.as_slice())))
        .collect();
    let counts = |values: &[f32]| values.iter().map(|&value| value as u32).collect::<Vec<u32>>();
    let listed = cells.iter().map(|((genes, values, total), mask)| {
        let present: Vec<u8> = mask.iter().map(|&is_present| u8::from(is_present)).collect();
        let values = if is_counts { json!(counts(values)) } else { json!(values) };
        json!({
            "profile": 0, "genes": genes, "values": values, "total": total, "present": present,
        })
    });
    let Some(reference) = reference(bytes, Some(listed.collect())) else { return false };
    assert_eq!(reference["model_id"], model.id().to_string());
    for (found, ((genes, values, total), mask)) in
        reference["cells"].as_array().unwrap().iter().zip(&cells)
    {
        let counts = counts(values);
        let sample = match is_counts {
            true => Sample::Counts { genes, counts: &counts, total: Some(*total) },
            false => Sample::Values { genes, values, total: Some(*total as f32) },
        };
        agree(&model, found, &sample, Some(mask));
    }
    true
}

fn restricted((genes, values, total): &Cell, mask: &[bool]) -> Cell {
    let kept = genes.iter().zip(values).filter(|(gene, _)| mask[**gene as usize]);
    let (genes, values) = kept.map(|(&gene, &value)| (gene, value)).unzip();
    (genes, values, *total)
}

/// One cell by the runtime and by the reference: code, logits, probabilities, reconstruction.
fn agree(model: &Model<'_>, found: &Value, sample: &Sample<'_>, mask: Option<&[bool]>) {
    let session = Session::new(model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    let mut correction = vec![0; session.correction_len()];
    let presence = mask.map(|mask| session.presence(mask, &mut correction).unwrap());
    let outcome = session.run(sample, presence.as_ref(), &mut scratch).unwrap();
    let Some(numbers) = outcome.numbers else {
        assert!(matches!(
            outcome.reject,
            Some(RejectReason::Empty | RejectReason::LibraryTooLarge)
        ));
        assert!(found.is_null(), "the runtime rejects what the reference computes");
        return;
    };
    let best = numbers.best().map_or("", |leaf| model.labels().leaf_name(leaf));
    let has_decoder = !model.stage(cic_model::StageKind::Decoder).is_empty();
    match numbers {
        Numbers::S8(numbers) => {
            assert_eq!(found["code"], json!(numbers.code));
            assert_eq!(found["code_levels"], json!(numbers.code_levels));
            assert_eq!(found["logits"], json!(numbers.logits));
            assert_eq!(found["probabilities"], json!(numbers.probabilities));
            assert_eq!(found["label"].as_str().unwrap_or(""), best);
            agree_on_likeness(model, &found["likeness"], &numbers, outcome.depth.n_counts);
            if has_decoder {
                let levels = numbers.code_levels.to_vec();
                let mut reconstruction = vec![0; model.n_genes()];
                S8Session::new(model, 0)
                    .unwrap()
                    .reconstruct(&levels, &mut scratch, &mut reconstruction)
                    .unwrap();
                assert_eq!(found["reconstruction"], json!(reconstruction));
            }
        }
        Numbers::Float(numbers) => {
            for (name, values) in [
                ("code", numbers.code),
                ("logits", numbers.logits),
                ("probabilities", numbers.probabilities),
            ] {
                let expected = found[name].as_array().unwrap();
                assert_eq!(expected.len(), values.len(), "{name}");
                for (&value, expected) in values.iter().zip(expected) {
                    assert!(is_close(f64::from(value), expected), "{name}: {value}, {expected}");
                }
            }
        }
    }
}

/// Where a code lies, and how far from types, noise and mixtures.
fn agree_on_likeness(model: &Model<'_>, found: &Value, numbers: &S8Numbers<'_>, n_counts: u64) {
    let Some(novelty) = model.novelty() else {
        assert!(found.is_null());
        return;
    };
    let place = novelty.place(numbers.code);
    assert_eq!(found["place"], json!(place[..novelty.place_dims()]));
    let likeness = novelty.measure(numbers.code, n_counts);
    for (name, value) in [
        ("nearest", i64::from(likeness.nearest)),
        ("type_distance", i64::from(likeness.type_distance)),
        ("rest_distance", i64::from(likeness.rest_distance)),
        ("rest_limit", i64::from(likeness.rest_limit)),
        ("noise_margin", i64::from(likeness.noise_margin)),
        ("pair_margin", i64::from(likeness.pair_margin)),
    ] {
        assert_eq!(found[name], json!(value), "{name}");
    }
}

/// Relative to the number where that is above one.
fn is_close(value: f64, expected: &Value) -> bool {
    let expected = expected.as_f64().unwrap();
    (value - expected).abs() <= tolerance::F32 * expected.abs().max(1.0)
}

/// What the reference prints; `None` where there is no interpreter.
fn reference(bytes: &[u8], cells: Option<Value>) -> Option<Value> {
    let output = run_python(bytes, cells)?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the reference refuses the model: {error}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn run_python(bytes: &[u8], cells: Option<Value>) -> Option<std::process::Output> {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.cic");
    std::fs::write(&model, bytes).unwrap();
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/cic_reference.py"));
    command.arg(&model);
    if let Some(cells) = cells {
        let path = folder.path().join("cells.json");
        std::fs::write(&path, cells.to_string()).unwrap();
        command.arg(path);
    }
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: python3 does not start ({error}); install it to check the numbers");
            None
        }
    }
}
