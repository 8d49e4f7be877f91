//! `cic-conformance LAYERS [LARGE_EVERY [SEED]]`: every instruction set that this processor has.
//! Scalar kernels are the reference itself.

use std::process::ExitCode;

use cic_conformance::{Tally, run, run_float};
use cic_runtime::kernels::Isa;

fn main() -> ExitCode {
    let numbers: Option<Vec<u64>> =
        std::env::args().skip(1).map(|word| word.parse().ok()).collect();
    let Some(numbers) = numbers.filter(|numbers| numbers.len() <= 3) else {
        eprintln!("usage: cic-conformance [LAYERS [LARGE_EVERY [SEED]]]");
        return ExitCode::from(2);
    };
    let number = |at, default| numbers.get(at).copied().unwrap_or(default);
    let (n_layers, large_every, seed) = (number(0, 10_000), number(1, 100).max(1), number(2, 1));
    let mut has_failed = false;
    for isa in Isa::ALL.into_iter().filter(|&isa| isa != Isa::Scalar) {
        if !isa.is_available() {
            println!("SKIPPED: {}: not on this processor", isa.name());
            continue;
        }
        let tell = |operators: &str, tally: Tally| {
            println!(
                "{}, {operators}: {} layers, {} of them large, seed {seed}: {} mismatches",
                isa.name(),
                tally.n_layers,
                tally.n_large,
                tally.n_mismatches
            );
            tally.n_mismatches > 0
        };
        let report = |mismatch: &_| println!("{mismatch:?}");
        has_failed |= tell("int8", run(isa, n_layers, large_every, seed, report));
        // Fewer: floats agree within a bound, not to the bit.
        has_failed |=
            tell("float", run_float(isa, n_layers.div_ceil(10), large_every, seed, report));
    }
    if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
