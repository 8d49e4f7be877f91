//! Instructions of every operator of the runtime, counted by callgrind, against the recorded ones.
//! Counts repeat exactly on one compiler; they are not cycles and never stand for time.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::ci::is_ci;
use crate::instructions::{Counts, TOLERANCE_PERCENT};
use crate::toolchain::{self, VALGRIND};
use crate::{command, workspace};

#[derive(clap::Args)]
pub struct Args {
    /// Write the counts to bench/instructions.txt instead of comparing them with it.
    #[arg(long)]
    record: bool,
}

/// Counts on every instruction set, and compares or records.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    if let Some(reason) = reason_to_skip() {
        return skip(&reason);
    }
    command::run(workspace::cargo().args(["build", "--release", "-p", "cic-bench"]))?;
    let directory = workspace::target_dir()?;
    let program = directory.join("release/kernel-count");
    let mut counts = Counts::new(compiler()?);
    for isa in ISAS {
        let folder = directory.join("kernel-count").join(isa);
        let printed = count(&program, isa, &folder)?;
        if let Some(line) = printed.lines().find(|line| line.starts_with("SKIPPED:")) {
            return skip(line.trim_start_matches("SKIPPED: "));
        }
        for (n, operator) in printed.lines().enumerate() {
            counts.add(operator, isa, total(&folder, n + 1)?);
        }
        let next = dump(&folder, printed.lines().count() + 1);
        ensure!(!next.exists(), "callgrind counted more calls than kernel-count printed");
    }
    println!("{} counts in {:.0} s", counts.len(), start.elapsed().as_secs_f64());
    if args.record {
        fs::write(record(), counts.to_string())?;
        return Ok(());
    }
    compare(&counts)
}

fn compare(counts: &Counts) -> Result<()> {
    let text = fs::read_to_string(record()).with_context(|| record().display().to_string())?;
    let recorded = Counts::parse(&text).with_context(|| record().display().to_string())?;
    if recorded.compiler() != counts.compiler() && !is_ci() {
        let (theirs, ours) = (recorded.compiler(), counts.compiler());
        return skip(&format!("recorded with {theirs}, this is {ours}"));
    }
    let change = counts.against(&recorded);
    for line in change.more.iter().chain(&change.less).chain(&change.unmatched) {
        println!("{line}");
    }
    if !change.less.is_empty() {
        println!("fewer instructions by more than {TOLERANCE_PERCENT} %: {RECORD_ANEW}");
    }
    ensure!(change.unmatched.is_empty(), "operators came or went: {RECORD_ANEW}");
    ensure!(
        change.more.is_empty(),
        "{} of {} counts are more than {TOLERANCE_PERCENT} % above those recorded with {} (this is \
         {}); where the cost is wanted: {RECORD_ANEW}",
        change.more.len(),
        counts.len(),
        recorded.compiler(),
        counts.compiler()
    );
    println!("none is more than {TOLERANCE_PERCENT} % above the record");
    Ok(())
}

/// Runs the program under callgrind, which writes a file for each call of its function `counted`.
/// Gives what it printed: the operators, in the order of the files.
fn count(program: &Path, isa: &str, folder: &Path) -> Result<String> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]);
    valgrind.args(["--toggle-collect=kernel_count::counted"]);
    valgrind.args(["--dump-after=kernel_count::counted"]);
    let out = folder.join(OUT).into_os_string().into_string();
    let Ok(out) = out else { bail!("the target directory's name is not UTF-8") };
    valgrind.arg(format!("--callgrind-out-file={out}")).arg(program).arg(isa);
    command::announce(&valgrind);
    command::capture(&mut valgrind)
}

/// The count of the n-th call.
fn total(folder: &Path, n: usize) -> Result<u64> {
    let path = dump(folder, n);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.filter(|&total| total > 0).with_context(|| format!("{}: no total", path.display()))
}

fn dump(folder: &Path, n: usize) -> PathBuf {
    folder.join(format!("{OUT}.{n}"))
}

/// Why nothing can be counted here.
fn reason_to_skip() -> Option<String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some("counts are recorded for x86-64 Linux".into());
    }
    toolchain::install_missing(&[VALGRIND]).err().map(|error| format!("{error:#}"))
}

fn skip(reason: &str) -> Result<()> {
    println!("SKIPPED: instruction counts: {reason}");
    ensure!(!is_ci(), "CI counts instructions: {reason}");
    Ok(())
}

/// The compiler of host builds.
fn compiler() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(rustc);
    let version = command::capture(rustc.arg("--version").current_dir(workspace::root()))?;
    Ok(version.trim().to_owned())
}

fn record() -> PathBuf {
    workspace::root().join("bench/instructions.txt")
}

/// Valgrind 3.19 has neither AVX-512 nor AMX.
const ISAS: [&str; 3] = ["scalar", "sse4.1", "avx2"];

const OUT: &str = "callgrind.out";

const RECORD_ANEW: &str = "run `cargo xtask kernel-count --record`";
