//! Counts what opening a model and typing a cell take, for a model that the emulator loads: one image measures
//! any model. `cargo xtask costs` runs it.
#![no_std]
#![no_main]

use cic_model::{Model, ModelError};
use cic_runtime::{S8Session, Sample};
use firmware_examples::{
    Ending,
    count::{counted, say},
    entry, exit,
    flash::{SAMPLE_WORDS, SCRATCH_WORDS, loaded},
    meter::Deepest,
    println,
    report::Meter,
    stack::Paint,
};

#[entry]
fn main() -> ! {
    // SAFETY: `cargo xtask costs` starts the emulator with a model there.
    let bytes = unsafe { loaded() };
    exit(match measure(bytes) {
        true => Ending::Passed,
        false => Ending::Failed,
    })
}

/// The stack of an opening is what lies below here, its result not among it.
fn measure(bytes: &[u8]) -> bool {
    println!("# model_bytes {}", bytes.len());
    println!("# opened_model {}", size_of::<Model<'_>>());
    let paint = Paint::spread();
    let is_whole = counted(|| open_verified(bytes)).is_ok();
    println!("# verifying_stack {}", paint.depth());
    say("verify");
    let paint = Paint::spread();
    let opened = counted(|| open(bytes));
    println!("# opening_stack {}", paint.depth());
    say("open");
    match &opened {
        Ok(model) => is_whole && type_cells(model),
        Err(error) => {
            println!("{error}");
            false
        }
    }
}

/// See `classify` for why these are functions of their own.
#[inline(never)]
fn open_verified(bytes: &[u8]) -> Result<Model<'_>, ModelError> {
    Model::open_verified(bytes)
}

#[inline(never)]
fn open(bytes: &[u8]) -> Result<Model<'_>, ModelError> {
    Model::open(bytes)
}

#[inline(never)]
fn type_cells(model: &Model<'_>) -> bool {
    let n_genes = model.n_genes();
    let (mut scratch, mut memory) = ([0; SCRATCH_WORDS], [0; SAMPLE_WORDS]);
    let session = match S8Session::new(model, 0) {
        Ok(session)
            if session.scratch_len() <= 4 * SCRATCH_WORDS && n_genes <= SAMPLE_WORDS / 2 =>
        {
            session
        }
        _ => return false,
    };
    println!("# scratch {}", session.scratch_len());
    let mut deepest = Deepest(0);
    let (genes, counts) = memory.split_at_mut(SAMPLE_WORDS / 2);
    // The most that a cell can take: no gene is zero, and no count is one of the small ones that are remembered.
    let counts = &mut counts[..n_genes];
    for (count, gene) in counts.iter_mut().zip(0..) {
        *count = 64 + gene % 64;
    }
    let dense = Sample::DenseCounts { counts, total: None };
    let is_dense_typed =
        deepest.around("dense", || session.run(&dense, None, &mut scratch).is_ok());
    // One gene in 14, and counts of 1 to 3.
    let listed = &mut genes[..n_genes.div_ceil(14)];
    for (gene, n) in listed.iter_mut().zip(0..) {
        *gene = 14 * n;
    }
    let counts = &mut counts[..listed.len()];
    for (count, gene) in counts.iter_mut().zip(0..) {
        *count = 1 + gene % 3;
    }
    let sparse = Sample::Counts { genes: listed, counts, total: None };
    let is_sparse_typed =
        deepest.around("sparse", || session.run(&sparse, None, &mut scratch).is_ok());
    println!("# stack {}", deepest.0);
    is_dense_typed && is_sparse_typed
}
