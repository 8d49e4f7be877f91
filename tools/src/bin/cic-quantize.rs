//! `cic-quantize`: int8 and f16 models from full-precision ones, and what differs between two models.

use std::process::ExitCode;

use cic_tools::diff::{self, DiffArgs};
use cic_tools::help::quantize_command;
use cic_tools::quantize::{self, QuantizeArgs};
use cic_tools::{Failure, exit_with};
use clap::{ArgMatches, FromArgMatches};

fn main() -> ExitCode {
    cic_data::hide_caught_panics();
    exit_with("cic-quantize", run(&quantize_command().get_matches()))
}

fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some((_, of_diff)) => {
            diff::run(&DiffArgs::from_arg_matches(of_diff).map_err(Failure::usage)?)
        }
        None => quantize::run(&QuantizeArgs::from_arg_matches(matches).map_err(Failure::usage)?),
    }
}
