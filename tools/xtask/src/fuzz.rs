//! Fuzzing of readers and model files: `tests/fuzz` built with libFuzzer and run.
//!
//! Coverage counters come from flags of the compiler that stable releases take; nothing is installed.
//! `--target` keeps them away from build scripts, which are linked without libFuzzer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{command, side_by_side, workspace};

/// A target, and the longest input that it is given: that of the longest seed, about.
struct Target {
    name: &'static str,
    max_len: usize,
    /// Whether it is built with the feature of its name.
    has_feature: bool,
}

const TARGETS: [Target; 10] = [
    Target { name: "h5ad", max_len: 24 << 10, has_feature: false },
    Target { name: "cellranger", max_len: 24 << 10, has_feature: false },
    Target { name: "mex", max_len: 4 << 10, has_feature: false },
    Target { name: "table", max_len: 4 << 10, has_feature: false },
    Target { name: "geo_series", max_len: 4 << 10, has_feature: false },
    Target { name: "model", max_len: 16 << 10, has_feature: false },
    Target { name: "parquet", max_len: 4 << 10, has_feature: true },
    Target { name: "zarr", max_len: 4 << 10, has_feature: true },
    Target { name: "onnx", max_len: 4 << 10, has_feature: true },
    Target { name: "celltypist", max_len: 6 << 10, has_feature: false },
];

#[derive(clap::Args)]
pub struct Args {
    /// Targets; all of them if none is named.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS.map(|target| target.name)))]
    targets: Vec<String>,
    /// How long each of them runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Stop a target earlier, after so many runs.
    #[arg(long)]
    runs: Option<u64>,
    /// Trace comparisons too: finds more by itself and takes several times as long for a run.
    #[arg(long)]
    compares: bool,
    /// Build with AddressSanitizer, which sees what unsafe code of other crates does out of bounds.
    #[arg(long)]
    sanitizer: bool,
}

/// Builds and runs the targets, as many at a time as there are processors.
pub fn run(args: &Args) -> Result<()> {
    let is_chosen = |target: &&Target| {
        args.targets.is_empty() || args.targets.iter().any(|name| name == target.name)
    };
    let chosen: Vec<&Target> = TARGETS.iter().filter(is_chosen).collect();
    let programs = build(args, &chosen)?;
    let scratch = Scratch::create()?;
    println!("{:<12}{:>14}{:>10}{:>9}  findings", "target", "runs", "runs/s", "MiB");
    // Each is told when it ends: others may run for hours.
    let outcomes = side_by_side::map(&chosen, |target| {
        let outcome = fuzz(target, args, &programs, &scratch.0)?;
        let Outcome { runs, per_second, peak, finding } = &outcome;
        let shown = finding.as_deref().unwrap_or("none");
        println!("{:<12}{runs:>14}{per_second:>10}{peak:>9}  {shown}", target.name);
        Ok(outcome)
    })?;
    let n = outcomes.iter().filter(|outcome| outcome.finding.is_some()).count();
    ensure!(
        n == 0,
        "{n} targets have findings; run the program of the target with the file named above"
    );
    Ok(())
}

/// What a target did.
struct Outcome {
    runs: u64,
    per_second: u64,
    /// Most memory that was resident, MiB.
    peak: u64,
    /// The file that holds the input.
    finding: Option<String>,
}

