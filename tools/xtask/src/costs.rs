//! What models of many shapes take on each core, counted in the emulator, and the costs that follow:
//! `tools/src/budget/costs.tsv`, with which `cic budget` calculates. And whether what it calculates is true.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::boards::{self, Board};
use crate::budgets::{self, Figures};
use crate::count::{self, Counter};
use crate::{command, firmware, side_by_side, toolchain, workspace};

/// The program, in the column `images` of the boards that it is measured on, one for each core.
pub const IMAGE: &str = "measure";

/// Options of `cargo xtask costs`.
#[derive(clap::Args)]
pub struct Args {
    /// Compare what `cic budget` says with the emulators, for models that the costs were not fitted to, instead of
    /// fitting.
    #[arg(long)]
    check: bool,
}

/// Builds the program for each core and runs every model on it; then fits the costs, or checks them.
pub fn run(args: &Args) -> Result<()> {
    let mut boards = boards::chosen(None)?;
    boards.retain(|board| board.images.iter().any(|image| image == IMAGE));
    firmware::ensure_tools(&boards)?;
    let set = if args.check { "held-out" } else { "fitted" };
    let folder = workspace::target_dir()?.join("fw/costs").join(set);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    command::run(Command::new(workspace::program("examples/cost_models")?).arg(&folder).arg(set))?;
    let runs = measure_all(&boards, &folder)?;
    if args.check {
        return check(&runs);
    }
    let mut table = String::from("core\tmodel\tregion\tinstructions\n");
    for run in &runs {
        let name = run.model.file_name().context("a model without a name")?.display();
        for (region, count) in &run.instructions {
            writeln!(table, "{}\t{name}\t{region}\t{count}", run.board.cpu)?;
        }
    }
    fs::write(folder.join("measured.tsv"), table)?;
    let costs = workspace::root().join("tools/src/budget/costs.tsv");
    command::run(Command::new(workspace::program("examples/fit_costs")?).arg(&folder).arg(costs))
}

/// What a model took on a board.
struct Run<'b> {
    board: &'b Board,
    model: PathBuf,
    /// By task.
    instructions: BTreeMap<String, u64>,
    /// What the console says of the model.
    said: Figures,
}

/// A line of the console that is not about instructions.
const SAID: [&str; 6] =
    ["model_bytes", "scratch", "opened_model", "stack", "opening_stack", "verifying_stack"];

fn measure_all<'b>(boards: &'b [Board], folder: &Path) -> Result<Vec<Run<'b>>> {
    let counter = Counter::build()?;
    let elfs = boards::map(boards, build)?;
    let mut jobs = Vec::new();
    for (board, elf) in boards.iter().zip(&elfs) {
        jobs.extend(models(folder, board)?.into_iter().map(|model| (board, elf, model)));
    }
    let mut runs =
        side_by_side::map(&jobs, |(board, elf, model)| measure(board, elf, model, &counter))?;
    runs.sort_by(|a, b| (&a.board.cpu, &a.model).cmp(&(&b.board.cpu, &b.model)));
    Ok(runs)
}

fn build(board: &Board) -> Result<PathBuf> {
    let mut cargo = toolchain::cargo(board, &workspace::firmware(), "build")?;
    cargo.args(["--bin", IMAGE]);
    if let Some(kernels) = &board.kernels {
        cargo.args(["--features", kernels]);
    }
    command::run(&mut cargo)?;
    toolchain::keep(board, IMAGE, IMAGE)
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

/// The model lies in the second half of the flash, its length before it.
fn measure<'b>(board: &'b Board, elf: &Path, model: &Path, counter: &Counter) -> Result<Run<'b>> {
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
    let said = SAID
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), firmware::measurement(&console, name)?)));
    Ok(Run {
        board,
        model: model.to_owned(),
        instructions: count::regions(&console, &errors)?,
        said: said.collect(),
    })
}

/// Compares with what `cic budget` says: instructions within [`TOLERANCE_PERCENT`], bytes exactly, stack within
/// its limits, which are those of `firmware-examples/size.toml`.
fn check(runs: &[Run<'_>]) -> Result<()> {
    let mut wrong = Vec::new();
    let mut worst: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    let mut deepest: BTreeMap<&str, Figures> = BTreeMap::new();
    for run in runs {
        let (core, model) = (&*run.board.cpu, run.model.display());
        let stated = budget(&run.model, core)?;
        for (task, &counted) in &run.instructions {
            let calculated = stated["instructions"][task].as_u64();
            let calculated = calculated.with_context(|| format!("no {task} of {model}"))?;
            let percent = 100.0 * (calculated as f64 / counted as f64 - 1.0);
            if percent.abs() > TOLERANCE_PERCENT {
                wrong.push(format!("{core}, {model}: {task} {calculated}, counted {counted}"));
            }
            let worst = worst.entry((core, task)).or_insert(percent);
            if percent.abs() > worst.abs() {
                *worst = percent;
            }
        }
        for (figure, stated) in [
            ("model_bytes", &stated["flash"]["model"]),
            ("scratch", &stated["ram"]["scratch"]),
            ("opened_model", &stated["ram"]["opened_model"]),
        ] {
            let found = run.said.get(figure).copied();
            if found.is_none() || found != stated.as_u64() {
                wrong.push(format!("{core}, {model}: {figure} {stated}, found {found:?}"));
            }
        }
        let deepest = deepest.entry(&run.board.name).or_default();
        for (figure, &found) in &run.said {
            if figure.ends_with("stack") || figure == "opened_model" {
                let most = deepest.entry(figure.clone()).or_insert(found);
                *most = found.max(*most);
            }
        }
    }
    for ((core, task), percent) in &worst {
        println!("  {core} {task}: off by {percent:+.2} % at most");
    }
    for (board, figures) in &deepest {
        budgets::check(IMAGE, board, figures, false)?;
    }
    if !wrong.is_empty() {
        bail!("cic budget is off; `cargo xtask costs` measures anew:\n{}", wrong.join("\n"));
    }
    println!("costs: {} runs as `cic budget` says", runs.len());
    Ok(())
}

/// What `cic budget` says about a model on a core.
fn budget(model: &Path, core: &str) -> Result<Value> {
    let mut cic = Command::new(workspace::program("cic")?);
    let printed =
        command::capture(cic.arg("budget").arg(model).args(["--json", "--target", core]))?;
    let budget: Value = serde_json::from_str(&printed).context("`cic budget` printed no JSON")?;
    Ok(budget["targets"][0].clone())
}

const TOLERANCE_PERCENT: f64 = 2.5;
