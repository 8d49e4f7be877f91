//! Instruction counts of the regions between `bench_start` and `bench_end`. Counts repeat exactly;
//! they are not cycles and never stand for time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{command, workspace};

/// The emulator plugin that counts.
pub struct Counter {
    library: PathBuf,
}

impl Counter {
    /// Compiles the plugin from `insncount/insncount.c`.
    pub fn build() -> Result<Self> {
        ensure!(command::in_path("gcc"), "gcc is missing; run as root: apt-get install -y gcc");
        let folder = workspace::target_dir()?.join("fw");
        fs::create_dir_all(&folder)?;
        let library = folder.join("libinsncount.so");
        let source = workspace::root().join("tools/xtask/insncount/insncount.c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
        command::run(gcc.arg(&library).arg(source))?;
        Ok(Self { library })
    }

    /// Makes `qemu` count in `elf`. The counts come on the emulator's standard error.
    pub fn attach(&self, qemu: &mut Command, elf: &Path) -> Result<()> {
        let (start, end) = (symbol(elf, "bench_start")?, symbol(elf, "bench_end")?);
        let library = self.library.to_str().context("the target directory's name is not UTF-8")?;
        qemu.arg("-plugin").arg(format!("{library},start={start:#x},end={end:#x}"));
        Ok(())
    }
}

/// The count of the longest region in what the plugin printed; prints that region's line.
pub fn most_instructions(plugin_output: &str) -> Option<u64> {
    let (instructions, line) = plugin_output
        .lines()
        .filter_map(|line| line.strip_prefix("insncount "))
        .filter_map(|line| Some((instructions(line)?, line)))
        .max()?;
    println!("  longest region: {line}");
    Some(instructions)
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
    fn finds_the_longest_region_among_other_output() {
        let output = "warning: x\n\
                      insncount instructions=9 loads=3 stores=4\n\
                      insncount instructions=12 loads=3 stores=4\n";
        assert_eq!(most_instructions(output), Some(12));
    }

    #[test]
    fn no_region_is_no_count() {
        assert_eq!(most_instructions("warning: x\n"), None);
    }
}