/// Builds the targets and returns the folder that they are in.
fn build(args: &Args, chosen: &[&Target]) -> Result<PathBuf> {
    let target = host()?;
    let mut flags = COVERAGE.map(|flag| format!("-Cllvm-args=-{flag}")).to_vec();
    flags.push("-Cpasses=sancov-module".into());
    let mut folder = workspace::target_dir()?.join("fuzz");
    let mut cargo = workspace::cargo();
    if args.compares {
        flags.push("-Cllvm-args=-sanitizer-coverage-trace-compares".into());
        folder.push("compares");
    }
    if args.sanitizer {
        flags.push("-Zsanitizer=address".into());
        folder.push("sanitizer");
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    cargo.args([
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        MANIFEST,
        "--target",
        &target,
    ]);
    for target in chosen {
        cargo.args(["--bin", target.name]);
        if target.has_feature {
            cargo.args(["--features", target.name]);
        }
    }
    cargo.arg("--target-dir").arg(&folder).env("RUSTFLAGS", flags.join(" "));
    command::run(&mut cargo)?;
    Ok(folder.join(target).join("release"))
}

fn host() -> Result<String> {
    let about = command::capture(Command::new("rustc").arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

fn fuzz(target: &Target, args: &Args, programs: &Path, scratch: &Path) -> Result<Outcome> {
    // What was found to reach new code stays in the target folder and begins the next run.
    let kept = workspace::target_dir()?.join("fuzz");
    let corpus = kept.join("corpus").join(target.name);
    let findings = kept.join("findings").join(target.name);
    let (seeds, inputs) = (scratch.join("seeds").join(target.name), scratch.join("inputs"));
    for folder in [&corpus, &findings, &seeds, &inputs] {
        fs::create_dir_all(folder)?;
    }
    let before = files(&findings)?;
    let mut program = match args.sanitizer {
        true => Command::new(programs.join(target.name)),
        // What is allocated and never touched counts here, but not as resident memory.
        false => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit -v {MOST_KIB}; exec \"$0\" \"$@\"")]);
            shell.arg(programs.join(target.name));
            shell
        }
    };
    program
        .args(LIMITS)
        .args(match args.sanitizer {
            true => SANITIZER_LIMITS,
            false => PLAIN_LIMITS,
        })
        .arg(format!("-max_total_time={}", args.seconds))
        .arg(format!("-max_len={}", target.max_len))
        .arg(format!("-runs={}", args.runs.map_or(-1, |runs| runs as i64)))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args([&corpus, &seeds])
        .env("CIC_FUZZ_SEEDS", &seeds)
        .env("CIC_FUZZ_FOLDER", &inputs);
    command::announce(&program);
    let output = program.stdin(Stdio::null()).output().context("a target does not start")?;
    let log = String::from_utf8_lossy(&output.stderr);
    let number = |name: &str| statistic(&log, name);
    let found = files(&findings)?.into_iter().find(|file| !before.contains(file));
    if !output.status.success() && found.is_none() {
        bail!("{} ended with {}:\n{log}", target.name, output.status);
    }
    if found.is_some() {
        eprintln!("{log}");
    }
    Ok(Outcome {
        runs: number("number_of_executed_units"),
        per_second: number("average_exec_per_sec"),
        peak: number("peak_rss_mb"),
        finding: found.map(|file| file.display().to_string()),
    })
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect()
}

/// A number that libFuzzer prints at the end; 0 where a finding ended the run before.
fn statistic(log: &str, name: &str) -> u64 {
    let lines = log.lines().filter_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
    lines.filter_map(|rest| rest.strip_prefix(':')?.trim().parse().ok()).next_back().unwrap_or(0)
}

/// A folder in memory, where the system has one: each run writes its input into a file.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let folder = parent.join(format!("cic-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in memory is lost at the next start anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const MANIFEST: &str = "tests/fuzz/Cargo.toml";
const COVERAGE: [&str; 4] = [
    "sanitizer-coverage-level=4",
    "sanitizer-coverage-inline-8bit-counters",
    "sanitizer-coverage-pc-table",
    "simplifycfg-branch-fold-threshold=0",
];
/// Seconds for one input; seeds take milliseconds, but a busy machine can stop a process for ten. What takes less is no finding.
const LIMITS: [&str; 4] =
    ["-timeout=30", "-report_slow_units=30", "-print_final_stats=1", "-verbosity=0"];
/// MiB for the process, which takes 50 with the seeds, and for one allocation. The sanitizer keeps what was freed.
const PLAIN_LIMITS: &[&str] = &["-rss_limit_mb=400"];
const SANITIZER_LIMITS: &[&str] = &["-rss_limit_mb=2048", "-malloc_limit_mb=256"];
/// Address space of a process without the sanitizer.
const MOST_KIB: u64 = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_end_of_the_log() {
        let log = "#2 INITED\nstat::number_of_executed_units: 31943\nstat::peak_rss_mb:              33\n";
        assert_eq!(statistic(log, "number_of_executed_units"), 31_943);
        assert_eq!(statistic(log, "peak_rss_mb"), 33);
        assert_eq!(statistic(log, "average_exec_per_sec"), 0);
    }
}
