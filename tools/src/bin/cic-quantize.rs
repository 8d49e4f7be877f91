//! `cic-quantize`: int8 and f16 models from full-precision ones.

use std::process::ExitCode;

use cic_tools::{exit_with, quantize};
use clap::Parser;

/// Quantise a full-precision cell identity code model to int8 or f16.
///
/// Ranges are taken from the calibration part of the model's own training rows. Exit codes: 0
/// done, 2 usage, 3 input refused, 4 model refused, 6 out of resources, 7 internal.
#[derive(Parser)]
#[command(name = "cic-quantize", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: quantize::QuantizeArgs,
}

fn main() -> ExitCode {
    exit_with("cic-quantize", quantize::run(&Cli::parse().args))
}
