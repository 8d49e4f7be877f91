//! `cargo xtask quantising`: what quantisation does to the labels and codes of every labelled data set, beside other quantizers, and
//! `docs/quantising.md` with the figures.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::page::Page;
use super::sets::{SETS, Set};
use super::{Args, Paper, text};
use crate::{command, workspace};

/// Runs what has no result yet, and writes the page.
pub fn run(args: &Args) -> Result<()> {
    let paper = Paper::open(args, "quantising")?;
    let build = [
        "build",
        "--release",
        "-p",
        "cic-bench",
        "--bin",
        "network-inputs",
        "--bin",
        "with-first-layer",
    ];
    command::run(workspace::cargo().args(build))?;
    let mut page = Page::default();
    page.text(include_str!("quantising.md"));
    let mut measured = Vec::new();
    for set in &SETS {
        measured.push(OfSet::measure(&paper, set)?);
    }
    tables(&mut page, &measured);
    flips(&mut page, &measured);
    parts(&mut page, &paper)?;
    page.text(include_str!("quantising_commands.md"));
    paper.write(page)
}

/// A way to quantise: its name, the type, and further options.
const WAYS: [(&str, &str, &[&str]); 11] = [
    ("f16", "f16", &[]),
    ("int8, minmax", "int8", &["--ranges", "minmax"]),
    (DEFAULT, "int8", &[]),
    ("int8, fitted rounding", "int8", &["--rounding", "fitted"]),
    ("int8, percentile", "int8", &["--ranges", "percentile"]),
    ("int8, entropy", "int8", &["--ranges", "entropy"]),
    ("int8, mse", "int8", &["--ranges", "mse"]),
    // Whatever is best, though it were not good enough.
    (
        "int8, --auto",
        "",
        &["--auto", "--target", "cortex-m55", "--max-code-error", "1", "--max-label-change", "1"],
    ),
    ("int8, fine-tuned", "int8", &["--fine-tune"]),
    ("int8, QAT", "int8", &["--qat"]),
    ("mixed", "mixed", &[]),
];
const DEFAULT: &str = "int8";

/// A data set, and a model of it in every way.
struct OfSet {
    name: &'static str,
    ways: Vec<(String, Measured)>,
}

/// What one way does on test rows.
struct Measured {
    n: u64,
    n_flips: u64,
    code_error: f64,
    bytes: u64,
    /// Of the original and of this, and of neighbours that stay; other programs do not tell.
    more: Option<More>,
}

struct More {
    accuracy: [f64; 2],
    macro_f1: [f64; 2],
    neighbours: Option<f64>,
    flips: Vec<Flip>,
}

struct Flip {
    cell: String,
    names: [String; 2],
    label: String,
    margin: f64,
}

impl OfSet {
    fn measure(paper: &Paper, set: &'static Set) -> Result<Self> {
        let name = set.name;
        let onnx = paper.work.join(format!("{name}.onnx"));
        let full = paper.model(set, &format!("{name}.cic"), &["--onnx", &text(&onnx)])?;
        let labels = set.arguments(&paper.root);
        let mut ways = Vec::new();
        for (number, (way, to, further)) in WAYS.iter().enumerate() {
            let mut options: Vec<&str> = further.to_vec();
            if further.contains(&"--fine-tune") {
                // What else they say, every way is told.
                let kind = labels.iter().position(|word| word == "--kind").unwrap_or(labels.len());
                let others =
                    labels.iter().enumerate().filter(|(at, _)| !(kind..kind + 2).contains(at));
                options.extend(others.map(|(_, word)| word.as_str()));
            }
            let made = paper.quantized_as(
                set,
                &full,
                &paper.work.join(format!("{name}.{number}.cic")),
                to,
                &options,
            )?;
            ways.push(((*way).to_owned(), diff(paper, set, &full, &made, &number.to_string())?));
        }
        ways.extend(of_others(paper, set, &text(&full), &text(&onnx))?);
        let int8 = ways.iter().find(|(way, _)| way == DEFAULT).map_or(0, |(_, int8)| int8.bytes);
        ways.extend(four_bits(paper, set, &full, int8)?);
        Ok(Self { name, ways })
    }

    fn way(&self, name: &str) -> Option<&Measured> {
        self.ways.iter().find(|(way, _)| way == name).map(|(_, measured)| measured)
    }
}

/// What changes between two models on the test rows of a set, kept under a name.
fn diff(paper: &Paper, set: &Set, full: &Path, made: &Path, name: &str) -> Result<Measured> {
    let mut arguments = vec!["diff".to_owned(), text(full), text(made)];
    arguments.push(text(&set.file(&paper.root, &paper.work)?));
    arguments.extend(set.arguments(&paper.root));
    arguments.extend(set.split(&paper.root));
    arguments.push("--json".into());
    let printed = paper.output(&format!("{}.{name}.json", set.name), "cic-quantize", &arguments)?;
    let report = serde_json::from_str(&printed).context("cic-quantize diff --json")?;
    Ok(Measured::of_diff(&report))
}

