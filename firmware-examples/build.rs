//! Writes `memory.x`, the board's memory map for the linker, from the board's row in `boards.tsv`.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=boards.tsv");
    println!("cargo::rerun-if-env-changed=CIC_BOARD");

    let board = env::var("CIC_BOARD").unwrap_or_else(|_| "netduinoplus2".into());
    let table = fs::read_to_string("boards.tsv").expect("boards.tsv stands beside build.rs");
    let memory = memory_map(&table, &board)
        .unwrap_or_else(|| panic!("CIC_BOARD={board} has no complete row in boards.tsv"));

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("memory.x"), memory).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search={}", out.display());
}

fn memory_map(table: &str, board: &str) -> Option<String> {
    let mut rows = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = rows.next()?;
    let row = rows.find(|row| row.first() == Some(&board))?;
    let field = |name: &str| row.get(header.iter().position(|column| *column == name)?).copied();
    Some(format!(
        "MEMORY {{\n  FLASH : ORIGIN = {}, LENGTH = {}\n  RAM : ORIGIN = {}, LENGTH = {}\n}}\n",
        field("flash_origin")?,
        field("flash_length")?,
        field("ram_origin")?,
        field("ram_length")?,
    ))
}
