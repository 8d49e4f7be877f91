//! Instruction counts of the regions between `bench_start` and `bench_end`. Counts repeat exactly;
//! they are not cycles and never stand for time.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::budgets::{self, Measured};
use crate::firmware::{IMAGES, emulator};
use crate::{boards, command, insncount, toolchain};

/// Options of `cargo xtask count`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this board of firmware-examples/boards.tsv.
    #[arg(long)]
    pub board: Option<String>,
}

/// Counts in every image on the chosen boards.
pub fn run(args: &Args) -> Result<()> {
    toolchain::ensure()?;
    let plugin = insncount::build()?;
    let boards = boards::chosen(args.board.as_deref())?;
    for image in IMAGES {
        let Some(prepared) = image.prepare(false)? else {
            println!("SKIPPED: counts of {}: the host made no model for it", image.name());
            continue;
        };
        for board in &boards {
            let elf = image.build(&prepared, board)?;
            let (start, end) = (symbol(&elf, "bench_start")?, symbol(&elf, "bench_end")?);
            let mut qemu = emulator(board, &elf);
            qemu.arg("-plugin").arg(format!(
                "{},start={start:#x},end={end:#x}",
                plugin.to_str().context("the target directory's name is not UTF-8")?
            ));
            let output = qemu.output().context("cannot start qemu-system-arm")?;
            ensure!(output.status.success(), "the emulator ended with {}", output.status);

            let regions = regions(&String::from_utf8_lossy(&output.stderr));
            ensure!(!regions.is_empty(), "{} on {}: no region", image.name(), board.name);
            for (number, counts) in regions.iter().enumerate() {
                println!("count: {} on {}: region {number}: {counts}", image.name(), board.name);
            }
            let most = regions.iter().filter_map(|counts| instructions(counts)).max();
            let measured = [("instructions", most)].map(Measured::from);
            budgets::check(&image.name(), &board.name, &measured)?;
        }
    }
    Ok(())
}

fn regions(plugin_output: &str) -> Vec<String> {
    plugin_output
        .lines()
        .filter_map(|line| line.strip_prefix("insncount "))
        .map(str::to_owned)
        .collect()
}

fn instructions(counts: &str) -> Option<u64> {
    counts.split_whitespace().find_map(|field| field.strip_prefix("instructions=")?.parse().ok())
}

/// Address of a symbol, as binutils' `nm` prints it.
fn symbol(elf: &Path, name: &str) -> Result<u64> {
    let printed = command::capture(Command::new("nm").arg(elf))?;
    for line in printed.lines() {
        if let [address, _, found] = line.split_whitespace().collect::<Vec<_>>()[..]
            && found == name
        {
            return u64::from_str_radix(address, 16).with_context(|| format!("address of {name}"));
        }
    }
    bail!("{} has no symbol {name}: does the program mark a region?", elf.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_counts_among_other_output() {
        let output = "warning: x\ninsncount instructions=12 loads=3 stores=4\n";
        assert_eq!(regions(output), ["instructions=12 loads=3 stores=4"]);
        assert_eq!(instructions("instructions=12 loads=3"), Some(12));
    }
}