/// First layers of four bits, which [`of_others`] left, each in a model of single precision otherwise. Bytes are what
/// the int8 model would take with such a layer: half of its weights' bytes, and two for the scale of a group.
fn four_bits(paper: &Paper, set: &Set, full: &Path, int8: u64) -> Result<Vec<(String, Measured)>> {
    let mut ways = Vec::new();
    for rounding in ["gptq", "nearest"] {
        for size in [32, 128] {
            let name = format!("{rounding}-{size}");
            let at = |ending: &str| paper.work.join(format!("{}.{name}.{ending}", set.name));
            let made = at("cic");
            let mut put = Command::new(paper.programs.join("with-first-layer"));
            let shape = command::capture(put.arg(full).arg(at("npy")).arg(&made))?;
            let shape: Vec<u64> = shape.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            let &[outputs, inputs] = shape.as_slice() else {
                bail!("with-first-layer names no shape")
            };
            let saved = outputs * inputs - (outputs * inputs).div_ceil(2);
            let scales = 2 * outputs * u64::div_ceil(inputs, size);
            let mut measured = diff(paper, set, full, &made, &name)?;
            measured.bytes = (int8 + scales).saturating_sub(saved);
            ways.push((format!("int4 {rounding}, groups of {size}"), measured));
        }
    }
    Ok(ways)
}

