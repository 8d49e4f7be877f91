//! `cic`: train, type, evaluate and inspect cell identity code models.

use std::process::ExitCode;

use cic_tools::{
    EXIT_CODES, budget, check, check_environment, compare, demo, evaluate, exit_with, explain,
    help, inspect, noise, report, reproduce, sweep, train, type_cells, unseen, verify,
};
use clap::{CommandFactory, Parser, Subcommand};

/// Cell identity codes: what each cell is, from its gene expression profile.
#[derive(Parser)]
#[command(name = "cic", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a full-precision model on labelled data
    Train(train::TrainArgs),
    /// Name the cells of a file
    Type(type_cells::TypeArgs),
    /// Type again what was typed before, and compare
    Verify(verify::VerifyArgs),
    /// Tell how good calls and reconstructions are on labelled data
    Eval(evaluate::EvalArgs),
    /// Tell how well profiles come back from codes, beside PCA and more
    Reproduce(reproduce::ReproduceArgs),
    /// Compare with linear methods over many divisions of the data
    Compare(compare::CompareArgs),
    /// Try parameters of training by cross-validation on training rows
    Sweep(sweep::SweepArgs),
    /// Leave each cell type out in turn, and tell what becomes of it
    Unseen(unseen::UnseenArgs),
    /// Spoil held cells, and tell what becomes of calls and codes
    Noise(noise::NoiseArgs),
    /// Tell which genes and gene sets codes and calls stand for
    Explain(explain::ExplainArgs),
    /// Write one page about a model and its test cells
    Report(report::ReportArgs),
    /// Tell what is in a model file
    Inspect(inspect::InspectArgs),
    /// Tell what an int8 model needs on microcontrollers
    Budget(budget::BudgetArgs),
    /// Tell what is in an expression file, and whether it fits a model
    Check(check::CheckArgs),
    /// Train, quantise and type, on simulated cells or your own
    Demo(demo::DemoArgs),
    /// Write manual pages
    Man(help::ManArgs),
    /// Print completions for a shell
    Completions(help::CompletionsArgs),
}

fn main() -> ExitCode {
    cic_data::hide_caught_panics();
    let command = Cli::parse().command;
    check_environment();
    let result = match command {
        Command::Train(args) => train::run(&args),
        Command::Type(args) => type_cells::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Eval(args) => evaluate::run(&args),
        Command::Reproduce(args) => reproduce::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Unseen(args) => unseen::run(&args),
        Command::Noise(args) => noise::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Budget(args) => budget::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Man(args) => help::man(&args, Cli::command()),
        Command::Completions(args) => help::completions(&args, Cli::command()),
    };
    exit_with("cic", result)
}
