//! Kernels against the reference on random layers (`tests/conformance`): on this processor, on emulated
//! ones that have less or another instruction set, and in WebAssembly.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::ci::is_ci;
use crate::toolchain::{self, Target};
use crate::{command, workspace};

#[derive(clap::Args)]
pub struct Args {
    /// Random layers for this processor, whose instruction sets share them; each of an emulated one gets a
    /// part of it, WebAssembly more.
    #[arg(long, default_value_t = LAYERS)]
    layers: u64,
}

const LAYERS: u64 = 400_000;

/// One random layer in so many is large.
const LARGE_EVERY: u64 = 80;

/// Layers that [`LAYERS`] must come to over all machines and instruction sets, and large ones of these.
const LEAST: (u64, u64) = (1_000_000, 10_000);

/// Processors without what QEMU cannot emulate and warns about.
pub const HASWELL: &str = "Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid";
pub const WESTMERE: &str = "Westmere,-pcid";

/// What runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Native,
    /// `qemu-x86_64 -cpu`
    X86(&'static str),
    /// `qemu-aarch64 -cpu`
    Arm(&'static str),
    Node,
}

/// Where kernels run.
struct Machine {
    name: &'static str,
    host: Host,
    /// Instruction sets that must run.
    isas: &'static [&'static str],
    /// Layers, in percent of what this processor gets.
    percent: u64,
    /// Processes that share them.
    parts: u64,
}

/// The longest first, so that processors are busy to the end. QEMU 7.2 has neither AVX-512 nor AMX.
const MACHINES: &[Machine] = &[
    Machine { name: "this machine", host: Host::Native, isas: &[], percent: 100, parts: 4 },
    Machine { name: "node", host: Host::Node, isas: &["simd128"], percent: 125, parts: 2 },
    Machine {
        name: "arm max",
        host: Host::Arm("max"),
        isas: &["neon", "dotprod", "i8mm"],
        percent: 5,
        parts: 1,
    },
    Machine {
        name: "cortex-a76",
        host: Host::Arm("cortex-a76"),
        isas: &["neon", "dotprod"],
        percent: 5,
        parts: 1,
    },
    Machine {
        name: "cortex-a53",
        host: Host::Arm("cortex-a53"),
        isas: &["neon"],
        percent: 5,
        parts: 1,
    },
    Machine {
        name: "haswell",
        host: Host::X86(HASWELL),
        isas: &["sse4.1", "avx2"],
        percent: 3,
        parts: 1,
    },
    Machine {
        name: "nehalem",
        host: Host::X86("Nehalem"),
        isas: &["sse4.1"],
        percent: 3,
        parts: 1,
    },
];

/// Runs all machines, as many at a time as there are processors, and sums up.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let is_ci = is_ci();
    let mut skips = Vec::new();
    let machines: Vec<_> = MACHINES
        .iter()
        .filter(|machine| match reason_to_skip(machine.host) {
            None => true,
            Some(reason) => {
                skips.push(format!("{} ({}): {reason}", machine.name, machine.isas.join(", ")));
                false
            }
        })
        .collect();
    for skip in &skips {
        println!("SKIPPED: {skip}");
    }
    ensure!(!is_ci || skips.is_empty(), "CI runs every machine, skipped: {}", skips.join("; "));

    let programs = Programs::build()?;
    let ran = run_all(&machines, &programs, args.layers)?;
    println!(
        "{:<14}{:<18}{:>10}{:>8}{:>12}",
        "machine", "kernels", "layers", "large", "mismatches"
    );
    let mut wrong = Vec::new();
    let mut total = Tally::default();
    for machine in &machines {
        for (isa, tally) in ran.of(machine.name) {
            let Tally { layers, large, mismatches } = *tally;
            println!("{:<14}{isa:<18}{layers:>10}{large:>8}{mismatches:>12}", machine.name);
            // Those that must agree to the bit.
            if !isa.ends_with(FLOAT) {
                total.add(tally);
            }
        }
        let missing = machine.isas.iter().filter(|isa| !ran.has(machine.name, isa));
        wrong.extend(missing.map(|isa| format!("{isa} did not run on {}", machine.name)));
    }
    for isa in native_isas().iter().filter(|isa| !ran.has(MACHINES[0].name, isa)) {
        println!("SKIPPED: kernels for {isa}: this machine lacks them and nothing emulates them");
    }
    println!(
        "conformance: {} layers compared in int8, {} of them large, {} mismatches, {:.0} s",
        total.layers,
        total.large,
        total.mismatches,
        start.elapsed().as_secs_f64()
    );
    wrong.extend(ran.failures);
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    let is_enough = total.layers >= LEAST.0 && total.large >= LEAST.1;
    ensure!(
        is_enough || args.layers < LAYERS || !skips.is_empty(),
        "{} layers of which {} large are fewer than {} and {}",
        total.layers,
        total.large,
        LEAST.0,
        LEAST.1
    );
    Ok(())
}