/// ONNX Runtime's quantizer, by `bench/quantizers.py`, which also leaves first layers of four bits. Of ONNX Runtime's calibrators the one is taken that changes the
/// fewest labels of calibration cells, then the one of the smallest code error there.
fn of_others(paper: &Paper, set: &Set, full: &str, onnx: &str) -> Result<Vec<(String, Measured)>> {
    let name = set.name;
    let report = format!("{name}.others.json");
    if !paper.work.join(&report).is_file() {
        let inputs = paper.programs.join("network-inputs");
        let out = text(&paper.work.join(name));
        let data = set.file(&paper.root, &paper.work)?;
        command::run(Command::new(inputs).arg(full).arg(data).arg(&out))?;
        let mut run = python("bench/quantizers.py");
        run.arg(onnx);
        run.args(["calibrate", "test"].map(|part| format!("{out}.{part}.npy")));
        run.args(["--save", &out]);
        let printed = command::capture(&mut run)
            .context("onnx and onnxruntime are needed; CIC_PYTHON names a Python that has them")?;
        std::fs::write(paper.work.join(&report), printed).context("keeping figures")?;
    }
    let printed = std::fs::read_to_string(paper.work.join(&report)).context("reading figures")?;
    let report: Value = serde_json::from_str(&printed).context("bench/quantizers.py")?;
    let ways = report.as_object().context("figures by way")?;
    let on_calibration = |way: &Value| {
        let of = &way["calibrate"];
        (of["flips"].as_u64(), of["code_error"].as_f64().unwrap_or(f64::INFINITY))
    };
    let theirs = ways.iter().filter(|(way, _)| way.starts_with("onnxruntime"));
    let best = theirs.min_by(|(_, a), (_, b)| {
        let (a, b) = (on_calibration(a), on_calibration(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let chosen = best.map(|(_, way)| ("onnxruntime, best".to_owned(), way));
    Ok(chosen.into_iter().map(|(way, of)| (way, Measured::of_script(of))).collect())
}

impl Measured {
    fn of_diff(report: &Value) -> Self {
        let n = report["n"].as_u64().unwrap_or(0);
        let pair = |key: &str| [number(&report["a"][key]), number(&report["b"][key])];
        let none = Vec::new();
        let flips = report["flips"].as_array().unwrap_or(&none).iter();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let flips: Vec<Flip> = flips
            .map(|flip| Flip {
                cell: text(&flip["id"]),
                names: [text(&flip["a"]), text(&flip["b"])],
                label: text(&flip["label"]),
                margin: number(&flip["margin"]),
            })
            .collect();
        Self {
            n,
            n_flips: flips.len() as u64,
            code_error: number(&report["code_error"]),
            bytes: report["b"]["bytes"].as_u64().unwrap_or(0),
            more: Some(More {
                accuracy: pair("accuracy"),
                macro_f1: pair("macro_f1"),
                neighbours: report["neighbour_overlap"].as_f64(),
                flips,
            }),
        }
    }

    fn of_script(way: &Value) -> Self {
        let test = &way["test"];
        Self {
            n: test["cells"].as_u64().unwrap_or(0),
            n_flips: test["flips"].as_u64().unwrap_or(0),
            code_error: number(&test["code_error"]),
            bytes: way["bytes"].as_u64().unwrap_or(0),
            more: None,
        }
    }
}

fn tables(page: &mut Page, sets: &[OfSet]) {
    page.text("## All sets together");
    let ways: Vec<&String> =
        sets.first().map_or(Vec::new(), |set| set.ways.iter().map(|(way, _)| way).collect());
    let rows: Vec<String> = ways.iter().map(|way| pooled(way, sets)).collect();
    page.table(
        "| | same label | 95 % interval | most flips of a set | accuracy | macro-F1 | code error | neighbours |",
        &rows,
    );
    page.text("## Set by set: labels that change, code error");
    let head: Vec<String> =
        sets.iter().map(|set| format!("{} ({})", set.name, set.ways[0].1.n)).collect();
    let rows: Vec<String> = ways
        .iter()
        .map(|way| {
            let cells = sets.iter().map(|set| match set.way(way) {
                Some(of) => format!("{}, {:.4}", of.n_flips, of.code_error),
                None => "-".into(),
            });
            format!("| {way} | {} |", cells.collect::<Vec<_>>().join(" | "))
        })
        .collect();
    page.table(&format!("| | {} |", head.join(" | ")), &rows);
    page.text("## Every way on every set\n\nAccuracy and macro-F1 of full precision stand in the next table.");
    let rows: Vec<String> = sets
        .iter()
        .flat_map(|set| set.ways.iter().map(move |(way, of)| (set.name, way, of)))
        .map(|(name, way, of)| {
            let (low, high) = wilson(of.n - of.n_flips, of.n);
            let more = of.more.as_ref();
            let shown =
                |number: Option<f64>| number.map_or("-".into(), |number| format!("{number:.4}"));
            format!(
                "| {name} | {way} | {} of {} ({:.2} to {:.2} %) | {} | {} | {:.4} | {} | {} |",
                of.n - of.n_flips,
                of.n,
                100.0 * low,
                100.0 * high,
                shown(more.map(|more| more.accuracy[1])),
                shown(more.map(|more| more.macro_f1[1])),
                of.code_error,
                shown(more.and_then(|more| more.neighbours)),
                if of.bytes > 0 { of.bytes.to_string() } else { "-".into() },
            )
        })
        .collect();
    page.table(
        "| | | same label (Wilson) | accuracy | macro-F1 | code error | neighbours | bytes |",
        &rows,
    );
    page.text("## Set by set: int8");
    let rows: Vec<String> = sets
        .iter()
        .filter_map(|set| {
            let of = set.way(DEFAULT)?;
            let more = of.more.as_ref()?;
            let share =
                |share: Option<f64>| share.map_or("-".into(), |share| format!("{share:.4}"));
            Some(format!(
                "| {} | {:.4} / {:.4} | {:.4} / {:.4} | {} | {} |",
                set.name,
                more.accuracy[0],
                more.accuracy[1],
                more.macro_f1[0],
                more.macro_f1[1],
                share(more.neighbours),
                of.bytes,
            ))
        })
        .collect();
    page.table("| | accuracy: f32 / int8 | macro-F1: f32 / int8 | neighbours | bytes |", &rows);
}

/// A row over all sets: labels over all cells, accuracy and macro-F1 as means over sets, code error as the largest of a set.
fn pooled(way: &str, sets: &[OfSet]) -> String {
    let of: Vec<&Measured> = sets.iter().filter_map(|set| set.way(way)).collect();
    let n: u64 = of.iter().map(|of| of.n).sum();
    let n_flips: u64 = of.iter().map(|of| of.n_flips).sum();
    let (low, high) = wilson(n - n_flips, n);
    let most =
        of.iter().map(|of| 100.0 * of.n_flips as f64 / of.n.max(1) as f64).fold(0.0, f64::max);
    let worst = of.iter().map(|of| of.code_error).fold(0.0, f64::max);
    let mean_error = of.iter().map(|of| of.code_error).sum::<f64>() / of.len().max(1) as f64;
    let more: Vec<&More> = of.iter().filter_map(|of| of.more.as_ref()).collect();
    let change = |pair: fn(&More) -> [f64; 2]| match more.is_empty() {
        true => "-".to_owned(),
        false => {
            let sum: f64 = more.iter().map(|more| pair(more)[1] - pair(more)[0]).sum();
            format!("{:+.4}", sum / more.len() as f64)
        }
    };
    let least = more.iter().filter_map(|more| more.neighbours).fold(f64::INFINITY, f64::min);
    let least = if least.is_finite() { format!("at least {least:.3}") } else { "-".into() };
    format!(
        "| {way} | {:.3} % ({n_flips} of {n} change) | {:.2} to {:.2} % | {most:.2} % | {} | {} | {mean_error:.4}, at most {worst:.4} | {least} |",
        100.0 * (n - n_flips) as f64 / n.max(1) as f64,
        100.0 * low,
        100.0 * high,
        change(|more| more.accuracy),
        change(|more| more.macro_f1),
    )
}

/// What rounding each part of the network alone does, by `bench/layer_precision.py`, over all sets.
fn parts(page: &mut Page, paper: &Paper) -> Result<()> {
    let int8 = WAYS.iter().position(|(way, ..)| *way == DEFAULT).unwrap_or(0);
    let (mut errors, mut flips) = (vec![Vec::new(); PARTS.len()], vec![0; PARTS.len()]);
    let (mut shares, mut n_cells) = (Vec::new(), 0);
    for set in &SETS {
        let file = |ending: &str| paper.work.join(format!("{}.{ending}", set.name));
        let kept = file("parts.json");
        if !kept.is_file() {
            let mut run = python("bench/layer_precision.py");
            run.args([file("cic"), file(&format!("{int8}.cic")), file("test.npy")]);
            std::fs::write(&kept, command::capture(&mut run)?).context("keeping figures")?;
        }
        let report = std::fs::read_to_string(&kept).context("reading figures")?;
        let report: Value = serde_json::from_str(&report).context("bench/layer_precision.py")?;
        n_cells += report["cells"].as_u64().unwrap_or(0);
        shares.push(number(&report["first_layer"]));
        for ((part, errors), flips) in PARTS.iter().zip(&mut errors).zip(&mut flips) {
            let part = &report["parts"][part];
            errors.push(number(&part["code_error"]));
            *flips += part["flips"].as_u64().unwrap_or(0);
        }
    }
    let percent = |bound: f64| format!("{:.0}", 100.0 * bound);
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let most = shares.iter().copied().fold(0.0, f64::max);
    page.text(include_str!("quantising_parts.md"));
    page.text(&format!(
        "Of the weights of encoder and classifier {} to {} % are those of the first layer.",
        percent(least),
        percent(most)
    ));
    let rows: Vec<String> = PARTS
        .iter()
        .zip(errors.iter().zip(flips))
        .map(|(part, (errors, flips))| {
            let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
            let worst = errors.iter().copied().fold(0.0, f64::max);
            format!("| {part} | {mean:.4}, at most {worst:.4} | {flips} of {n_cells} |")
        })
        .collect();
    page.table("| rounded to 7 and 8 bits | code error | labels that change |", &rows);
    Ok(())
}

/// As the script calls them.
const PARTS: [&str; 5] = [
    "inputs",
    "weights of the first layer",
    "all behind the first layer",
    "inputs and first layer",
    "all",
];

/// A script of the repository, by a Python that has what it needs.
fn python(script: &str) -> Command {
    let python = std::env::var("CIC_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut run = Command::new(python);
    run.arg(workspace::root().join(script));
    run
}

/// Flips of int8 that were no near-ties.
fn flips(page: &mut Page, sets: &[OfSet]) {
    page.text(
        "## Labels that int8 changes though they were no near-ties\n\nFull precision put the first label more than .05 above the second.",
    );
    let mut n_near = 0;
    let mut rows = Vec::new();
    for set in sets {
        let flips =
            set.way(DEFAULT).and_then(|of| of.more.as_ref()).map_or(&[][..], |more| &more.flips);
        for flip in flips {
            if flip.margin <= NEAR {
                n_near += 1;
                continue;
            }
            let [a, b] = &flip.names;
            rows.push(format!(
                "| {}, {} | {a} | {b} | {} | {:.3} |",
                set.name, flip.cell, flip.label, flip.margin
            ));
        }
    }
    match rows.is_empty() {
        true => page.text("There is none."),
        false => page.table("| cell | f32 | int8 | label | margin |", &rows),
    }
    page.text(&format!("{n_near} others were near-ties."));
}

/// Wilson's 95 % interval.
fn wilson(successes: u64, n: u64) -> (f64, f64) {
    let (z, n) = (1.959_963_984_540_054_f64, n.max(1) as f64);
    let share = successes as f64 / n;
    let centre = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    ((centre - half) / scale, (centre + half) / scale)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Difference of two probabilities that a rounded network may turn.
const NEAR: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    /// `statsmodels.stats.proportion.proportion_confint(95, 100, method="wilson")`
    #[test]
    fn wilson_equals_statsmodels() {
        let (low, high) = wilson(95, 100);
        assert!(
            (low - 0.888_249_9).abs() < 1e-6 && (high - 0.978_456_7).abs() < 1e-6,
            "{low} {high}"
        );
    }
}
