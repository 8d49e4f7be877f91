//! The emulated boards, one row each in `firmware-examples/boards.tsv`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::toolchain::{self, Package};
use crate::{side_by_side, workspace};

/// One board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Name on the command line.
    pub name: String,
    /// Rust target triple.
    pub target: String,
    /// `-C target-cpu`.
    pub cpu: String,
    /// Feature of the firmware's package that has the core's kernels; none for a core without.
    pub kernels: Option<String>,
    /// The program that stands for the board.
    pub emulator: Emulator,
    /// Its `-M`.
    pub machine: String,
    /// First address and bytes of its flash.
    pub flash: (u64, u64),
    /// The same of its memory.
    pub ram: (u64, u64),
    /// Bytes of scratch that it has for a session.
    pub scratch: u64,
    /// Names of the images that it has room for.
    pub images: Vec<String>,
}

impl Board {
    /// The layout that its kernels read.
    pub fn layout(&self) -> &'static str {
        match self.kernels.as_deref() {
            Some("helium") => "rows",
            _ => "fours",
        }
    }
}

/// A program of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// `qemu-system-arm`
    Arm,
    /// `qemu-system-riscv32`
    Riscv32,
}

impl Emulator {
    const ALL: [Self; 2] = [Self::Arm, Self::Riscv32];

    /// The program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Arm => "qemu-system-arm",
            Self::Riscv32 => "qemu-system-riscv32",
        }
    }

    /// The package that has it.
    pub fn package(self) -> Package {
        match self {
            Self::Arm => toolchain::QEMU_ARM,
            Self::Riscv32 => toolchain::QEMU_RISCV,
        }
    }

    /// What it needs beside the machine to start an image without firmware of its own.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Arm => &[],
            Self::Riscv32 => &["-bios", "none"],
        }
    }
}

/// The board called `name`, or all boards.
pub fn chosen(name: Option<&str>) -> Result<Vec<Board>> {
    let path = workspace::firmware().join("boards.tsv");
    let table = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let boards = parse(&table).with_context(|| format!("{}", path.display()))?;
    let Some(name) = name else { return Ok(boards) };
    match boards.iter().find(|board| board.name == name) {
        Some(board) => Ok(vec![board.clone()]),
        None => {
            let known: Vec<_> = boards.iter().map(|board| board.name.as_str()).collect();
            bail!("no board {name:?} in {}; known: {}", path.display(), known.join(", "))
        }
    }
}

/// What `work` makes of each board, in their order. Boards of one target follow one another, since they have a target
/// directory together: what runs on the host, and `core` for one processor, are built once.
pub fn map<R: Send>(boards: &[Board], work: impl Fn(&Board) -> Result<R> + Sync) -> Result<Vec<R>> {
    let mut by_target: BTreeMap<&str, Vec<(usize, &Board)>> = BTreeMap::new();
    for (at, board) in boards.iter().enumerate() {
        by_target.entry(&board.target).or_default().push((at, board));
    }
    let mut groups: Vec<_> = by_target.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let done = side_by_side::map(&groups, |group| {
        let of_group = group.iter().map(|(at, board)| Ok((*at, work(board)?)));
        of_group.collect::<Result<Vec<_>>>()
    })?;
    let mut done: Vec<_> = done.into_iter().flatten().collect();
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

fn parse(table: &str) -> Result<Vec<Board>> {
    let mut lines = table.lines();
    let header: Vec<_> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .enumerate()
        .map(|(index, line)| {
            let row: Vec<_> = line.split('\t').collect();
            let field = |name: &str| {
                let column = header.iter().position(|column| *column == name);
                column
                    .and_then(|column| row.get(column))
                    .map(|value| (*value).to_owned())
                    .with_context(|| format!("line {}: no field {name}", index + 2))
            };
            let program = field("emulator")?;
            let emulator = Emulator::ALL.into_iter().find(|known| known.program() == program);
            Ok(Board {
                name: field("name")?,
                target: field("target")?,
                cpu: field("cpu")?,
                kernels: Some(field("kernels")?).filter(|name| name != "-"),
                emulator: emulator
                    .with_context(|| format!("line {}: no emulator {program}", index + 2))?,
                machine: field("machine")?,
                flash: memory(&field("flash_origin")?, &field("flash_length")?)
                    .with_context(|| format!("line {}: no flash", index + 2))?,
                ram: memory(&field("ram_origin")?, &field("ram_length")?)
                    .with_context(|| format!("line {}: no RAM", index + 2))?,
                scratch: field("scratch")?
                    .parse()
                    .with_context(|| format!("line {}: no number of scratch", index + 2))?,
                images: field("images")?.split(',').map(str::to_owned).collect(),
            })
        })
        .collect()
}

/// `0x08000000` and `1024K`.
fn memory(origin: &str, length: &str) -> Option<(u64, u64)> {
    let origin = u64::from_str_radix(origin.strip_prefix("0x")?, 16).ok()?;
    Some((origin, 1024 * length.strip_suffix('K')?.parse::<u64>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "flash_origin\tflash_length\tram_origin\tram_length\tscratch\tcpu\tkernels\tname\ttarget\tmachine\temulator\timages\n";

    #[test]
    fn reads_a_row_by_the_names_of_its_columns() {
        let boards = parse(&format!(
            "{HEADER}0x10\t2K\t0x20\t1K\t64\tm4\tdsp\tb\tt\tq\tqemu-system-arm\ta,b\n"
        ))
        .unwrap();
        assert_eq!((boards[0].flash, boards[0].ram), ((16, 2048), (32, 1024)));
        assert_eq!((&*boards[0].name, &*boards[0].cpu, &*boards[0].machine), ("b", "m4", "q"));
        assert_eq!(
            (boards[0].emulator, &boards[0].images[..]),
            (Emulator::Arm, &["a", "b"].map(str::to_owned)[..])
        );
    }

    #[test]
    fn names_the_line_and_the_field_that_is_missing() {
        let error =
            parse("emulator\tname\ttarget\tkernels\tcpu\nqemu-system-arm\tb\tt\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: no field cpu");
    }

    #[test]
    fn names_an_emulator_that_it_does_not_know() {
        let error = parse(&format!("{HEADER}0x10\t2K\t0x20\t1K\t64\tm4\t-\tb\tt\tq\tbochs\ta\n"))
            .unwrap_err();
        assert_eq!(error.to_string(), "line 2: no emulator bochs");
    }

    #[test]
    fn the_main_board_is_in_the_table() {
        assert_eq!(chosen(Some("netduinoplus2")).unwrap()[0].cpu, "cortex-m4");
        assert!(chosen(Some("nonesuch")).is_err());
    }
}
