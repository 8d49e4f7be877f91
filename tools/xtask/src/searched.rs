//! `cic-quantize --auto` for a microcontroller and for aarch64, and what it chose on both, emulated.
//!
//! Cells are those of the committed fixture. A Cortex-M4 must answer a serial line that carries cells as the host does, to
//! the bit, so that the host's comparison with full precision is the device's too; on aarch64 that comparison itself runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::conformance::{ARM, ARM_LINKER, ARM_ROOT};
use crate::serial_line::Line;
use crate::toolchain::Target;
use crate::{boards, command, firmware, toolchain, workspace};

/// What is asked for on a Cortex-M4 with 256 KiB of flash.
const MICROCONTROLLER: [&str; 6] = ["--target", "cortex-m4", "--flash", "256K", "--ram", "64K"];
const FLASH: u64 = 256 << 10;
const BOARD: &str = "netduinoplus2";
/// By the gate that is the default, and by one for codes that int8 does not pass here.
const AARCH64: [(&str, &[&str]); 2] = [
    ("aarch64", &["--target", "aarch64"]),
    (
        "aarch64-strict",
        &["--target", "aarch64", "--max-code-error", "0.009", "--max-label-change", "0.01"],
    ),
];

/// Searches for both, and tries what was found.
pub fn run() -> Result<()> {
    let folder = workspace::target_dir()?.join("searched");
    std::fs::create_dir_all(&folder).context("a folder for the results")?;
    let cells = folder.join("cells");
    command::run(Command::new(workspace::program("examples/fixture_folder")?).arg(&cells))?;
    let full = workspace::root().join("tests/data/fixture/simulated.cic");
    let search = |name: &str, target: &[&str]| -> Result<PathBuf> {
        let model = folder.join(name).with_extension("cic");
        let mut quantize = Command::new(workspace::program("cic-quantize")?);
        quantize.arg(&full).arg("--calibrate").arg(&cells).args(["--auto", "-q"]).args(target);
        command::run(quantize.arg("-o").arg(&model))?;
        Ok(model)
    };
    let diff = |mut quantize: Command, model: &Path| {
        command::run(quantize.arg("diff").arg(&full).arg(model).arg(&cells).arg("--gate"))
    };

    let model = search("cortex-m4", &MICROCONTROLLER)?;
    diff(Command::new(workspace::program("cic-quantize")?), &model)?;
    microcontroller(&model)?;

    let program = aarch64()?;
    for (name, target) in AARCH64 {
        let model = search(name, target)?;
        let mut emulated = Command::new("qemu-aarch64");
        emulated.args(["-L", ARM_ROOT, "-cpu", "max"]).arg(&program);
        diff(emulated, &model)?;
    }
    println!("searched: aarch64: the gate passes on the emulator");
    Ok(())
}

/// The image must have room, and answer what the host wrote.
fn microcontroller(model: &Path) -> Result<()> {
    let boards = boards::chosen(Some(BOARD))?;
    firmware::ensure_tools(&boards)?;
    let board = boards.first().context("there is no such board")?;
    let laid_out = model.with_extension(format!("{}.cic", board.layout()));
    let mut host = Command::new(workspace::program("examples/firmware_expected")?);
    host.arg(PROGRAM).arg(model).arg(board.layout()).arg(&laid_out);
    command::announce(&host);
    let expected = command::capture(&mut host)?;

    let features = laid_out.with_extension("features.tsv");
    firmware::build(board, PROGRAM, Some(&laid_out), Some(&features))?;
    let elf = toolchain::keep(board, PROGRAM, "searched")?;
    let (text, data, _) = firmware::sizes(&elf)?;
    ensure!(text + data <= FLASH, "{} takes {} bytes of flash", elf.display(), text + data);

    let line = Line::new(laid_out.with_extension("conversation"))?;
    let mut qemu = firmware::emulator(board, &elf, &line.argument());
    let (console, _) = firmware::console(&mut qemu, Some(&line))?;
    firmware::compare(&expected, &console)?;
    println!(
        "searched: cortex-m4: {} bytes of flash; on the emulator {}, as on the host",
        text + data,
        expected.lines().last().unwrap_or_default()
    );
    Ok(())
}

/// `cic-quantize` for aarch64.
fn aarch64() -> Result<PathBuf> {
    toolchain::ensure(toolchain::PROGRAMS)?;
    let directory = workspace::target_dir()?.join("searched/aarch64");
    let arm = Target { triple: ARM, std: "std,panic_abort", flags: String::new(), directory };
    let mut cargo = arm.cargo(&workspace::root(), "build");
    cargo.args(["-p", "cic-tools", "--bin", "cic-quantize"]);
    cargo.env(toolchain::variable(ARM, "LINKER"), ARM_LINKER);
    command::run(cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "0"))?;
    Ok(arm.directory.join(ARM).join("release/cic-quantize"))
}

/// What types cells on the board.
const PROGRAM: &str = "stream_uart";
