//! `cic-quantize`: int8 and f16 models from full-precision ones.

use std::process::ExitCode;

use cic_tools::{EXIT_CODES, exit_with, quantize};
use clap::Parser;

/// Quantise a full-precision cell identity code model to int8 or f16.
#[derive(Parser)]
#[command(name = "cic-quantize", version, after_help = EXIT_CODES, override_usage = USAGE)]
struct Cli {
    #[command(flatten)]
    args: quantize::QuantizeArgs,
}

fn main() -> ExitCode {
    exit_with("cic-quantize", quantize::run(&Cli::parse().args))
}

const USAGE: &str = "cic-quantize [OPTIONS] <MODEL> --calibrate <DATA> --to <DTYPE> -o <OUT>";
