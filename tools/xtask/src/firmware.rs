//! Builds the firmware examples, runs them in QEMU and compares what they print with what the host
//! computes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::boards::{self, Board};
use crate::budgets::{self, Measured};
use crate::count::{self, Counter};
use crate::{command, toolchain, workspace};

/// Options of `cargo xtask firmware` and `cargo xtask count`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this board of firmware-examples/boards.tsv.
    #[arg(long)]
    board: Option<String>,
    /// Rewrite the .out files from what the host computes; the images are compared with it as ever.
    #[arg(long)]
    bless: bool,
}

/// A program together with the model in its flash.
struct Image {
    /// Name of the source in `firmware-examples/src/bin`.
    program: &'static str,
    /// Model that the host makes for it.
    model: Option<Model>,
}

/// A model that `firmware_expected` of cic-tests makes.
struct Model {
    name: &'static str,
    golden: Golden,
}

/// Where the expected console of a model comes from.
enum Golden {
    /// The host, and `NAME.out` beside the program must say the same.
    Committed,
    /// The host alone: trained weights may differ between machines, and the data may be absent.
    HostOnly,
}

const IMAGES: &[Image] = &[
    Image { program: "hello", model: None },
    Image {
        program: "classify",
        model: Some(Model { name: "fixture", golden: Golden::Committed }),
    },
    Image { program: "classify", model: Some(Model { name: "pbmc3k", golden: Golden::HostOnly }) },
];

impl Image {
    /// `PROGRAM` or `PROGRAM-MODEL`.
    fn name(&self) -> String {
        match &self.model {
            Some(model) => format!("{}-{}", self.program, model.name),
            None => self.program.to_owned(),
        }
    }

    /// The lines that the image must print, and its model; `None` where the host has no data to
    /// make the model from and has said so.
    fn prepare(&self, bless: bool) -> Result<Option<Prepared>> {
        let golden = workspace::firmware().join(format!("src/bin/{}.out", self.program));
        let committed = || {
            fs::read_to_string(&golden).with_context(|| {
                format!("{}: `cargo xtask firmware --bless` writes it", golden.display())
            })
        };
        let Some(model) = &self.model else {
            return Ok(Some(Prepared { expected: committed()?, model: None }));
        };

        let path = workspace::target_dir()?.join("fw").join(format!("{}.cic", model.name));
        fs::create_dir_all(path.parent().context("a path without a folder")?)?;
        if path.exists() {
            fs::remove_file(&path)?;
        }
        let mut host = workspace::cargo();
        host.args(["run", "--quiet", "--release", "-p", "cic-tests"]);
        host.args(["--example", "firmware_expected", "--", model.name]).arg(&path);
        command::announce(&host);
        let expected = command::capture(&mut host)?;
        if !path.exists() {
            return Ok(None);
        }
        if let Golden::Committed = model.golden {
            if bless {
                fs::write(&golden, &expected)?;
            }
            compare(&committed()?, &expected)
                .with_context(|| format!("{} against the host", golden.display()))?;
        }
        Ok(Some(Prepared { expected, model: Some(path) }))
    }

    /// Builds the image for `board` and returns the path of the ELF file.
    fn build(&self, prepared: &Prepared, board: &Board) -> Result<PathBuf> {
        let mut cargo = toolchain::cargo(board, &workspace::firmware(), "build")?;
        cargo.args(["--bin", self.program]);
        if let Some(model) = &prepared.model {
            cargo.args(["--features", self.program]).env("CIC_MODEL", model);
        }
        command::run(&mut cargo)?;

        let built = toolchain::target_dir(board)?.join(&board.target).join("release");
        let image = built.join(format!("{}.elf", self.name()));
        fs::copy(built.join(self.program), &image)?;
        Ok(image)
    }
}

/// What the host says about an image.
struct Prepared {
    expected: String,
    model: Option<PathBuf>,
}

