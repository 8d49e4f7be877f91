//! Everything that must hold before a change lands, in order, cheapest first.

use std::fs;
use std::io::{BufRead, BufReader, Write, stdout};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{command, workspace};

/// What a step runs.
enum Work {
    /// `cargo` with these arguments.
    Cargo(&'static [&'static str]),
    /// `cargo xtask` with these arguments.
    Xtask(&'static [&'static str]),
}

use Work::{Cargo, Xtask};

/// A step with skipped parts still passes; what it skipped is in the summary.
const STEPS: &[(&str, Work)] = &[
    ("format", Cargo(&["fmt", "--all", "--", "--check"])),
    ("firmware format", Cargo(&["fmt", "--manifest-path", FIRMWARE_MANIFEST, "--", "--check"])),
    ("fuzzing format", Cargo(&["fmt", "--manifest-path", FUZZ_MANIFEST, "--", "--check"])),
    ("import rules", Xtask(&["deps"])),
    ("clippy", Cargo(CLIPPY)),
    ("no_std", Xtask(&["no-std"])),
    ("C header", Xtask(&["header", "--check"])),
    ("C library without panics", Xtask(&["proofs"])),
    ("anndata, scanpy and onnxruntime", Xtask(&["python"])),
    ("tests", Cargo(TESTS)),
    ("fuzzing", Xtask(&["fuzz"])),
    ("kernel conformance", Xtask(&["conformance"])),
    ("programs on other processors", Xtask(&["pipeline"])),
    ("kernel instructions", Xtask(&["kernel-count"])),
    ("documentation", Cargo(&["doc", "--workspace", "--no-deps"])),
    ("firmware", Xtask(&["count"])),
    ("budgets against the emulator", Xtask(&["costs", "--check"])),
    ("guides from empty folders", Xtask(&["guides"])),
    ("demo on the simulation", Xtask(&["demo", "--simulation"])),
];

const CLIPPY: &[&str] = &[
    "clippy",
    "--workspace",
    "--all-targets",
    "--features",
    workspace::FEATURES,
    "--",
    "-D",
    "warnings",
];

const TESTS: &[&str] = &[
    "test",
    "--workspace",
    "--features",
    workspace::FEATURES,
    "--no-fail-fast",
    "--",
    "--show-output",
];

const FIRMWARE_MANIFEST: &str = "firmware-examples/Cargo.toml";
const FUZZ_MANIFEST: &str = "tests/fuzz/Cargo.toml";

/// Runs every step, also after one failed, and sums up.
pub fn run() -> Result<()> {
    let mut tally = Tally::default();
    let mut summary = Vec::new();
    for (name, work) in STEPS {
        println!("=== {name}");
        let (start, processor) = (Instant::now(), processor_seconds());
        let result = run_step(work, &mut tally);
        if let Err(error) = &result {
            println!("FAILED: {name}: {error:#}");
        }
        let processor = processor_seconds() - processor;
        summary.push((*name, result.is_ok(), start.elapsed(), processor));
    }

    println!("=== summary");
    println!("{:<7}{:>10}{:>12}", "", "time", "processor");
    for (name, passed, time, processor) in &summary {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("{verdict:<7}{:>8.1} s{processor:>10.1} s  {name}", time.as_secs_f64());
    }
    let total: Duration = summary.iter().map(|(_, _, time, _)| *time).sum();
    println!("{:>15.1} s{:>10.1} s  in all", total.as_secs_f64(), processor_seconds());
    for line in &tally.skips {
        println!("{line}");
    }
    println!(
        "tests: {} passed, {} failed, {} skipped",
        tally.passed,
        tally.failed,
        tally.skipped()
    );

    let failed: Vec<_> =
        summary.iter().filter(|(_, passed, ..)| !passed).map(|(name, ..)| *name).collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    ensure!(tally.passed > 0, "no test was run");
    Ok(())
}

/// Processor time of the programs that ended, in seconds; 0 where the system does not say.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything: state, ten numbers, own user and system time, those of children.
    let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(13).take(2);
    numbers.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// Linux counts so for programs, whatever it does inside.
const TICKS_PER_SECOND: f64 = 100.0;

/// Whether this is CI, where checks are not skipped for want of a tool.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Runs one step; its standard output is passed on and read for test results.
fn run_step(work: &Work, tally: &mut Tally) -> Result<()> {
    let mut command = match work {
        Cargo(arguments) => {
            let mut cargo = workspace::cargo();
            cargo.args(*arguments).env("RUSTDOCFLAGS", "-D warnings");
            cargo
        }
        Xtask(arguments) => {
            let mut xtask = Command::new(std::env::current_exe()?);
            xtask.args(*arguments);
            xtask
        }
    };
    // Nothing is built twice, and what is kept for that takes gigabytes.
    command.env("CARGO_INCREMENTAL", "0");
    command::announce(&command);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("standard output is piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        stdout().write_all(&line)?;
        stdout().write_all(b"\n")?;
        tally.read(&String::from_utf8_lossy(&line));
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

/// Test results and skips, as the steps print them.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Lines that begin with `SKIPPED:`, each once.
    skips: Vec<String>,
}

impl Tally {
    fn read(&mut self, line: &str) {
        if line.starts_with("SKIPPED:") && !self.skips.iter().any(|known| known == line) {
            self.skips.push(line.to_owned());
        }
        // `test result: ok. 3 passed; 0 failed; 1 ignored; …`
        if let Some(results) = line.strip_prefix("test result: ") {
            let words: Vec<_> = results.split_whitespace().collect();
            let count = |name: &str| {
                let position = words.iter().position(|word| word.trim_end_matches(';') == name)?;
                words.get(position.checked_sub(1)?)?.parse::<u64>().ok()
            };
            self.passed += count("passed").unwrap_or(0);
            self.failed += count("failed").unwrap_or(0);
            self.ignored += count("ignored").unwrap_or(0);
        }
    }

    fn skipped(&self) -> u64 {
        self.ignored + self.skips.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_results_of_test_programs() {
        let mut tally = Tally::default();
        tally.read("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; finished in 0.1s");
        tally.read("test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured");
        tally.read("the test result: ok. 9 passed");
        assert_eq!((tally.passed, tally.failed, tally.skipped()), (5, 4, 1));
    }

    #[test]
    fn a_skip_is_told_once() {
        let mut tally = Tally::default();
        tally.read("SKIPPED: no data");
        tally.read("SKIPPED: no data");
        assert_eq!(tally.skipped(), 1);
    }
}
