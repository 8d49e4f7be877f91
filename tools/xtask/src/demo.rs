//! The first command of the README.

use std::process::Command;

use anyhow::Result;

use crate::{command, data, workspace};

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Use the embedded simulation and fetch nothing.
    #[arg(long)]
    pub simulation: bool,
}

/// Builds `cic` and runs its demo on real data, or on the simulation where none can be fetched.
pub fn run(args: &Args) -> Result<()> {
    let mut cargo = workspace::cargo();
    command::run(cargo.args(["build", "--release", "-p", "cic-tools", "--bin", "cic"]))?;

    let mut demo = Command::new(workspace::target_dir()?.join("release/cic"));
    demo.arg("demo");
    if !args.simulation {
        match data::fetch() {
            Ok(fetched) => {
                demo.arg("--data").arg(fetched.expression);
                demo.args(["--kind", "counts", "--labels", "cell_type"]);
                demo.arg("--labels-file").arg(fetched.labels);
            }
            Err(error) => {
                eprintln!("no real data: {error:#}");
                println!("SKIPPED: real data could not be fetched; the demo uses simulated cells");
            }
        }
    }
    command::run(&mut demo)
}
