//! Types the golden cells of the int8 model in its flash, and random profiles.
#![no_std]
#![no_main]

use cic_model::{Model, ModelError};
use firmware_examples::{
    Ending,
    console::Console,
    entry, exit,
    flash::{MODEL, SAMPLE_WORDS, SCRATCH_WORDS},
    meter::Deepest,
    println,
    report::{Memory, ReportError, report},
    stack::Paint,
};

#[entry]
fn main() -> ! {
    let mut deepest = Deepest(0);
    let ending = match run(&mut deepest) {
        Ok(true) => Ending::Passed,
        Ok(false) => {
            println!("golden cells differ from what the model states");
            Ending::Failed
        }
        Err(error) => {
            println!("{error}");
            Ending::Failed
        }
    };
    println!("# stack {}", deepest.0);
    exit(ending)
}

fn run(deepest: &mut Deepest) -> Result<bool, ReportError> {
    let paint = Paint::spread();
    // Matched in place: a model is kilobytes, and a copy of it would not fit the smallest board.
    match &open() {
        Ok(model) => {
            println!("# verifying_stack {}", paint.depth());
            report_of(model, deepest)
        }
        Err(error) => Err(ReportError::Model(*error)),
    }
}

/// This and `report_of` are functions of their own, so that the memory of one is free for the other.
#[inline(never)]
fn open() -> Result<Model<'static>, ModelError> {
    Model::open_verified(MODEL)
}

#[inline(never)]
fn report_of(model: &Model<'_>, deepest: &mut Deepest) -> Result<bool, ReportError> {
    let memory = Memory { scratch: &mut [0; SCRATCH_WORDS], sample: &mut [0; SAMPLE_WORDS] };
    let mut console = Console::open().ok_or(ReportError::Console)?;
    Ok(report(model, memory, deepest, &mut console)?.golden_equal)
}
