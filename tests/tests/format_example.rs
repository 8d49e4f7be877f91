//! The worked example of `docs/format.md`, byte by byte, and the fields that must be zero.

use cic_model::container::SectionKind;
use cic_model::layer::Layout;
use cic_model::profile::{GeneScale, fit_value_thresholds};
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{AlignedBytes, Model, ModelError, ValueKind};
use cic_tests::models::smallest_int8;
use sha2::{Digest, Sha256};

#[test]
fn the_worked_example_is_the_smallest_model() {
    let bytes = smallest_int8().to_bytes(LayoutPlan::default()).unwrap();
    let document = include_str!("../../docs/format.md");
    let lines = document.lines().skip_while(|line| *line != "```dump").skip(1);
    let mut at = 0;
    for line in lines.take_while(|line| *line != "```") {
        let (offset, rest) = line.split_once("  ").unwrap();
        assert_eq!(usize::from_str_radix(offset, 16), Ok(at), "{line}");
        let numbers = rest.split("  ").next().unwrap().trim_end();
        if let Some(count) = numbers.strip_prefix("… ") {
            at += count.parse::<usize>().unwrap();
            continue;
        }
        let stated = bytes_of(numbers);
        assert_eq!(hex(&stated), hex(&bytes[at..at + stated.len()]), "{line}");
        at += stated.len();
    }
    assert_eq!(at, bytes.len(), "the example has as many bytes as the file");
}

/// `61 62` is two bytes, `00 × 56` fifty-six, `01 .. 7f` every byte from one to the other.
fn bytes_of(numbers: &str) -> Vec<u8> {
    if let Some((byte, count)) = numbers.split_once(" × ") {
        return bytes_of(byte).repeat(count.parse().unwrap());
    }
    if let Some((first, last)) = numbers.split_once(" .. ") {
        let [first, last] = [first, last].map(|byte| u8::from_str_radix(byte, 16).unwrap());
        return (first..=last).collect();
    }
    numbers.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

#[test]
fn reserved_words_that_are_not_zero_are_refused() {
    let bytes = smallest_int8().to_bytes(LayoutPlan::default()).unwrap();
    let reserved = [
        (SectionKind::Profile, 28, "profile"),
        (SectionKind::Graph, 24, "graph"),
        (SectionKind::Graph, 28, "graph"),
        (SectionKind::Graph, 40, "second segment of a layer with one"),
        (SectionKind::Rules, 20, "rules"),
        (SectionKind::Rules, 31, "rules"),
    ];
    for (kind, at, name) in reserved {
        let mut changed = bytes.clone();
        changed[section(&bytes, kind) + at] = 1;
        let found = Model::open(&sealed(changed)).unwrap_err();
        assert!(matches!(found, ModelError::BadField { kind: k, .. } if k == kind), "{name}");
    }
    assert!(Model::open_verified(&sealed(bytes)).is_ok());
}

#[test]
fn padding_weights_that_are_not_zero_are_not_verified() {
    let layouts = LayoutPlan::Uniform(Layout { block: 4, panel: 4 });
    let bytes = smallest_int8().to_bytes(layouts).unwrap();
    let mut changed = bytes.clone();
    // The first row has two inputs in a block of four.
    changed[section(&bytes, SectionKind::Weights) + 2] = 1;
    let changed = sealed(changed);
    assert!(Model::open(&changed).is_ok());
    let weights = ModelError::BadField { kind: SectionKind::Weights, field: "weight" };
    assert_eq!(Model::open_verified(&changed).unwrap_err(), weights);
}

#[test]
fn a_weight_of_minus_128_is_not_verified() {
    let mut spec = smallest_int8();
    let NetworkSpec::S8(network) = &mut spec.network else { unreachable!() };
    network.encoder[0].weights[1] = -128;
    let weights = ModelError::BadField { kind: SectionKind::Weights, field: "weight" };
    assert_eq!(spec.to_bytes(LayoutPlan::default()).unwrap_err(), weights);
}

#[test]
fn zero_has_level_zero_wherever_unlisted_genes_are_zero() {
    let profile = ModelError::BadField { kind: SectionKind::Profile, field: "thresholds" };
    let written = |change: &dyn Fn(&mut ModelSpec)| {
        let mut spec = smallest_int8();
        let profile = &mut spec.profiles[0];
        profile.kind = ValueKind::Log1p;
        profile.library = cic_model::profile::Library::None;
        profile.target_sum = 0;
        change(&mut spec);
        spec.to_bytes(LayoutPlan::default())
    };
    let offset = |spec: &mut ModelSpec| spec.profiles[0].levels.as_mut().unwrap().offset = 0.5;
    let threshold = |spec: &mut ModelSpec| {
        spec.profiles[0].levels.as_mut().unwrap().value_thresholds[0] = 0.0;
    };
    assert!(written(&|_| {}).is_ok());
    assert_eq!(written(&offset).unwrap_err(), profile);
    assert_eq!(written(&threshold).unwrap_err(), profile);
    assert!(
        written(&|spec| {
            offset(spec);
            spec.profiles[0].kind = ValueKind::Log2Intensity;
            spec.profiles[0].levels.as_mut().unwrap().gene_scales = gene_scales().to_vec();
        })
        .is_ok()
    );
}

#[test]
fn every_gene_of_log2_intensity_has_its_own_levels() {
    let bytes = AlignedBytes::new(&intensities(&gene_scales()).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    let profile = model.profiles()[0];
    assert_eq!(profile.gene_scales().collect::<Vec<_>>(), gene_scales());
    // Thresholds in steps of 1/16 from 1/32.
    assert_eq!(profile.value_level(0, 6.5, 1.0), 32);
    assert_eq!(profile.value_level(1, 6.5, 1.0), 4);
}

#[test]
fn gene_scales_that_give_no_levels_are_refused() {
    let refused = |change: &dyn Fn(&mut GeneScale)| {
        let mut scales = gene_scales();
        change(&mut scales[1]);
        let error = ModelError::BadField { kind: SectionKind::Profile, field: "gene scales" };
        assert_eq!(intensities(&scales).unwrap_err(), error);
    };
    for gain in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY] {
        refused(&|scale| scale.gain = gain);
    }
    for offset in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        refused(&|scale| scale.offset = offset);
    }
    let length = ModelError::BadSectionLength { kind: SectionKind::Profile };
    assert_eq!(intensities(&[]).unwrap_err(), length);
    assert_eq!(intensities(&gene_scales()[..1]).unwrap_err(), length);
    let mut counts = smallest_int8();
    counts.profiles[0].levels.as_mut().unwrap().gene_scales = gene_scales().to_vec();
    assert_eq!(counts.to_bytes(LayoutPlan::default()).unwrap_err(), length);
}

