//! `cic budget`: what a model needs on a microcontroller, before it is flashed.

mod costs;
mod work;

use std::io::{self, Write};
use std::path::PathBuf;

use cic_model::{Dtype, Model, StageKind};
use cic_runtime::S8Session;
use clap::Args;
use serde_json::{Value, json};

use crate::console::{print, print_json};
use crate::failure::Failure;
use crate::model_file;

pub use costs::{CORES, Core};
pub use work::{Task, amounts, n_listed};

/// Options of `cic budget`.
#[derive(Args, Clone, Debug)]
pub struct BudgetArgs {
    /// The int8 model
    model: PathBuf,
    /// Only this core: cortex-m0, -m4, -m7, -m33, -m55
    /// or generic-rv32
    #[arg(long, value_name = "CORE", value_parser = parse_core, verbatim_doc_comment)]
    target: Option<Core>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a model needs on a core.
struct Budget {
    core: Core,
    /// Bytes of code, at most: the largest limit that CI holds whole programs to, see [`CODE_IMAGES`].
    code: u64,
    memory: Memory,
    /// Instructions by [`Task`]; none where the layout of the weights is another core's.
    instructions: Option<[u64; 4]>,
}

/// Bytes of memory beside a session's scratch. Those of the stack are limits that CI holds images to.
#[derive(Clone, Copy)]
struct Memory {
    /// What `Model::open` gives: the limit is exact.
    opened_model: u64,
    typing: u64,
    opening: u64,
    verifying: u64,
}

/// Whether a board has room for a model.
#[derive(Clone, Copy, PartialEq)]
enum Fit {
    Verified,
    /// For all but the stack of `Model::open_verified`.
    Opened,
    TooLarge,
}

/// Opens the model, calculates and prints.
pub fn run(args: &BudgetArgs) -> Result<(), Failure> {
    let bytes = model_file::read(&args.model)?;
    let model = model_file::open(&args.model, &bytes)?;
    if model.dtype() != Dtype::S8 {
        return Err(Failure::Model(anyhow::anyhow!(
            "{}: its numbers are {}; what cells cost is known of int8 alone, which cic-quantize makes (floating point runs \
             where the runtime is built with its feature floats, and is not counted here)",
            args.model.display(),
            model.dtype().name()
        )));
    }
    let scratch = scratch_len(&model)?;
    let cores =
        CORES.into_iter().filter(|core| args.target.is_none_or(|only| only.name == core.name));
    let budgets: Vec<Budget> = cores.map(|core| Budget::of(&model, core)).collect();
    match args.json {
        true => print_json(&json!({
            "schema_version": 1,
            "model_id": model.id().to_string(),
            "n_genes": model.n_genes(),
            "n_listed_of_a_sparse_cell": n_listed(model.n_genes()),
            "targets": describe(bytes.len(), scratch, &budgets),
        })),
        false => print(|out| write_budgets(&model, bytes.len(), scratch, &budgets, out)),
    }
}

/// What an int8 model of so many bytes needs on every core: `targets` of `cic budget --json`.
pub(crate) fn targets(model: &Model<'_>, n_bytes: usize) -> Result<Value, Failure> {
    let budgets = CORES.map(|core| Budget::of(model, core));
    Ok(describe(n_bytes, scratch_len(model)?, &budgets))
}

/// What an int8 model of so many bytes needs on a core, in whole.
pub(crate) struct Need {
    /// Bytes of model and code.
    pub(crate) flash: u64,
    /// Bytes of scratch, opened model and stack.
    pub(crate) ram: u64,
    /// Of a cell, at most.
    pub(crate) instructions: u64,
}

/// Calculates it.
pub(crate) fn need(model: &Model<'_>, n_bytes: usize, core: Core) -> Result<Need, Failure> {
    let budget = Budget::of(model, core);
    let scratch = scratch_len(model)? as u64;
    Ok(Need {
        flash: n_bytes as u64 + budget.code,
        ram: budget.memory.in_all(scratch, budget.memory.opening),
        instructions: core.instructions(model, Task::Dense),
    })
}

fn scratch_len(model: &Model<'_>) -> Result<usize, Failure> {
    Ok(S8Session::new(model, 0).map_err(Failure::internal)?.scratch_len())
}

impl Budget {
    fn of(model: &Model<'_>, core: Core) -> Self {
        let instructions =
            is_ready(model, core).then(|| Task::ALL.map(|task| core.instructions(model, task)));
        Self {
            core,
            code: CODE_IMAGES
                .map(|image| limit(image, core.board, "code"))
                .into_iter()
                .fold(0, u64::max),
            memory: Memory::of(core),
            instructions,
        }
    }

