//! Counts the instructions of each of ten thousand cells: as many for all levels, bounded for lists of genes.
#![no_std]
#![no_main]

use cic_model::{Model, ModelError};
use firmware_examples::{
    Ending,
    bounds::{self, N_CELLS},
    console::Console,
    entry, exit,
    flash::{MODEL, SAMPLE_WORDS, SCRATCH_WORDS},
    meter::Deepest,
    println,
    report::Memory,
};

#[entry]
fn main() -> ! {
    exit(match &open() {
        Ok(model) => run(model),
        Err(_) => Ending::Failed,
    })
}

/// See `classify` for why this and `run` are functions of their own.
#[inline(never)]
fn open() -> Result<Model<'static>, ModelError> {
    Model::open(MODEL)
}

#[inline(never)]
fn run(model: &Model<'_>) -> Ending {
    let memory = Memory { scratch: &mut [0; SCRATCH_WORDS], sample: &mut [0; SAMPLE_WORDS] };
    let Some(mut console) = Console::open() else { return Ending::Failed };
    match bounds::run(model, memory, &mut Deepest(0), &mut console) {
        Ok(are_levels) => {
            let kind = if are_levels { "constant levels" } else { "bounded listed" };
            println!("# regions {N_CELLS} {kind}");
            Ending::Passed
        }
        Err(_) => Ending::Failed,
    }
}
