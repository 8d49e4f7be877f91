//! The table of sizes and instruction counts, a row for each board, that two documents have between
//! markers.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::boards;
use crate::count::Counter;
use crate::firmware::{self, Record};
use crate::workspace;

/// Options of `cargo xtask size`.
#[derive(clap::Args)]
pub struct Args {
    /// Put the table into README.md and firmware-examples/README.md.
    #[arg(long)]
    write: bool,
}

/// Measures what the table needs, and prints or writes it.
pub fn run(args: &Args) -> Result<()> {
    let counter = Counter::build()?;
    let is_wanted = |image: &str| COLUMNS.iter().any(|column| column.image == image);
    let records = firmware::run(&Default::default(), Some(&counter), is_wanted)?;
    let table = table(&records)?;
    println!("{table}");
    if !args.write {
        return Ok(());
    }
    for document in documents() {
        let text = fs::read_to_string(&document)?;
        let (before, _, after) = split(&text).with_context(|| document.display().to_string())?;
        fs::write(&document, format!("{before}{table}{after}"))?;
    }
    Ok(())
}

/// Runs images with counts. Where all of them ran, the tables in the documents must still be true.
pub fn count(args: &firmware::Args) -> Result<()> {
    let counter = Counter::build()?;
    let records = firmware::run(args, Some(&counter), |_| true)?;
    if !args.is_everything() {
        return Ok(());
    }
    let measured = table(&records)?;
    for document in documents() {
        let text = fs::read_to_string(&document)?;
        let (_, written, _) = split(&text).with_context(|| document.display().to_string())?;
        ensure!(
            is_close(written, &measured),
            "{}: the table of sizes differs by more than {TOLERANCE_PERCENT} % from what was measured: \
             run `cargo xtask size --write`\n{measured}",
            document.display()
        );
    }
    Ok(())
}

/// A column of figures.
struct Column {
    head: &'static str,
    image: &'static str,
    figure: &'static str,
}

const COLUMNS: &[Column] = &[
    Column { head: "code", image: "bare-tiny", figure: "code" },
    Column { head: "of it SHA-256", image: "bare-tiny", figure: "hash" },
    Column { head: "data, bss", image: "bare-tiny", figure: "ram" },
    Column { head: "scratch", image: "infer-net135k", figure: "scratch" },
    Column { head: "stack", image: "infer-net135k", figure: "stack" },
    Column {
        head: "levels to logits",
        image: "infer-net135k-dense",
        figure: "instructions.levels",
    },
    Column { head: "CMSIS-NN", image: CMSIS_NN, figure: "" },
    Column { head: "dense cell", image: "infer-net135k-dense", figure: "instructions.dense" },
    Column { head: "sparse cell", image: "infer-net135k", figure: "instructions.sparse" },
    Column { head: "open", image: "infer-net135k", figure: "instructions.open" },
    Column {
        head: "open_verified",
        image: "selftest-net135k",
        figure: "instructions.open_verified",
    },
];

/// Stands for the figures of [`cmsis_nn`].
const CMSIS_NN: &str = "CMSIS-NN";

/// Instructions of CMSIS-NN at commit 99f736a (GCC 12.2, -O3) for the same net, levels to logits. It was measured once in
/// the same emulators and is no part of this project.
fn cmsis_nn(cpu: &str) -> Option<u64> {
    match cpu {
        "cortex-m0" => Some(834_363),
        "cortex-m4" => Some(263_104),
        "cortex-m7" | "cortex-m33" => Some(263_146),
        "cortex-m55" => Some(66_443),
        _ => None,
    }
}

/// A figure that was not measured, for want of room, is a dash.
fn table(records: &[Record]) -> Result<String> {
    let heads: Vec<_> = COLUMNS.iter().map(|column| column.head).collect();
    let mut table = format!("| board | {} |\n", heads.join(" | "));
    table += &format!("|---|{}\n", "---:|".repeat(heads.len()));
    for board in boards::chosen(None)? {
        let figures = COLUMNS.iter().map(|column| {
            let of_column =
                |record: &&Record| record.board == board.name && record.image == column.image;
            let figure = match column.image {
                CMSIS_NN => cmsis_nn(&board.cpu),
                _ => records
                    .iter()
                    .find(of_column)
                    .and_then(|record| record.figures.get(column.figure).copied()),
            };
            figure.map_or("-".to_owned(), grouped)
        });
        let figures: Vec<_> = figures.collect();
        let is_measured = |record: &Record| {
            record.board == board.name && COLUMNS.iter().any(|column| column.image == record.image)
        };
        if !records.iter().any(is_measured) {
            continue;
        }
        let cpu = &board.cpu;
        table += &format!("| {} ({cpu}) | {} |\n", board.name, figures.join(" | "));
    }
    Ok(table)
}

/// With commas between thousands.
fn grouped(figure: u64) -> String {
    let digits = figure.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A document before, in and after its table.
fn split(text: &str) -> Result<(&str, &str, &str)> {
    let start = text.find(START).context("no marker before the table of sizes")? + START.len();
    let end = start + text[start..].find(END).context("no marker after the table of sizes")?;
    Ok((&text[..start], &text[start..end], &text[end..]))
}

/// Whether two tables have the same words, and figures that hardly differ.
fn is_close(written: &str, measured: &str) -> bool {
    let cells = |table: &str| -> Vec<String> {
        table.split('|').map(|cell| cell.trim().replace(',', "")).collect()
    };
    let (written, measured) = (cells(written), cells(measured));
    let hardly_differ = |written: &String, measured: &String| match (
        written.parse::<u64>(),
        measured.parse::<u64>(),
    ) {
        (Ok(a), Ok(b)) => 100 * a.abs_diff(b) <= TOLERANCE_PERCENT * b,
        _ => written == measured,
    };
    written.len() == measured.len()
        && written.iter().zip(&measured).all(|(a, b)| hardly_differ(a, b))
}

fn documents() -> [PathBuf; 2] {
    [workspace::root().join("README.md"), workspace::firmware().join("README.md")]
}

const START: &str = "<!-- cargo xtask size --write -->\n";

const END: &str = "<!-- end of sizes -->";

const TOLERANCE_PERCENT: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_figure_may_differ_by_a_twentieth() {
        assert!(is_close("| a | 1,050 |\n", "| a | 1,000 |\n"));
        assert!(!is_close("| a | 1,051 |\n", "| a | 1,000 |\n"));
    }

    #[test]
    fn words_and_dashes_may_not_differ() {
        assert!(!is_close("| a | - |\n", "| a | 7 |\n"));
        assert!(!is_close("| a | 7 |\n", "| b | 7 |\n"));
    }

    #[test]
    fn a_document_is_split_at_its_markers() {
        let text = format!("x\n{START}table\n{END}\ny");
        assert_eq!(split(&text).unwrap().1, "table\n");
        assert!(split("x").is_err());
    }
}
