//! Figures over all conditions, as a table, as JSON and as tab-separated values.

use std::io::{self, Write};

use serde::Serialize;

use super::figures::{FIGURES, N_FIGURES, N_OF_TYPING};
use super::levels::{Level, Method};

/// What was found, as printed with `--json`.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) schema_version: u32,
    pub(super) data: String,
    pub(super) seed: u64,
    pub(super) n_train: usize,
    pub(super) n_test: usize,
    pub(super) n_classes: usize,
    pub(super) n_genes: usize,
    /// Genes of largest training variance that reproduction is measured on.
    pub(super) n_genes_reproduced: usize,
    pub(super) code_dim: usize,
    /// The linear classifier that cross-validation on training rows chose.
    pub(super) best_linear: String,
    pub(super) models: Vec<ModelReport>,
    /// The clean samples first.
    pub(super) levels: Vec<Level>,
    pub(super) skipped: Vec<String>,
}

/// A model that took part.
#[derive(Serialize)]
pub(super) struct ModelReport {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) model_id: String,
    pub(super) dtype: &'static str,
}

impl Report {
    /// A table of 100 columns.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} held cells of {} types, {} training rows, {} genes, codes of {} numbers",
            self.n_test, self.n_classes, self.n_train, self.n_genes, self.code_dim
        )?;
        writeln!(out, "best linear by cross-validation on training rows: {}", self.best_linear)?;
        for note in &self.skipped {
            writeln!(out, "note: {note}")?;
        }
        for (kind, what) in WHAT {
            let of_kind = || self.levels.iter().filter(move |level| level.kind == kind);
            if of_kind().next().is_none() {
                continue;
            }
            let clean = self.levels.iter().filter(|level| level.kind == "clean");
            let levels: Vec<&Level> = clean.chain(of_kind()).collect();
            writeln!(out, "\n{what}\n")?;
            write_table(out, kind, &levels, 0..N_OF_TYPING, &TYPING_HEADS)?;
            writeln!(out)?;
            write_table(out, kind, &levels, N_OF_TYPING..N_FIGURES, &REPRODUCTION_HEADS)?;
        }
        let spread = match self.levels.iter().any(|level| level.repeats > 1) {
            true => "Means ± standard deviations over repeats. ",
            false => "",
        };
        writeln!(out, "\n{spread}{NOTES}")
    }

    /// One line for each amount and method.
    pub(super) fn write_tsv(&self, out: &mut dyn Write) -> io::Result<()> {
        let heads = FIGURES.map(|name| format!("{name}\t{name}_sd"));
        writeln!(out, "kind\tamount\trepeats\tmethod\t{}", heads.join("\t"))?;
        for level in &self.levels {
            for method in &level.methods {
                let cell =
                    |value: f64| if value.is_nan() { String::new() } else { format!("{value:.6}") };
                let cells = method
                    .figures
                    .iter()
                    .map(|spread| format!("{}\t{}", cell(spread.mean), cell(spread.deviation)));
                let name = method.name.replace(['\t', '\n', '\r'], " ");
                let cells: Vec<String> = cells.collect();
                let (kind, amount, repeats) = (level.kind, level.amount, level.repeats);
                writeln!(out, "{kind}\t{amount}\t{repeats}\t{name}\t{}", cells.join("\t"))?;
            }
        }
        Ok(())
    }
}

fn write_table(
    out: &mut dyn Write,
    kind: &str,
    levels: &[&Level],
    figures: core::ops::Range<usize>,
    heads: &[&str],
) -> io::Result<()> {
    let has_some =
        |method: &&Method| method.figures[figures.clone()].iter().any(|f| !f.mean.is_nan());
    if !levels.iter().any(|level| level.methods.iter().any(|method| has_some(&method))) {
        return Ok(());
    }
    write!(out, "{kind:9} {:20}", "")?;
    heads.iter().try_for_each(|head| write!(out, "  {head:>12}"))?;
    writeln!(out)?;
    for level in levels {
        for (at, method) in level.methods.iter().filter(has_some).enumerate() {
            let title = if at == 0 { level.title() } else { String::new() };
            let name: String =
                cic_data::sanitise_for_terminal(&method.name).chars().take(20).collect();
            let cells = method.figures[figures.clone()].iter();
            let cells: String = cells.map(|figure| format!("  {:>12}", figure.text())).collect();
            writeln!(out, "{}", format!("{title:9} {name:20}{cells}").trim_end())?;
        }
    }
    Ok(())
}

const TYPING_HEADS: [&str; N_OF_TYPING] =
    ["accuracy", "macro-F1", "confidence", "refused", "code shift"];
const REPRODUCTION_HEADS: [&str; N_FIGURES - N_OF_TYPING] =
    ["R2 clean", "R2 spoiled", "rho clean", "rho spoiled"];

const WHAT: [(&str, &str); 4] = [
    (
        "gaussian",
        "Noise of so many standard deviations of each gene, added to what the network reads\n\
         (after preprocessing; where that cannot be negative, what falls below zero is zero).",
    ),
    ("thinning", "Binomial thinning of the counts to so much of the depth."),
    ("genes", "So many of the panel's genes missing, at random."),
    ("low_genes", "So many of the panel's genes missing, those of lowest mean expression."),
];

const NOTES: &str = "\
Accuracy is of the best guess.
Refused: share of cells that the model's own rules refuse, all of them where too few genes are
there. Code shift: distance
of a code from that of the clean cell, by the mean distance between clean codes of different cells.
R2 (against the training mean) and Spearman's rho: of the profile back from the code, to the clean
profile and to the spoiled one, there of the genes that were not lost.";