/// Why a machine cannot be had here.
fn reason_to_skip(host: Host) -> Option<&'static str> {
    match host {
        Host::Node if !command::in_path("node") => Some("node is not in the search path"),
        Host::X86(_) if !cfg!(target_arch = "x86_64") => Some("no x86 program is built here"),
        _ => None,
    }
}

/// Instruction sets of this processor's family.
fn native_isas() -> &'static [&'static str] {
    match env::consts::ARCH {
        "x86_64" => &["sse4.1", "avx2", "avxvnni", "avx512vnni", "amx"],
        "aarch64" => &["neon", "dotprod", "i8mm"],
        _ => &[],
    }
}

/// What was built.
struct Programs {
    native: PathBuf,
    arm: PathBuf,
    module: PathBuf,
}

impl Programs {
    fn build() -> Result<Self> {
        command::run(workspace::cargo().args(["build", "--release", "-p", PACKAGE]))?;
        toolchain::ensure(toolchain::PROGRAMS)?;
        let directory = workspace::target_dir()?.join("conformance");
        let flags = String::new();
        let arm = Target { triple: ARM, std: "std,panic_abort", flags, directory };
        // Both targets in one call: crates of the standard library wait for one another, and those of
        // the other target fill the gaps.
        let mut cargo = arm.cargo(&workspace::root(), "build");
        cargo.args(["-p", PACKAGE, "--target", WASM]);
        cargo.env(toolchain::variable(ARM, "LINKER"), ARM_LINKER);
        let wasm_flags = "-Dwarnings -Clinker=wasm-ld -Ctarget-feature=+simd128";
        cargo.env(toolchain::variable(WASM, "RUSTFLAGS"), wasm_flags);
        command::run(cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "0"))?;
        Ok(Self {
            native: workspace::target_dir()?.join("release").join(PACKAGE),
            arm: arm.directory.join(ARM).join("release").join(PACKAGE),
            module: arm.directory.join(WASM).join("release/cic_conformance.wasm"),
        })
    }

    /// The command before its numbers.
    fn command(&self, host: Host) -> Command {
        let mut timeout = Command::new("timeout");
        timeout.arg(LIMIT_S);
        match host {
            Host::Native => timeout.arg(&self.native),
            Host::X86(cpu) => timeout.args(["qemu-x86_64", "-cpu", cpu]).arg(&self.native),
            Host::Arm(cpu) => {
                timeout.args(["qemu-aarch64", "-L", ARM_ROOT, "-cpu", cpu]).arg(&self.arm)
            }
            Host::Node => timeout.arg("node").arg(script()).arg(&self.module),
        };
        timeout
    }
}

/// What programs add to the name of an instruction set: which operators they compared.
const INT8: &str = ", int8";
const FLOAT: &str = ", float";

const PACKAGE: &str = "cic-conformance";
/// A large Arm processor, what links for it, and where its libraries are.
pub const ARM: &str = "aarch64-unknown-linux-gnu";
pub const ARM_LINKER: &str = "aarch64-linux-gnu-gcc";
pub const ARM_ROOT: &str = "/usr/aarch64-linux-gnu";
const WASM: &str = "wasm32-unknown-unknown";

/// Seconds after which a program hangs.
const LIMIT_S: &str = "600";

fn script() -> PathBuf {
    workspace::root().join(Path::new("tests/conformance/run.mjs"))
}

/// Layers that were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    layers: u64,
    large: u64,
    mismatches: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.layers += other.layers;
        self.large += other.large;
        self.mismatches += other.mismatches;
    }
}

/// What ran, by machine and instruction set.
#[derive(Default)]
struct Ran {
    tallies: BTreeMap<(String, String), Tally>,
    failures: Vec<String>,
}

impl Ran {
    fn of(&self, machine: &str) -> impl Iterator<Item = (&str, &Tally)> {
        let tallies = self.tallies.iter().filter(move |((name, _), _)| name == machine);
        tallies.map(|((_, isa), tally)| (isa.as_str(), tally))
    }

