//! Types the golden cells of the int8 model in its flash, and 1,000 random profiles.
//!
//! The model is the file that the environment variable `CIC_MODEL` names when this is built.
#![no_std]
#![no_main]

use cic_model::Model;
use firmware_examples::{
    Outcome,
    count::{bench_end, bench_start},
    entry, exit, hprintln,
    report::{Meter, ReportError, report},
    stack,
};

/// Room for models of up to about 1,700 outputs in the widest layers together.
const SCRATCH_WORDS: usize = 2048;

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("CIC_MODEL")));

/// The runtime reads weights in place and asks for a multiple of 4.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

#[entry]
fn main() -> ! {
    let mut deepest = Deepest(0);
    let outcome = match run(&mut deepest) {
        Ok(true) => Outcome::Passed,
        Ok(false) => {
            hprintln!("golden cells differ from what the model states");
            Outcome::Failed
        }
        Err(error) => {
            hprintln!("{}", error);
            Outcome::Failed
        }
    };
    hprintln!("# stack {}", deepest.0);
    exit(outcome)
}

fn run(deepest: &mut Deepest) -> Result<bool, ReportError> {
    let (model, stack) = stack::measure(|| Model::open_verified(&MODEL.0));
    let model = model?;
    hprintln!("# model bytes {}", MODEL.0.len());
    hprintln!("# opening stack {}", stack);
    let mut console = cortex_m_semihosting::hio::hstdout().map_err(|()| ReportError::Console)?;
    report(&model, &mut [0; SCRATCH_WORDS], deepest, &mut console)
}

/// The deepest stack of the cells so far, in bytes.
struct Deepest(u32);

impl Meter for Deepest {
    fn around<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (result, used) = stack::measure(|| {
            bench_start();
            let result = work();
            bench_end();
            result
        });
        self.0 = self.0.max(used);
        result
    }
}
