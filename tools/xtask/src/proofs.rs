//! Proof that a program in C that links the static library holds no way to panic and no allocator: for
//! every target and optimisation, the library is linked without what is not used, and the names of what
//! is left are searched. Two images that must be found guilty prove the search.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::library::Library;
use crate::{command, firmware, side_by_side, toolchain, workspace};

/// Where the library has to run.
struct Machine {
    triple: &'static str,
    /// Feature that has the core's kernels, or none.
    kernels: &'static str,
    /// `ld.lld -m`.
    emulation: &'static str,
    /// Bytes that may be written besides what the caller gives. On x86, sha2 notes in one what the processor has.
    state: u64,
}

const MACHINES: &[Machine] = &[
    Machine { triple: "thumbv6m-none-eabi", kernels: "thumb", emulation: "armelf", state: 0 },
    Machine { triple: "thumbv7em-none-eabihf", kernels: "dsp", emulation: "armelf", state: 0 },
    Machine { triple: "thumbv8m.main-none-eabihf", kernels: "dsp", emulation: "armelf", state: 0 },
    Machine {
        triple: "thumbv8m.main-none-eabihf",
        kernels: "helium",
        emulation: "armelf",
        state: 0,
    },
    Machine {
        triple: "riscv32imac-unknown-none-elf",
        kernels: "",
        emulation: "elf32lriscv",
        state: 0,
    },
    Machine { triple: "x86_64-unknown-linux-none", kernels: "", emulation: "elf_x86_64", state: 1 },
];

const OPT_LEVELS: &[&str] = &["s", "3"];

/// What a device that types cells calls.
const CLASSIFY: &[&str] = &["cic_open", "cic_scratch_len", "cic_classify", "cic_leaf_name"];

/// What names of panics, and of ways to them, contain.
const PANICS: &[&str] = &[
    "panicking",
    "panic_",
    "rust_begin_unwind",
    "slice_index_fail",
    "unwrap_failed",
    "expect_failed",
    "len_mismatch_fail",
];

/// What names of Rust's allocators contain.
const ALLOCATORS: &[&str] = &["__rust_alloc", "__rust_realloc", "__rg_", "__rdl_", "alloc_error"];

/// Names of C's and C++'s.
const C_ALLOCATORS: &[&str] =
    &["malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign", "_Znwm", "_Znwj"];

/// Links and searches every image.
pub fn run() -> Result<()> {
    toolchain::ensure(toolchain::FIRMWARE)?;
    let every = functions()?;
    let every: Vec<&str> = every.iter().map(String::as_str).collect();
    let by_triple: Vec<&[Machine]> = MACHINES.chunk_by(|a, b| a.triple == b.triple).collect();
    let tables = side_by_side::map(&by_triple, |machines| {
        machines.iter().map(|machine| machine.search(&every)).collect::<Result<String>>()
    })?;
    println!("image                          kernels opt  program      text state");
    print!("{}", tables.concat());
    must_fail(&MACHINES[0])
}

/// An image that panics and one that has an allocator.
fn must_fail(machine: &Machine) -> Result<()> {
    let library = machine.library(OPT_LEVELS[0], &["--cfg", "cic_must_fail"])?;
    for (root, name) in [("cic_must_panic", "panicking"), ("malloc", "malloc")] {
        let image = machine.link(&library, "must-fail", &[root])?;
        let symbols = symbols(&image)?;
        let guilty = guilty(&symbols);
        let is_found = guilty.iter().any(|symbol| symbol.contains(name));
        ensure!(is_found, "{name} was not found in an image that has it");
    }
    println!(
        "proofs: no panic and no allocator in {} images",
        2 * MACHINES.len() * OPT_LEVELS.len()
    );
    Ok(())
}

