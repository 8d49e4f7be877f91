//! `docs/input-matrix.md`: what becomes of every kind of file, from the rows of the test that tries
//! them.

use anyhow::Result;

use crate::{command, workspace};

#[derive(clap::Args)]
pub struct Args {
    /// Fail where the page is not what the rows give, or a program does not do what they say.
    #[arg(long)]
    check: bool,
}

/// Writes the page, or tries the rows.
pub fn run(args: &Args) -> Result<()> {
    let mut test = workspace::cargo();
    // As the tests are built, or all of it would be built once more.
    test.args([
        "test",
        "-p",
        "cic-tools",
        "--test",
        "cli",
        "--features",
        workspace::FEATURES,
        "--",
    ]);
    if args.check {
        test.arg("input_matrix");
    } else {
        test.arg("input_matrix::page").env("CIC_BLESS_INPUT_MATRIX", "1");
    }
    command::run(&mut test)
}
