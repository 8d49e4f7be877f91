//! Proof that the runtime needs neither `std` nor `alloc`: each package is checked alone, because a
//! workspace build would join the features that others ask for.

use anyhow::Result;

use crate::{boards, command, toolchain, workspace};

/// Packages that must compile for bare metal without features.
const PACKAGES: &[&str] = &["cic-model", "cic-runtime"];

/// Checks each of them for the first board of the table.
pub fn run() -> Result<()> {
    toolchain::ensure(toolchain::FIRMWARE)?;
    let board = &boards::chosen(None)?[0];
    for package in PACKAGES {
        let mut cargo = toolchain::cargo(board, &workspace::root(), "check")?;
        command::run(cargo.args(["--no-default-features", "-p", package]))?;
    }
    println!("no-std: {} compile alone for {}", PACKAGES.join(" and "), board.target);
    Ok(())
}
