//! The least that types a cell: opens the model, runs its first golden cell, ends. No console, so that
//! its size is that of the runtime.
#![no_std]
#![no_main]

use cic_model::{Model, ModelError};
use cic_runtime::S8Session;
use firmware_examples::{
    Ending, entry, exit,
    flash::{MODEL, SCRATCH_WORDS},
};

#[entry]
fn main() -> ! {
    let is_equal = match &open() {
        Ok(model) => first_cell(model) == Some(true),
        Err(_) => false,
    };
    exit(if is_equal { Ending::Passed } else { Ending::Failed })
}

/// See `classify` for why this and `first_cell` are functions of their own.
#[inline(never)]
fn open() -> Result<Model<'static>, ModelError> {
    Model::open_verified(MODEL)
}

/// Whether it gave the code and the logits that the model states; `None` where it could not be run.
#[inline(never)]
fn first_cell(model: &Model<'_>) -> Option<bool> {
    let golden = model.golden();
    let session = S8Session::new(model, golden.profile() as usize).ok()?;
    let cell = golden.cells().next()?;
    session.reproduces(&cell, &mut [0; SCRATCH_WORDS]).ok()
}