#[test]
fn limits_are_read_back_and_lower_what_is_above_them() {
    let spec = limited(&[1.0, 0.5], &[16, 8]);
    let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    assert_eq!(ModelSpec::from_model(&model).profiles, spec.profiles);
    let profile = model.profiles()[0];
    let (below, above) = (profile.input(0, 1.0, 1.0), profile.input(0, 2.0, 1.0));
    assert_eq!((below, above), (2.0_f32.ln(), 1.0));
    assert_eq!(profile.unit(0), 1.0 / 16.0);
    // Thresholds in steps of 1/16 of the logarithm.
    assert_eq!(profile.value_level(0, 1.0, 1.0), 11);
    assert_eq!(profile.value_level(1, 1.0, 1.0), 8);
}

#[test]
fn limits_that_are_none_are_refused() {
    let error = |limits: &[f32], levels: &[u8]| {
        limited(limits, levels).to_bytes(LayoutPlan::default()).unwrap_err()
    };
    let field = |field| ModelError::BadField { kind: SectionKind::Profile, field };
    for limit in [-0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(error(&[1.0, limit], &[16, 8]), field("fill value or limit"));
    }
    for level in [128, 255] {
        assert_eq!(error(&[1.0, 0.5], &[16, level]), field("thresholds"));
    }
    assert_eq!(error(&[1.0], &[16]), field("number of limits"));
    // The padding of two levels hides that two more are missing, and is too short for more.
    let length = ModelError::BadSectionLength { kind: SectionKind::Profile };
    assert_eq!(error(&[1.0, 0.5], &[16, 8, 1]), length);
    let mut intensities = limited(&[1.0, 0.5], &[16, 8]);
    let profile = &mut intensities.profiles[0];
    (profile.kind, profile.library) = (ValueKind::Log2Intensity, cic_model::profile::Library::None);
    profile.target_sum = 0;
    profile.levels.as_mut().unwrap().gene_scales = gene_scales().to_vec();
    assert_eq!(intensities.to_bytes(LayoutPlan::default()).unwrap_err(), field("number of limits"));
}

/// The smallest int8 model, its inputs limited.
fn limited(limits: &[f32], levels: &[u8]) -> ModelSpec {
    let mut spec = smallest_int8();
    spec.profiles[0].limits = limits.to_vec();
    spec.profiles[0].levels.as_mut().unwrap().level_limits = levels.to_vec();
    spec
}

fn gene_scales() -> [GeneScale; 2] {
    [GeneScale { offset: 4.5, gain: 1.0 }, GeneScale { offset: 6.0, gain: 0.5 }]
}

/// The smallest int8 model, its values being intensities with thresholds `(k − ½) / 16`.
fn intensities(scales: &[GeneScale]) -> Result<Vec<u8>, ModelError> {
    let mut spec = smallest_int8();
    let profile = &mut spec.profiles[0];
    profile.kind = ValueKind::Log2Intensity;
    profile.library = cic_model::profile::Library::None;
    profile.target_sum = 0;
    if let Some(levels) = &mut profile.levels {
        levels.value_thresholds = fit_value_thresholds(profile.kind, 0.0625, 0.0).to_vec();
        levels.gene_scales = scales.to_vec();
    }
    spec.to_bytes(LayoutPlan::default())
}

/// Where the first section of a kind begins.
fn section(bytes: &[u8], kind: SectionKind) -> usize {
    let bytes = AlignedBytes::new(bytes);
    let model = Model::open(&bytes).unwrap();
    model.container().sections().find(|entry| entry.kind == kind as u32).unwrap().offset
}

/// The bytes with digests that fit what they now hold.
fn sealed(mut bytes: Vec<u8>) -> AlignedBytes {
    let n_sections = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let table_end = 64 + 24 * n_sections;
    let mut metadata = Sha256::new();
    metadata.update(&bytes[..32]);
    metadata.update(&bytes[64..table_end]);
    for entry in bytes[64..table_end].chunks_exact(24) {
        let word = |at| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap()) as usize;
        if word(0) != SectionKind::Weights as usize {
            metadata.update(&bytes[word(8)..word(8) + word(16)]);
        }
    }
    let metadata = metadata.finalize();
    bytes[32..64].copy_from_slice(&metadata);
    let covered = bytes.len() - 32;
    let digest = Sha256::digest(&bytes[..covered]);
    bytes[covered..].copy_from_slice(&digest);
    AlignedBytes::new(&bytes)
}
