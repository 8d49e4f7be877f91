//! Images in C: `firmware-examples/c`, compiled by clang, which has all of these processors, and linked with
//! the library of `runtime/capi`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::boards::{Board, Emulator};
use crate::library::Library;
use crate::toolchain;
use crate::{command, workspace};

/// Builds the program with the model whose source `cic-quantize --emit c` wrote.
pub fn build(board: &Board, program: &str, model: &Path, image: &Path) -> Result<()> {
    toolchain::install_missing(&[toolchain::CLANG])?;
    let library = Library {
        triple: &board.target,
        cpu: Some(&board.cpu),
        // Loops that are Rust, not assembly, want more than size.
        level: if board.kernels.is_some() { "s" } else { "3" },
        shares_core: false,
        features: board.kernels.as_deref().into_iter().collect(),
        flags: &[],
    };
    let library = library.build()?;
    let folder = image.with_file_name("c");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("memory.x"), memory(board)).context("memory.x")?;

    let sources = workspace::firmware().join("c");
    let start = match board.emulator {
        Emulator::Arm => "start_arm.c",
        Emulator::Riscv32 => "start_riscv.S",
    };
    let mut objects = Vec::new();
    for source in [start, "board.c", &format!("{program}.c")] {
        let object = folder.join(source).with_extension("o");
        let mut clang = compiler(board);
        clang.args(["-std=c11", "-Os", "-ffreestanding", "-ffunction-sections", "-fdata-sections"]);
        clang.args(["-Wall", "-Wextra", "-Werror", "-c"]);
        clang.arg("-I").arg(workspace::root().join("runtime/capi/include"));
        clang.arg(format!("-DMODEL=\"{}\"", model.display()));
        clang.arg(format!("-DSCRATCH_LEN={}", board.scratch));
        clang.arg(sources.join(source)).arg("-o").arg(&object);
        command::run(&mut clang)?;
        objects.push(object);
    }
    link(&folder, &sources, &objects, &library, image)
}

fn link(
    folder: &Path,
    sources: &Path,
    objects: &[PathBuf],
    library: &Path,
    image: &Path,
) -> Result<()> {
    let mut linker = Command::new("ld.lld");
    linker.args(["--gc-sections", "-L"]).arg(folder).arg("-T").arg(sources.join("link.ld"));
    linker.args(objects).arg(library).arg("-o").arg(image);
    command::run(&mut linker)
}

/// clang for the board's processor, with the same calling convention as Rust's target.
fn compiler(board: &Board) -> Command {
    let mut clang = Command::new(toolchain::CLANG.path());
    match board.emulator {
        Emulator::Arm => {
            clang.arg(format!("--target={}", board.target));
            clang.arg(format!("-mcpu={}", board.cpu));
        }
        Emulator::Riscv32 => {
            let has_floats = board.target.contains("imafc");
            let (march, abi) =
                if has_floats { ("rv32imafc", "ilp32f") } else { ("rv32imac", "ilp32") };
            clang.args(["--target=riscv32-none-elf", "-mno-relax"]);
            clang.args([format!("-march={march}"), format!("-mabi={abi}")]);
        }
    }
    clang
}

fn memory(board: &Board) -> String {
    let [flash, ram] = [board.flash, board.ram]
        .map(|(origin, len)| format!("ORIGIN = {origin:#x}, LENGTH = {len}"));
    format!("MEMORY {{\n  FLASH (rx) : {flash}\n  RAM (rwx) : {ram}\n}}\n")
}