/// Builds and runs every image on the chosen boards. With a `counter`, executed instructions are
/// counted in the same runs.
pub fn run(args: &Args, counter: Option<&Counter>) -> Result<()> {
    toolchain::ensure(toolchain::FIRMWARE)?;
    let boards = boards::chosen(args.board.as_deref())?;
    for image in IMAGES {
        let Some(prepared) = image.prepare(args.bless)? else {
            println!("SKIPPED: firmware image {}: the host made no model for it", image.name());
            continue;
        };
        for board in &boards {
            let elf = image.build(&prepared, board)?;
            check(image, &prepared, board, &elf, counter)
                .with_context(|| format!("image {} on {}", image.name(), board.name))?;
        }
    }
    Ok(())
}

fn check(
    image: &Image,
    prepared: &Prepared,
    board: &Board,
    elf: &Path,
    counter: Option<&Counter>,
) -> Result<()> {
    let mut qemu = emulator(board, elf);
    if let Some(counter) = counter {
        counter.attach(&mut qemu, elf)?;
    }
    let output = qemu.output().context("cannot start qemu-system-arm")?;
    let console = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the emulator ended with {} (124 is the time limit); its console:\n{console}{errors}",
        output.status
    );
    compare(&prepared.expected, &console)?;

    let (text, data, bss) = sizes(elf)?;
    println!("firmware: {} on {}: console as expected", image.name(), board.name);
    println!("  text {text} data {data} bss {bss}");
    for line in console.lines().filter_map(|line| line.strip_prefix("# ")) {
        println!("  {line}");
    }
    let mut measured = vec![
        Measured { column: "text", value: Some(text) },
        Measured { column: "ram", value: Some(data + bss) },
        Measured { column: "stack", value: measurement(&console, "stack") },
    ];
    if counter.is_some() {
        measured
            .push(Measured { column: "instructions", value: count::most_instructions(&errors) });
    }
    budgets::check(&image.name(), &board.name, &measured)
}

/// `qemu-system-arm` with `elf` on `board`, ended after a minute: a broken image runs for ever.
fn emulator(board: &Board, elf: &Path) -> Command {
    let mut qemu = Command::new("timeout");
    qemu.args(["60", "qemu-system-arm", "-M", &board.machine, "-nographic"]);
    qemu.args(["-monitor", "none", "-serial", "none"]);
    qemu.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(elf);
    qemu
}

/// Compares line by line; lines that start with `#` are measurements and are left out.
fn compare(expected: &str, found: &str) -> Result<()> {
    let lines = |text: &'_ str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let (expected, found) = (lines(expected), lines(found));
    for number in 0..expected.len().max(found.len()) {
        let (wanted, got) = (expected.get(number), found.get(number));
        if wanted != got {
            let shown = |line: Option<&String>| line.map_or("(end)".to_owned(), String::clone);
            bail!("line {}: expected {}, found {}", number + 1, shown(wanted), shown(got));
        }
    }
    Ok(())
}

fn measurement(console: &str, name: &str) -> Option<u64> {
    console.lines().find_map(|line| {
        line.strip_prefix("# ")?.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok()
    })
}

/// Bytes of text, data and bss, as binutils' `size` counts them.
pub fn sizes(elf: &Path) -> Result<(u64, u64, u64)> {
    let printed = command::capture(Command::new("size").arg(elf))?;
    let numbers: Vec<u64> = printed
        .lines()
        .nth(1)
        .unwrap_or_default()
        .split_whitespace()
        .take(3)
        .map_while(|field| field.parse().ok())
        .collect();
    match numbers[..] {
        [text, data, bss] => Ok((text, data, bss)),
        _ => bail!("size printed no row of numbers: {printed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_not_compared() {
        compare("a\nb\n", "a\n# stack 12\nb\n").unwrap();
    }

    #[test]
    fn a_changed_line_is_named() {
        let error = compare("a\nb\n", "a\nc\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: expected b, found c");
    }

    #[test]
    fn a_console_that_stops_early_differs() {
        let error = compare("a\nb\n", "a\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: expected b, found (end)");
    }

    #[test]
    fn a_console_that_goes_on_differs() {
        assert!(compare("a\n", "a\nb\n").is_err());
    }

    #[test]
    fn reads_a_measurement_by_its_whole_name() {
        assert_eq!(measurement("# stacked 1\n# stack 248\n", "stack"), Some(248));
        assert_eq!(measurement("stack 248\n", "stack"), None);
    }
}
