//! Builds the firmware examples, runs them in QEMU and compares what they print with what the host
//! computes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::boards::{self, Board};
use crate::budgets::{self, Figures};
use crate::count::{self, Counter};
use crate::serial_line::Line;
use crate::{c_image, command, costs, side_by_side, toolchain, workspace};

/// Options of `cargo xtask firmware` and `cargo xtask count`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only this board of firmware-examples/boards.tsv.
    #[arg(long)]
    board: Option<String>,
    /// Only this image.
    #[arg(long)]
    image: Option<String>,
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
    /// Whether its layout is for cells that list most genes.
    is_dense: bool,
    golden: Golden,
}

/// Where the expected console of a model comes from.
enum Golden {
    /// The host, and `IMAGE.out` beside the program must say the same.
    Committed,
    /// The host alone: trained weights may differ between machines, and the data may be absent.
    HostOnly,
}

const IMAGES: &[Image] = &[
    Image { program: "hello", model: None },
    Image { program: "kernels", model: None },
    Image::with_model("bare", "tiny", Golden::HostOnly),
    Image::with_model("bounds", "tiny", Golden::HostOnly),
    Image::with_dense_model("bounds", "tiny"),
    Image::with_model("selftest", "net135k", Golden::HostOnly),
    Image::with_model("infer", "net135k", Golden::HostOnly),
    Image::with_dense_model("infer", "net135k"),
    Image::with_model("classify", "fixture", Golden::Committed),
    Image::with_model("classify", "tiny", Golden::Committed),
    Image::with_model("classify", "pbmc3k", Golden::HostOnly),
    Image::with_model("stream_uart", "fixture", Golden::HostOnly),
    Image::with_model("stream_uart", "tiny", Golden::HostOnly),
    Image::with_model(C_PROGRAM, "fixture", Golden::HostOnly),
    Image::with_model(C_PROGRAM, "tiny", Golden::HostOnly),
];

/// The program in C, whose source is in `firmware-examples/c`.
const C_PROGRAM: &str = "c_classify";

impl Image {
    const fn with_model(program: &'static str, name: &'static str, golden: Golden) -> Self {
        Self { program, model: Some(Model { name, is_dense: false, golden }) }
    }

    const fn with_dense_model(program: &'static str, name: &'static str) -> Self {
        Self { program, model: Some(Model { name, is_dense: true, golden: Golden::HostOnly }) }
    }

    /// `PROGRAM`, `PROGRAM-MODEL` or `PROGRAM-MODEL-dense`.
    fn name(&self) -> String {
        match &self.model {
            Some(model) => {
                let dense = if model.is_dense { "-dense" } else { "" };
                format!("{}-{}{dense}", self.program, model.name)
            }
            None => self.program.to_owned(),
        }
    }

    /// The layout of its model on a board, as cic-tests calls it.
    fn layout(&self, board: &Board) -> String {
        let is_dense = self.model.as_ref().is_some_and(|model| model.is_dense);
        board.layout().to_owned() + if is_dense { "-dense" } else { "" }
    }

    /// The lines that the image must print, and its model; `None` where the host has no data to
    /// make the model from and has said so.
    fn prepare(&self, layout: &str, bless: bool) -> Result<Option<Prepared>> {
        let golden = workspace::firmware().join(format!("src/bin/{}.out", self.name()));
        let committed = || {
            fs::read_to_string(&golden).with_context(|| {
                format!("{}: `cargo xtask firmware --bless` writes it", golden.display())
            })
        };
        let Some(model) = &self.model else {
            return Ok(Some(Prepared { expected: committed()?, model: None }));
        };

        let path = workspace::target_dir()?.join("fw");
        let path = path.join(format!("{}.{layout}.cic", self.name()));
        fs::create_dir_all(path.parent().context("a path without a folder")?)?;
        if path.exists() {
            fs::remove_file(&path)?;
        }
        let mut host = Command::new(workspace::program("examples/firmware_expected")?);
        host.args([self.program, model.name, layout]).arg(&path);
        command::announce(&host);
        let expected = command::capture(&mut host)?;
        if !path.exists() {
            return Ok(None);
        }
        // The scratch, on the last line, depends on the layout.
        if layout == "fours"
            && let Golden::Committed = model.golden
        {
            if bless {
                fs::write(&golden, &expected)?;
            }
            compare(&committed()?, &expected)
                .with_context(|| format!("{} against the host", golden.display()))?;
        }
        Ok(Some(Prepared { expected, model: Some(path) }))
    }

    /// What the host wrote beside the model for programs with a serial line: the features of the
    /// instrument.
    fn features(&self, model: &Path) -> Option<PathBuf> {
        (self.program == "stream_uart").then(|| model.with_extension("features.tsv"))
    }

    /// Builds the image for `board` and returns the path of the ELF file.
    fn build(&self, prepared: &Prepared, board: &Board) -> Result<PathBuf> {
        if self.program == C_PROGRAM {
            let model = prepared.model.as_ref().context("the program in C has a model")?;
            let image = toolchain::image(board, &self.name())?;
            c_image::build(board, "classify", &model.with_extension("c"), &image)?;
            return Ok(image);
        }
        let model = prepared.model.as_deref();
        let features = model.and_then(|model| self.features(model));
        build(board, self.program, model, features.as_deref())?;
        toolchain::keep(board, self.program, &self.name())
    }
}

