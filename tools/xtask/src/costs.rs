//! What models of many shapes take on each core, counted in the emulator, and the costs that follow:
//! `tools/src/budget/costs.tsv`, with which `cic budget` calculates.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::boards::{self, Board};
use crate::count::{self, Counter};
use crate::{command, firmware, toolchain, workspace};

/// The program, in the column `images` of the boards that it is measured on, one for each core.
pub const IMAGE: &str = "measure";

/// Builds the program for each core, runs every model on it, and fits the costs.
pub fn run() -> Result<()> {
    let mut boards = boards::chosen(None)?;
    boards.retain(|board| board.images.iter().any(|image| image == IMAGE));
    firmware::ensure_tools(&boards)?;
    let counter = Counter::build()?;
    let folder = workspace::target_dir()?.join("fw/costs");
    fs::create_dir_all(&folder)?;
    example("cost_models", &[&folder])?;
    let mut measured = String::from("core\tmodel\tregion\tinstructions\n");
    for board in &boards {
        let elf = build(board)?;
        for model in models(&folder, board)? {
            for (region, count) in measure(board, &elf, &model, &counter)? {
                let name = model.file_name().context("a model without a name")?.display();
                writeln!(measured, "{}\t{name}\t{region}\t{count}", board.cpu)?;
            }
        }
        println!("costs: {} measured on {}", board.cpu, board.name);
    }
    let table = folder.join("measured.tsv");
    fs::write(&table, measured)?;
    example("fit_costs", &[&folder, &workspace::root().join("tools/src/budget/costs.tsv")])
}

/// Runs a program of cic-tests, which knows models.
fn example(name: &str, arguments: &[&Path]) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--release", "-p", "cic-tests", "--example", name, "--"]);
    command::run(cargo.args(arguments))
}

fn build(board: &Board) -> Result<PathBuf> {
    let mut cargo = toolchain::cargo(board, &workspace::firmware(), "build")?;
    cargo.args(["--bin", IMAGE]);
    if let Some(kernels) = &board.kernels {
        cargo.args(["--features", kernels]);
    }
    command::run(&mut cargo)?;
    Ok(toolchain::target_dir(board)?.join(&board.target).join("release").join(IMAGE))
}

/// The models in the layouts of a core.
fn models(folder: &Path, board: &Board) -> Result<Vec<PathBuf>> {
    let layout = format!(".{}", board.layout());
    let mut models = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(&layout) && name.ends_with(".cic") {
            models.push(path);
        }
    }
    models.sort();
    Ok(models)
}

/// Instructions of each region. The model lies in the second half of the flash, its length before it.
fn measure(
    board: &Board,
    elf: &Path,
    model: &Path,
    counter: &Counter,
) -> Result<impl IntoIterator<Item = (String, u64)>> {
    let (origin, length) = board.flash;
    let middle = origin + length / 2;
    let n_bytes = fs::metadata(model)?.len();
    ensure!(n_bytes + 64 <= length / 2, "{} has no room for {}", board.name, model.display());
    let mut qemu = firmware::emulator(board, elf, "none");
    qemu.arg("-device").arg(format!("loader,addr={middle:#x},data={n_bytes},data-len=4"));
    let file = model.to_str().context("the target directory's name is not UTF-8")?;
    qemu.arg("-device").arg(format!("loader,addr={:#x},force-raw=on,file={file}", middle + 64));
    counter.attach(&mut qemu, elf)?;
    let output = qemu.output().context("cannot start timeout")?;
    let console = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} on {}: {console}{errors}", model.display(), board.name);
    count::regions(&console, &errors)
}
