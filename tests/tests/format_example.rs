//! The worked example of `docs/format.md`, byte by byte, and the fields that must be zero.

use cic_model::container::SectionKind;
use cic_model::layer::Layout;
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
        })
        .is_ok()
    );
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
