//! `cargo xtask`: everything that the project automates. What CI runs is `cargo xtask ci`, and
//! each of its steps can be run alone.
#![forbid(unsafe_code)]

mod boards;
mod budgets;
mod c_image;
mod ci;
mod command;
mod conformance;
mod costs;
mod count;
mod data;
mod demo;
mod deps;
mod firmware;
mod fuzz;
mod guides;
mod header;
mod input_matrix;
mod instructions;
mod kernel_count;
mod library;
mod no_std;
mod paper;
mod pipeline;
mod proofs;
mod python;
mod reference;
mod searched;
mod serial_line;
mod side_by_side;
mod size;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

fn main() -> ExitCode {
    match run(Xtask::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Demo(args) => demo::run(&args),
        Task::Ci => ci::run(),
        Task::Deps => deps::run(),
        Task::Conformance(args) => conformance::run(&args),
        Task::NoStd => no_std::run(),
        Task::Header(args) => header::run(&args),
        Task::InputMatrix(args) => input_matrix::run(&args),
        Task::Proofs => proofs::run(),
        Task::Pipeline => pipeline::run(),
        Task::Searched => searched::run(),
        Task::Firmware(args) => firmware::run(&args, None, |_| true).map(drop),
        Task::Count(args) => size::count(&args),
        Task::Size(args) => size::run(&args),
        Task::Costs(args) => costs::run(&args),
        Task::Guides => guides::run(),
        Task::KernelCount(args) => kernel_count::run(&args),
        Task::Paper(args) => paper::run(&args),
        Task::Trust(args) => paper::trust::run(&args),
        Task::Quantising(args) => paper::quantising::run(&args),
        Task::Reference => reference::run(),
        Task::Data => data::run(),
        Task::Python => python::run(),
        Task::Fuzz(args) => fuzz::run(&args),
    }
}

/// Project automation.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Train, quantize and type cells of a public data set, and print the accuracy table.
    Demo(demo::Args),
    /// Run every check, as CI does; installs the Debian packages it needs when run as root.
    Ci,
    /// Compare the kernels of every instruction set with the reference, on this machine, emulated ones
    /// and WebAssembly.
    Conformance(conformance::Args),
    /// Check which package may depend on which.
    Deps,
    /// Build cic-model and cic-runtime, each alone and without features, for bare metal.
    NoStd,
    /// Feed readers and model files with millions of damaged inputs: no panic, no hang, bounded memory.
    Fuzz(fuzz::Args),
    /// Write the C header from the sources of cic-capi, or check it.
    Header(header::Args),
    /// Write docs/input-matrix.md from the rows of its test, or try them.
    InputMatrix(input_matrix::Args),
    /// Link the C library for bare metal and prove that it neither panics nor allocates.
    Proofs,
    /// Quantise and type on emulated processors, and compare what is written with this machine's.
    Pipeline,
    /// Search for the smallest model for a Cortex-M4 and for aarch64, and try both on emulators.
    Searched,
    /// Build the firmware examples, run them in the emulator, compare console, sizes and stack.
    Firmware(firmware::Args),
    /// The same, and count instructions, loads and stores between bench_start and bench_end.
    Count(firmware::Args),
    /// Measure on the emulators what models of many shapes take, and write what `cic budget` calculates with;
    /// or compare what it says.
    Costs(costs::Args),
    /// Follow the guides of docs/ for firmware in Rust and C, each from an empty folder.
    Guides,
    /// Print sizes and instruction counts of every board as the table that the documents have.
    Size(size::Args),
    /// Count the instructions of every operator of the runtime with callgrind, and compare them with
    /// the recorded ones.
    KernelCount(kernel_count::Args),
    /// Run every experiment of the paper on the data sets, and write docs/paper.md with what they print.
    Paper(paper::Args),
    /// Run what shows rejection, confidence and missing genes on the data sets, and write docs/trust.md with what it prints
    Trust(paper::Args),
    /// Quantise models of all data sets in every way, beside other quantizers, and write docs/quantising.md
    Quantising(paper::Args),
    /// Train the model of models/ anew, and write its card.
    Reference,
    /// Install anndata, scanpy and onnxruntime under the target directory, for the tests that read outputs with them.
    Python,
    /// Fetch the demo's data by package name, with its checksum, into .cache/data.
    Data,
}