/// Builds a program of `firmware-examples`, with a model in its flash, and for one with a serial line the features of the
/// instrument.
pub fn build(
    board: &Board,
    program: &str,
    model: Option<&Path>,
    features: Option<&Path>,
) -> Result<()> {
    let mut cargo = toolchain::cargo(board, &workspace::firmware(), "build")?;
    cargo.args(["--bin", program]);
    if let Some(kernels) = &board.kernels {
        cargo.args(["--features", kernels]);
    }
    if let Some(model) = model {
        match features {
            Some(features) => {
                cargo.args(["--features", "stream"]).env("CIC_FEATURES", features);
            }
            None => {
                cargo.args(["--features", "model"]);
            }
        }
        cargo.env("CIC_MODEL", model);
    }
    command::run(&mut cargo)
}

/// Runs an emulator to its end, with somebody at the other end of its serial line, and returns the console and what it said
/// of errors.
pub fn console(qemu: &mut Command, line: Option<&Line>) -> Result<(String, String)> {
    let output = match line {
        Some(line) => line.run(qemu)?,
        None => qemu.output().context("cannot start timeout")?,
    };
    let [console, errors] =
        [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    ensure!(
        output.status.success(),
        "the emulator ended with {} (124 is the time limit); its console:\n{console}{errors}",
        output.status
    );
    Ok((console, errors))
}

/// What the host says about an image.
struct Prepared {
    expected: String,
    model: Option<PathBuf>,
}

/// What was measured of an image on a board.
pub struct Record {
    /// Name of the image.
    pub image: String,
    /// Name of the board.
    pub board: String,
    /// The figures.
    pub figures: Figures,
}

impl Args {
    /// Whether every image is run on every board.
    pub fn is_everything(&self) -> bool {
        self.board.is_none() && self.image.is_none()
    }
}

/// Builds and runs the images that `is_wanted` on the chosen boards. With a `counter`, executed
/// instructions are counted in the same runs.
pub fn run(
    args: &Args,
    counter: Option<&Counter>,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Record>> {
    let boards = boards::chosen(args.board.as_deref())?;
    ensure_tools(&boards)?;
    let is_chosen = |name: &str| args.image.as_deref().is_none_or(|image| image == name);
    if let Some(name) = &args.image {
        ensure!(IMAGES.iter().any(|image| image.name() == *name), "no image {name:?}");
    }
    let is_wanted = |image: &&Image| is_wanted(&image.name()) && is_chosen(&image.name());
    let images: Vec<&Image> = IMAGES.iter().filter(is_wanted).collect();
    let of_board = |board: &Board| -> Vec<&Image> {
        images.iter().copied().filter(|image| board.images.contains(&image.name())).collect()
    };
    let key = |image: &Image, board: &Board| (image.name(), image.layout(board));
    let all = boards
        .iter()
        .flat_map(|board| of_board(board).into_iter().map(move |image| (image, board)));
    let wanted: BTreeMap<_, &Image> =
        all.map(|(image, board)| (key(image, board), image)).collect();
    let wanted: Vec<_> = wanted.into_iter().collect();
    let prepared =
        side_by_side::map(&wanted, |((_, layout), image)| image.prepare(layout, args.bless))?;
    let keys = wanted.into_iter().map(|(key, _)| key);
    let prepared: BTreeMap<_, Option<Prepared>> = keys.zip(prepared).collect();
    for ((image, _), _) in prepared.iter().filter(|(_, prepared)| prepared.is_none()) {
        println!("SKIPPED: firmware image {image}: the host made no model for it");
    }
    let records = boards::map(&boards, |board| {
        let mut records = Vec::new();
        for image in of_board(board) {
            let Some(Some(prepared)) = prepared.get(&key(image, board)) else { continue };
            let elf = image.build(prepared, board)?;
            let figures = check(image, prepared, board, &elf, counter)
                .with_context(|| format!("image {} on {}", image.name(), board.name))?;
            records.push(Record { image: image.name(), board: board.name.clone(), figures });
        }
        Ok(records)
    })?;
    Ok(records.into_iter().flatten().collect())
}

/// The compiler, and the emulators of these boards.
pub fn ensure_tools(boards: &[Board]) -> Result<()> {
    for board in boards {
        let is_known =
            |name: &str| name == costs::IMAGE || IMAGES.iter().any(|image| image.name() == name);
        if let Some(unknown) = board.images.iter().find(|name| !is_known(name)) {
            bail!("boards.tsv: {} has an image {unknown} that is not known", board.name);
        }
    }
    let mut packages = toolchain::FIRMWARE.to_vec();
    for package in boards.iter().map(|board| board.emulator.package()) {
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    toolchain::ensure(&packages)
}

fn check(
    image: &Image,
    prepared: &Prepared,
    board: &Board,
    elf: &Path,
    counter: Option<&Counter>,
) -> Result<Figures> {
    let conversation = (prepared.model.as_ref())
        .filter(|model| image.features(model).is_some())
        .map(|model| model.with_extension("conversation"));
    let line = conversation.map(Line::new).transpose()?;
    let serial = line.as_ref().map_or("none".to_owned(), Line::argument);
    let mut qemu = emulator(board, elf, &serial);
    if let Some(counter) = counter {
        counter.attach(&mut qemu, elf)?;
    }
    let (console, errors) = console(&mut qemu, line.as_ref())?;
    compare(&prepared.expected, &console)?;

    let (text, data, bss) = sizes(elf)?;
    let mut told = format!("firmware: {} on {}: console as expected\n", image.name(), board.name);
    told += &format!("  text {text} data {data} bss {bss}\n");
    let mut measured = Figures::from([("text".to_owned(), text), ("ram".to_owned(), data + bss)]);
    if let Some(model) = &prepared.model {
        let code = text.saturating_sub(fs::metadata(model)?.len());
        told += &format!("  text without the model {code}\n");
        measured.insert("code".to_owned(), code);
        measured.insert("hash".to_owned(), function_len(elf, "compress256")?);
    }
    let measurements = console.lines().filter_map(|line| line.strip_prefix("# "));
    for line in measurements.filter(|line| !line.starts_with("region")) {
        told += &format!("  {line}\n");
    }
    for figure in ["stack", "opening_stack", "verifying_stack"] {
        measured.extend(measurement(&console, figure).map(|bytes| (figure.to_owned(), bytes)));
    }
    let scratch = console.lines().find_map(|line| line.strip_prefix("scratch ")?.parse().ok());
    if let Some(scratch) = scratch {
        measured.insert("scratch".to_owned(), scratch);
    }
    if counter.is_some() {
        for (name, count) in count::regions(&console, &errors)? {
            told += &format!("  {count} instructions in {name}\n");
            measured.insert(format!("instructions.{name}"), count);
        }
    }
    print!("{told}");
    budgets::check(&image.name(), &board.name, &measured, counter.is_some())?;
    Ok(measured)
}

/// The emulator of `board` with `elf`, ended after a minute: a broken image runs for ever.
pub fn emulator(board: &Board, elf: &Path, serial: &str) -> Command {
    let mut qemu = Command::new("timeout");
    let emulator = board.emulator;
    qemu.args(["60", emulator.program(), "-M", &board.machine, "-nographic"]);
    qemu.args(emulator.arguments());
    qemu.args(["-monitor", "none", "-serial", serial]);
    qemu.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(elf);
    qemu
}

/// Compares line by line; lines that start with `#` are measurements and are left out.
pub fn compare(expected: &str, found: &str) -> Result<()> {
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

/// A figure on a line of its own that starts with `#`.
pub fn measurement(console: &str, name: &str) -> Option<u64> {
    console.lines().find_map(|line| {
        line.strip_prefix("# ")?.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok()
    })
}

/// Bytes of the function whose name contains this; 0 without one.
fn function_len(elf: &Path, name: &str) -> Result<u64> {
    let printed = command::capture(Command::new("nm").args(["-S", "--radix=d"]).arg(elf))?;
    // Address, length, type, name.
    let lines = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let lens = lines.filter(|line| line.len() == 4 && line[3].contains(name));
    Ok(lens.filter_map(|line| line[1].parse::<u64>().ok()).sum())
}

/// Bytes of text, data and bss, as binutils' `size` counts them, without the section that riscv-rt
/// makes of all memory that is left.
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
    let sections = command::capture(Command::new("size").arg("-A").arg(elf))?;
    match numbers[..] {
        [text, data, bss] => Ok((text, data, bss - section(&sections, ".stack").unwrap_or(0))),
        _ => bail!("size printed no row of numbers: {printed}"),
    }
}

/// Bytes that are written at run time: unlike [`sizes`], without constants that hold addresses.
pub fn state(elf: &Path) -> Result<u64> {
    let sections = command::capture(Command::new("size").arg("-A").arg(elf))?;
    Ok([".data", ".bss"].iter().filter_map(|name| section(&sections, name)).sum())
}

/// Bytes of a section in what `size -A` prints.
fn section(sections: &str, name: &str) -> Option<u64> {
    let mut rows = sections.lines().map(|line| line.split_whitespace());
    rows.find_map(|mut row| (row.next()? == name).then(|| row.next()?.parse().ok()).flatten())
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
    fn finds_a_section_by_its_whole_name() {
        let sections = "image  :\nsection  size  addr\n.stack_sizes 7 0\n.stack  4096  1024\n";
        assert_eq!(section(sections, ".stack"), Some(4096));
        assert_eq!(section(sections, ".heap"), None);
    }

    #[test]
    fn reads_a_measurement_by_its_whole_name() {
        assert_eq!(measurement("# stacked 1\n# stack 248\n", "stack"), Some(248));
        assert_eq!(measurement("stack 248\n", "stack"), None);
    }
}
