//! The emulated boards, one row each in `firmware-examples/boards.tsv`.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// One board. The memory map in the same row is for the firmware's build script alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Name on the command line.
    pub name: String,
    /// Rust target triple.
    pub target: String,
    /// `-C target-cpu`.
    pub cpu: String,
    /// `qemu-system-arm -M`.
    pub machine: String,
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
            Ok(Board {
                name: field("name")?,
                target: field("target")?,
                cpu: field("cpu")?,
                machine: field("machine")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_row_by_the_names_of_its_columns() {
        let boards = parse("cpu\tname\ttarget\tmachine\nm4\tb\tt\tq\n").unwrap();
        assert_eq!((&*boards[0].name, &*boards[0].cpu, &*boards[0].machine), ("b", "m4", "q"));
    }

    #[test]
    fn names_the_line_and_the_field_that_is_missing() {
        let error = parse("name\ttarget\tcpu\tmachine\nb\tt\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: no field cpu");
    }

    #[test]
    fn the_main_board_is_in_the_table() {
        assert_eq!(chosen(Some("netduinoplus2")).unwrap()[0].cpu, "cortex-m4");
        assert!(chosen(Some("nonesuch")).is_err());
    }
}