    /// The boards with this core.
    fn boards(&self, n_bytes: usize, scratch: usize) -> Vec<(Board, Fit)> {
        let flash = n_bytes as u64 + self.code;
        let boards = Board::all().filter(|board| board.core == self.core.name);
        let fit = |board: Board| {
            let has_room = |stack| {
                flash <= board.flash && self.memory.in_all(scratch as u64, stack) <= board.ram
            };
            let fit = match (has_room(self.memory.verifying), has_room(self.memory.opening)) {
                (true, _) => Fit::Verified,
                (false, true) => Fit::Opened,
                (false, false) => Fit::TooLarge,
            };
            (board, fit)
        };
        boards.map(fit).collect()
    }
}

impl Memory {
    fn of(core: Core) -> Self {
        // What is inlined into what, and so the depth, differs between programs.
        let most = |figure| {
            let images = IMAGES.map(|image| limit(image, core.board, figure));
            images.into_iter().fold(limit("measure", core.measured, figure), u64::max)
        };
        Self {
            opened_model: limit("measure", core.measured, "opened_model"),
            typing: most("stack"),
            opening: most("opening_stack"),
            verifying: most("verifying_stack"),
        }
    }

    /// With so many bytes of scratch, and of stack while a model is opened.
    fn in_all(&self, scratch: u64, opening: u64) -> u64 {
        scratch + self.opened_model + self.typing.max(opening)
    }
}

/// Whether its layers lie as the kernels of the core read them.
fn is_ready(model: &Model<'_>, core: Core) -> bool {
    let stages = [StageKind::Encoder, StageKind::Classifier].map(|kind| model.stage(kind));
    stages.into_iter().flatten().enumerate().all(|(n, layer)| {
        let (block, panel) = (layer.layout().block as usize, layer.layout().panel as usize);
        let is_gene_major = n == 0 && block == 1 && panel == layer.out_dim();
        let is_rows = block == layer.in_dim() && panel == 1;
        let is_fours = (block, panel) == (4, 4);
        is_gene_major || if core.name == "cortex-m55" { is_rows } else { is_fours }
    })
}

/// Whole programs, in Rust and C: a self-test, then cells. Consoles, which others print more to, are not counted as what
/// a program needs.
const CODE_IMAGES: [&str; 4] =
    ["bare-tiny", "selftest-net135k", "c_classify-fixture", "c_classify-tiny"];

/// Images whose stack is limited.
const IMAGES: [&str; 7] = [
    "classify-fixture",
    "classify-tiny",
    "infer-net135k",
    "infer-net135k-dense",
    "selftest-net135k",
    "c_classify-fixture",
    "c_classify-tiny",
];

/// A limit of `firmware-examples/size.toml`; 0 where there is none.
fn limit(image: &str, board: &str, figure: &str) -> u64 {
    let limits = include_str!("../../../firmware-examples/size.toml");
    let table = format!("[{image}.{board}]");
    let lines = limits.lines().skip_while(|line| *line != table).skip(1);
    let mut lines = lines.take_while(|line| !line.starts_with('['));
    let found = lines.find_map(|line| line.strip_prefix(figure)?.trim_start().strip_prefix("= "));
    found.and_then(|limit| limit.parse().ok()).unwrap_or(0)
}

/// A board that can be bought.
struct Board {
    name: &'static str,
    core: &'static str,
    flash: u64,
    ram: u64,
}

impl Board {
    /// Those of `firmware-examples/hardware.tsv`.
    fn all() -> impl Iterator<Item = Self> {
        let mut lines = include_str!("../../../firmware-examples/hardware.tsv").lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
        lines.filter_map(move |line| {
            let row: Vec<&'static str> = line.split('\t').collect();
            let field = |name| row.get(header.iter().position(|column| *column == name)?).copied();
            let bytes = |name| Some(1024 * field(name)?.strip_suffix('K')?.parse::<u64>().ok()?);
            Some(Self {
                name: field("name")?,
                core: field("cpu")?,
                flash: bytes("flash_length")?,
                ram: bytes("ram_length")?,
            })
        })
    }
}

fn describe(n_bytes: usize, scratch: usize, budgets: &[Budget]) -> Value {
    budgets
        .iter()
        .map(|budget| {
            let boards: Vec<Value> = budget
                .boards(n_bytes, scratch)
                .into_iter()
                .map(|(board, fit)| {
                    json!({
                        "name": board.name,
                        "flash": board.flash,
                        "ram": board.ram,
                        "fits": fit != Fit::TooLarge,
                        "fits_verified": fit == Fit::Verified,
                    })
                })
                .collect();
            let memory = budget.memory;
            let instructions = budget.instructions.map(|found| {
                let by_name = Task::ALL.into_iter().zip(found);
                by_name
                    .map(|(task, n)| (task.name(), n))
                    .collect::<std::collections::BTreeMap<_, _>>()
            });
            json!({
                "target": budget.core.name,
                "flash": {"model": n_bytes, "code_limit": budget.code},
                "ram": {
                    "scratch": scratch,
                    "opened_model": memory.opened_model,
                    "stack_limit": memory.typing,
                    "opening_stack_limit": memory.opening,
                    "verifying_stack_limit": memory.verifying,
                    "static": 0,
                },
                "instructions": instructions,
                "boards": boards,
            })
        })
        .collect()
}

fn write_budgets(
    model: &Model<'_>,
    n_bytes: usize,
    scratch: usize,
    budgets: &[Budget],
    out: &mut dyn Write,
) -> io::Result<()> {
    let (n_genes, n_leaves) = (model.n_genes(), model.n_leaves());
    writeln!(out, "model {}: {n_genes} genes, {n_leaves} cell types", model.id())?;
    for budget in budgets {
        writeln!(out, "\n{}", budget.core.name)?;
        writeln!(
            out,
            "  flash    {} bytes of model, at most {} of code",
            grouped(n_bytes as u64),
            grouped(budget.code)
        )?;
        writeln!(
            out,
            "  RAM      {} bytes of scratch, {} of opened model, none static",
            grouped(scratch as u64),
            grouped(budget.memory.opened_model),
        )?;
        let Memory { typing, opening, verifying, .. } = budget.memory;
        writeln!(
            out,
            "  stack    at most {} bytes while typing, {} while opening, {} with the digest of all bytes",
            grouped(typing),
            grouped(opening),
            grouped(verifying)
        )?;
        match budget.instructions {
            Some([open, verify, dense, sparse]) => {
                writeln!(
                    out,
                    "  opening  {} instructions, {} with the digest of all bytes",
                    grouped(open),
                    grouped(verify)
                )?;
                writeln!(
                    out,
                    "  a cell   {} instructions at most, {} where {} genes are listed",
                    grouped(dense),
                    grouped(sparse),
                    n_listed(n_genes)
                )?;
            }
            None => writeln!(
                out,
                "  the weights do not lie ready for this core: cic-quantize --layout {}",
                budget.core.layouts
            )?,
        }
        for (board, fit) in budget.boards(n_bytes, scratch) {
            let verdict = if fit == Fit::TooLarge { "too large for" } else { "fits    " };
            let but = if fit == Fit::Opened { ", but for the digest of all bytes" } else { "" };
            let [flash, ram] = [board.flash, board.ram].map(|bytes| bytes / 1024);
            let name = board.name;
            writeln!(out, "  {verdict} {name} ({flash} KiB of flash, {ram} KiB of RAM){but}")?;
        }
    }
    Ok(())
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn parse_core(name: &str) -> Result<Core, String> {
    let known: Vec<&str> = CORES.iter().map(|core| core.name).collect();
    Core::from_name(name).ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_has_limits_of_code_and_stack() {
        for core in CORES {
            assert!(limit("bare-tiny", core.board, "code") > 0, "{}", core.name);
            for figure in ["opened_model", "stack", "opening_stack", "verifying_stack"] {
                assert!(limit("measure", core.measured, figure) > 0, "{} {figure}", core.name);
            }
        }
    }

    #[test]
    fn boards_have_a_core_that_was_measured() {
        assert!(Board::all().count() >= 3);
        assert!(Board::all().all(|board| Core::from_name(board.core).is_some()));
    }

    #[test]
    fn memory_holds_the_deeper_of_typing_and_opening() {
        let memory = Memory { opened_model: 1000, typing: 200, opening: 300, verifying: 700 };
        assert_eq!(memory.in_all(50, memory.opening), 1350);
        assert_eq!(Memory { typing: 400, ..memory }.in_all(50, memory.opening), 1450);
    }

    #[test]
    fn thousands_have_commas() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
