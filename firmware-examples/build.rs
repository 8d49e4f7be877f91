//! Writes `memory.x`, the board's memory map for the linker, and tells the programs how much memory the
//! board has for them, both from its row in `boards.tsv` or `hardware.tsv`. With the feature `stream` also
//! the constants of its serial line.

use std::{env, fs, path::PathBuf};

#[cfg(feature = "stream")]
#[path = "build/serial.rs"]
mod serial;

fn main() {
    for table in TABLES {
        println!("cargo::rerun-if-changed={table}");
    }
    println!("cargo::rerun-if-env-changed=CIC_BOARD");

    let board = env::var("CIC_BOARD").unwrap_or_else(|_| "netduinoplus2".into());
    let tables = TABLES.map(|table| fs::read_to_string(table).expect("it stands beside build.rs"));
    let row = tables
        .iter()
        .find_map(|table| Row::of(table, &board))
        .unwrap_or_else(|| panic!("CIC_BOARD={board} has no complete row in {TABLES:?}"));

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the architecture");
    let memory = row.memory_map() + region_aliases(&architecture);
    fs::write(out.join("memory.x"), memory).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search={}", out.display());

    let lengths = format!(
        "const SCRATCH_LEN: usize = {};\nconst SAMPLE_LEN: usize = {};\n\
         /// The middle of the flash.\n#[cfg(not(feature = \"model\"))]\nconst MIDDLE: usize = {} + {} * 512;\n",
        row.scratch,
        row.sample,
        row.flash[0],
        row.flash[1].trim_end_matches('K'),
    );
    fs::write(out.join("lengths.rs"), lengths).expect("OUT_DIR is writable");

    #[cfg(feature = "stream")]
    fs::write(out.join("serial.rs"), serial::source(row.serial)).expect("OUT_DIR is writable");
}

/// Emulated boards, and real ones that nobody has tried.
const TABLES: [&str; 2] = ["boards.tsv", "hardware.tsv"];

/// What the row of a board says about its memory.
struct Row<'a> {
    flash: [&'a str; 2],
    ram: [&'a str; 2],
    scratch: &'a str,
    sample: &'a str,
    #[cfg_attr(not(feature = "stream"), allow(dead_code))]
    serial: &'a str,
}

impl<'a> Row<'a> {
    fn of(table: &'a str, board: &str) -> Option<Self> {
        let mut rows = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let header = rows.next()?;
        let row = rows.find(|row| row.first() == Some(&board))?;
        let field =
            |name: &str| row.get(header.iter().position(|column| *column == name)?).copied();
        Some(Self {
            flash: [field("flash_origin")?, field("flash_length")?],
            ram: [field("ram_origin")?, field("ram_length")?],
            scratch: field("scratch")?,
            sample: field("sample")?,
            serial: field("serial")?,
        })
    }

    fn memory_map(&self) -> String {
        let ([flash, flash_length], [ram, ram_length]) = (self.flash, self.ram);
        format!(
            "MEMORY {{\n  FLASH : ORIGIN = {flash}, LENGTH = {flash_length}\n  \
             RAM : ORIGIN = {ram}, LENGTH = {ram_length}\n}}\n"
        )
    }
}

/// riscv-rt asks for a name for each of its regions, cortex-m-rt knows FLASH and RAM.
fn region_aliases(architecture: &str) -> &'static str {
    match architecture {
        "riscv32" => {
            "REGION_ALIAS(\"REGION_TEXT\", FLASH);\n\
             REGION_ALIAS(\"REGION_RODATA\", FLASH);\n\
             REGION_ALIAS(\"REGION_DATA\", RAM);\n\
             REGION_ALIAS(\"REGION_BSS\", RAM);\n\
             REGION_ALIAS(\"REGION_HEAP\", RAM);\n\
             REGION_ALIAS(\"REGION_STACK\", RAM);\n"
        }
        _ => "",
    }
}
