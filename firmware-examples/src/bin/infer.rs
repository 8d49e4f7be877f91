//! One dense and one sparse cell of a net of known shape, for counts of instructions that boards and
//! libraries can be compared by.
#![no_std]
#![no_main]

use cic_model::{Model, ModelError};
use firmware_examples::{
    Ending,
    console::Console,
    count::{counted, say},
    entry, exit,
    flash::{MODEL, SAMPLE_WORDS, SCRATCH_WORDS},
    meter::Deepest,
    println, reference_net,
    report::{Memory, ReportError},
    stack::Paint,
};

#[entry]
fn main() -> ! {
    let mut deepest = Deepest(0);
    let paint = Paint::spread();
    let opened = counted(open);
    println!("# opening_stack {}", paint.depth());
    say("open");
    let ending = match &opened {
        Ok(model) => run(model, &mut deepest),
        Err(_) => Ending::Failed,
    };
    println!("# stack {}", deepest.0);
    exit(ending)
}

/// See `classify` for why this and `run` are functions of their own.
#[inline(never)]
fn open() -> Result<Model<'static>, ModelError> {
    Model::open(MODEL)
}

#[inline(never)]
fn run(model: &Model<'_>, deepest: &mut Deepest) -> Ending {
    let memory = Memory { scratch: &mut [0; SCRATCH_WORDS], sample: &mut [0; SAMPLE_WORDS] };
    let Some(mut console) = Console::open() else { return Ending::Failed };
    match reference_net::run(model, memory, deepest, &mut console) {
        Ok(()) => Ending::Passed,
        Err(ReportError::TooLittleMemory { .. }) => {
            println!("too little memory");
            Ending::Failed
        }
        Err(_) => Ending::Failed,
    }
}