    fn has(&self, machine: &str, isa: &str) -> bool {
        let int8 = format!("{isa}{INT8}");
        self.of(machine).any(|(name, tally)| (name == isa || name == int8) && tally.layers > 0)
    }

    /// Reads what a program printed. Lines that are no result are shown, but for instruction sets of
    /// other processors.
    fn read(&mut self, machine: &str, printed: &str) {
        for line in printed.lines() {
            if let Some((isa, tally)) = parse(line) {
                self.tallies.entry((machine.into(), isa.into())).or_default().add(&tally);
            } else if !line.starts_with("SKIPPED:") {
                println!("{machine}: {line}");
            }
        }
    }
}

/// `neon: 2000 layers, 20 of them large, seed 1: 0 mismatches`
fn parse(line: &str) -> Option<(&str, Tally)> {
    let (isa, rest) = line.split_once(": ")?;
    let (layers, rest) = rest.split_once(" layers, ")?;
    let (large, rest) = rest.split_once(" of them large, ")?;
    let (_, mismatches) = rest.split_once(": ")?;
    let tally = Tally {
        layers: layers.parse().ok()?,
        large: large.parse().ok()?,
        mismatches: mismatches.strip_suffix(" mismatches")?.parse().ok()?,
    };
    Some((isa, tally))
}

/// How many instruction sets this processor runs.
fn n_native_isas(programs: &Programs) -> Result<u64> {
    let mut program = programs.command(Host::Native);
    let printed = command::capture(program.args(["1", "1", "1"]))?;
    let isas = printed.lines().filter_map(parse).filter(|(isa, _)| !isa.ends_with(FLOAT));
    Ok(isas.count() as u64)
}

fn run_all(machines: &[&Machine], programs: &Programs, layers: u64) -> Result<Ran> {
    let n_native = n_native_isas(programs)?.max(1);
    let parts = machines.iter().flat_map(|machine| (0..machine.parts).map(move |_| *machine));
    let work = Mutex::new(parts.zip(1_u64..));
    let ran = Mutex::new(Ran::default());
    let n_workers = thread::available_parallelism().map_or(1, usize::from);
    let worker = || -> Result<()> {
        loop {
            let next = work.lock().expect("no worker panics").next();
            let Some((machine, seed)) = next else { return Ok(()) };
            let sharing = if machine.host == Host::Native { n_native } else { 1 };
            let layers = (layers * machine.percent / 100).div_ceil(machine.parts * sharing);
            let mut command = programs.command(machine.host);
            command.args([layers, LARGE_EVERY, seed].map(|number| number.to_string()));
            command::announce(&command);
            let output = command.output().with_context(|| format!("on {}", machine.name))?;
            let mut ran = ran.lock().expect("no worker panics");
            ran.read(machine.name, &String::from_utf8_lossy(&output.stdout));
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            if !output.status.success() {
                ran.failures.push(format!("failed on {}: {}", machine.name, output.status));
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..n_workers).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    Ok(ran.into_inner().expect("no worker panics"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_line_of_an_instruction_set() {
        let line = "sse4.1: 2000 layers, 20 of them large, seed 1: 3 mismatches";
        let tally = Tally { layers: 2000, large: 20, mismatches: 3 };
        assert_eq!(parse(line), Some(("sse4.1", tally)));
        assert_eq!(parse("SKIPPED: neon: not on this processor"), None);
    }

    #[test]
    fn parts_of_a_machine_add_up() {
        let mut ran = Ran::default();
        for seed in 1..3 {
            ran.read("m", &format!("neon: 10 layers, 1 of them large, seed {seed}: 0 mismatches"));
        }
        assert_eq!(
            ran.of("m").next(),
            Some(("neon", &Tally { layers: 20, large: 2, mismatches: 0 }))
        );
        assert!(ran.has("m", "neon") && !ran.has("m", "i8mm") && !ran.has("n", "neon"));
    }

    #[test]
    fn the_layers_suffice() {
        let of = |machine: &Machine| {
            let isas = machine.isas.len().max(1) as u64;
            isas * LAYERS * machine.percent / 100
        };
        let layers = MACHINES.iter().map(of).sum::<u64>();
        assert!(layers >= LEAST.0 && layers / LARGE_EVERY >= LEAST.1, "{layers}");
    }
}
