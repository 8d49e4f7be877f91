//! `cargo xtask reference`: the model in `models/`, trained anew, and its card.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::paper::sets::{self, Set};
use crate::{command, workspace};

/// Of `cic train`, chosen as the card says.
const TRAINING: &[&str] = &["--set", "thinning=0.5"];

/// What it was chosen from.
const TRIED: &str = "thinning=0|0.5|0.7|0.9";

/// Trains, quantises, measures, and writes `models/`.
pub fn run() -> Result<()> {
    let mut cargo = workspace::cargo();
    command::run(cargo.args(["build", "--release", "-p", "cic-tools"]))?;
    let programs = workspace::target_dir()?.join("release");
    let root = sets::root()?;
    let set = Set::named("pbmc3k")?;
    let cells = set.file(&root, Path::new(""))?;
    let labelled = [set.arguments(&root), set.split(&root)].concat();

    let models = workspace::root().join("models");
    fs::create_dir_all(&models).context("making room for models")?;
    let [full, small] = ["pbmc-f32.cic", "pbmc-int8.cic"].map(|name| models.join(name));
    let mut train = Command::new(programs.join("cic"));
    train.arg("train").arg(&cells).args(&labelled).args(TRAINING);
    command::run(train.arg("--output").arg(&full))?;
    let mut quantize = Command::new(programs.join("cic-quantize"));
    quantize
        .arg(&full)
        .arg("--calibrate")
        .arg(&cells)
        .args(&labelled)
        .args(["--to", "int8", "--ranges", "minmax"]);
    command::run(quantize.arg("--output").arg(&small))?;

    let ask = |arguments: &[&str], models: &[&PathBuf], cells: &Path| -> Result<Value> {
        let mut cic = Command::new(programs.join("cic"));
        cic.arg(arguments[0]).arg(cells).args(&arguments[1..]);
        models.iter().for_each(|model| {
            cic.arg("--model").arg(model);
        });
        serde_json::from_str(&command::capture(&mut cic)?).context("what cic prints")
    };
    let labelled: Vec<&str> = labelled.iter().map(String::as_str).collect();
    let evaluated =
        |model| ask(&[&["eval"], &labelled[..], &["--json"]].concat(), &[model], &cells);
    let noise = [&["noise"], &labelled[..], &["--json", "-q"]].concat();
    let mut sweep = Command::new(programs.join("cic"));
    sweep.arg("sweep").arg(&cells).args(&labelled).args(["--try", TRIED, "-q"]);
    let card = Card {
        sweep: command::capture(&mut sweep)?,
        full: evaluated(&full)?,
        small: evaluated(&small)?,
        noise: ask(&noise, &[&full, &small], &cells)?,
        strangers: strangers(&programs, &root, &small)?,
        files: [digest(&full)?, digest(&small)?],
    };
    let path = models.join("README.md");
    fs::write(&path, card.text()?).with_context(|| format!("writing {}", path.display()))?;
    println!("{} written", path.display());
    Ok(())
}

/// Cells of cell lines, of no type that the model knows: how many there are, and how many are given a type.
fn strangers(programs: &Path, root: &Path, model: &Path) -> Result<(usize, usize)> {
    let cells = root.join("cell-lines-celseq2/cell-lines-celseq2.h5ad");
    let mut cic = Command::new(programs.join("cic"));
    cic.arg("type").arg(cells).arg("--model").arg(model).args(["--output", "-", "--quiet"]);
    let table = command::capture(&mut cic)?;
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().context("an empty table")?.split(',').collect();
    let rejected = head.iter().position(|name| *name == "cic_rejected").context("no column")?;
    let verdicts: Vec<&str> = lines.filter_map(|line| line.split(',').nth(rejected)).collect();
    Ok((verdicts.len(), verdicts.iter().filter(|verdict| **verdict == "False").count()))
}

/// Name, bytes and SHA-256 of a file.
fn digest(path: &Path) -> Result<(String, usize, String)> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut hex = String::new();
    Sha256::digest(&bytes).iter().try_for_each(|byte| write!(hex, "{byte:02x}"))?;
    Ok((name, bytes.len(), hex))
}

/// What was measured.
struct Card {
    sweep: String,
    full: Value,
    small: Value,
    noise: Value,
    strangers: (usize, usize),
    files: [(String, usize, String); 2],
}

