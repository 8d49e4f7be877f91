//! Model files: as they come, and with their digests made right again, opened and run.
#![no_main]

// The same made-up models as in the tests, which are of another workspace.
#[allow(dead_code)]
#[path = "../../../src/models.rs"]
mod models;

use cic_fuzz::digests::mended;
use cic_fuzz::write_seeds;
use cic_model::layer::Layout;
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{AlignedBytes, Model};
use cic_runtime::{Sample, Session};
use libfuzzer_sys::fuzz_target;
use models::{Random, Shape, mixed, model, random_network, smallest_int8};

fuzz_target!(init: write_seeds(seeds()), |bytes: &[u8]| {
    let _ = Model::open_verified(&AlignedBytes::new(bytes)).map_err(|error| error.to_string());
    let bytes = AlignedBytes::new(&mended(bytes));
    let opened = Model::open_verified(&bytes).or_else(|_| Model::open(&bytes));
    match opened {
        Ok(model) => run(&model),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Every profile on a few cells, whatever weights and rules hold.
fn run(model: &Model<'_>) {
    for profile in 0..model.profiles().len() {
        let Ok(session) = Session::new(model, profile) else { continue };
        let n_genes = model.n_genes();
        let mut scratch = vec![0; session.scratch_len() / 4];
        let counts: Vec<u32> = (0..n_genes as u32).map(|gene| gene % 5).collect();
        let values: Vec<f32> = counts.iter().map(|&count| count as f32 * 0.25).collect();
        let genes: Vec<u32> = (0..n_genes as u32).step_by(3).collect();
        let few = &counts[..genes.len()];
        for sample in [
            Sample::DenseCounts { counts: &counts, total: None },
            Sample::Counts { genes: &genes, counts: few, total: Some(u32::MAX) },
            Sample::DenseValues { values: &values, total: None },
        ] {
            // A kind of sample that the profile does not take is refused.
            let Ok(outcome) = session.run(&sample, None, &mut scratch) else { continue };
            let best = outcome.numbers.and_then(|numbers| numbers.best());
            assert!(best.is_none_or(|leaf| leaf < model.n_leaves()));
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let shape = Shape::small();
    let network = random_network(&shape, &mut Random(1));
    let float = model(NetworkSpec::F32(network.clone()), shape.n_genes, shape.n_leaves);
    let mixed = model(mixed(network), shape.n_genes, shape.n_leaves);
    let layouts = [
        LayoutPlan::Sparse,
        LayoutPlan::Rows,
        LayoutPlan::Fours,
        LayoutPlan::Uniform(Layout { block: 4, panel: 64 }),
    ];
    let bytes = |spec: &ModelSpec, plan| spec.to_bytes(plan).expect("made-up models are sound");
    let mut seeds = vec![
        ("f32".to_string(), bytes(&float, LayoutPlan::default())),
        ("mixed".to_string(), bytes(&mixed, LayoutPlan::default())),
    ];
    for (at, plan) in layouts.into_iter().enumerate() {
        seeds.push((format!("s8-{at}"), bytes(&smallest_int8(), plan)));
    }
    seeds
}
