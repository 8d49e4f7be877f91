//! A model file cannot be silently wrong.

use cic_model::container::SectionKind;
use cic_model::layer::Layout;
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{AlignedBytes, Model, ModelError};
use cic_runtime::{Sample, Session};
use cic_tests::models::{Random, Shape, mixed, model, random_network, smallest_int8};

#[path = "../fuzz/src/digests.rs"]
mod digests;

use digests::mended;

/// Runs a model on a few profiles, whatever its weights hold.
fn run(model: &Model<'_>) {
    let session = Session::new(model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    for counts in [[0, 0], [1, 0], [3, u32::MAX], [7, 9]] {
        let sample = Sample::DenseCounts { counts: &counts, total: Some(10) };
        session.run(&sample, None, &mut scratch).unwrap();
    }
}

#[test]
fn every_flipped_bit_is_refused_and_open_stays_safe() {
    let bytes = smallest_int8().to_bytes(LayoutPlan::default()).unwrap();
    let mut opened = 0;
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let damaged = AlignedBytes::new(&damaged);
        assert!(Model::open_verified(&damaged).is_err(), "bit {bit}");
        // Only weights and the final digest are outside what `open` checks.
        if let Ok(model) = Model::open(&damaged) {
            run(&model);
            opened += 1;
        }
    }
    println!("{} bits flipped, all refused; open accepted {opened}", 8 * bytes.len());
    let weights = 8 * (6 + 2 + 2);
    let digest = 8 * 32;
    assert_eq!(opened, weights + digest);
}

#[test]
fn every_truncation_and_trailing_byte_is_refused() {
    let bytes = smallest_int8().to_bytes(LayoutPlan::default()).unwrap();
    for len in 0..bytes.len() {
        let cut = AlignedBytes::new(&bytes[..len]);
        assert!(matches!(Model::open(&cut), Err(ModelError::Truncated { .. })), "{len}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let longer = AlignedBytes::new(&longer);
    assert!(matches!(Model::open(&longer), Err(ModelError::TrailingBytes { .. })));
}

#[test]
fn every_size_field_is_refused_at_its_extremes() {
    let bytes = smallest_int8().to_bytes(LayoutPlan::default()).unwrap();
    let n_sections = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let mut fields: Vec<(usize, usize)> = vec![(12, 4), (16, 8), (24, 4)];
    for entry in 0..n_sections {
        let at = 64 + 24 * entry;
        fields.extend([(at, 4), (at + 4, 4), (at + 8, 8), (at + 16, 8)]);
    }
    for (at, len) in fields {
        let original = bytes[at..at + len].to_vec();
        let number = u64::from_le_bytes([&original[..], &[0; 8]].concat()[..8].try_into().unwrap());
        for value in [0, 1, 63, number.wrapping_add(64), u64::MAX, u64::MAX / 2, 1 << 31] {
            let mut damaged = bytes.clone();
            damaged[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            if damaged == bytes {
                continue;
            }
            let damaged = AlignedBytes::new(&damaged);
            assert!(Model::open(&damaged).is_err(), "field at {at} set to {value}");
        }
    }
}

#[test]
fn bytes_at_an_odd_address_are_refused() {
    let bytes = smallest_int8().to_bytes(LayoutPlan::default()).unwrap();
    let shifted = AlignedBytes::new(&[&[0], &bytes[..]].concat());
    assert_eq!(Model::open(&shifted[1..]).unwrap_err(), ModelError::Misaligned);
}

#[test]
fn another_version_is_named() {
    let mut bytes = smallest_int8().to_bytes(LayoutPlan::default()).unwrap();
    bytes[8] = 9;
    let error = Model::open(&AlignedBytes::new(&bytes)).unwrap_err();
    assert_eq!(error, ModelError::UnsupportedVersion { found: 9, supported: 1 });
    assert!(error.to_string().contains('9') && error.to_string().contains('1'));
}

#[test]
fn a_model_that_could_overflow_is_not_verified() {
    let mut spec = smallest_int8();
    let NetworkSpec::S8(network) = &mut spec.network else { unreachable!() };
    network.encoder[1].epilogue.bias[0] = i32::MAX - 100;
    let error = spec.to_bytes(LayoutPlan::default()).unwrap_err();
    assert_eq!(error, ModelError::AccumulatorOverflow { layer: 1, row: 0 });
}

#[test]
fn a_spec_survives_its_bytes_in_every_layout_and_keeps_its_identity() {
    let shape = Shape::small();
    let network = random_network(&shape, &mut Random(1));
    let of = |network| model(network, shape.n_genes, shape.n_leaves);
    let specs = [of(NetworkSpec::F32(network.clone())), of(mixed(network)), smallest_int8()];
    for spec in specs {
        let mut ids = Vec::new();
        for layouts in [
            LayoutPlan::Sparse,
            LayoutPlan::Rows,
            LayoutPlan::Uniform(Layout { block: 4, panel: 64 }),
            LayoutPlan::Uniform(Layout { block: 16, panel: 4 }),
        ] {
            let bytes = AlignedBytes::new(&spec.to_bytes(layouts).unwrap());
            let model = Model::open_verified(&bytes).unwrap();
            assert_eq!(ModelSpec::from_model(&model), spec);
            ids.push(model.id());
        }
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn scales_of_mixed_layers_are_positive_numbers() {
    let shape = Shape::small();
    let network = random_network(&shape, &mut Random(1));
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let NetworkSpec::Mixed(mut network) = mixed(network.clone()) else { unreachable!() };
        network.scales[0][1] = scale;
        let spec = model(NetworkSpec::Mixed(network), shape.n_genes, shape.n_leaves);
        let error = spec.to_bytes(LayoutPlan::default()).unwrap_err();
        let (kind, field) = (SectionKind::Epilogue, "bias or scale of a row");
        assert_eq!(error, ModelError::BadField { kind, field });
    }
}

/// Types that do not exist, or that layers have only where a model is mixed.
#[test]
fn types_of_layers_are_checked() {
    let shape = Shape::small();
    let network = random_network(&shape, &mut Random(1));
    for (network, allowed) in [(mixed(network.clone()), 1..4), (NetworkSpec::F16(network), 0..1)] {
        let spec = model(network, shape.n_genes, shape.n_leaves);
        let bytes = spec.to_bytes(LayoutPlan::default()).unwrap();
        let graph = section(&bytes, SectionKind::Graph);
        for own in 0..6_u32 {
            let mut damaged = bytes.clone();
            damaged[graph + 24..graph + 28].copy_from_slice(&own.to_le_bytes());
            let error = Model::open(&AlignedBytes::new(&mended(&damaged))).err();
            let is_refused = matches!(
                error,
                Some(ModelError::BadField { kind: SectionKind::Graph, field })
                    if field.contains("type of") || field.contains("reserved")
            );
            assert_eq!(is_refused, !allowed.contains(&own), "{own}: {error:?}");
        }
    }
}

/// Where the first section of a kind begins.
fn section(bytes: &[u8], kind: SectionKind) -> usize {
    let entries = bytes[64..].chunks_exact(24);
    let mut of_kind = entries.filter(|entry| entry[..4] == (kind as u32).to_le_bytes());
    let entry = of_kind.next().unwrap();
    u64::from_le_bytes(entry[8..16].try_into().unwrap()) as usize
}

#[test]
fn the_same_description_gives_the_same_bytes() {
    let once = smallest_int8().to_bytes(LayoutPlan::default()).unwrap();
    assert_eq!(once, smallest_int8().to_bytes(LayoutPlan::default()).unwrap());
}
