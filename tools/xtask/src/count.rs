//! Instruction counts of the regions between `bench_start` and `bench_end`. Counts repeat exactly;
//! they are not cycles and never stand for time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

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

    /// Makes `qemu` count in `elf`, if that marks regions at all. The counts come on the emulator's
    /// standard error.
    pub fn attach(&self, qemu: &mut Command, elf: &Path) -> Result<()> {
        let (Some(start), Some(end)) = (symbol(elf, "bench_start")?, symbol(elf, "bench_end")?)
        else {
            return Ok(());
        };
        let library = self.library.to_str().context("the target directory's name is not UTF-8")?;
        qemu.arg("-plugin").arg(format!("{library},start={start:#x},end={end:#x}"));
        Ok(())
    }
}

/// Regions that closed one after another, of one name.
#[derive(Debug, PartialEq)]
struct Regions<'a> {
    name: &'a str,
    n: usize,
    /// Whether all must have the same count.
    are_constant: bool,
}

impl<'a> Regions<'a> {
    /// `# region NAME`, `# regions N bounded NAME` or `# regions N constant NAME`.
    fn parse(line: &'a str) -> Option<Self> {
        if let Some(name) = line.strip_prefix("# region ") {
            return Some(Self { name, n: 1, are_constant: false });
        }
        let fields: Vec<&str> = line.strip_prefix("# regions ")?.split(' ').collect();
        let [n, kind @ ("bounded" | "constant"), name] = fields[..] else { return None };
        Some(Self { name, n: n.parse().ok()?, are_constant: kind == "constant" })
    }
}

/// The counts of the longest region of each name. The plugin tells them in the order in which they close,
/// and the console has a line for each, or for several of one name.
pub fn regions(console: &str, plugin_output: &str) -> Result<BTreeMap<String, u64>> {
    let named: Vec<Regions> = console.lines().filter_map(Regions::parse).collect();
    let n_named: usize = named.iter().map(|regions| regions.n).sum();
    let counts: Vec<_> = plugin_output
        .lines()
        .filter_map(|line| line.strip_prefix("insncount "))
        .filter_map(instructions)
        .collect();
    ensure!(n_named == counts.len(), "{} regions were counted and {n_named} named", counts.len());
    let mut longest = BTreeMap::new();
    let mut counts = counts.into_iter();
    for Regions { name, n, are_constant } in named {
        let counts: Vec<u64> = counts.by_ref().take(n).collect();
        let (Some(&least), Some(&most)) = (counts.iter().min(), counts.iter().max()) else {
            continue;
        };
        if n > 1 {
            println!("  {least} to {most} instructions in {n} regions {name}");
        }
        ensure!(!are_constant || least == most, "{name} takes from {least} to {most} instructions");
        let entry = longest.entry(name.to_owned()).or_insert(most);
        *entry = most.max(*entry);
    }
    Ok(longest)
}

fn instructions(counts: &str) -> Option<u64> {
    counts.split_whitespace().find_map(|field| field.strip_prefix("instructions=")?.parse().ok())
}

/// Address of a symbol, as binutils' `nm` prints it.
fn symbol(elf: &Path, name: &str) -> Result<Option<u64>> {
    let printed = command::capture(Command::new("nm").arg(elf))?;
    for line in printed.lines() {
        if let [address, _, found] = line.split_whitespace().collect::<Vec<_>>()[..]
            && found == name
        {
            let address = u64::from_str_radix(address, 16);
            return address.map(Some).with_context(|| format!("address of {name}"));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_longest_region_of_each_name() {
        let console = "x\n# region a\n# region b\n# region a\n";
        let output = "warning: x\n\
                      insncount instructions=9 loads=3 stores=4\n\
                      insncount instructions=5 loads=3 stores=4\n\
                      insncount instructions=12 loads=3 stores=4\n";
        let found: Vec<_> = regions(console, output).unwrap().into_iter().collect();
        assert_eq!(found, [("a".to_owned(), 12), ("b".to_owned(), 5)]);
    }

    #[test]
    fn regions_that_must_be_constant_are() {
        let output = "insncount instructions=9 loads=3 stores=4\n\
                      insncount instructions=5 loads=3 stores=4\n";
        let found = regions("# regions 2 bounded a\n", output).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 9)]);
        let error = regions("# regions 2 constant a\n", output).unwrap_err();
        assert_eq!(error.to_string(), "a takes from 5 to 9 instructions");
    }

    #[test]
    fn a_region_without_a_name_is_an_error() {
        let error = regions("", "insncount instructions=9 loads=3 stores=4\n").unwrap_err();
        assert_eq!(error.to_string(), "1 regions were counted and 0 named");
    }
}