impl Card {
    fn text(&self) -> Result<String> {
        let mut text = include_str!("reference/card.md").to_owned();
        let places = [
            ("TRAINING", TRAINING.join(" ")),
            ("TRIED", TRIED.to_owned()),
            ("SWEEP", self.sweep.trim().to_owned()),
            ("FILES", self.files()),
            ("FIGURES", self.figures()?),
            ("CLASSES", self.classes()?),
            ("NOISE", self.spoiled()?),
            ("R2", self.r2("f32")?),
            ("R2_PCA", self.r2("PCA")?),
            ("STRANGERS", self.strangers.0.to_string()),
            ("TYPED", self.strangers.1.to_string()),
        ];
        for (place, value) in places {
            let place = format!("{{{place}}}");
            if !text.contains(&place) {
                bail!("the card has no {place}");
            }
            text = text.replace(&place, &value);
        }
        Ok(text)
    }

    fn files(&self) -> String {
        let row = |(name, bytes, digest): &(String, usize, String)| {
            format!("| `{name}` | {bytes} | `{digest}` |")
        };
        self.files.each_ref().map(row).join("\n")
    }

    fn figures(&self) -> Result<String> {
        let row = |name: &str, of: &Value| -> Result<String> {
            let [accuracy, f1, ece] = ["accuracy", "macro_f1", "ece"].map(|key| figure(&of[key]));
            let band = &of["sureness"]["ece_if_calibrated"];
            Ok(format!(
                "| {name} | {} | {} | {} | {} to {} | {} |",
                accuracy?,
                f1?,
                ece?,
                figure(&band[0])?,
                figure(&band[1])?,
                figure(&of["reconstruction"]["r2"])?
            ))
        };
        Ok([row("f32", &self.full)?, row("int8", &self.small)?].join("\n"))
    }

    fn classes(&self) -> Result<String> {
        let rows = self.small["classes"].as_array().context("no classes")?;
        let row = |of: &Value| -> Result<String> {
            let label = of["label"].as_str().context("no label")?;
            Ok(format!(
                "| {label} | {} | {} | {} |",
                of["support"],
                figure(&of["precision"])?,
                figure(&of["recall"])?
            ))
        };
        Ok(rows.iter().map(row).collect::<Result<Vec<_>>>()?.join("\n"))
    }

    /// Of reproduction of cells as measured, as `cic noise` tells it.
    fn r2(&self, of: &str) -> Result<String> {
        let methods = self.noise["levels"][0]["methods"].as_array().context("no methods")?;
        let is_it = |one: &&Value| one["method"].as_str().is_some_and(|name| name.ends_with(of));
        figure(&methods.iter().find(is_it).context("no such method")?["r2_clean"]["mean"])
    }

    /// Accuracy at lower depths and with fewer genes, beside the best linear method.
    fn spoiled(&self) -> Result<String> {
        let levels = self.noise["levels"].as_array().context("no levels")?;
        let mut rows = Vec::new();
        for level in levels {
            let amount = level["amount"].as_f64().context("no amount")? * 100.0;
            let what = match level["kind"].as_str() {
                Some("clean") => "as measured".to_owned(),
                Some("thinning") => format!("{amount:.0} % of the depth"),
                Some("genes") => format!("{amount:.0} % of the genes missing, at random"),
                Some("low_genes") => format!("{amount:.0} % missing, the lowest expressed"),
                _ => continue,
            };
            let methods = level["methods"].as_array().context("no methods")?;
            let accuracy = |method: &dyn Fn(&str) -> bool| -> Result<String> {
                let one = methods.iter().find(|one| one["method"].as_str().is_some_and(method));
                figure(&one.context("no such method")?["accuracy"]["mean"])
            };
            let refused = methods.iter().find_map(|one| one["refused"]["mean"].as_f64());
            rows.push(format!(
                "| {what} | {} | {} | {} | {} | {:.1} % |",
                accuracy(&|name| name.ends_with("f32"))?,
                accuracy(&|name| name.ends_with("int8"))?,
                accuracy(&|name| name == "best linear")?,
                accuracy(&|name| name == "logistic, refitted").unwrap_or_else(|_| "-".into()),
                100.0 * refused.context("no share of refused cells")?,
            ));
        }
        Ok(rows.join("\n"))
    }
}

fn figure(value: &Value) -> Result<String> {
    Ok(format!("{:.3}", value.as_f64().context("a figure is missing")?))
}
