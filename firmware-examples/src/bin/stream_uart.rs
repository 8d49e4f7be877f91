//! Types cells whose counts arrive over the board's serial line, see `STREAM.md`.
#![no_std]
#![no_main]

use cic_model::{Model, ModelError};
use cic_runtime::{RunError, S8Session};
use firmware_examples::{
    Ending, entry, exit,
    flash::{MODEL, SCRATCH_WORDS},
    println,
    serial::{self, CLOCK_HZ, CORRECTION_LEN, Clock, ENTRIES_LEN, PANEL_GENES, PRESENT},
    stack,
    stream::{
        DELIMITER, Decoder, MAX_FRAME,
        station::{Answer, Instrument, Station},
    },
    uart::Uart,
};

/// A frame that stands still for so long is given up.
const TIMEOUT_MS: u32 = 200;

#[entry]
fn main() -> ! {
    let (served, used) = stack::measure(run);
    println!("# stack {used}");
    exit(if served { Ending::Passed } else { Ending::Failed })
}

/// Whether the model was whole and frames were answered.
fn run() -> bool {
    let served = match &open() {
        Ok(model) => model.container().verify().is_ok() && serve(model).is_ok(),
        Err(_) => false,
    };
    if !served {
        println!("the model was refused");
    }
    served
}

/// See `classify` for why this and `serve` are functions of their own, and why the model is verified outside.
#[inline(never)]
fn open() -> Result<Model<'static>, ModelError> {
    Model::open(MODEL)
}

/// Answers frames until the sender has no more cells.
#[inline(never)]
fn serve(model: &Model<'_>) -> Result<(), RunError> {
    println!("{} of {} features are in the panel", serial::n_matched(), PANEL_GENES.len());
    let session = S8Session::new(model, 0)?;
    let mut correction = [0; CORRECTION_LEN];
    let instrument = Instrument {
        panel_genes: &PANEL_GENES,
        presence: session.presence(&PRESENT, &mut correction)?,
    };
    let (scratch, entries) = (&mut [0; SCRATCH_WORDS], &mut [0; ENTRIES_LEN]);
    let mut station = Station::new(session, instrument, scratch, entries);
    // SAFETY: the address is that of the table of boards, and this is the only call.
    let mut uart = unsafe { serial::open() };
    let mut decoder = Decoder::<MAX_FRAME>::new();
    let mut silence = Silence::new();
    // What came before may be lost: the sender waits for this.
    uart.write(DELIMITER);
    loop {
        let answer = match uart.read() {
            Some(byte) => {
                silence.end();
                decoder.push(byte).map(|frame| station.answer(frame))
            }
            None if silence.lasts() => decoder.silence().map(|fault| station.answer(Err(fault))),
            None => None,
        };
        match answer {
            Some(Answer::End) => break,
            Some(answer) => answer.emit(|byte| uart.write(byte)),
            None => {}
        }
    }
    println!("calls {} faults {}", station.n_calls, station.n_faults);
    Ok(())
}

/// How long nothing has come.
struct Silence {
    clock: Clock,
    ticks: u32,
}

impl Silence {
    fn new() -> Self {
        // SAFETY: the board's row names the clock that it has, and this is the only one.
        Self { clock: unsafe { Clock::start() }, ticks: 0 }
    }

    fn end(&mut self) {
        self.clock.elapsed();
        self.ticks = 0;
    }

    /// Whether the timeout has passed. Called in a loop, far more often than the clock wraps.
    fn lasts(&mut self) -> bool {
        self.ticks = self.ticks.saturating_add(self.clock.elapsed());
        self.ticks > CLOCK_HZ / 1_000 * TIMEOUT_MS
    }
}
