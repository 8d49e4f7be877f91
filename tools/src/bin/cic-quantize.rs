//! `cic-quantize`: int8 and f16 models from full-precision ones.

use std::process::ExitCode;

use cic_tools::help::QuantizeCommand;
use cic_tools::{exit_with, quantize};
use clap::Parser;

fn main() -> ExitCode {
    cic_data::hide_caught_panics();
    exit_with("cic-quantize", quantize::run(&QuantizeCommand::parse().args))
}