impl Machine {
    /// Links and searches the programs of one machine, `every` function or those that type cells: rows of the table.
    fn search(&self, every: &[&str]) -> Result<String> {
        let mut rows = String::new();
        for level in OPT_LEVELS {
            let library = self.library(level, &[])?;
            for (program, roots) in [("whole", every), ("classify", CLASSIFY)] {
                let image = self.link(&library, program, roots)?;
                let (text, ..) = firmware::sizes(&image)?;
                let state = firmware::state(&image)?;
                rows += &format!(
                    "{:<30} {:<7} {level:<4} {program:<8} {text:>8} {state:>5}\n",
                    self.triple, self.kernels
                );
                let symbols = symbols(&image)?;
                let guilty = guilty(&symbols);
                ensure!(guilty.is_empty(), "{}: {}", image.display(), guilty.join(", "));
                ensure!(state <= self.state, "{} has {state} bytes of state", image.display());
            }
        }
        Ok(rows)
    }

    /// The static library.
    fn library(&self, level: &str, flags: &[&str]) -> Result<PathBuf> {
        let features = vec!["floats", self.kernels];
        let shares_core = true;
        Library { triple: self.triple, cpu: None, level, shares_core, features, flags }.build()
    }

    /// A program of these functions and what they need.
    fn link(&self, library: &Path, program: &str, roots: &[&str]) -> Result<PathBuf> {
        let image = library.with_file_name(format!("{program}.elf"));
        let entry = roots.first().context("a program has functions")?;
        let mut linker = Command::new("ld.lld");
        linker.args(["-m", self.emulation, "--gc-sections", "--entry", entry]);
        for root in roots {
            linker.args(["--undefined", root]);
        }
        command::run(linker.arg(library).arg("-o").arg(&image))?;
        Ok(image)
    }
}

/// All functions of the interface, from the header.
fn functions() -> Result<Vec<String>> {
    let path = workspace::root().join("runtime/capi/include/cic.h");
    let header = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let found = declared(&header);
    if found.len() < CLASSIFY.len() {
        bail!("{} declares {found:?}", path.display());
    }
    Ok(found)
}

/// Names before the parenthesis of declarations, which begin at the margin.
fn declared(header: &str) -> Vec<String> {
    let lines = header.lines().filter(|line| line.starts_with(|first: char| first.is_lowercase()));
    let names = lines.filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next());
    names.filter(|name| name.starts_with("cic_")).map(str::to_owned).collect()
}

/// Names of the symbols of an image.
fn symbols(image: &Path) -> Result<Vec<String>> {
    let printed = command::capture(Command::new("readelf").arg("-sW").arg(image))?;
    // Number, value, size, type, binding, visibility, section, name.
    let names = printed.lines().filter_map(|line| line.split_whitespace().nth(7));
    let names: Vec<String> = names.filter(|name| *name != "Name").map(str::to_owned).collect();
    ensure!(!names.is_empty(), "{} has no symbols to search", image.display());
    Ok(names)
}

/// Symbols that panic or allocate.
fn guilty(symbols: &[String]) -> Vec<&str> {
    let is_guilty = |name: &&str| {
        PANICS.iter().chain(ALLOCATORS).any(|part| name.contains(part))
            || C_ALLOCATORS.contains(name)
    };
    symbols.iter().map(String::as_str).filter(is_guilty).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_panics_and_what_allocates() {
        let symbols = ["_RNvNtCs_4core9panicking9panic_fmt", "free", "__rust_alloc", "cic_open"];
        let symbols = symbols.map(String::from);
        assert_eq!(guilty(&symbols), &symbols[..3]);
    }

    #[test]
    fn reads_the_functions_of_a_header() {
        let header = "/*\n text (with parentheses)\n */\nuint32_t cic_abi_version(void);\n\
                      cic_status cic_open(const uint8_t *bytes,\n             size_t len);\n\
                      const char *cic_status_text(int32_t status);\n#define CIC_X (1)\n";
        assert_eq!(declared(header), ["cic_abi_version", "cic_open", "cic_status_text"]);
    }
}
