//! What firmware can run at its start: the model in flash is whole, and its golden cells give what it
//! states. One line, and an exit code.
#![no_std]
#![no_main]

use cic_model::{Model, ModelError};
use cic_runtime::{RunError, S8Session};
use firmware_examples::{
    Ending,
    count::{counted, say},
    entry, exit,
    flash::{MODEL, SCRATCH_WORDS},
    println,
    stack::Paint,
};

#[entry]
fn main() -> ! {
    let paint = Paint::spread();
    let opened = counted(open);
    println!("# verifying_stack {}", paint.depth());
    say("open_verified");
    let ending = match &opened {
        Ok(model) => match golden_cells(model) {
            Ok((equal, all)) => {
                println!("selftest {equal} of {all} golden cells equal");
                if equal == all { Ending::Passed } else { Ending::Failed }
            }
            Err(_) => {
                println!("selftest a golden cell was refused");
                Ending::Failed
            }
        },
        Err(_) => {
            println!("selftest the model was refused");
            Ending::Failed
        }
    };
    exit(ending)
}

/// See `classify` for why this and `golden_cells` are functions of their own.
#[inline(never)]
fn open() -> Result<Model<'static>, ModelError> {
    Model::open_verified(MODEL)
}

/// How many gave what the model states, and how many there are.
#[inline(never)]
fn golden_cells(model: &Model<'_>) -> Result<(usize, usize), RunError> {
    let golden = model.golden();
    let session = S8Session::new(model, golden.profile() as usize)?;
    let scratch = &mut [0; SCRATCH_WORDS];
    let mut equal = 0;
    for cell in golden.cells() {
        equal += usize::from(session.reproduces(&cell, scratch)?);
    }
    Ok((equal, golden.len()))
}
