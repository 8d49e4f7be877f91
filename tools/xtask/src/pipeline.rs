//! The programs on other processors: quantising and typing give the same bytes, from the counts
//! to the calls, where an emulated processor has less.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::conformance::{HASWELL, WESTMERE};
use crate::{command, toolchain, workspace};

/// Name of a processor, and what QEMU calls it; none for this one.
const PROCESSORS: &[(&str, Option<&str>)] =
    &[("native", None), ("haswell", Some(HASWELL)), ("westmere", Some(WESTMERE))];

/// Runs the programs on every processor and compares what they write.
pub fn run() -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        println!("SKIPPED: programs on emulated x86 processors: no x86 program is built here");
        return Ok(());
    }
    let start = Instant::now();
    toolchain::ensure(toolchain::PROGRAMS)?;
    let folder = workspace::target_dir()?.join("pipeline");
    std::fs::create_dir_all(&folder).context("a folder for the results")?;
    let cells = folder.join("cells");
    command::run(Command::new(workspace::program("examples/fixture_folder")?).arg(&cells))?;

    let mut expected: Option<Vec<Vec<u8>>> = None;
    for (name, cpu) in PROCESSORS {
        let files = run_on(*cpu, &folder.join(name), &cells)?;
        let found: Vec<Vec<u8>> =
            files.iter().map(std::fs::read).collect::<Result<_, _>>().context("results")?;
        let expected = expected.get_or_insert_with(|| found.clone());
        for ((file, found), expected) in files.iter().zip(&found).zip(&*expected) {
            ensure!(
                found == expected,
                "{} differs from what this machine writes: {} bytes for {}",
                file.display(),
                found.len(),
                expected.len()
            );
        }
        let calls = found.last().map_or(0, |calls| calls.split(|&byte| byte == b'\n').count());
        println!("pipeline: {name}: model and {} calls, the same bytes", calls.saturating_sub(2));
    }
    println!("pipeline: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Quantises the fixture and types its cells: the model, and the calls.
fn run_on(cpu: Option<&str>, folder: &Path, cells: &Path) -> Result<[PathBuf; 2]> {
    std::fs::create_dir_all(folder).context("a folder for the results")?;
    let (model, calls) = (folder.join("int8.cic"), folder.join("calls.csv"));
    let fixture = workspace::root().join("tests/data/fixture/simulated.cic");
    let mut quantize = emulated(cpu, &workspace::program("cic-quantize")?);
    quantize.arg(fixture).arg("--calibrate").arg(cells).args(["--to", "int8", "-q", "-o"]);
    command::run(quantize.arg(&model))?;
    let mut typing = emulated(cpu, &workspace::program("cic")?);
    typing.arg("type").arg(cells).args(["-q", "-m"]).arg(&model).arg("-o");
    command::run(typing.arg(&calls))?;
    Ok([model, calls])
}

fn emulated(cpu: Option<&str>, program: &Path) -> Command {
    let Some(cpu) = cpu else { return Command::new(program) };
    let mut qemu = Command::new("qemu-x86_64");
    qemu.args(["-cpu", cpu]).arg(program);
    qemu
}
